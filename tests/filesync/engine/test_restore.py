"""Undoing a run: the tree is what it was before, and what changed since is left alone."""

from __future__ import annotations

import gzip
import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import (
    KEPT_FOLDER,
    Action,
    Encryption,
    Endpoint,
    Event,
    Finished,
    ItemDone,
    Limits,
    LogLine,
    Method,
    NameEncryption,
    Outcome,
    PhaseChanged,
    Progress,
    Remote,
    Rules,
    StopSignal,
    SyncRequest,
    UndoRequest,
    list_folder,
    purge_kept,
    run_restore,
)
from filesync.engine.errors import FailureClass
from filesync.engine.events import InFlight, Phase
from filesync.engine.kept_files import KeptFiles, read_kept
from filesync.engine.log import ENDED_LINE, command_line
from filesync.engine.messages import Copied, MovedServerSide, Problem, Stats
from filesync.engine.problems import Problems
from filesync.engine.renamed import OldName
from filesync.engine.restore_reader import RestoreReader
from filesync.engine.standing import FileFacts, KeptFile, Standing
from filesync.engine.texts import Text
from filesync.engine.touched import Touched
from filesync.engine.undo import UndoPlan, plan_undo
from tests.filesync.engine.conftest import without_rights
from tests.filesync.engine.lab import (
    NO_GUARDS,
    Lab,
    Ran,
    engine_remote,
    files_of,
    modes_and_times,
    names,
    tree,
    write_tree,
)
from tests.servers.webdav import WebdavServer

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


def restore(lab: Lab, undo: UndoRequest, *, stop_at: Action | None = None) -> Ran:
    """Undo a run; with `stop_at` only until the first file was dealt with so."""
    roots = (lab.root / "files",)
    stop = StopSignal()
    events: list[Event] = []
    for event in run_restore(
        undo,
        work_dir=lab.work_dir,
        rclone=lab.rclone,
        local_roots=roots,
        stop=stop,
        log_path=lab.undo_log_path,
    ):
        events.append(event)
        if isinstance(event, ItemDone) and event.action is stop_at:
            stop.request()
    return Ran(events)


def keeping(request: SyncRequest, attempt: int = 0) -> SyncRequest:
    return replace(request, keep_deleted_dir=f"{KEPT}/attempt-{attempt}", guards=NO_GUARDS)


def remote_of(server: str, request: pytest.FixtureRequest | None, lab: Lab) -> Remote:
    """Return a storage's remote, pointed at a folder of this test alone."""
    if request is None or server == "local":
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
        *(
            (server, "copy", method)
            for server in ("webdav", "sftp")
            for method in (Method.INCREMENTAL, Method.OVERWRITE)
        ),
        # At the root of what the server shows, where no folder is named.
        ("sftp", "", Method.FULL),
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


PLAIN_NAMES = Encryption("secret", names=NameEncryption.OFF, folders=False)
COPYING = (Method.INCREMENTAL, Method.FULL, Method.OVERWRITE, Method.MOVE)


@pytest.mark.parametrize("method", COPYING)
@pytest.mark.parametrize("encryption", [None, PLAIN_NAMES])
def test_modes_and_times_of_local_files_come_back(
    lab: Lab, method: Method, encryption: Encryption | None
) -> None:
    remote = replace(remote_of("local", None, lab), encryption=encryption)
    there = Path(remote.root)
    upload = SyncRequest(lab.request.source, Endpoint(remote, "copy"), Method.FULL)
    write_tree(lab.source, BEFORE)
    assert lab.run(upload).result.outcome is Outcome.SUCCEEDED
    for number, path in enumerate(sorted(filter(Path.is_file, there.rglob("*")))):
        path.chmod((0o600, 0o750, 0o444)[number % 3])
    folders = sorted(filter(Path.is_dir, there.rglob("*")))
    folders[-1].chmod(0o700)
    before = modes_and_times(there), [folder.stat().st_mode for folder in folders]
    for name in ("gone", "old-folder/deep/gone"):
        (lab.source / name).unlink()
    write_tree(lab.source, AFTER)
    changing = keeping(replace(upload, method=method))
    ran = lab.run(changing)
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert modes_and_times(there) != before[0]

    undone = restore(lab, undo_of(changing, lab))

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert (modes_and_times(there), [folder.stat().st_mode for folder in folders]) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another owner")
@pytest.mark.parametrize(("is_root", "owner"), [(True, 4321), (False, 0)])
def test_a_file_of_another_owner_comes_back_whoever_the_worker_is(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_root: bool, owner: int
) -> None:
    write_tree(lab.source, {"file": "new and longer"})
    write_tree(lab.destination, {"file": "old"})
    os.chown(lab.destination / "file", 4321, 4321)
    (lab.destination / "file").chmod(0o640)
    changing = keeping(lab.asking(Method.INCREMENTAL))
    assert lab.run(changing).result.outcome is Outcome.SUCCEEDED
    if not is_root:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        lab.rclone = without_rights(lab.rclone, tmp_path, "chown")

    undone = restore(lab, undo_of(changing, lab))

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    there = (lab.destination / "file").stat()
    assert (there.st_uid, there.st_mode & 0o777) == (owner, 0o640)


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


@pytest.mark.parametrize("server", ["local", "webdav", "sftp"])
def test_a_move_that_is_undone_sends_the_files_back(
    lab: Lab, request: pytest.FixtureRequest, server: str
) -> None:
    remote = remote_of(server, request, lab)
    there = Endpoint(remote, "copy")
    write_tree(lab.source, {"changed": "old", "other": "other"})
    assert lab.run(SyncRequest(lab.request.source, there)).result.outcome is Outcome.SUCCEEDED
    (lab.source / "other").unlink()
    write_tree(lab.source, AFTER)
    before = files_of(lab.source), look(lab, remote, "copy", folders=True)
    moving = keeping(lab.asking(Method.MOVE, destination=there))
    assert lab.run(moving).result.outcome is Outcome.SUCCEEDED
    undo = undo_of(moving, lab)
    assert files_of(lab.source) == {}

    undone = restore(lab, undo)

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert (files_of(lab.source), look(lab, remote, "copy", folders=True)) == before
    assert undone.actions() == {
        *((Action.MOVED, name) for name in AFTER),
        (Action.RESTORED, "changed"),
    }


SLOWLY = Limits(transfers=1, bandwidth="40K", calls_per_s=10)


@pytest.mark.parametrize(
    ("server", "method", "stop_at"),
    [
        ("local", Method.FULL, Action.RESTORED),
        ("webdav", Method.FULL, Action.RESTORED),
        ("sftp", Method.FULL, Action.RESTORED),
        ("local", Method.MOVE, Action.MOVED),
        ("local", Method.MOVE, Action.RESTORED),
        ("sftp", Method.MOVE, Action.RESTORED),
        ("webdav", Method.MOVE, Action.RESTORED),
    ],
)
def test_an_undoing_that_ended_halfway_is_finished_by_the_next(
    lab: Lab,
    request: pytest.FixtureRequest,
    server: str,
    method: Method,
    stop_at: Action,
) -> None:
    remote = remote_of(server, request, lab)
    there = Endpoint(remote, "copy")
    write_tree(lab.source, {f"changed {n}": str(n) * 40_000 for n in range(4)} | {"gone": "x"})
    assert lab.run(SyncRequest(lab.request.source, there)).result.outcome is Outcome.SUCCEEDED
    # One changes without a change of its size.
    sizes = (40_000, 39_999, 41_000, 5)
    write_tree(lab.source, {f"changed {n}": "y" * size for n, size in enumerate(sizes)})
    (lab.source / "gone").unlink()
    (lab.source / "added").write_text("added")
    for name in ("changed 0", "added"):
        os.utime(lab.source / name, (1_750_000_000, 1_750_000_000))
    before = files_of(lab.source), look(lab, remote, "copy", folders=True)
    changing = keeping(lab.asking(method, destination=there))
    assert lab.run(changing).result.outcome is Outcome.SUCCEEDED
    undo = undo_of(changing, lab)
    after = files_of(lab.source), look(lab, remote, "copy", folders=True)
    begun_at_s = time.time()

    begun = restore(lab, replace(undo, limits=SLOWLY), stop_at=stop_at)
    assert begun.result.outcome is Outcome.CANCELLED
    halfway = files_of(lab.source), look(lab, remote, "copy", folders=True)
    assert before != halfway != after
    undone = restore(lab, replace(undo, begun_at_s=begun_at_s))

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert (files_of(lab.source), look(lab, remote, "copy", folders=True)) == before


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


@pytest.mark.parametrize(("server", "told"), [("webdav", set()), ("sftp", {"edited"})])
def test_a_server_whose_clock_is_ahead_holds_nothing_back(
    lab: Lab,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    told: set[str],
) -> None:
    """This machine's clock is two minutes late, which is the same."""
    remote = remote_of(server, request, lab)
    there = Endpoint(remote, "copy")
    write_tree(lab.source, {"edited": "old"})
    assert lab.run(SyncRequest(lab.request.source, there)).result.outcome is Outcome.SUCCEEDED
    write_tree(lab.source, {"edited": "newer", "added": "1"})
    if told:
        # Where files keep their times, one of the future is a change and not the clock's.
        later_s = time.time() + 60
        os.utime(lab.source / "edited", (later_s, later_s))
    changing = keeping(lab.asking(Method.INCREMENTAL, destination=there))
    assert lab.run(changing).result.outcome is Outcome.SUCCEEDED
    undo = undo_of(changing, lab, ended_at_s=time.time() - 120)
    real_time = time.time
    monkeypatch.setattr("filesync.engine.restore_stages.time.time", lambda: real_time() - 120)

    rehearsed = restore(lab, replace(undo, dry_run=True))
    undone = restore(lab, undo)

    monkeypatch.undo()
    failed = {item.path for item in undone.items if item.action is Action.FAILED}
    assert failed == told
    assert rehearsed.guard == "changed_since"
    assert "added" not in listing(lab, remote)
    assert not [name for name in listing(lab, remote, KEPT) if ".clock" in name]


def test_a_change_after_the_run_is_seen_by_a_server_whose_clock_is_ahead(
    lab: Lab, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = remote_of("webdav", request, lab)
    there = Endpoint(remote, "copy")
    write_tree(lab.source, {"edited": "new", "fine": "new"})
    changing = keeping(lab.asking(Method.INCREMENTAL, destination=there))
    assert lab.run(changing).result.outcome is Outcome.SUCCEEDED
    undo = undo_of(changing, lab, ended_at_s=time.time() - 120)
    time.sleep(5)
    write_tree(lab.source, {"edited": "one"})
    (lab.source / "fine").unlink()
    lab.run(lab.asking(Method.OVERWRITE, destination=there, only_paths=("edited",)))
    real_time = time.time
    monkeypatch.setattr("filesync.engine.restore_stages.time.time", lambda: real_time() - 120)

    undone = restore(lab, undo)

    monkeypatch.undo()
    assert {item.path for item in undone.items if item.action is Action.FAILED} == {"edited"}
    assert set(listing(lab, remote)) == {"edited"}


def listing(lab: Lab, remote: Remote, path: str = "copy") -> set[str]:
    """Return the names in a storage's folder."""
    roots = (lab.root / "files",)
    return {
        entry.name
        for entry in list_folder(remote, path, rclone=lab.rclone, local_roots=roots).entries
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


@pytest.mark.parametrize("server", ["local", "webdav", "s3"])
def test_what_an_attempt_put_back_of_an_earlier_one_is_undone_too(
    lab: Lab, request: pytest.FixtureRequest, server: str
) -> None:
    remote = remote_of(server, request, lab)
    upload = SyncRequest(lab.request.source, Endpoint(remote, "copy"), Method.FULL)
    write_tree(lab.source, {f"f{number:02}": "old" for number in range(20)} | {"gone": "gone"})
    assert lab.run(upload).result.outcome is Outcome.SUCCEEDED
    before = look(lab, remote, "copy", folders=False)
    write_tree(lab.source, {f"f{number:02}": str(number) * 100_000 for number in range(20)})
    (lab.source / "gone").unlink()
    stop = StopSignal()

    def end(event: Event) -> None:
        if isinstance(event, Progress) and event.bytes_done:
            stop.request(at_once=True)

    first = keeping(replace(upload, limits=Limits(transfers=1, bandwidth="200K")))
    assert lab.run(first, stop=stop, on_event=end).result.outcome is Outcome.CANCELLED
    logs = [lab.log_path.rename(lab.root / "log-0")]
    second = keeping(replace(upload, put_back_from=KEPT), 1)
    assert lab.run(second).result.outcome is Outcome.SUCCEEDED
    logs.append(lab.log_path.rename(lab.root / "log-1"))

    undone = restore(lab, undo_of(second, lab, *logs))

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert look(lab, remote, "copy", folders=False) == before


@pytest.mark.parametrize("ends", [True, False])
def test_undoing_a_run_that_was_ended_says_what_may_stay(lab: Lab, ends: bool) -> None:
    write_tree(lab.source, {f"f{number}": str(number) * 50_000 for number in range(5)})
    asked = keeping(lab.asking(Method.FULL, limits=Limits(transfers=1, bandwidth="100K")))
    stop = StopSignal()

    def end(event: Event) -> None:
        if ends and isinstance(event, ItemDone):
            stop.request()

    cancelled = lab.run(asked, stop=stop, on_event=end).result.outcome is Outcome.CANCELLED
    assert cancelled is ends

    undone = restore(lab, undo_of(asked, lab))

    assert undone.result.outcome is Outcome.SUCCEEDED
    assert files_of(lab.destination) == {}
    warned = [event.message for event in undone.events if isinstance(event, LogLine)]
    assert any(text.startswith("The run was ended while it was at") for text in warned) is ends


@pytest.mark.parametrize(
    ("server", "method"), [("local", Method.OVERWRITE), ("webdav", Method.FULL)]
)
def test_a_file_that_grows_between_two_stages_is_what_it_was_before_the_first(
    lab: Lab, request: pytest.FixtureRequest, server: str, method: Method
) -> None:
    remote = remote_of(server, request, lab)
    there = Endpoint(remote, "copy")
    write_tree(lab.source, {"app.log": "the state before", "other": "1"})
    assert lab.run(SyncRequest(lab.request.source, there)).result.outcome is Outcome.SUCCEEDED
    before = look(lab, remote, "copy", folders=True)
    write_tree(lab.source, {"app.log": "a line", "new.log": "a line", "other": "1"})
    grown: set[str] = set()

    def grow(event: Event) -> None:
        if isinstance(event, ItemDone) and event.path.endswith(".log") and event.path not in grown:
            grown.add(event.path)
            # Past what storages that show whole seconds, and the time of the upload, can tell.
            time.sleep(1.5)
            with (lab.source / event.path).open("a") as log:
                log.write(" and another")

    changing = keeping(lab.asking(method, destination=there))
    ran = lab.run(changing, on_event=grow)
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert [item.path for item in ran.items].count("app.log") == 2
    undo = undo_of(changing, lab)
    assert look(lab, remote, "copy", folders=True) == files_of(lab.source)

    undone = restore(lab, undo)

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert look(lab, remote, "copy", folders=True) == before


def test_a_file_that_cannot_come_back_keeps_no_other_from_it(lab: Lab) -> None:
    write_tree(lab.source, {"changed": "newer", "blocked/within": "1"})
    write_tree(lab.destination, {"changed": "old", "blocked": "old", "gone/deep": "2"})
    before = tree(lab.destination)
    first = keeping(lab.asking(Method.FULL))
    assert lab.run(first).result.outcome is Outcome.SUCCEEDED
    logs = [lab.log_path.rename(lab.root / "log-0")]
    write_tree(lab.source, {"changed": "newest of all"})
    second = keeping(lab.asking(Method.FULL), 1)
    assert lab.run(second).result.outcome is Outcome.SUCCEEDED
    logs.append(lab.log_path.rename(lab.root / "log-1"))
    write_tree(lab.destination, {"blocked/since": "a person's"})

    undone = restore(lab, undo_of(second, lab, *logs))

    assert undone.result.outcome is Outcome.PARTIAL
    assert [item.path for item in undone.items if item.action is Action.FAILED] == ["blocked"]
    now = tree(lab.destination)
    assert now.pop(b"blocked/since")
    assert now.pop(b"blocked")
    del before[b"blocked"]
    assert now == before


@pytest.mark.parametrize("method", [Method.FULL, Method.MOVE])
def test_a_file_that_cannot_go_keeps_no_other_from_coming_back(
    lab: Lab, bound_rclone: Path, method: Method
) -> None:
    write_tree(lab.source, {"changed": "newer", "held/added": "1", "held/changed": "newer"})
    write_tree(lab.destination, {"changed": "old", "held/changed": "old", "gone": "2"})
    before = files_of(lab.destination)
    sent = files_of(lab.source)
    asked = keeping(lab.between_storages(method))
    assert lab.run(asked).result.outcome is Outcome.SUCCEEDED
    lab.rclone = bound_rclone
    (lab.destination / "held").chmod(0o500)

    undone = restore(lab, undo_of(asked, lab))

    (lab.destination / "held").chmod(0o700)
    assert undone.result.outcome is Outcome.PARTIAL
    failed = {item.path for item in undone.items if item.action is Action.FAILED}
    there = files_of(lab.destination)
    assert there[b"changed"] == before[b"changed"]
    assert there[b"held/changed"] == sent[b"held/changed"]
    assert "held/added" in failed
    if method is Method.FULL:
        assert there[b"gone"] == before[b"gone"]
    else:
        # Copied back, and still there: no old file goes over it.
        assert files_of(lab.source) == sent


@pytest.mark.parametrize("server", ["local", "webdav"])
def test_what_changes_while_a_move_is_undone_stays_and_is_told(
    lab: Lab, request: pytest.FixtureRequest, server: str
) -> None:
    if server == "local":
        there, storage = Endpoint(Remote("local", str(lab.destination))), lab.destination
    else:
        found = request.getfixturevalue("webdav_server")
        there, storage = Endpoint(engine_remote(found.remote), "up"), found.root / "up"
    write_tree(lab.source, {"a": "first", "b": "first", "later": "first"})
    before = SyncRequest(lab.request.source, there)
    assert lab.run(before).result.outcome is Outcome.SUCCEEDED
    write_tree(lab.source, {"a": "moved", "b": "moved", "added": "moved"})
    (lab.source / "later").unlink()
    moving = keeping(lab.asking(Method.MOVE, destination=there))
    assert lab.run(moving).result.outcome is Outcome.SUCCEEDED
    undo = undo_of(moving, lab)
    edited: list[str] = []

    def edit(event: Event) -> None:
        if isinstance(event, ItemDone) and event.action is Action.MOVED and not edited:
            edited.append(event.path)
            (storage / event.path).write_text("SAVED")
            os.utime(storage / event.path, (time.time() + 5, time.time() + 5))

    events: list[Event] = []
    for event in run_restore(
        undo,
        work_dir=lab.work_dir,
        rclone=lab.rclone,
        local_roots=(lab.root / "files",),
        stop=StopSignal(),
        log_path=lab.undo_log_path,
    ):
        edit(event)
        events.append(event)

    undone = Ran(events)
    [path] = edited
    assert undone.result.outcome is Outcome.PARTIAL
    assert (storage / path).read_text() == "SAVED"
    [failed] = [item for item in undone.items if item.action is Action.FAILED]
    assert (failed.path, "changed while" in str(failed.error)) == (path, True)
    assert {name.decode() for name in files_of(lab.source)} == {"a", "b", "added"}
    for other in {"a", "b"} - {path}:
        assert (storage / other).read_text() == "first"


def test_what_came_while_files_were_sent_back_is_not_removed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(lab.source, {"a": "moved"})
    moving = keeping(lab.between_storages(Method.MOVE))
    assert lab.run(moving).result.outcome is Outcome.SUCCEEDED
    write_tree(lab.destination, {"since": "a person's"})

    def also_removing(touched: Touched, standing: Standing) -> UndoPlan:
        plan = plan_undo(touched, standing)
        plan.remove.append("since")
        return plan

    monkeypatch.setattr("filesync.engine.restore.plan_undo", also_removing)
    undone = restore(lab, undo_of(moving, lab))

    assert undone.result.outcome is Outcome.PARTIAL
    assert names(files_of(lab.destination)) == {"since"}
    assert names(files_of(lab.source)) == {"a"}


@pytest.mark.parametrize("came", ["a part", "nothing", "a person's"])
def test_what_an_ended_undoing_had_sent_back_in_part_is_sent_again(
    lab: Lab, webdav_server: WebdavServer, came: str
) -> None:
    path = f"i{time.monotonic_ns()}"
    there = Endpoint(engine_remote(webdav_server.remote), path)
    server = webdav_server.root / path
    big = os.urandom(1_500_000)
    write_tree(server, {"big": big, "small": "1"})
    moving = keeping(lab.asking(Method.MOVE, source=there))
    assert lab.run(moving).result.outcome is Outcome.SUCCEEDED
    undo, begun_at_s = undo_of(moving, lab), time.time()
    stop = StopSignal()
    for event in run_restore(
        replace(undo, limits=Limits(transfers=1, bandwidth="300K")),
        work_dir=lab.work_dir,
        rclone=lab.rclone,
        local_roots=(lab.root / "files",),
        stop=stop,
        log_path=lab.undo_log_path,
    ):
        if isinstance(event, Progress) and sum(file.bytes_done for file in event.in_flight) > 9e4:
            stop.request()
    size_bytes = -1
    while size_bytes != (size_bytes := (server / "big").stat().st_size):
        # The server writes on for a while.
        time.sleep(1)
    assert 0 < size_bytes < len(big)
    if came != "a part":
        (server / "big").write_text(came if came == "a person's" else "")

    undone = restore(lab, replace(undo, begun_at_s=begun_at_s))

    if came != "a person's":
        assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
        assert (server / "big").read_bytes() == big
        assert files_of(lab.destination) == {}
    else:
        assert undone.result.outcome is Outcome.PARTIAL
        [failed] = [item for item in undone.items if item.action is Action.FAILED]
        assert "has a shorter file of that name" in str(failed.error)
        assert (server / "big").read_text() == "a person's"
        assert (lab.destination / "big").read_bytes() == big


def test_what_stands_where_a_file_is_put_back_is_kept_if_it_may_be_a_persons(lab: Lab) -> None:
    write_tree(lab.source, {"changed": "new and longer", "other": "1" * 50_000})
    write_tree(lab.destination, {"changed": "old", "other": "2"})
    asked = keeping(lab.asking(Method.FULL))
    assert lab.run(asked).result.outcome is Outcome.SUCCEEDED
    lines = gzip.decompress(lab.log_path.read_bytes()).splitlines()
    # The line of the new file did not come any more.
    cut = [line for line in lines if b"Copied" not in line or b"changed" not in line]
    folder = f"{KEPT}/attempt-0"
    undo = replace(undo_of(asked, lab), attempts=((folder.rpartition("/")[2], [*cut, ENDED_LINE]),))

    undone = restore(lab, undo)

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert (lab.destination / "changed").read_text() == "old"
    aside = lab.root / "files" / KEPT / "undone" / "changed"
    assert aside.read_text() == "new and longer"
    assert any("may not be the run's" in str(event) for event in undone.events)
    again = restore(lab, replace(undo, begun_at_s=time.time()))
    assert again.result.outcome is Outcome.SUCCEEDED, (again.result.failure, again.items)
    assert aside.read_text() == "new and longer"


def test_files_that_both_stages_of_a_release_before_kept_in_one_folder_come_back(lab: Lab) -> None:
    write_tree(lab.source, {"changed": "newer", "added": "1"})
    write_tree(lab.destination, {"changed": "old", "gone": "2"})
    before = tree(lab.destination)
    request = keeping(lab.asking(Method.OVERWRITE))
    assert lab.run(request).result.outcome is Outcome.SUCCEEDED
    second = lab.root / "files" / KEPT / "attempt-0.2"
    (second / "gone").rename(lab.root / "files" / KEPT / "attempt-0" / "gone")

    undone = restore(lab, undo_of(request, lab))

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


@pytest.mark.parametrize("server", ["local", "webdav", "s3"])
@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL])
def test_a_file_whose_kept_copy_is_gone_is_left_and_told(
    lab: Lab, request: pytest.FixtureRequest, server: str, method: Method
) -> None:
    remote = remote_of(server, request, lab)
    there = Endpoint(remote, "copy")
    write_tree(lab.source, {"changed": "old", "gone": "only here"})
    assert lab.run(SyncRequest(lab.request.source, there)).result.outcome is Outcome.SUCCEEDED
    (lab.source / "gone").unlink()
    write_tree(lab.source, {"changed": "newer and longer", "added": "1"})
    changing = keeping(lab.asking(method, destination=there))
    assert lab.run(changing).result.outcome is Outcome.SUCCEEDED
    undo = undo_of(changing, lab)
    roots = (lab.root / "files",)
    assert purge_kept(remote, KEPT, rclone=lab.rclone, local_roots=roots) is None

    undone = restore(lab, undo)

    assert undone.guard == "changed_since"
    left = {"changed", "gone"} if method is Method.FULL else {"changed"}
    assert undone.actions() == {
        *((Action.FAILED, path) for path in left),
        (Action.DELETED, "added"),
    }
    assert "not kept any more" in str(undone.items[0].error)
    assert listing(lab, remote) == {"changed", "gone"} - (left - {"changed"})


def test_a_name_that_an_attempt_kept_whose_log_is_lost_is_not_removed(lab: Lab) -> None:
    write_tree(lab.source, {"file": "newer", "added": "1"})
    write_tree(lab.root / "files" / KEPT / "attempt-7", {"file": "old"})
    request = keeping(lab.asking(Method.FULL))
    lab.run(request)

    undone = restore(lab, undo_of(request, lab, logs_lost=1))

    assert (undone.result.outcome, undone.guard) == (Outcome.PARTIAL, "changed_since")
    assert undone.actions() == {
        (Action.FAILED, "file"),
        (Action.FAILED, KEPT),
        (Action.FAILED, f"{KEPT}/attempt-7"),
        (Action.DELETED, "added"),
    }
    assert {path.name: path.read_text() for path in lab.destination.iterdir()} == {"file": "newer"}


@pytest.mark.parametrize("server", ["local", "webdav", "s3"])
def test_what_a_run_put_back_itself_is_as_it_was(
    lab: Lab, request: pytest.FixtureRequest, server: str
) -> None:
    remote = remote_of(server, request, lab)
    there = Endpoint(remote, "copy")
    write_tree(lab.source, {f"f{n}": "old" for n in range(10)})
    assert lab.run(SyncRequest(lab.request.source, there)).result.outcome is Outcome.SUCCEEDED
    before = look(lab, remote, "copy", folders=False)
    write_tree(lab.source, {f"f{n}": "x" * 100_000 for n in range(10)} | {"added": "1"})
    limits = Limits(transfers=1, max_bytes=200_000)
    changing = keeping(lab.asking(Method.INCREMENTAL, destination=there, limits=limits))
    assert lab.run(changing).result.outcome is not Outcome.SUCCEEDED

    undone = restore(lab, undo_of(changing, lab))

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert look(lab, remote, "copy", folders=False) == before


def test_files_that_a_rename_rule_named_are_removed_by_that_name(lab: Lab) -> None:
    write_tree(lab.source, {"IMG_1.jpg": "1"})
    request = keeping(lab.asking(Method.INCREMENTAL, rules=Rules(renames=(("^IMG_", ""),))))
    lab.run(request)
    assert set(tree(lab.destination)) == {b"1.jpg"}

    restore(lab, undo_of(request, lab))

    assert tree(lab.destination) == {}


def test_a_move_whose_files_a_rule_renamed_sends_them_back_under_their_own_names(lab: Lab) -> None:
    write_tree(lab.source, {"IMG_1.jpg": "1", "sub/IMG_2.jpg": "22", "3.jpg": "333"})
    write_tree(lab.destination, {"1.jpg": "an old one"})
    before = files_of(lab.source), files_of(lab.destination)
    request = keeping(lab.asking(Method.MOVE, rules=Rules(renames=(("^IMG_", ""),))))
    assert lab.run(request).result.outcome is Outcome.SUCCEEDED
    assert set(files_of(lab.destination)) == {b"1.jpg", b"sub/2.jpg", b"3.jpg"}

    undone = restore(lab, undo_of(request, lab))

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert (files_of(lab.source), files_of(lab.destination)) == before
    assert undone.actions() == {
        *((Action.MOVED, name) for name in ("1.jpg", "sub/2.jpg", "3.jpg")),
        (Action.RESTORED, "1.jpg"),
    }


def test_a_name_that_came_back_to_the_source_is_not_overwritten(lab: Lab) -> None:
    write_tree(lab.source, {"IMG_1.jpg": "1", "2.jpg": "2"})
    request = keeping(lab.asking(Method.MOVE, rules=Rules(renames=(("^IMG_", ""),))))
    assert lab.run(request).result.outcome is Outcome.SUCCEEDED
    undo = undo_of(request, lab)
    for name in ("IMG_1.jpg", "2.jpg"):
        (lab.source / name).write_text("!")

    undone = restore(lab, undo)

    failed = {item.path for item in undone.items if item.action is Action.FAILED}
    assert failed == {"1.jpg", "2.jpg"}
    assert {path.name: path.read_text() for path in lab.source.iterdir()} == {
        "IMG_1.jpg": "!",
        "2.jpg": "!",
    }


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


CONTROL = ("new\nline", "\x01control\x7f", "picture \u240a", "tab\there/inside\n")


@pytest.mark.parametrize("method", [Method.FULL, Method.MOVE])
def test_names_with_control_characters_come_back(lab: Lab, method: Method) -> None:
    """Names are sent to another storage first: between folders of one, rclone renames."""
    write_tree(lab.source, {name: f"new {name}" for name in CONTROL} | {"added\n": "1"})
    write_tree(lab.destination, {name: f"old and longer {name}" for name in CONTROL})
    write_tree(lab.destination, {"gone\n/inside\x02": "1", "gone too\x7f/folder\n/": ""})
    before = files_of(lab.source), tree(lab.destination)
    request = keeping(lab.asking(method))
    assert lab.run(request).result.outcome is Outcome.SUCCEEDED
    assert tree(lab.destination) != before[1]

    undone = restore(lab, undo_of(request, lab))

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    assert (files_of(lab.source), tree(lab.destination)) == before


def test_every_folder_that_a_run_made_goes_and_no_other(lab: Lab) -> None:
    write_tree(lab.destination, {"old/empty/": "", "old/file": "1", "plain/": "", "[x]*/": ""})
    made = {f"made {number}/deep/": "" for number in range(250)}
    made |= {f"old/{name}/": "" for name in ("a", "empty/below", "{b}", "\u6587 *?[", " c ", "d\n")}
    write_tree(lab.source, made | {"old/kept/": "", "old/kept/deep/": ""})
    before = tree(lab.destination)
    request = keeping(lab.asking(Method.INCREMENTAL))
    assert lab.run(request).result.outcome is Outcome.SUCCEEDED
    assert len(tree(lab.destination)) > 500
    write_tree(lab.destination, {"old/kept/deep/mine": "1"})

    undone = restore(lab, undo_of(request, lab))

    assert undone.result.outcome is Outcome.SUCCEEDED, (undone.result.failure, undone.items)
    found = tree(lab.destination)
    mine = {name for name in found if name.startswith(b"old/kept")}
    assert mine == {b"old/kept", b"old/kept/deep", b"old/kept/deep/mine"}
    assert {name: found[name] for name in found.keys() - mine} == before


def test_a_folder_that_cannot_be_removed_is_told(lab: Lab, bound_rclone: Path) -> None:
    write_tree(lab.source, {"old/new/": "", "other/": ""})
    (lab.destination / "old").mkdir()
    request = keeping(lab.asking(Method.INCREMENTAL))
    assert lab.run(request).result.outcome is Outcome.SUCCEEDED
    undo = undo_of(request, lab)
    lab.rclone = bound_rclone
    (lab.destination / "old").chmod(0o500)

    undone = restore(lab, undo)

    (lab.destination / "old").chmod(0o700)
    assert undone.result.outcome is not Outcome.SUCCEEDED
    assert (Action.FAILED, "old/new") in undone.actions()


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

    plan = plan_undo(touched, Standing(now, {}, ended_at_s=10.0))

    assert (plan.remove, plan.put_back, plan.conflicts) == (["a"], {}, {})


OLD, NEW = FileFacts(3, 5.0), FileFacts(4, 6.0)
EDITED_S, ENDED_S, BEGUN_S, REDONE_S = 8.0, 10.0, 20.0, 21.0


@pytest.mark.parametrize(
    ("now", "begun", "told", "put_back"),
    [
        # As the run left it.
        (NEW, None, False, True),
        # Put back, on a storage with times and on one without.
        (OLD, None, False, False),
        (FileFacts(3, REDONE_S), BEGUN_S, False, False),
        # A person changed it: before, with the old size, and since.
        (FileFacts(3, REDONE_S), None, True, False),
        (FileFacts(3, 15.0), BEGUN_S, True, False),
        (FileFacts(9, REDONE_S), BEGUN_S, True, False),
        (FileFacts(9, EDITED_S), BEGUN_S, True, False),
        (None, BEGUN_S, True, False),
    ],
)
def test_what_stands_there_decides_whether_a_file_is_put_back_left_or_done(
    now: FileFacts | None, begun: float | None, *, told: bool, put_back: bool
) -> None:
    touched = Touched()
    touched.read(0, [b'{"msg":"Copied (replaced existing)","size":4,"object":"a","level":"info"}'])
    standing = Standing({} if now is None else {"a": now}, {"a": KeptFile(0, OLD)}, ENDED_S, begun)

    plan = plan_undo(touched, standing)

    assert (set(plan.conflicts), set(plan.put_back)) == (
        {"a"} if told else set(),
        {"a"} if put_back else set(),
    )
    assert not plan.remove


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_file_that_came_where_one_was_set_aside_is_a_persons_if_the_log_is_whole(
    *, is_whole: bool
) -> None:
    touched = Touched()
    lines = [b'{"msg":"Moved (server-side)","object":"a","level":"info"}']
    touched.read(0, lines if is_whole else [*lines, ENDED_LINE])
    standing = Standing({"a": NEW}, {"a": KeptFile(0, OLD)}, ENDED_S)

    plan = plan_undo(touched, standing)

    assert ("a" in plan.conflicts, "a" in plan.put_back) == (is_whole, not is_whole)
    assert plan.doubtful == (set() if is_whole else {"a"})


def test_a_folder_within_that_is_not_found_does_not_make_a_place_empty() -> None:
    root, within = Problems(), Problems()
    words = Text("error listing: directory not found")
    root.add(Problem(words, None, FailureClass.NOT_FOUND, False))
    within.add(Problem(words, "sub", FailureClass.NOT_FOUND, False))
    assert root.tell_of_missing_root(3)
    assert not within.tell_of_missing_root(3)


def test_a_storage_that_tells_no_times_has_its_files_left_alone() -> None:
    touched = Touched()
    touched.read(0, [b'{"msg":"Copied (replaced existing)","size":4,"object":"a","level":"info"}'])
    now = {"a": FileFacts(4, math.inf)}
    for begun_at_s in (None, 5.0):
        kept = {"a": KeptFile(0, FileFacts(4, math.inf))}
        plan = plan_undo(touched, Standing(now, kept, ENDED_S, begun_at_s))
        assert plan.conflicts == {"a": "the storage does not tell when it was changed"}


def test_what_an_undoing_had_sent_back_in_part_is_told() -> None:
    touched = Touched()
    touched.read(0, [b'{"msg":"Copied (new)","size":4,"object":"a","level":"info"}'])
    now, there = {"a": NEW}, {"a": FileFacts(2, REDONE_S)}
    for begun_at_s, words in ((None, "of that name again"), (BEGUN_S, "a shorter file")):
        plan = plan_undo(touched, Standing(now, {}, ENDED_S, begun_at_s, there))
        assert words in plan.conflicts["a"]


def test_what_an_earlier_undoing_removed_is_not_missed() -> None:
    """The second attempt of the run kept what the first one had added."""
    touched = Touched()
    for attempt, size in enumerate((4, 5)):
        line = f'{{"msg":"Copied (new)","size":{size},"object":"a","level":"info"}}'
        touched.read(attempt, [line.encode()])

    plan = plan_undo(touched, Standing({}, {"a": KeptFile(1, NEW)}, ENDED_S, BEGUN_S))

    assert (plan.conflicts, plan.put_back, plan.remove) == ({}, {}, [])


def test_a_name_that_a_rule_gave_to_two_files_of_a_move_is_left_and_told() -> None:
    """The first attempt moved one there and ended, the second one another."""
    touched = Touched()
    for attempt, origin in enumerate(("a1", "b1")):
        line = f'{{"msg":"Copied (new) to: x1","size":4,"object":"{origin}","level":"info"}}'
        touched.read(attempt, [line.encode()])

    plan = plan_undo(touched, Standing({"x1": NEW}, {"x1": KeptFile(1, NEW)}, ENDED_S, source={}))

    assert set(plan.conflicts) == {"x1"}
    assert (plan.send_back, plan.put_back, plan.remove) == ({}, {}, [])


def started(*argv: str) -> bytes:
    return command_line(("rclone", *argv)).rstrip()


def said(message: str, path: str) -> bytes:
    return json.dumps({"msg": message, "object": path, "level": "info"}).encode()


SYNCING = started("sync", "--backup-dir", "dst:kept", "--", "src:", "dst:")
PUTTING_BACK = started("move", "--ignore-existing", "--", "dst:kept", "dst:")


def test_what_was_deleted_and_put_back_by_the_run_is_as_it_was() -> None:
    touched = Touched()
    deleted = [said("Moved (server-side)", "d/a"), said("Moved into backup dir", "d/a")]
    back = [said("Made directory", "d"), said("Moved (server-side)", "d/a")]
    touched.read(0, [SYNCING, *deleted, said("Removing directory", "d"), PUTTING_BACK, *back])

    plan = plan_undo(touched, Standing({"d/a": OLD}, {}, ENDED_S))

    assert plan == UndoPlan()


def test_what_a_run_had_added_and_put_back_itself_is_removed() -> None:
    """The second attempt set aside what the first had added, and ended before more had come."""
    touched = Touched()
    aside = said("Moved (server-side)", "a")
    touched.read(0, [SYNCING, b'{"msg":"Copied (new)","size":4,"object":"a","level":"info"}'])
    touched.read(1, [SYNCING, aside, PUTTING_BACK, aside])

    plan = plan_undo(touched, Standing({"a": NEW}, {}, ENDED_S))

    assert plan == UndoPlan(remove=["a"])


def test_of_several_copies_that_were_kept_the_one_from_before_the_run_is_put_back() -> None:
    """The first attempt was stopped in its second stage, the next one put its old file back."""
    touched = Touched()
    aside, arrived = said("Moved (server-side)", "a"), said("Copied (new)", "a")
    touched.read(0, [SYNCING, aside, arrived, SYNCING, aside])
    touched.read(1, [PUTTING_BACK, aside, SYNCING, aside, arrived])
    folders = "0.2/a", "1/a"

    kept = read_kept(dict.fromkeys(folders, OLD), ("0", "1"), touched.aside.older)

    assert kept == KeptFiles({"a": KeptFile(1, OLD)}, {})


def test_a_file_that_a_rule_named_anew_as_it_was_kept_is_left_and_told() -> None:
    """As releases before this let it: the rule gave a kept file another name too."""
    planning = started("sync", "--backup-dir", "dst:kept", "--dry-run", "--", "src:", "dst:")
    planned = {"skipped": "move to x-x-a", "size": 3, "object": "x-a", "level": "notice"}
    aside = said("Moved (server-side) to: x-x-a", "x-a")
    arrived = b'{"msg":"Copied (new) to: x-a","size":4,"object":"a","level":"info"}'
    touched = Touched()
    touched.read(0, [planning, json.dumps(planned).encode(), SYNCING, aside, arrived])

    plan = plan_undo(touched, Standing({"x-a": NEW}, {}, ENDED_S))

    assert plan == UndoPlan(conflicts=plan.conflicts)
    assert plan.conflicts.keys() == {"x-a"}


def renamed(old: str, new: str, size_bytes: int = 5) -> list[bytes]:
    """Return what the log of an attempt says that renames a file, its plan first."""
    planned = {"skipped": f"move to {new}", "size": size_bytes, "object": old, "level": "notice"}
    copied = {"msg": f"Copied (server-side copy) to: {new}", "size": size_bytes, "object": old}
    deleted = {"msg": "Deleted", "object": old}
    done = {"msg": f'Renamed from "{old}"', "object": new, "level": "info"}
    return [json.dumps(line).encode() for line in (planned, done, copied, deleted, done)]


def half_renamed(old: str, new: str) -> list[bytes]:
    """Return what the log of an attempt says that was killed after the copy of a file."""
    return renamed(old, new)[:3]


def test_a_file_that_two_attempts_renamed_there_and_back_is_as_it_was() -> None:
    touched = Touched()
    for attempt, (old, new) in enumerate((("a", "b"), ("b", "c"), ("c", "a"))):
        touched.read(attempt, renamed(old, new))

    plan = plan_undo(touched, Standing({"a": FileFacts(5, 1.0)}, {}, ENDED_S))

    assert plan == UndoPlan()


def with_hash(changed_at_s: float, md5: str, size_bytes: int = 5) -> FileFacts:
    return FileFacts(size_bytes, changed_at_s, (("md5", md5),))


@pytest.mark.parametrize(
    ("there", "now", "begun", "told"),
    [
        # Copied back, on a storage that shows when and on one that keeps the times.
        (with_hash(REDONE_S, "x"), with_hash(1.0, "x"), BEGUN_S, False),
        (with_hash(1.0, "x"), with_hash(1.0, "x"), BEGUN_S, False),
        # Nobody tried to undo the run yet: a person made it.
        (with_hash(REDONE_S, "x"), with_hash(1.0, "x"), None, True),
        # Another file, of one size and of another; one that nobody knows enough of.
        (with_hash(REDONE_S, "y"), with_hash(1.0, "x"), BEGUN_S, True),
        (with_hash(REDONE_S, "x", 6), with_hash(1.0, "x"), BEGUN_S, True),
        (FileFacts(5, 1.0), FileFacts(5, 1.0), BEGUN_S, True),
        (FileFacts(5, REDONE_S), with_hash(1.0, "x"), BEGUN_S, True),
        # The renamed file was changed since.
        (with_hash(REDONE_S, "x"), with_hash(15.0, "x"), BEGUN_S, True),
    ],
)
def test_a_new_name_goes_where_the_file_has_the_old_one_again_for_sure(
    there: FileFacts, now: FileFacts, begun: float | None, *, told: bool
) -> None:
    touched = Touched()
    touched.read(0, renamed("a", "b"))

    plan = plan_undo(touched, Standing({"a": there, "b": now}, {}, ENDED_S, begun))

    assert (set(plan.conflicts), plan.remove) == (({"b"}, []) if told else (set(), ["b"]))
    assert not plan.take_back


def test_two_equal_files_of_which_one_got_the_name_of_the_other_both_stay() -> None:
    touched = Touched()
    touched.read(0, [*renamed("a", "b"), *renamed("z", "a")])
    now = {"a": with_hash(1.0, "x"), "b": with_hash(1.0, "x")}

    plan = plan_undo(touched, Standing(now, {}, ENDED_S, BEGUN_S))

    assert plan.remove == []
    assert (plan.take_back, set(plan.conflicts)) == ({"a": OldName("z", 5)}, {"b"})


SAME, OTHER, UNKNOWN = with_hash(1.0, "x"), with_hash(1.0, "y"), FileFacts(5, 1.0)
TAKEN_BACK = OldName("a", 5)


@pytest.mark.parametrize(
    ("now", "kept", "planned", "told"),
    [
        # The old one is there still: for sure, maybe, or another.
        ({"a": SAME, "b": SAME}, {}, UndoPlan(remove=["b"]), set()),
        ({"a": UNKNOWN, "b": UNKNOWN}, {}, UndoPlan(), {"b"}),
        ({"a": OTHER, "b": SAME}, {}, UndoPlan(), {"b"}),
        # The next attempt kept it.
        ({"b": SAME}, {"a": SAME}, UndoPlan(remove=["b"], put_back={"a": (1, 1)}), set()),
        ({"a": SAME}, {"a": SAME}, UndoPlan(), set()),
        # It was deleted, and nobody was left to tell.
        ({"b": SAME}, {}, UndoPlan(take_back={"b": TAKEN_BACK}), set()),
        ({"a": SAME}, {}, UndoPlan(), set()),
        # A person took part since.
        ({"b": with_hash(15.0, "x")}, {}, UndoPlan(), {"b"}),
        ({}, {}, UndoPlan(), {"b"}),
    ],
)
def test_a_run_that_was_killed_within_a_rename_is_undone_by_what_is_there(
    now: dict[str, FileFacts], kept: dict[str, FileFacts], planned: UndoPlan, told: set[str]
) -> None:
    touched = Touched()
    touched.read(0, half_renamed("a", "b"))
    touched.read(
        1, [json.dumps({"msg": "Moved into backup dir", "object": path}).encode() for path in kept]
    )
    kept_files = {path: KeptFile(1, facts) for path, facts in kept.items()}

    plan = plan_undo(touched, Standing(now, kept_files, ENDED_S))

    assert plan == replace(planned, conflicts=plan.conflicts)
    assert plan.conflicts.keys() == told
    assert touched.names == {"a", "b"}
    assert touched.doubled(now, is_begun=False) == ({"a", "b"} if len(now) == 2 else set())


ADDED = b'{"msg":"Copied (new)","size":5,"object":"a","level":"info"}'
REPLACED = b'{"msg":"Copied (replaced existing)","size":4,"object":"b","level":"info"}'


@pytest.mark.parametrize(
    ("lines", "now", "kept", "planned", "told"),
    [
        # The name went on, came back, or was given from the old one once more.
        (renamed("b", "c"), {"c": SAME}, {}, UndoPlan(take_back={"c": TAKEN_BACK}), set()),
        (renamed("b", "a"), {"a": SAME}, {}, UndoPlan(), set()),
        (renamed("a", "c"), {"c": SAME}, {"b"}, UndoPlan(take_back={"c": TAKEN_BACK}), set()),
        (
            renamed("a", "c"),
            {"b": SAME, "c": SAME},
            {},
            UndoPlan(take_back={"c": TAKEN_BACK}),
            {"b"},
        ),
        (half_renamed("b", "c"), {"a": SAME, "c": SAME}, {}, UndoPlan(remove=["c"]), set()),
        # An equal file came under the old name, which loses it again.
        ([ADDED], {"a": SAME, "b": SAME}, {}, UndoPlan(remove=["a"]), {"b"}),
        (
            renamed("z", "a"),
            {"a": SAME, "b": SAME},
            {},
            UndoPlan(take_back={"a": OldName("z", 5)}),
            {"b"},
        ),
        # Another file was sent under the new name.
        ([REPLACED], {"a": SAME, "b": NEW}, {"b"}, UndoPlan(remove=["b"]), set()),
        ([REPLACED], {"b": NEW}, {"b"}, UndoPlan(), {"b"}),
    ],
)
def test_what_the_next_attempt_does_with_a_half_renamed_file_is_undone_too(
    lines: list[bytes],
    now: dict[str, FileFacts],
    kept: set[str],
    planned: UndoPlan,
    told: set[str],
) -> None:
    touched = Touched()
    touched.read(0, half_renamed("a", "b"))
    touched.read(1, lines)

    plan = plan_undo(touched, Standing(now, {path: KeptFile(1, SAME) for path in kept}, ENDED_S))

    assert plan == replace(planned, conflicts=plan.conflicts)
    assert plan.conflicts.keys() == told


# Where it stands ----------------------------------------------------------------------------------


def test_an_undoing_tells_how_many_files_and_bytes_are_back(lab: Lab) -> None:
    write_tree(lab.source, {"large": "x" * 3_000_000, "small": "x" * 1_000, "same": "same"})
    full = lab.asking(Method.FULL)
    assert lab.run(full).result.outcome is Outcome.SUCCEEDED
    write_tree(lab.source, {"large": "new", "small": "new", "added": "new", "more": "new"})
    changing = keeping(full)
    assert lab.run(changing).result.outcome is Outcome.SUCCEEDED

    undone = restore(lab, undo_of(changing, lab, limits=Limits(transfers=1, bandwidth="1M")))

    assert undone.result.outcome is Outcome.SUCCEEDED, undone.result.failure
    told = [event for event in undone.events if isinstance(event, Progress)]
    assert {(one.files_total, one.bytes_total) for one in told} == {(4, 3_001_000)}
    assert (told[0].files_done, told[0].bytes_done) == (0, 0)
    assert (told[-1].files_done, told[-1].bytes_done, told[-1].deletes) == (4, 3_001_000, 2)
    assert [one.files_done for one in told] == sorted(one.files_done for one in told)
    # A file that is on its way counts with what has come of it.
    assert [one.bytes_done for one in told] == sorted(one.bytes_done for one in told)
    assert any(one.in_flight and 0 < one.bytes_done < 3_000_000 for one in told)
    phases = [event.phase for event in undone.events if isinstance(event, PhaseChanged)]
    assert phases == [Phase.PLANNING, Phase.TRANSFERRING, Phase.DELETING, Phase.TRANSFERRING]
    assert undone.result.plan is not None
    assert undone.result.plan.bytes_to_send == 3_001_000


def test_files_that_are_sent_back_and_put_back_and_renamed_count_each() -> None:
    reader = RestoreReader(files_total=3, bytes_total=30)
    reader.begin(Action.MOVED)
    reader.take(Copied("a", 10, True))
    reader.begin(Action.RESTORED)
    reader.take(Copied("a", 20, True))
    reader.begin(Action.RENAMED)
    reader.names = {"new": ("old", "new")}

    *_, told = reader.take(MovedServerSide("new"))
    (progress,) = reader.begin(Action.RENAMED)

    assert isinstance(told, ItemDone)
    assert isinstance(progress, Progress)
    assert (progress.files_done, progress.bytes_done, progress.deletes) == (3, 30, 0)


def test_what_is_on_its_way_is_never_more_than_all() -> None:
    reader = RestoreReader(files_total=1, bytes_total=100)
    reader.begin(Action.RESTORED)
    reader.take(Copied("a", 100, True))
    (progress,) = reader.take(stats(speed=50.0, flying=InFlight("a", 100, 100)))
    assert isinstance(progress, Progress)
    assert (progress.bytes_done, progress.eta_s) == (100, 0.0)


def stats(*, speed: float, flying: InFlight) -> Stats:
    return Stats(
        bytes_done=0,
        bytes_total=0,
        transfers_done=0,
        transfers_total=0,
        checks_done=0,
        checks_total=0,
        deletes=0,
        deleted_dirs=0,
        renames=0,
        errors=0,
        listed=0,
        speed_bytes_per_s=speed,
        eta_s=None,
        in_flight=(flying,),
    )
