"""A file that changes while it is copied is told as failed, and sent again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import (
    Action,
    Encryption,
    Endpoint,
    Event,
    Finished,
    InFlight,
    ItemDone,
    Limits,
    Method,
    Outcome,
    Progress,
    Remote,
    Rules,
)
from filesync.engine.changed import LEAST_BYTES, ChangeWatch, UploadWatch
from filesync.engine.messages import Copied
from filesync.engine.readers import RunReader
from tests.filesync.engine.lab import Lab, engine_remote, write_tree
from tests.filesync.engine.test_readers import STATS
from tests.servers.webdav import WebdavServer

SLOW = Limits(bandwidth="1M", transfers=1)


def editing(lab: Lab) -> Callable[[Event], None]:
    """Return what rewrites the source's "doc" once it is on its way; it must have been seen so."""
    edited: list[bool] = []

    def edit(event: Event) -> None:
        under_way = isinstance(event, Progress) and any(f.name == "doc" for f in event.in_flight)
        if under_way and not edited:
            edited.append(True)
            (lab.source / "doc").write_bytes(b"NEW" * 1_000_000)
        assert edited or not isinstance(event, Finished)

    return edit


@pytest.mark.parametrize("size_bytes", [1 << 20, 32 << 20])
@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL])
def test_a_file_rewritten_at_its_size_while_it_is_copied_has_failed_and_is_sent_again(
    lab: Lab, method: Method, size_bytes: int
) -> None:
    first, second = os.urandom(size_bytes), os.urandom(size_bytes)
    write_tree(lab.destination, {"file": "old"})
    file = lab.source / "file"
    file.write_bytes(first)
    rewritten: list[bool] = []

    def rewrite(event: Event) -> None:
        if isinstance(event, Progress) and event.bytes_done and not rewritten:
            rewritten.append(True)
            file.write_bytes(second)

    limits = Limits(transfers=1, bandwidth=f"{size_bytes >> 11}K")
    ran = lab.run(lab.asking(method, limits=limits), on_event=rewrite)

    assert rewritten
    assert ran.result.outcome is not Outcome.SUCCEEDED
    assert [item.path for item in ran.items if item.action is Action.FAILED] == ["file"]
    assert ran.result.failure is not None
    assert ran.result.failure.message.startswith("file: ")
    assert "the next run sends it again" in ran.result.failure.advice
    copy = lab.destination / "file"
    assert [path.name for path in lab.destination.iterdir()] == ["file"]
    assert lab.run(lab.asking(method)).result.outcome is Outcome.SUCCEEDED
    assert copy.read_bytes() == second


def test_a_file_that_is_written_all_the_while_has_failed(lab: Lab) -> None:
    """It was written before the run began, too."""
    size_bytes = 64 << 20
    file = lab.source / "file"
    file.write_bytes(bytes(size_bytes))
    began, ended = threading.Event(), threading.Event()

    def write() -> None:
        version = 0
        with file.open("r+b") as written:
            while not ended.is_set():
                version = (version + 1) % 256
                written.seek(0)
                for _ in range(16):
                    written.write(bytes([version]) * (size_bytes // 16))
                    written.flush()
                    began.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert began.wait(60)
        ran = lab.run(lab.asking(Method.FULL, limits=Limits(bandwidth="32M")))
    finally:
        ended.set()
        writer.join()

    assert ran.result.outcome is not Outcome.SUCCEEDED
    assert [item.path for item in ran.items if item.action is Action.FAILED] == ["file"]
    assert lab.run(lab.asking(Method.FULL)).result.outcome is Outcome.SUCCEEDED
    assert (lab.destination / "file").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("copied_ns", "changed_ns", "changed"),
    [
        (1_700_000_000_123_456_789, 1_700_000_000_123_456_789, False),
        # What NTFS, exFAT and FAT leave of a time.
        (1_700_000_000_123_456_700, 1_700_000_000_123_456_789, False),
        (1_700_000_000_120_000_000, 1_700_000_000_123_456_789, False),
        (1_700_000_000_000_000_000, 1_700_000_001_987_654_321, False),
        (1_700_000_000_000_000_000, 1_700_000_002_000_000_001, True),
        (1_700_000_000_123_456_789, 1_700_000_000_133_456_789, True),
    ],
)
def test_a_time_that_was_rounded_is_no_change(
    lab: Lab, copied_ns: int, changed_ns: int, changed: bool
) -> None:
    write_tree(lab.source, {"file": "1"})
    write_tree(lab.destination, {"file": "1"})
    os.utime(lab.destination / "file", ns=(copied_ns, copied_ns))
    os.utime(lab.source / "file", ns=(changed_ns, changed_ns))
    watch = ChangeWatch(RunReader(Method.FULL), lab.source, lab.destination, 1_700_000_000)
    events = watch.take(Copied("file", LEAST_BYTES, new=True))

    assert any(isinstance(event, ItemDone) and event.error for event in events) is changed


@pytest.mark.parametrize("method", [Method.FULL, Method.OVERWRITE])
@pytest.mark.parametrize("server", ["encrypted", "ftp", "sftp"])
def test_a_file_that_changes_during_its_upload_has_failed_and_is_sent_again(
    lab: Lab, server: str, method: Method, request: pytest.FixtureRequest
) -> None:
    remote = Remote("local", str(lab.root / "files/coded"), encryption=Encryption("secret"))
    if server != "encrypted":
        found = engine_remote(request.getfixturevalue(f"{server}_server").remote)
        root = "/".join(filter(None, (found.root, f"g{time.monotonic_ns()}")))
        remote = replace(found, root=root)
    upload = lab.asking(method, destination=Endpoint(remote, "up"))
    write_tree(lab.source, {"doc": b"OLD" * 1_000_000, "same": b"1" * LEAST_BYTES})
    ran = lab.run(replace(upload, limits=SLOW), on_event=editing(lab))
    assert [item.path for item in ran.items if item.action is Action.FAILED] == ["doc"]
    assert ran.result.outcome is Outcome.PARTIAL
    assert lab.run(upload).result.outcome is Outcome.SUCCEEDED
    back = Endpoint(lab.request.source.remote, "back")
    lab.run(lab.asking(Method.FULL, source=upload.destination, destination=back))
    assert set((lab.root / "files/back/doc").read_bytes()) == set(b"NEW")


def test_a_file_that_was_changed_before_its_upload_began_has_not_failed(tmp_path: Path) -> None:
    clock = iter([1000.0, 1010.0, 1011.0, 1012.0, 1013.0, 1013.0, 1013.0]).__next__
    watch = UploadWatch(RunReader(Method.FULL), tmp_path, clock)
    file = tmp_path / "file"
    file.write_text("1")
    os.utime(file, (1005, 1005))
    for names in ((), ("file",), ("file",)):
        in_flight = tuple(InFlight(name, LEAST_BYTES, 0) for name in names)
        watch.take(replace(STATS, in_flight=in_flight))
    arrived = Copied("file", LEAST_BYTES, new=True)
    assert all(item.error is None for item in watch.take(arrived) if isinstance(item, ItemDone))
    os.utime(file, (2000, 2000))
    assert all(item.error is None for item in watch.take(arrived) if isinstance(item, ItemDone))
    os.utime(file, (1010.5, 1010.5))
    assert any(item.error for item in watch.take(arrived) if isinstance(item, ItemDone))


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL])
def test_an_edit_of_equal_size_during_an_upload_is_sent_where_upload_times_hide_it(
    lab: Lab, webdav_server: WebdavServer, method: Method
) -> None:
    found = engine_remote(webdav_server.remote)
    root = "/".join(filter(None, (found.root, f"e{time.monotonic_ns()}")))
    upload = lab.asking(method, destination=Endpoint(replace(found, root=root), "up"))
    write_tree(lab.source, {"doc": b"OLD" * 1_000_000, "old": "1", "new": "1"})
    now_s = time.time()
    for name, ago_s in (("doc", 3600), ("old", 3600), ("new", 60)):
        os.utime(lab.source / name, (now_s - ago_s, now_s - ago_s))
    ran = lab.run(replace(upload, limits=SLOW), on_event=editing(lab))
    assert [item.path for item in ran.items if item.action is Action.FAILED] == ["doc"]
    assert ran.result.outcome is Outcome.PARTIAL
    assert lab.run(upload).items == []

    unsure = replace(upload, unsure_since_s=now_s)
    planned = lab.run(replace(unsure, dry_run=True)).result.plan
    assert planned is not None
    assert (planned.adds, planned.updates, planned.deletes) == (0, 1, 0)
    write_tree(lab.source, {"added": "1"})
    os.utime(lab.source / "added")
    again_s = time.time()
    ran = lab.run(unsure)
    assert ran.actions() == {(Action.UPDATED, "doc"), (Action.ADDED, "added")}
    assert ran.result.totals.files_transferred == 2
    back = Endpoint(lab.request.source.remote, "back")
    lab.run(lab.asking(Method.FULL, source=upload.destination, destination=back))
    assert set((lab.root / "files/back/doc").read_bytes()) == set(b"NEW")
    assert lab.run(replace(upload, unsure_since_s=again_s + 1)).items == []


def test_an_edit_is_sent_where_the_clock_of_the_server_is_ahead(
    lab: Lab, webdav_server: WebdavServer
) -> None:
    found = engine_remote(webdav_server.remote)
    name = f"e{time.monotonic_ns()}"
    remote = replace(found, root="/".join(filter(None, (found.root, name))))
    upload = lab.asking(Method.INCREMENTAL, destination=Endpoint(remote, "up"))
    write_tree(lab.source, {"doc": "old"})
    began_s = time.time()
    lab.run(upload)
    (there,) = webdav_server.root.rglob(f"{name}/up/doc")
    os.utime(there, (began_s + 3600, began_s + 3600))
    (lab.source / "doc").write_text("new")

    assert lab.run(upload).items == []
    ran = lab.run(replace(upload, unsure_since_s=began_s))
    assert ran.actions() == {(Action.UPDATED, "doc")}
    assert there.read_text() == "new"


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL])
def test_one_recent_file_that_fails_keeps_no_other_from_being_sent(
    lab: Lab, webdav_server: WebdavServer, bound_rclone: Path, method: Method
) -> None:
    found = engine_remote(webdav_server.remote)
    root = "/".join(filter(None, (found.root, f"k{time.monotonic_ns()}")))
    upload = lab.asking(method, destination=Endpoint(replace(found, root=root), "up"))
    write_tree(lab.source, {"locked": "1", "same": "1", "gone": "1"})
    lab.run(upload)
    (lab.source / "gone").unlink()
    write_tree(lab.source, {"new": "1"})
    os.utime(lab.source / "locked")
    (lab.source / "locked").chmod(0)
    ran = lab.run(replace(upload, unsure_since_s=time.time() - 60), rclone=bound_rclone)

    assert ran.result.outcome is Outcome.PARTIAL
    assert {(Action.ADDED, "new"), (Action.FAILED, "locked")} <= ran.actions()
    assert not any(action is Action.DELETED for action, _ in ran.actions())


def test_a_least_age_leaves_room_for_what_is_unsure(lab: Lab, webdav_server: WebdavServer) -> None:
    found = engine_remote(webdav_server.remote)
    root = "/".join(filter(None, (found.root, f"k{time.monotonic_ns()}")))
    rules = Rules(min_age_s=600)
    destination = Endpoint(replace(found, root=root), "up")
    upload = lab.asking(Method.INCREMENTAL, destination=destination, rules=rules)
    now_s = time.time()
    write_tree(lab.source, {"old": "1", "young": "1"})
    for name, ago_s in (("old", 650), ("young", 10)):
        os.utime(lab.source / name, (now_s - ago_s, now_s - ago_s))
    ran = lab.run(replace(upload, unsure_since_s=now_s - 720))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.actions() == {(Action.ADDED, "old")}
