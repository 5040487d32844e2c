"""How a run ends early: nothing half done under its final name, no process, no secret file."""

from __future__ import annotations

import gzip
import os
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psutil
import pytest

from filesync.engine import (
    Endpoint,
    Event,
    FailureClass,
    Finished,
    Limits,
    LogLine,
    Method,
    Outcome,
    ProcessStarted,
    Progress,
    Rules,
    StopSignal,
    run_sync,
)
from filesync.engine.partials import partial_suffix
from filesync.engine.readers import RunReader
from filesync.engine.watch import Watch
from tests.filesync.engine.lab import NO_GUARDS, Lab, engine_remote, files_of, tree, write_tree
from tests.servers.webdav import WebdavServer

BIG = os.urandom(3 << 20)
SLOW = Limits(bandwidth="256K", transfers=1)


@pytest.fixture
def slow(lab: Lab) -> Lab:
    """Return a lab whose one file takes twelve seconds."""
    write_tree(lab.source, {"big": BIG})
    return lab


def in_flight(event: Event) -> bool:
    return isinstance(event, Progress) and event.in_flight != ()


def pid_of(events: list[Event]) -> int:
    return [event.pid for event in events if isinstance(event, ProcessStarted)][-1]


def partial_files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.MOVE])
def test_a_stopped_run_leaves_no_partial_file_and_no_process(slow: Lab, method: Method) -> None:
    stop = StopSignal()
    ran = slow.run(
        slow.between_storages(method, limits=SLOW),
        stop=stop,
        on_event=lambda event: stop.request() if in_flight(event) else None,
    )

    assert ran.result.outcome is Outcome.CANCELLED
    assert ran.result.failure is None
    assert partial_files(slow.destination) == []
    assert (slow.source / "big").read_bytes() == BIG
    assert not psutil.pid_exists(pid_of(ran.events))
    assert list(slow.work_dir.iterdir()) == []


def test_what_a_stopped_rclone_did_not_remove_is_removed_and_nothing_of_anybody_else(
    slow: Lab,
) -> None:
    """rclone forgets a file that it begins while it is being stopped, 2 of 40 times."""
    request = slow.asking(Method.INCREMENTAL, limits=SLOW)
    suffix = partial_suffix(request.destination)
    elsewhere = slow.root / "elsewhere"
    elsewhere.mkdir()
    below = slow.destination / "d"
    below.mkdir(parents=True)
    (below / "link").symlink_to(elsewhere)
    others = [below / "mine.0a1b2c3d.partial", elsewhere / f"x.0a1b2c3d{suffix}"]
    for path in [below / f"left.0a1b2c3d{suffix}", *others]:
        path.write_text("x")
    stop = StopSignal()

    ran = slow.run(
        request, stop=stop, on_event=lambda event: stop.request() if in_flight(event) else None
    )

    assert ran.result.outcome is Outcome.CANCELLED
    assert partial_files(below) == ["mine.0a1b2c3d.partial"]
    assert all(path.exists() for path in others)


def test_a_stop_before_the_start_sends_nothing(slow: Lab) -> None:
    stop = StopSignal()
    stop.request()
    ran = slow.run(slow.asking(Method.FULL, limits=SLOW), stop=stop)

    assert ran.result.outcome is Outcome.CANCELLED
    assert tree(slow.destination) == {}


def start(lab: Lab) -> Iterator[Event]:
    return run_sync(
        lab.asking(Method.INCREMENTAL, limits=SLOW),
        work_dir=lab.work_dir,
        rclone=lab.rclone,
        local_roots=(lab.root / "files",),
        stop=StopSignal(),
    )


def test_closing_the_iterator_kills_rclone_and_empties_the_folder(slow: Lab) -> None:
    events: list[Event] = []
    running = start(slow)
    for event in running:
        events.append(event)
        if in_flight(event):
            break
    assert (slow.work_dir / "r.conf").exists()
    assert psutil.pid_exists(pid_of(events))
    running.close()  # type: ignore[attr-defined]

    assert not psutil.pid_exists(pid_of(events))
    assert list(slow.work_dir.iterdir()) == []
    assert "big" not in partial_files(slow.destination)


def test_the_private_folder_is_private(slow: Lab) -> None:
    running = start(slow)
    for event in running:
        if isinstance(event, ProcessStarted):
            break
    modes = {path.name: path.stat().st_mode & 0o777 for path in slow.work_dir.iterdir()}
    folder_mode = slow.work_dir.stat().st_mode & 0o777
    running.close()  # type: ignore[attr-defined]

    assert folder_mode == 0o700
    assert {modes["r.conf"], modes["filter"]} == {0o600}


def test_rclone_sees_a_clean_environment(slow: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCLONE_DRY_RUN", "true")
    monkeypatch.setenv("SECRET_KEY", "canary")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    running = start(slow)
    environment = {}
    for event in running:
        if isinstance(event, Progress):
            break
        if isinstance(event, ProcessStarted):
            environment = psutil.Process(event.pid).environ()
    running.close()  # type: ignore[attr-defined]

    assert environment["TZ"] == "Asia/Shanghai"
    assert environment["HOME"] == environment["TMPDIR"] == str(slow.work_dir)
    assert not {"SECRET_KEY", "RCLONE_DRY_RUN", "DJANGO_SETTINGS_MODULE"} & set(environment)


def test_rclone_leads_a_session_of_its_own(slow: Lab) -> None:
    running = start(slow)
    for event in running:
        if isinstance(event, ProcessStarted):
            assert os.getsid(event.pid) == os.getpgid(event.pid) == event.pid
            break
    running.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_rclone_that_somebody_killed_fails_the_run_so_that_it_is_tried_again(
    lab: Lab, number: signal.Signals
) -> None:
    write_tree(lab.source, {"a-small": "1", "big": BIG})
    pids: list[int] = []

    def kill(event: Event) -> None:
        if isinstance(event, ProcessStarted):
            pids.append(event.pid)
        elif in_flight(event) and partial_files(lab.destination).count("a-small"):
            os.kill(pids[-1], number)

    ran = lab.run(lab.asking(Method.INCREMENTAL, limits=SLOW), on_event=kill)

    assert ran.result.outcome is Outcome.PARTIAL
    failure = ran.result.failure
    assert failure is not None
    assert failure.retryable
    assert number.name in failure.message


@pytest.mark.parametrize("planned", [False, True])
def test_an_rclone_that_runs_out_of_memory_is_tried_again(lab: Lab, *, planned: bool) -> None:
    """The Go runtime ends it with rclone's exit code for a wrong command line."""
    write_tree(lab.source, {f"{number:05}": "1" for number in range(3000)})
    write_tree(lab.destination, {"extra": "1"})

    def starve(event: Event) -> None:
        if isinstance(event, ProcessStarted):
            # It has mapped more than that already: what it asks for next, it does not get.
            resource.prlimit(event.pid, resource.RLIMIT_AS, (1 << 20, 1 << 20))

    method = Method.FULL if planned else Method.INCREMENTAL
    ran = lab.run(lab.asking(method), on_event=starve)

    failure = ran.result.failure
    assert failure is not None
    assert (failure.failure_class, failure.retryable) == (FailureClass.INTERNAL, True)
    assert failure.message.startswith("rclone crashed: "), failure.message
    assert "extra" in partial_files(lab.destination)


def test_an_rclone_that_was_killed_while_it_planned_is_tried_again_too(lab: Lab) -> None:
    write_tree(lab.source, {f"{number:05}": "1" for number in range(3000)})
    write_tree(lab.destination, {"extra": "1"})

    def kill(event: Event) -> None:
        if isinstance(event, ProcessStarted):
            os.kill(event.pid, signal.SIGKILL)

    ran = lab.run(lab.asking(Method.FULL), on_event=kill)

    assert ran.result.outcome is Outcome.FAILED
    failure = ran.result.failure
    assert failure is not None
    assert (failure.retryable, failure.guard) == (True, None)
    assert partial_files(lab.destination) == ["extra"]


def test_a_run_over_its_time_ends_with_what_it_sent(lab: Lab) -> None:
    write_tree(lab.source, {"a-small": "1", "big": BIG})
    ran = lab.run(lab.asking(Method.INCREMENTAL, limits=Limits(1, None, "256K", max_runtime_s=2)))

    assert ran.result.outcome is Outcome.FAILED
    failure = ran.result.failure
    assert failure is not None
    assert (failure.failure_class, failure.guard) == (FailureClass.TIMEOUT, "max_runtime")
    assert not failure.retryable
    assert partial_files(lab.destination) == ["a-small"]


def test_a_stalled_run_is_ended(slow: Lab) -> None:
    """A bandwidth of one byte is a transfer that does not move."""
    limits = Limits(bandwidth="1B", transfers=1, stall_timeout_s=2)
    ran = slow.run(slow.asking(Method.INCREMENTAL, limits=limits))

    assert ran.result.outcome is Outcome.FAILED
    failure = ran.result.failure
    assert failure is not None
    assert (failure.failure_class, failure.guard) == (FailureClass.TIMEOUT, "stall_timeout")
    assert failure.retryable
    assert partial_files(slow.destination) == []


def test_a_large_file_that_is_read_again_for_its_checksum_is_no_stall(lab: Lab) -> None:
    with (lab.source / "large").open("wb") as file:
        file.truncate(1_500_000_000)
    request = lab.between_storages(Method.MOVE, limits=Limits(stall_timeout_s=1))

    ran = lab.run(request)

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert not (lab.source / "large").exists()


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL, Method.MOVE])
@pytest.mark.parametrize(
    "rules", [Rules(), Rules(max_size_bytes=100), Rules(renames=(("^f", "g"),))]
)
def test_no_more_files_are_sent_than_allowed_and_the_next_run_goes_on(
    lab: Lab, method: Method, rules: Rules
) -> None:
    tree_of = {f"d{number % 7}/f{number:03}": f"{number:05}" for number in range(120)}
    write_tree(lab.source, tree_of)
    write_tree(lab.destination, {"extra": "1"})
    request = lab.asking(method, limits=Limits(max_files=50), rules=rules)
    for _ in range(2):
        ran = lab.run(request)
        assert ran.result.outcome is Outcome.PARTIAL
        assert ran.result.failure is not None
        assert ran.result.failure.guard == "max_files"
        assert ran.result.totals.files_transferred == 50
        assert (lab.destination / "extra").exists()
    ran = lab.run(request)

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.result.totals.files_transferred == 20
    assert (lab.destination / "extra").exists() is not (method is Method.FULL)
    assert len(files_of(lab.destination)) == 120 + (method is not Method.FULL)
    assert len(files_of(lab.source)) == (0 if method is Method.MOVE else 120)


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL, Method.MOVE])
@pytest.mark.parametrize("server", ["webdav", "s3", "sftp"])
def test_a_server_is_sent_no_more_files_than_allowed(
    lab: Lab, server: str, method: Method, request: pytest.FixtureRequest
) -> None:
    found = engine_remote(request.getfixturevalue(f"{server}_server").remote)
    root = "/".join(filter(None, (found.root, f"f{time.monotonic_ns()}")))
    write_tree(lab.source, {f"d{number % 3}/{number}": str(number) for number in range(7)})
    before = files_of(lab.source)
    destination = Endpoint(replace(found, root=root), "up")
    sync = lab.asking(method, limits=Limits(max_files=3), destination=destination)
    sent = [lab.run(sync).result.totals.files_transferred for _ in range(3)]

    assert sent == [3, 3, 1]
    lab.run(lab.asking(Method.FULL, source=destination, guards=NO_GUARDS))
    assert files_of(lab.destination) == before


def test_a_limit_of_very_many_files_ends_a_run_that_has_sent_more() -> None:
    reader = RunReader(Method.FULL)
    watch = Watch(Limits(max_files=200_000), 0)
    reader.files_transferred = 200_000
    assert watch.verdict(1, reader) is None
    reader.files_transferred = 200_001
    failure = watch.verdict(1, reader)
    assert failure is not None
    assert failure.guard == "max_files"


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.MOVE])
def test_files_that_fail_each_time_do_not_keep_a_limited_run_from_the_others(
    lab: Lab, method: Method
) -> None:
    write_tree(lab.source, {f"f{number:02}": "x" for number in range(12)})
    # Each has a folder of its name at the destination, which neither method removes.
    write_tree(lab.destination, {f"f{number:02}/within": "" for number in range(4)})
    request = lab.asking(method, limits=Limits(max_files=4))
    failed = frozenset(f"f{number:02}" for number in range(4))

    for _ in range(2):
        lab.run(replace(request, failed_before=failed))

    ran = lab.run(request)
    assert ran.result.totals.files_failed == 4
    there = files_of(lab.destination)
    assert {f"f{number:02}".encode() for number in range(4, 12)} <= there.keys()


def test_a_dry_run_tells_the_limit_of_files(lab: Lab) -> None:
    write_tree(lab.source, {f"file{number}": "x" for number in range(5)})
    said = "2 file(s) would be sent, the limit of files for one run."
    for most in (2, 5):
        ran = lab.run(lab.asking(Method.INCREMENTAL, limits=Limits(max_files=most), dry_run=True))
        warned = [str(event.message) for event in ran.events if isinstance(event, LogLine)]
        assert (said in warned) is (most == 2)
        assert ran.result.plan is not None
        assert ran.result.plan.adds == 5


def test_a_limit_of_files_that_is_enough_does_not_end_the_run(lab: Lab) -> None:
    write_tree(lab.source, {f"file{number}": "x" for number in range(5)})
    ran = lab.run(lab.asking(Method.INCREMENTAL, limits=Limits(max_files=5)))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert len(tree(lab.destination)) == 5


def test_a_limit_of_bytes_ends_the_run_before_anything_is_deleted(lab: Lab) -> None:
    write_tree(lab.source, {f"file{number}": "x" * 1000 for number in range(20)})
    write_tree(lab.destination, {"extra": "1"})
    limits = Limits(transfers=1, max_bytes=5000)
    ran = lab.run(lab.asking(Method.FULL, limits=limits))

    assert ran.result.outcome is Outcome.PARTIAL
    assert ran.result.failure is not None
    assert ran.result.failure.guard == "max_bytes"
    assert 5 <= ran.result.totals.files_transferred < 20
    assert (lab.destination / "extra").exists()


def test_a_limit_of_bytes_holds_over_both_passes_of_a_run(
    lab: Lab, webdav_server: WebdavServer
) -> None:
    """Sizes alone are compared first on a server without times, and then what was changed."""
    remote = Endpoint(engine_remote(webdav_server.remote), f"b{time.monotonic_ns()}")
    request = lab.asking(Method.INCREMENTAL, destination=remote)
    write_tree(lab.source, {f"edited{number}": "x" * 1000 for number in range(10)})
    assert lab.run(request).result.outcome is Outcome.SUCCEEDED
    for number in range(10):
        (lab.source / f"edited{number}").write_text("y" * 1000)
        later_s = time.time() + 5
        os.utime(lab.source / f"edited{number}", (later_s, later_s))
    write_tree(lab.source, {f"new{number}": "x" * 1000 for number in range(4)})

    limits = Limits(transfers=1, max_bytes=5500)
    ran = lab.run(replace(request, limits=limits))

    assert ran.guard == "max_bytes"
    assert 5 <= ran.result.totals.files_transferred <= 7


def test_the_log_holds_every_line_and_the_tail_is_bounded(lab: Lab) -> None:
    write_tree(lab.source, {f"file{number:03}": "x" for number in range(300)})
    ran = lab.run(lab.asking(Method.INCREMENTAL))

    text = gzip.decompress(lab.log_path.read_bytes()).decode()
    assert all(f'"file{number:03}"' in text for number in range(300))
    assert len(ran.result.log_tail) == 200


def test_the_log_holds_no_statistics(slow: Lab) -> None:
    """Each second of a long run they take as much as a hundred files."""
    ran = slow.run(slow.asking(Method.INCREMENTAL, limits=Limits(bandwidth="1M")))

    assert [event for event in ran.events if isinstance(event, Progress) and event.in_flight]
    text = gzip.decompress(slow.log_path.read_bytes())
    assert b'"big"' in text
    assert b'"stats"' not in text


def test_a_refused_request_ends_with_its_reason_and_starts_nothing(lab: Lab) -> None:
    ran = lab.run(lab.asking(Method.FULL, limits=Limits(bandwidth="fast")))

    assert [type(event) for event in ran.events] == [Finished]
    assert ran.result.outcome is Outcome.FAILED
    failure = ran.result.failure
    assert failure is not None
    assert failure.failure_class is FailureClass.CONFIG
    assert "bandwidth" in failure.message


def test_a_stale_private_folder_is_emptied_first(lab: Lab) -> None:
    lab.work_dir.mkdir(mode=0o755)
    (lab.work_dir / "r.conf").write_text("[src]\ntype = alias\n")
    (lab.work_dir / "cache").mkdir()
    write_tree(lab.source, {"file": "1"})
    ran = lab.run(lab.asking(Method.INCREMENTAL))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert set(tree(lab.destination)) == {b"file"}


@pytest.mark.parametrize(("zone", "slow"), [("Pacific/Kiritimati", True), (None, False)])
def test_a_timetable_goes_by_the_clock_of_its_zone(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, zone: str | None, slow: bool
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    there = datetime.now(ZoneInfo("Pacific/Kiritimati"))
    begins, ends = ((there + timedelta(hours=hours)).strftime("%H:00") for hours in (-1, 2))
    limits = Limits(bandwidth=f"{begins},77K {ends},off", timezone=zone)
    write_tree(lab.source, {"a": "1"})
    ran = lab.run(lab.asking(Method.INCREMENTAL, limits=limits))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert (b"bandwidth limiter at 77" in gzip.decompress(lab.log_path.read_bytes())) is slow
