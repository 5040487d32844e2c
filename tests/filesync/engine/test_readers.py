"""What a message means depends on the method, and the totals are exact."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filesync.engine import (
    Action,
    Failure,
    FailureClass,
    ItemDone,
    Limits,
    LogLine,
    Method,
    Outcome,
    Phase,
    PhaseChanged,
    Progress,
    Totals,
)
from filesync.engine.classify import classify
from filesync.engine.lines import parse_line
from filesync.engine.messages import (
    Copied,
    Deleted,
    DirRemoved,
    Message,
    MovedServerSide,
    MovedToBackup,
    Problem,
    Remark,
    Renamed,
    Stats,
)
from filesync.engine.outcome import conclude, killed
from filesync.engine.problems import BREAKER_ERRORS, Problems
from filesync.engine.readers import MAX_LOG_EVENTS, RunReader
from filesync.engine.watch import Watch


def empty_stats() -> Stats:
    message = parse_line(b'{"msg":"","stats":{}}')
    assert isinstance(message, Stats)
    return message


STATS = empty_stats()


def items(reader: RunReader, messages: list[Message]) -> list[tuple[Action, str]]:
    events = [event for message in messages for event in reader.take(message)]
    return [(event.action, event.path) for event in events if isinstance(event, ItemDone)]


def problem(text: str, path: str | None = "a") -> Problem:
    return Problem(text, path, classify(text), False)


def test_a_file_that_was_kept_first_is_an_update() -> None:
    reader = RunReader(Method.FULL, keeps_deleted=True)
    renaming: list[Message] = [MovedServerSide("a"), Copied("a", 5, True)]
    copying: list[Message] = [Copied("b", 5, True, True), Deleted("b"), Copied("b", 5, True)]
    assert items(reader, renaming + copying) == [(Action.UPDATED, "a"), (Action.UPDATED, "b")]
    assert reader.totals == Totals(files_transferred=2, bytes_transferred=10)


def test_a_file_that_was_kept_and_not_sent_is_a_deletion() -> None:
    reader = RunReader(Method.FULL, keeps_deleted=True)
    renaming: list[Message] = [MovedServerSide("a"), MovedToBackup("a")]
    copying: list[Message] = [Copied("b", 5, True, True), Deleted("b"), MovedToBackup("b")]
    assert items(reader, renaming + copying) == [(Action.DELETED, "a"), (Action.DELETED, "b")]
    assert reader.totals == Totals(files_deleted=2)


def test_a_moved_file_counts_when_its_source_is_gone() -> None:
    reader = RunReader(Method.MOVE)
    assert items(reader, [Copied("a", 5, True)]) == []
    assert reader.totals == Totals()
    assert items(reader, [Deleted("a")]) == [(Action.MOVED, "a")]
    assert reader.totals == Totals(files_transferred=1, bytes_transferred=5)


def test_a_move_within_one_storage_is_a_rename_and_the_old_file_no_deletion() -> None:
    reader = RunReader(Method.MOVE, one_section=True)
    assert items(reader, [Deleted("a"), MovedServerSide("a")]) == [(Action.MOVED, "a")]
    assert reader.totals == Totals(files_transferred=1)


def test_a_copy_within_one_storage_is_a_transfer() -> None:
    reader = RunReader(Method.INCREMENTAL, one_section=True)
    assert items(reader, [Copied("a", 5, True, True)]) == [(Action.ADDED, "a")]


@pytest.mark.parametrize("keeps_deleted", [False, True])
def test_a_rename_is_no_deletion_by_whatever_means_the_storage_renames(
    keeps_deleted: bool,
) -> None:
    reader = RunReader(Method.FULL, keeps_deleted=keeps_deleted)
    reader.dirs_to_go = {hash("emptied")}
    kept = [MovedToBackup("another")] if keeps_deleted else []
    began = reader.begin_stage(renaming=True)
    found = items(
        reader,
        [
            Copied("old", 1, new=True, server_side=True, renamed_to="new"),
            Deleted("old"),
            Renamed("new", "old"),
            MovedServerSide("old2"),
            Renamed("new2", "old2"),
            Deleted("another"),
            *kept,
            DirRemoved("emptied"),
            DirRemoved("full"),
        ],
    )
    reader.begin_stage()
    found += items(reader, [DirRemoved("emptied"), DirRemoved("full")])

    assert began == [PhaseChanged(Phase.LISTING)]
    assert found == [
        (Action.RENAMED, "new"),
        (Action.RENAMED, "new2"),
        (Action.DELETED, "another"),
        (Action.DIR_REMOVED, "emptied"),
        (Action.DIR_REMOVED, "full"),
    ]
    assert (reader.totals.files_renamed, reader.totals.files_deleted) == (2, 1)
    assert reader.set_aside == set()
    assert reader.changed_files


def test_a_copy_that_begins_a_rename_is_a_change() -> None:
    """A run that ends there can be undone."""
    reader = RunReader(Method.FULL, keeps_deleted=True)
    reader.begin_stage(renaming=True)

    found = items(reader, [Copied("old", 1, new=True, server_side=True, renamed_to="new")])

    assert found == []
    assert reader.changed_files


def test_a_file_fails_once_however_often_it_is_named() -> None:
    reader = RunReader(Method.FULL)
    messages: list[Message] = [problem("permission denied"), problem("permission denied")]
    assert items(reader, messages) == [(Action.FAILED, "a")]
    assert reader.totals.files_failed == 1


def test_of_very_many_files_that_fail_each_counts_once() -> None:
    """Two errors of one file lie no further apart than rclone's backlog of 10,000 files."""
    reader, backlog, count = RunReader(Method.FULL), 10_000, 120_000
    for number in range(count + backlog):
        if number < count:
            reader.take(problem("permission denied", str(number)))
        if number >= backlog:
            reader.take(problem("permission denied", str(number - backlog)))
    assert reader.totals.files_failed == count
    assert len(reader.failed._keys) == 100_000


def test_counters_go_on_over_the_stages_of_a_run() -> None:
    reader = RunReader(Method.OVERWRITE)
    reader.begin_stage()
    reader.take(replace(STATS, bytes_done=10, transfers_done=2, checks_done=5))
    reader.begin_stage()
    events = reader.take(replace(STATS, bytes_done=1, transfers_done=1, checks_done=7, deletes=3))
    progress = next(event for event in events if isinstance(event, Progress))
    assert (progress.bytes_done, progress.files_done, progress.checks_done) == (11, 3, 12)
    assert reader.totals.files_checked == 5 + 7 - 3


def test_phases_are_told_once_each() -> None:
    reader = RunReader(Method.FULL)
    events = reader.begin_stage()
    for message in (Copied("a", 1, True), Copied("b", 1, True), Deleted("c"), Deleted("d")):
        events += reader.take(message)
    phases = [event.phase for event in events if isinstance(event, PhaseChanged)]
    assert phases == [Phase.LISTING, Phase.TRANSFERRING, Phase.DELETING]


def test_log_events_are_capped_and_quiet_remarks_left_out() -> None:
    reader = RunReader(Method.FULL)
    assert reader.take(Remark("info", "quiet", None)) == []
    assert reader.take(Remark("notice", "loud", "a")) == [LogLine("notice", "loud", "a")]
    told = [event for _ in range(2 * MAX_LOG_EVENTS) for event in reader.take(problem("x", None))]
    assert len(told) == MAX_LOG_EVENTS - 1


def test_a_hundred_errors_in_a_row_end_a_run_and_one_success_begins_anew() -> None:
    reader, watch = RunReader(Method.FULL), Watch(Limits(), 0)
    for number in range(BREAKER_ERRORS - 1):
        reader.take(problem("no space left on device", f"file{number}"))
    reader.take(Copied("fits", 1, True))
    reader.take(problem("no space left on device", "last"))
    assert watch.verdict(1, reader) is None
    for number in range(BREAKER_ERRORS):
        reader.take(problem("no space left on device", f"more{number}"))
    failure = watch.verdict(1, reader)
    assert failure is not None
    assert failure.failure_class is FailureClass.DISK_FULL
    assert failure.guard == "consecutive_errors"


def test_files_that_may_not_be_read_do_not_end_a_run() -> None:
    reader = RunReader(Method.FULL)
    for number in range(3 * BREAKER_ERRORS):
        reader.take(problem("permission denied", f"file{number}"))
    assert Watch(Limits(), 0).verdict(1, reader) is None


def test_the_stall_clock_starts_anew_when_a_counter_moves() -> None:
    watch = Watch(Limits(stall_timeout_s=10), 0)
    watch.saw(replace(STATS, bytes_done=1), 8)
    watch.saw(replace(STATS, bytes_done=1, speed_bytes_per_s=3), 15)
    assert watch.verdict(18, None) is None
    failure = watch.verdict(18.1, None)
    assert failure is not None
    assert failure.guard == "stall_timeout"
    watch.saw(replace(STATS, bytes_done=2), 19)
    assert watch.verdict(28, None) is None


def test_errors_are_no_progress() -> None:
    watch = Watch(Limits(stall_timeout_s=10), 0)
    watch.saw(problem("connection refused", None), 8)
    failure = watch.verdict(11, None)
    assert failure is not None
    assert failure.guard == "stall_timeout"
    watch.saw(Copied("a", 1, True), 12)
    assert watch.verdict(20, None) is None


def problems(*found: Problem) -> Problems:
    gathered = Problems()
    for one in found:
        gathered.add(one)
    return gathered


DENIED, GONE = problem("permission denied"), problem("connection refused", None)
BUSY = Failure.of(FailureClass.TIMEOUT, "stands still", guard="stall_timeout")
LATE = Failure.of(FailureClass.TIMEOUT, "too long", guard="max_runtime")


@pytest.mark.parametrize(
    ("exit_code", "totals", "found", "stopped_by", "outcome", "failure_class"),
    [
        (0, Totals(), Problems(), None, Outcome.SUCCEEDED, None),
        (0, Totals(files_transferred=9), Problems(), None, Outcome.SUCCEEDED, None),
        (
            1,
            Totals(files_failed=1),
            problems(DENIED),
            None,
            Outcome.FAILED,
            FailureClass.PERMISSION,
        ),
        (
            1,
            Totals(files_failed=1, files_transferred=1),
            problems(DENIED),
            None,
            Outcome.PARTIAL,
            FailureClass.PERMISSION,
        ),
        (
            1,
            Totals(files_failed=1, files_checked=9),
            problems(DENIED),
            None,
            Outcome.PARTIAL,
            FailureClass.PERMISSION,
        ),
        (
            1,
            Totals(files_failed=1, files_checked=1),
            problems(DENIED),
            None,
            Outcome.FAILED,
            FailureClass.PERMISSION,
        ),
        (1, Totals(), problems(GONE, DENIED), None, Outcome.FAILED, FailureClass.NETWORK),
        (2, Totals(), Problems(), None, Outcome.FAILED, FailureClass.CONFIG),
        (3, Totals(), Problems(), None, Outcome.FAILED, FailureClass.NOT_FOUND),
        (5, Totals(), Problems(), None, Outcome.FAILED, FailureClass.NETWORK),
        (8, Totals(files_transferred=1), Problems(), None, Outcome.PARTIAL, FailureClass.GUARD),
        (0, Totals(files_transferred=1), Problems(), BUSY, Outcome.PARTIAL, FailureClass.TIMEOUT),
        (0, Totals(), Problems(), BUSY, Outcome.FAILED, FailureClass.TIMEOUT),
        (0, Totals(files_transferred=1), Problems(), LATE, Outcome.FAILED, FailureClass.TIMEOUT),
    ],
)
def test_how_a_run_ended(
    exit_code: int,
    totals: Totals,
    found: Problems,
    stopped_by: Failure | None,
    outcome: Outcome,
    failure_class: FailureClass | None,
) -> None:
    concluded, failure = conclude(exit_code, totals, found, stopped_by=stopped_by)
    assert concluded is outcome
    assert (failure and failure.failure_class) == failure_class


@pytest.mark.parametrize(
    ("exit_code", "name"),
    [(-9, "SIGKILL"), (-11, "SIGSEGV"), (143, "SIGTERM"), (130, "SIGINT"), (-40, "signal 40")],
)
def test_an_rclone_that_a_signal_ended_is_tried_again(exit_code: int, name: str) -> None:
    failure = killed(exit_code)
    assert failure is not None
    assert (failure.failure_class, failure.retryable) == (FailureClass.INTERNAL, True)
    assert name in failure.message


@pytest.mark.parametrize("exit_code", [0, 1, 2, 8, 10])
def test_an_rclone_that_ended_by_itself_was_not_killed(exit_code: int) -> None:
    assert killed(exit_code) is None
