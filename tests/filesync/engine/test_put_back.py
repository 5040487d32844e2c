"""A run that keeps old files and ends early leaves the destination with every file that it had."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import (
    KEPT_FOLDER,
    Action,
    Endpoint,
    Event,
    Guards,
    ItemDone,
    Limits,
    LogLine,
    Method,
    Outcome,
    ProcessStarted,
    Progress,
    Remote,
    StopSignal,
    SyncRequest,
)
from filesync.engine.messages import Copied, Message
from filesync.engine.readers import RunReader
from tests.filesync.engine.lab import NO_GUARDS, Lab, Ran, engine_remote, files_of, write_tree

OLD: dict[str, str | bytes] = {f"folder {number:02}/file": "old" for number in range(40)}
# Sent slowly enough that most of them wait when the first is on its way.
NEW: dict[str, str | bytes] = {name: os.urandom(100_000) for name in OLD}
SLOWLY = Limits(transfers=1, bandwidth="200K")
KEPT = ("kept/run", f"destination/{KEPT_FOLDER}/run")


def hashes(files: dict[str, str | bytes]) -> dict[bytes, str]:
    contents = {
        os.fsencode(name): content if isinstance(content, bytes) else content.encode()
        for name, content in files.items()
    }
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


OLD_HASHES, NEW_HASHES = hashes(OLD), hashes(NEW)


def remote_of(server: str, request: pytest.FixtureRequest, lab: Lab) -> Remote:
    if server == "local":
        return lab.request.destination.remote
    found = engine_remote(request.getfixturevalue(f"{server}_server").remote)
    return replace(found, root="/".join(filter(None, (found.root, f"p{time.monotonic_ns()}"))))


def look(lab: Lab, remote: Remote, path: str) -> dict[bytes, str]:
    """Return what a folder of a storage holds, by a fresh copy of it; kept files are left out."""
    into = f"look{time.monotonic_ns()}"
    local = lab.request.source.remote
    ran = lab.run(SyncRequest(Endpoint(remote, path), Endpoint(local, into)))
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    found = files_of(Path(local.root) / into)
    # A killed rclone leaves what it was sending, by a name of its own.
    return {name: content for name, content in found.items() if not name.endswith(b".partial")}


def when_sending(act: Callable[[int], object]) -> Callable[[Event], None]:
    """Act once on the rclone that sends, when a part of a file has gone."""
    pids: list[int] = []
    acted: list[bool] = []

    def on_event(event: Event) -> None:
        if isinstance(event, ProcessStarted):
            pids.append(event.pid)
        elif isinstance(event, Progress) and event.bytes_done and not acted:
            acted.append(True)
            act(pids[-1])

    return on_event


def mode_and_time(path: Path) -> tuple[str, int]:
    return f"{path.stat().st_mode:o}", path.stat().st_mtime_ns


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL, Method.MOVE])
def test_a_file_that_cannot_be_sent_keeps_its_old_copy(
    lab: Lab, bound_rclone: Path, method: Method, kept: str
) -> None:
    write_tree(lab.source, {"changed": "new and longer", "fine": "new and longer"})
    write_tree(lab.destination, {"changed": "old", "fine": "old"})
    (lab.source / "changed").chmod(0)
    for name in ("changed", "fine"):
        (lab.destination / name).chmod(0o640)
    old = {name: mode_and_time(lab.destination / name) for name in ("changed", "fine")}

    ran = lab.run(lab.asking(method, keep_deleted_dir=kept), rclone=bound_rclone)

    assert ran.result.outcome is Outcome.PARTIAL
    assert (lab.destination / "changed").read_text() == "old"
    assert (lab.destination / "fine").read_text() == "new and longer"
    assert files_of(lab.root / "files" / kept).keys() == {b"fine"}
    assert mode_and_time(lab.destination / "changed") == old["changed"]
    assert mode_and_time(lab.root / "files" / kept / "fine") == old["fine"]
    assert [item.path for item in ran.items if item.action is Action.FAILED] == ["changed"]
    assert ran.result.totals.files_failed == 1


def assert_all_files_are_there(lab: Lab, remote: Remote, path: str) -> None:
    there = look(lab, remote, path)
    assert there.keys() == OLD_HASHES.keys()
    assert there.items() <= OLD_HASHES.items() | NEW_HASHES.items()
    # What waited is back: most of it.
    assert len(there.items() & OLD_HASHES.items()) > len(OLD) // 2


@pytest.mark.parametrize("how", ["cancelled", "killed", "over its bytes"])
@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.OVERWRITE])
@pytest.mark.parametrize("server", ["local", "webdav", "sftp", "s3"])
def test_a_run_that_ends_early_puts_back_what_it_did_not_replace(
    lab: Lab, request: pytest.FixtureRequest, server: str, method: Method, how: str
) -> None:
    remote = remote_of(server, request, lab)
    upload = SyncRequest(lab.request.source, Endpoint(remote, "up"), guards=NO_GUARDS)
    write_tree(lab.source, OLD)
    assert lab.run(upload).result.outcome is Outcome.SUCCEEDED
    write_tree(lab.source, NEW)
    stop = StopSignal()
    act: dict[str, Callable[[int], object]] = {
        "cancelled": lambda _: stop.request(),
        "killed": lambda pid: os.kill(pid, signal.SIGKILL),
        "over its bytes": lambda _: None,
    }
    limits = replace(SLOWLY, max_bytes=250_000 if how == "over its bytes" else None)
    changing = replace(upload, method=method, limits=limits, keep_deleted_dir="kept/run")

    ran = lab.run(changing, stop=stop, on_event=when_sending(act[how]))

    cancelled = how == "cancelled"
    assert (ran.result.outcome is Outcome.CANCELLED) is cancelled, ran.result.failure
    assert ran.result.outcome is not Outcome.SUCCEEDED
    assert ran.result.changed_files
    assert_all_files_are_there(lab, remote, "up")
    assert not [item for item in ran.items if "kept/run" in (item.error or "")]


def test_of_what_two_stages_set_aside_the_older_file_comes_back(lab: Lab) -> None:
    """The second stage sets the first one's copy aside and ends before the next one has come."""
    write_tree(lab.source, {"app.log": "a line"})
    write_tree(lab.destination, {"app.log": "the state before"})
    before = files_of(lab.destination)
    processes: list[Event] = []

    def grow(event: Event) -> None:
        processes.extend([event] if isinstance(event, ProcessStarted) else [])
        if isinstance(event, ItemDone) and len(processes) == 2:
            (lab.source / "app.log").write_bytes(os.urandom(4_000_000))
        elif isinstance(event, Progress) and event.bytes_done > 100_000:
            stop.request()

    stop = StopSignal()
    request = lab.asking(Method.OVERWRITE, limits=SLOWLY, keep_deleted_dir="kept/run")
    ran = lab.run(request, stop=stop, on_event=grow)

    assert ran.result.outcome is Outcome.CANCELLED
    assert files_of(lab.destination) == before


def test_what_cannot_be_put_back_is_told(lab: Lab) -> None:
    write_tree(lab.source, NEW)
    write_tree(lab.destination, OLD)
    name = "folder 39/file"

    def occupy(pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        (lab.destination / "folder 39").rmdir()
        write_tree(lab.destination, {"folder 39": "a person's"})

    request = lab.asking(Method.INCREMENTAL, limits=SLOWLY, keep_deleted_dir="kept/run")
    ran = lab.run(request, on_event=when_sending(occupy))

    assert (lab.destination / "folder 39").read_text() == "a person's"
    assert (lab.root / "files" / "kept" / "run" / name).read_text() == "old"
    [failed] = [item for item in ran.items if item.action is Action.FAILED]
    assert failed.path == name
    assert failed.error is not None
    assert "kept/run" in failed.error
    assert ran.result.totals.files_failed == 1


def test_a_full_disk_under_the_log_costs_the_run_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filesync.engine.log.FLUSH_EVERY_S", 0)
    write_tree(lab.source, NEW)
    write_tree(lab.destination, OLD)
    lab.log_path.symlink_to("/dev/full")

    ran = lab.run(lab.asking(Method.INCREMENTAL, keep_deleted_dir="kept/run"))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert files_of(lab.destination) == NEW_HASHES
    assert files_of(lab.root / "files" / "kept" / "run") == OLD_HASHES


def test_what_was_set_aside_comes_back_whatever_ends_the_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(lab.source, NEW)
    write_tree(lab.destination, OLD)
    take = RunReader.take

    def fail(self: RunReader, message: Message) -> list[Event]:
        if isinstance(message, Copied):
            raise RuntimeError("nobody foresaw this")
        return take(self, message)

    monkeypatch.setattr(RunReader, "take", fail)
    request = lab.asking(Method.INCREMENTAL, limits=SLOWLY, keep_deleted_dir="kept/run")
    with pytest.raises(RuntimeError, match="foresaw"):
        lab.run(request)

    monkeypatch.undo()
    assert_all_files_are_there(lab, request.destination.remote, "destination")


def test_a_worker_that_is_stopped_puts_nothing_back(lab: Lab) -> None:
    """It has seconds only, and the run goes on with the next worker."""
    write_tree(lab.source, NEW)
    write_tree(lab.destination, OLD)
    stop = StopSignal()
    started: list[Event] = []

    def end(_: int) -> None:
        stop.request(at_once=True)

    on_event = when_sending(end)

    def watch(event: Event) -> None:
        started.extend([event] if isinstance(event, ProcessStarted) else [])
        on_event(event)

    request = lab.asking(Method.INCREMENTAL, limits=SLOWLY, keep_deleted_dir="kept/run")
    ran = lab.run(request, stop=stop, on_event=watch)

    assert ran.result.outcome is Outcome.CANCELLED
    assert len(started) == 1
    assert ran.result.changed_files


@pytest.mark.parametrize("server", ["local", "sftp", "s3"])
def test_an_attempt_first_puts_back_what_a_stopped_one_had_set_aside(
    lab: Lab, request: pytest.FixtureRequest, server: str
) -> None:
    remote = remote_of(server, request, lab)
    upload = SyncRequest(lab.request.source, Endpoint(remote, "up"), Method.FULL)
    write_tree(lab.source, OLD)
    assert lab.run(upload).result.outcome is Outcome.SUCCEEDED
    write_tree(lab.source, NEW)
    stop = StopSignal()
    kept = f"{KEPT_FOLDER}/run"
    changing = replace(upload, limits=SLOWLY, keep_deleted_dir=f"{kept}/first")
    ran = lab.run(changing, stop=stop, on_event=when_sending(lambda _: stop.request(at_once=True)))
    assert ran.result.outcome is Outcome.CANCELLED
    assert len(look(lab, remote, "up")) < len(OLD)
    (lab.source.parent / "source").rename(lab.source.parent / "unplugged")
    lab.source.mkdir()

    again = replace(changing, keep_deleted_dir=f"{kept}/second", put_back_from=kept)
    refused = lab.run(replace(again, guards=Guards()))

    assert refused.guard == "source_empty"
    assert_all_files_are_there(lab, remote, "up")
    lab.source.rmdir()
    (lab.source.parent / "unplugged").rename(lab.source)
    ran = lab.run(replace(again, limits=Limits(), keep_deleted_dir=f"{kept}/third"))
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert look(lab, remote, "up") == NEW_HASHES


def warned(ran: Ran) -> list[str]:
    return [event.message for event in ran.events if isinstance(event, LogLine)]


def test_an_attempt_says_where_files_are_that_it_could_not_put_back(
    lab: Lab, bound_rclone: Path
) -> None:
    write_tree(lab.source, {"same": "1"})
    write_tree(lab.destination, {"same": "1"})
    kept = lab.root / "files" / KEPT_FOLDER / "run"
    write_tree(kept / "first", {"missing": "set aside"})
    request = lab.asking(Method.INCREMENTAL, put_back_from=f"{KEPT_FOLDER}/run")
    lab.rclone = bound_rclone
    kept.chmod(0)

    ran = lab.run(request)

    kept.chmod(0o700)
    said = f"may be in {KEPT_FOLDER}/run."
    assert any(said in line for line in warned(ran))
    assert not (lab.destination / "missing").exists()
    ran = lab.run(request)
    assert not any(said in line for line in warned(ran))
    assert (lab.destination / "missing").exists()


def test_a_run_that_changes_no_file_says_so(lab: Lab) -> None:
    write_tree(lab.source, {"same": "1"})
    assert lab.run(lab.asking(Method.FULL)).result.changed_files
    ran = lab.run(lab.asking(Method.FULL, keep_deleted_dir="kept/run"))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert not ran.result.changed_files
