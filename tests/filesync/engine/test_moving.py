"""A MOVE without a checksum in common deletes at the source only what it copied as it is."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import (
    Action,
    Encryption,
    Endpoint,
    Event,
    ItemDone,
    Limits,
    Method,
    Outcome,
    Progress,
    Remote,
    Rules,
    StopSignal,
    SyncRequest,
    moving,
)
from tests.filesync.engine.lab import NO_GUARDS, Lab, engine_remote, files_of, tree, write_tree
from tests.filesync.engine.test_restore import keeping, restore, undo_of

ODD = [
    *(b"line\nbreak", b"not \xff utf-8", b"not \xfe utf-8", b"cut \xe2\x82.txt"),
    *(b"-dash", b" in blanks ", b"a*[b]", b"a;b;c"),
]


@pytest.fixture(params=["encrypted", "webdav", "ftp", "sftp", "openssh", "samba"])
def upload(lab: Lab, request: pytest.FixtureRequest) -> SyncRequest:
    """Return a MOVE to each kind of storage that has no checksum of the source's."""
    remote = Remote("local", str(lab.root / "files/coded"), encryption=Encryption("secret"))
    if request.param != "encrypted":
        found = engine_remote(request.getfixturevalue(f"{request.param}_server").remote)
        root = "/".join(filter(None, (found.root, f"m{time.monotonic_ns()}")))
        remote = replace(found, root=root)
    return lab.asking(Method.MOVE, destination=Endpoint(remote, "up"), guards=NO_GUARDS)


def fetched(lab: Lab, upload: SyncRequest) -> Path:
    """Bring back what lies at the destination."""
    local = lab.request.source.remote
    lab.run(SyncRequest(upload.destination, Endpoint(local, "back"), Method.FULL))
    return lab.root / "files/back"


@pytest.mark.parametrize("upload", ["encrypted", "webdav", "ftp", "sftp"], indirect=True)
@pytest.mark.parametrize(
    ("by_rename", "new"),
    [(True, b"NEW" * 1_000_000), (False, b"NEW" * 1_000_000), (True, b"NEW" * 1_100_000)],
    ids=["saved anew", "in place", "longer"],
)
def test_what_is_saved_during_the_upload_is_lost_nowhere(
    lab: Lab, upload: SyncRequest, by_rename: bool, new: bytes
) -> None:
    write_tree(lab.source, {"doc": b"OLD" * 1_000_000, "other": "1"})
    saved: list[bool] = []

    def save(event: Event) -> None:
        if isinstance(event, Progress) and any(f.name == "doc" for f in event.in_flight):
            if saved:
                return
            saved.append(True)
            if by_rename:
                (lab.source / "doc.new").write_bytes(new)
                (lab.source / "doc.new").rename(lab.source / "doc")
            else:
                (lab.source / "doc").write_bytes(new)

    slow = replace(upload, limits=Limits(bandwidth="1500K", transfers=1))
    ran = lab.run(slow, on_event=save)

    assert saved
    assert ran.result.outcome is Outcome.PARTIAL
    assert (lab.source / "doc").read_bytes() == new
    assert (Action.MOVED, "other") in ran.actions()
    assert [item.path for item in ran.items if item.action is Action.FAILED] == ["doc"]
    assert lab.run(upload).result.outcome is Outcome.SUCCEEDED
    assert (fetched(lab, upload) / "doc").read_bytes() == new
    assert not list(lab.source.iterdir())


def test_parts_move_everything_with_its_folders(
    lab: Lab, upload: SyncRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_PART_FILES", 3)
    write_tree(lab.source, {f"d{number % 4}/{number}": str(number) for number in range(10)})
    (lab.source / "empty/deep").mkdir(parents=True)
    before = files_of(lab.source)
    ran = lab.run(upload)

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert files_of(lab.source) == {}
    back = fetched(lab, upload)
    assert files_of(back) == before
    assert (back / "empty/deep").is_dir()
    totals = ran.result.totals
    assert (totals.files_transferred, totals.bytes_transferred) == (10, 10)
    assert sorted(path for action, path in ran.actions() if action is Action.MOVED) == sorted(
        os.fsdecode(path) for path in before
    )


def test_parts_can_be_undone(
    lab: Lab, upload: SyncRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_PART_FILES", 2)
    write_tree(lab.source, {"a": "old a", "d/b": "old b", "stays": "1"})
    lab.run(replace(upload, method=Method.INCREMENTAL))
    there = files_of(fetched(lab, upload))
    write_tree(lab.source, {"a": "new, longer", "d/b": "also longer", "d/c": "1", "e/f": "2"})
    (lab.source / "stays").unlink()
    before = tree(lab.source)
    request = keeping(upload)
    assert lab.run(request).result.outcome is Outcome.SUCCEEDED
    assert files_of(lab.source) == {}

    undone = restore(lab, undo_of(request, lab))
    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert files_of(fetched(lab, upload)) == there
    assert tree(lab.source) == before


def test_a_move_of_some_files_moves_them(lab: Lab, upload: SyncRequest) -> None:
    write_tree(lab.source, {f"d/{number}": "1" for number in range(5)})
    ran = lab.run(replace(upload, only_paths=("d/1", "d/3")))
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.actions() == {(Action.MOVED, "d/1"), (Action.MOVED, "d/3")}

    ran = lab.run(replace(upload, limits=Limits(max_files=2)))
    assert ran.guard == "max_files"
    assert ran.result.totals.files_transferred == 2
    assert lab.run(upload).result.totals.files_transferred == 1


@pytest.mark.parametrize(("backend", "same"), [("s3", True), ("local", False)])
def test_fractions_of_seconds_tell_only_on_disks(backend: str, same: bool) -> None:
    """S3 lists them, and asked for one object it leaves them out."""
    lines = (b"5;2026-01-01T00:00:00%sZ;a;b\n" % fraction for fraction in (b".25", b""))
    (path, one), (_, other) = (moving.read_listed(backend, line) for line in lines)
    assert path == "a;b"
    assert (one == other) is same


def test_parts_take_new_names(
    lab: Lab, upload: SyncRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_PART_FILES", 2)
    write_tree(lab.source, {f"d/IMG_{number}": "1" for number in range(5)})
    ran = lab.run(replace(upload, rules=Rules(renames=(("^IMG_", ""),))))

    assert ran.result.outcome is Outcome.SUCCEEDED, (ran.result.failure, ran.items)
    assert files_of(lab.source) == {}
    assert {os.fsdecode(path) for path in files_of(fetched(lab, upload))} == {
        f"d/{number}" for number in range(5)
    }


@pytest.mark.parametrize("upload", ["encrypted", "sftp"], indirect=True)
def test_odd_names_are_moved(lab: Lab, upload: SyncRequest) -> None:
    for name in ODD:
        Path(os.fsdecode(os.fsencode(lab.source) + b"/" + name)).write_text("1")
    before = files_of(lab.source)
    ran = lab.run(upload)

    assert ran.result.outcome is Outcome.SUCCEEDED, (ran.result.failure, ran.items)
    assert files_of(lab.source) == {}
    assert ran.result.totals.files_transferred == len(ODD)
    assert files_of(fetched(lab, upload)) == before


def test_one_file_that_fails_keeps_no_other_from_being_moved(
    lab: Lab, upload: SyncRequest, bound_rclone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_PART_FILES", 2)
    write_tree(lab.source, {f"{number}": "1" for number in range(7)})
    (lab.source / "3").chmod(0)
    ran = lab.run(upload, rclone=bound_rclone)

    assert ran.result.outcome is Outcome.PARTIAL
    assert [path.name for path in lab.source.iterdir()] == ["3"]
    assert ran.result.totals.files_transferred == 6


@pytest.mark.parametrize("upload", ["encrypted", "webdav", "sftp"], indirect=True)
def test_a_stopped_move_has_lost_nothing_and_goes_on(
    lab: Lab, upload: SyncRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_PART_FILES", 4)
    write_tree(lab.source, {f"{number:02}": bytes([number]) * 50_000 for number in range(16)})
    before = files_of(lab.source)
    stop = StopSignal()

    def end(event: Event) -> None:
        moved.extend([event] if isinstance(event, ItemDone) else [])
        if len(moved) >= 8:
            stop.request()

    moved: list[Event] = []
    slow = replace(upload, limits=Limits(bandwidth="200K", transfers=1))
    ran = lab.run(slow, stop=stop, on_event=end)
    assert ran.result.outcome is Outcome.CANCELLED
    assert 4 < ran.result.totals.files_transferred < 16
    left = files_of(lab.source)
    assert len(left) == 16 - ran.result.totals.files_transferred
    assert {**files_of(fetched(lab, upload)), **left} == before

    assert lab.run(upload).result.outcome is Outcome.SUCCEEDED
    assert files_of(fetched(lab, upload)) == before


@pytest.mark.parametrize("upload", ["encrypted", "sftp"], indirect=True)
def test_a_stopped_move_can_be_undone(
    lab: Lab, upload: SyncRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_PART_FILES", 4)
    write_tree(lab.source, {f"{number:02}": b"old" for number in range(16)})
    lab.run(replace(upload, method=Method.INCREMENTAL))
    there = files_of(fetched(lab, upload))
    write_tree(lab.source, {f"{number:02}": bytes([number]) * 50_000 for number in range(16)})
    before = tree(lab.source)
    stop = StopSignal()
    moved: list[ItemDone] = []

    def end(event: Event) -> None:
        if isinstance(event, Progress) and len(moved) >= 4 and event.in_flight:
            stop.request()
        if isinstance(event, ItemDone) and event.action is Action.MOVED:
            moved.append(event)

    slow = keeping(replace(upload, limits=Limits(bandwidth="100K", transfers=1)))
    ran = lab.run(slow, stop=stop, on_event=end)
    assert ran.result.outcome is Outcome.CANCELLED
    undone = restore(lab, undo_of(slow, lab))

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert tree(lab.source) == before
    assert files_of(fetched(lab, upload)) == there
