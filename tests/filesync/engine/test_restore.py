"""Undoing a run: the tree is what it was before, and what changed since is left alone."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import (
    KEPT_FOLDER,
    Action,
    Endpoint,
    Finished,
    Limits,
    Method,
    Outcome,
    Remote,
    Rules,
    StopSignal,
    SyncRequest,
    UndoRequest,
    run_restore,
)
from filesync.engine.undo import FileFacts, Touched, plan_undo
from tests.filesync.engine.lab import NO_GUARDS, Lab, Ran, engine_remote, files_of, tree, write_tree

KEPT = f"{KEPT_FOLDER}/2026-11-24-run-1"
BEFORE: Mapping[str, str | bytes] = {
    "changed": "old",
    "gone": "gone",
    "same": "same",
    "old-folder/deep/gone": "gone too",
    "\u6587\u4ef6 \N{ROCKET}/#%20&+changed": "old",
}
AFTER: Mapping[str, str | bytes] = {
    "changed": "new and longer",
    "same": "same",
    "added": "added",
    "new-folder/deep/added": "added too",
    "\u6587\u4ef6 \N{ROCKET}/#%20&+changed": "new and longer",
}


def undo_of(request: SyncRequest, lab: Lab, *logs: Path, **changes: object) -> UndoRequest:
    """Return the undoing of a run whose attempts wrote these logs."""
    attempts = [
        (f"attempt-{number}", gzip.decompress(log.read_bytes()).splitlines())
        for number, log in enumerate(logs or (lab.log_path,))
    ]
    undo = UndoRequest(
        destination=request.destination,
        kept_dir=KEPT,
        attempts=tuple(attempts),
        ended_at_s=time.time(),
        limits=Limits(),
        source=request.source if request.method is Method.MOVE else None,
    )
    return replace(undo, **changes)  # type: ignore[arg-type]


def restore(lab: Lab, undo: UndoRequest) -> Ran:
    roots = (lab.root / "files",)
    stop = StopSignal()
    events = run_restore(
        undo, work_dir=lab.work_dir, rclone=lab.rclone, local_roots=roots, stop=stop
    )
    return Ran(list(events))


def keeping(request: SyncRequest, attempt: int = 0) -> SyncRequest:
    return replace(request, keep_deleted_dir=f"{KEPT}/attempt-{attempt}", guards=NO_GUARDS)


def remote_of(server: str, request: pytest.FixtureRequest, lab: Lab) -> Remote:
    """Return a storage's remote, pointed at a folder of this test alone."""
    if server == "local":
        return replace(lab.request.source.remote, root=str(lab.root / "files" / "storage"))
    found = engine_remote(request.getfixturevalue(f"{server}_server").remote)
    return replace(found, root="/".join(filter(None, (found.root, f"u{time.monotonic_ns()}"))))


def look(lab: Lab, remote: Remote, path: str, *, folders: bool) -> dict[bytes, str]:
    """Return what a folder of a storage holds, by a fresh copy of it."""
    into = f"look{time.monotonic_ns()}"
    local = lab.request.source.remote
    ran = lab.run(SyncRequest(Endpoint(remote, path), Endpoint(local, into), Method.FULL))
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    found = Path(local.root) / into
    return tree(found) if folders else files_of(found)


@pytest.mark.parametrize(
    ("server", "path", "method"),
    [
        ("local", "copy", Method.INCREMENTAL),
        ("local", "copy", Method.OVERWRITE),
        # The kept files are inside the destination, and still no part of it.
        ("local", "", Method.FULL),
        *((server, "copy", Method.FULL) for server in ("local", "webdav", "sftp", "ftp", "s3")),
    ],
)
def test_a_run_that_is_undone_equals_the_tree_before_it(
    lab: Lab, request: pytest.FixtureRequest, server: str, path: str, method: Method
) -> None:
    remote = remote_of(server, request, lab)
    folders = remote.backend != "s3"
    upload = SyncRequest(lab.request.source, Endpoint(remote, path), Method.FULL)
    write_tree(lab.source, BEFORE)
    assert lab.run(upload).result.outcome is Outcome.SUCCEEDED
    before = look(lab, remote, path, folders=folders)
    for name in ("gone", "old-folder/deep/gone"):
        (lab.source / name).unlink()
    for folder in ("old-folder/deep", "old-folder"):
        (lab.source / folder).rmdir()
    write_tree(lab.source, AFTER)
    changing = keeping(replace(upload, method=method))
    ran = lab.run(changing)
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    undo = undo_of(changing, lab)

    rehearsed = restore(lab, replace(undo, dry_run=True))
    assert look(lab, remote, path, folders=folders) != before
    undone = restore(lab, undo)

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert look(lab, remote, path, folders=folders) == before
    assert undone.result.plan == rehearsed.result.plan
    assert undone.result.plan is not None
    assert undone.result.totals.files_deleted == undone.result.plan.deletes == 2


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL])
@pytest.mark.parametrize("server", ["local", "sftp", "samba"])
def test_a_time_that_a_run_changed_alone_comes_back(
    lab: Lab, request: pytest.FixtureRequest, server: str, method: Method
) -> None:
    remote = remote_of(server, request, lab)
    upload = SyncRequest(lab.request.source, Endpoint(remote, "copy"), Method.FULL)
    write_tree(lab.source, {"touched": "1", "same": "2", "folder/touched": "3"})
    assert lab.run(upload).result.outcome is Outcome.SUCCEEDED
    before = times(lab, remote)
    for name in ("touched", "folder/touched"):
        os.utime(lab.source / name, (1_600_000_000, 1_600_000_000))
    changing = keeping(replace(upload, method=method))
    assert lab.run(changing).result.outcome is Outcome.SUCCEEDED
    undo = undo_of(changing, lab)
    assert times(lab, remote) == {**before, "touched": 1.6e9, "folder/touched": 1.6e9}

    undone = restore(lab, undo)

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert times(lab, remote) == before


def times(lab: Lab, remote: Remote) -> dict[str, float]:
    """Return the modification times of the files in a storage's folder, by a fresh copy of it."""
    into = f"look{time.monotonic_ns()}"
    local = lab.request.source.remote
    lab.run(SyncRequest(Endpoint(remote, "copy"), Endpoint(local, into), Method.FULL))
    found = Path(local.root) / into
    return {
        str(path.relative_to(found)): path.stat().st_mtime
        for path in found.rglob("*")
        if path.is_file()
    }


def test_a_move_that_is_undone_sends_the_files_back(lab: Lab) -> None:
    write_tree(lab.source, AFTER)
    write_tree(lab.destination, {"changed": "old", "other": "other"})
    before = files_of(lab.source), files_of(lab.destination)
    request = keeping(lab.asking(Method.MOVE))
    assert lab.run(request).result.outcome is Outcome.SUCCEEDED
    assert files_of(lab.source) == {}

    undone = restore(lab, undo_of(request, lab))

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert (files_of(lab.source), files_of(lab.destination)) == before
    assert undone.actions() == {
        *((Action.MOVED, name) for name in AFTER),
        (Action.RESTORED, "changed"),
    }


def test_what_changed_since_is_left_alone_and_told(lab: Lab) -> None:
    write_tree(lab.source, {"edited": "new", "gone": "x", "back": "x", "fine": "old", "away": "1"})
    lab.run(lab.asking(Method.FULL))
    for name in ("gone", "back"):
        (lab.source / name).unlink()
    write_tree(lab.source, {"edited": "newer", "fine": "new!", "away": "12", "added": "added"})
    request = keeping(lab.asking(Method.FULL))
    assert lab.run(request).result.outcome is Outcome.SUCCEEDED
    undo = undo_of(request, lab)
    later_s = time.time() + 60
    for name, text in (("edited", "edited by a person"), ("back", "another"), ("added", "mine!")):
        (lab.destination / name).write_text(text)
        os.utime(lab.destination / name, (later_s, later_s))
    (lab.destination / "away").unlink()

    undone = restore(lab, undo)

    assert undone.result.outcome is Outcome.PARTIAL
    assert undone.guard == "changed_since"
    failed = {item.path: item.error for item in undone.items if item.action is Action.FAILED}
    assert set(failed) == {"edited", "back", "added", "away"}
    assert {path.name: path.read_text() for path in lab.destination.iterdir()} == {
        "edited": "edited by a person",
        "back": "another",
        "added": "mine!",
        "gone": "x",
        "fine": "old",
    }


def test_the_state_before_the_first_attempt_comes_back(lab: Lab) -> None:
    write_tree(lab.source, {"twice": "1"})
    lab.run(lab.asking(Method.FULL))
    before = tree(lab.destination)
    logs: list[Path] = []
    for attempt, changes in enumerate(({"twice": "12", "new": "1"}, {"twice": "123", "new": "12"})):
        write_tree(lab.source, changes)
        request = keeping(lab.asking(Method.FULL), attempt)
        assert lab.run(request).result.outcome is Outcome.SUCCEEDED
        logs.append(lab.log_path.rename(lab.root / f"log-{attempt}"))

    undone = restore(lab, undo_of(request, lab, *logs))

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert tree(lab.destination) == before


def test_what_an_attempt_kept_whose_log_is_lost_is_left_and_told(lab: Lab) -> None:
    write_tree(lab.source, {"file": "old", "gone": "1"})
    lab.run(lab.asking(Method.FULL))
    (lab.source / "gone").unlink()
    lab.run(keeping(lab.asking(Method.FULL), 7))
    write_tree(lab.source, {"file": "newer"})
    request = keeping(lab.asking(Method.FULL))
    lab.run(request)

    undone = restore(lab, undo_of(request, lab))

    assert (undone.result.outcome, undone.guard) == (Outcome.PARTIAL, "changed_since")
    assert (Action.FAILED, f"{KEPT}/attempt-7") in undone.actions()
    assert {path.name: path.read_text() for path in lab.destination.iterdir()} == {"file": "old"}


def test_files_that_a_rename_rule_named_are_removed_by_that_name(lab: Lab) -> None:
    write_tree(lab.source, {"IMG_1.jpg": "1"})
    request = keeping(lab.asking(Method.INCREMENTAL, rules=Rules(renames=(("^IMG_", ""),))))
    lab.run(request)
    assert set(tree(lab.destination)) == {b"1.jpg"}

    restore(lab, undo_of(request, lab))

    assert tree(lab.destination) == {}


def test_a_run_whose_log_was_cut_is_undone_as_far_as_it_is_known(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(lab.source, {"file": "old"})
    lab.run(lab.asking(Method.FULL))
    write_tree(lab.source, {"file": "newer", "added": "1"})
    monkeypatch.setattr("filesync.engine.log.MAX_LOG_BYTES", 1)
    request = keeping(lab.asking(Method.FULL))
    lab.run(request)

    undone = restore(lab, undo_of(request, lab))

    assert undone.guard == "changed_since"
    assert "cut" in str([item.error for item in undone.items])
    assert (lab.destination / "file").read_text() == "old"


def test_a_name_that_a_log_cannot_show_is_left_and_told(lab: Lab) -> None:
    odd = os.path.join(os.fsencode(lab.source), b"odd-\xff")
    with open(odd, "wb") as file:
        file.write(b"1")
    request = keeping(lab.asking(Method.INCREMENTAL))
    lab.run(request)

    undone = restore(lab, undo_of(request, lab))

    assert [item.action for item in undone.items] == [Action.FAILED]
    assert set(tree(lab.destination)) == {b"odd-\xff"}


def test_kept_files_are_looked_for_in_their_own_folder_only(lab: Lab) -> None:
    undo = UndoRequest(lab.request.destination, "source", (), time.time(), Limits())

    ran = restore(lab, undo)

    assert ran.result.failure is not None
    assert KEPT_FOLDER in ran.result.failure.message
    assert isinstance(ran.events[-1], Finished)


def test_a_file_that_the_run_never_touched_is_no_part_of_it() -> None:
    touched = Touched()
    touched.read(0, [b'{"msg":"Copied (new)","size":1,"object":"a","level":"info"}'])
    now = {"a": FileFacts(1, 10.0), "b": FileFacts(1, 10.0)}

    plan = plan_undo(touched, {}, now, ended_at_s=10.0)

    assert (plan.remove, plan.put_back, plan.conflicts) == (["a"], {}, {})
