"""Decide how a run ended from what was seen of it: pure."""

from __future__ import annotations

import signal
from dataclasses import replace

from filesync.engine.advice import KILLED_ADVICE
from filesync.engine.errors import Failure, FailureClass
from filesync.engine.events import Outcome, Totals
from filesync.engine.messages import Problem
from filesync.engine.problems import Problems
from filesync.engine.texts import Text
from filesync.engine.watch import MAX_RUNTIME

# rclone's exit codes that say more than its messages.
_BY_EXIT_CODE = {
    2: (FailureClass.CONFIG, Text("rclone did not accept its command line")),
    3: (FailureClass.NOT_FOUND, Text("The folder does not exist")),
    5: (FailureClass.NETWORK, Text("A temporary error of the storage")),
}
MAX_TRANSFER_EXIT = 8
GOES_ON = frozenset({0, 1, 5, 6})
"""Exit codes after which the next process may go better: single files failed."""
# A shell's way of naming the signal that ended a process; rclone's own codes end far below.
_SIGNAL_EXIT = 128


def conclude(
    exit_code: int, totals: Totals, problems: Problems, *, stopped_by: Failure | None = None
) -> tuple[Outcome, Failure | None]:
    """Give outcome and failure.

    PARTIAL means that some files failed and others are known to be in step, were sent or were
    deleted; FAILED that nothing is, or that the run's time was over.
    """
    failure = stopped_by or _failure(exit_code, problems)
    if failure is None and totals.files_failed == 0:
        return Outcome.SUCCEEDED, None
    if failure is None:
        failure = Failure.of(
            FailureClass.INTERNAL,
            Text("{count} file(s) failed", count=totals.files_failed),
        )
    if failure.guard == MAX_RUNTIME:
        # A limit that a person set: what was sent before does not make the run half a success.
        return Outcome.FAILED, failure
    if _did_something(totals) and not _root_is_missing(problems):
        return Outcome.PARTIAL, failure
    return Outcome.FAILED, failure


def killed(exit_code: int) -> Failure | None:
    """Give the failure of an rclone that a signal ended, None where none did.

    What killed it (a full memory, a person, a machine that goes down) may have passed: it is
    tried again.
    """
    number = -exit_code if exit_code < 0 else exit_code - _SIGNAL_EXIT
    if number <= 0:
        return None
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return Failure.of(
        FailureClass.INTERNAL,
        Text("rclone was killed by {name}, which was not sent by this run.", name=name),
        advice=KILLED_ADVICE,
        retryable=True,
    )


def crashed(exit_code: int, words: str | None) -> Failure | None:
    """Give the failure of an rclone that its Go runtime ended with `words`, None where none did.

    It is mostly the memory, which may have room later: it is tried again.
    """
    if exit_code == 0 or words is None:
        return None
    return Failure.of(
        FailureClass.INTERNAL,
        Text("rclone crashed: {words}", words=words),
        advice=KILLED_ADVICE,
        retryable=True,
    )


def name_folders(failure: Failure, problems: Problems, source: str, destination: str) -> Failure:
    """Add the two folders to the failure of a whole side, as rclone's words name no path."""
    if failure.guard != "source_missing" and not _root_is_missing(problems):
        return failure
    # rclone's own words have no full stop.
    what = failure.message if failure.message.endswith(".") else f"{failure.message}."
    named = Text(
        '{what} Source: "{source}", destination: "{destination}".',
        what=what,
        source=source or "/",
        destination=destination or "/",
    )
    return replace(failure, message=named)


def _root_is_missing(problems: Problems) -> bool:
    """Whether one whole side was not there: what CHECK counted then compares with nothing."""
    main = problems.main
    return main is not None and not main.path and main.failure_class is FailureClass.NOT_FOUND


def _did_something(totals: Totals) -> bool:
    done = totals.files_transferred + totals.files_deleted + totals.files_renamed
    return done > 0 or totals.files_checked > totals.files_failed


def _failure(exit_code: int, problems: Problems) -> Failure | None:
    if exit_code == 0 and not problems.counts:
        return None
    if exit_code == MAX_TRANSFER_EXIT:
        return Failure.of(
            FailureClass.GUARD,
            Text("The limit of bytes for one run is reached. The next run goes on from there."),
            guard="max_bytes",
        )
    main = problems.main
    over = problems.first.get(FailureClass.GUARD)
    if over is not None:
        return Failure.of(
            FailureClass.GUARD,
            Text(
                "More was to be deleted than planned, so the deleting was ended. "
                "The source must have changed since: {text}",
                text=over.text,
            ),
            guard="max_delete_backstop",
        )
    if main is not None:
        return _of_problem(exit_code, main, sum(problems.counts.values()))
    failure_class, words = _BY_EXIT_CODE.get(
        exit_code, (FailureClass.INTERNAL, Text("rclone ended without a reason"))
    )
    return Failure.of(
        failure_class, Text("{words} (exit code {exit_code})", words=words, exit_code=exit_code)
    )


def _of_problem(exit_code: int, main: Problem, count: int) -> Failure:
    failure_class = main.failure_class
    if failure_class is FailureClass.INTERNAL and exit_code in _BY_EXIT_CODE:
        failure_class = _BY_EXIT_CODE[exit_code][0]
    text = main.text
    if main.path:
        text = Text("{path}: {text}", path=main.path, text=text)
    if count > 1:
        text = Text("{text} ({count} errors in all)", text=text, count=count)
    return Failure.of(failure_class, text)
