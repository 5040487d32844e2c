"""Notice that a run must end by itself: no progress, too long, enough files, only errors."""

from __future__ import annotations

from dataclasses import dataclass, field

from filesync.engine.errors import Failure, FailureClass
from filesync.engine.messages import Message, Problem, Stats
from filesync.engine.problems import BREAKER_ERRORS
from filesync.engine.readers import RunReader
from filesync.engine.request import Limits
from filesync.engine.texts import Text

MAX_RUNTIME = "max_runtime"
STALL_TIMEOUT = "stall_timeout"


@dataclass(slots=True)
class Watch:
    """Compare a run with its limits; `now_s` is a monotonic clock's reading."""

    limits: Limits
    started_s: float
    _moved_s: float = field(init=False)
    _counters: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self._moved_s = self.started_s

    def begin_stage(self, now_s: float) -> None:
        """Start the stall clock anew."""
        self._moved_s = now_s

    def is_quiet(self, now_s: float) -> bool:
        """Whether nothing moved for half as long as it may."""
        return now_s - self._moved_s > self.limits.stall_timeout_s / 2

    def saw(self, message: Message, now_s: float) -> None:
        """Note a message; errors are no progress, statistics only when a counter moved."""
        if isinstance(message, Problem):
            return
        if isinstance(message, Stats):
            counters = (
                message.bytes_done,
                message.transfers_done,
                message.checks_done,
                message.deletes,
                message.deleted_dirs,
                message.renames,
                message.listed,
            )
            if counters == self._counters:
                return
            self._counters = counters
        self._moved_s = now_s

    def verdict(self, now_s: float, reader: RunReader | None) -> Failure | None:
        """Tell why the run must end now; None while it may go on."""
        stalled_s = now_s - self._moved_s
        if stalled_s > self.limits.stall_timeout_s:
            return Failure.of(
                FailureClass.TIMEOUT,
                Text(
                    "No progress for {stalled_s:.0f} s; the limit is {most_s:g} s.",
                    stalled_s=stalled_s,
                    most_s=self.limits.stall_timeout_s,
                ),
                guard=STALL_TIMEOUT,
            )
        longest_s = self.limits.max_runtime_s
        if longest_s is not None and now_s - self.started_s > longest_s:
            return Failure.of(
                FailureClass.TIMEOUT,
                Text(
                    "The run took longer than {most_s:g} s. What was sent stays; "
                    "the next run goes on from there.",
                    most_s=longest_s,
                ),
                guard=MAX_RUNTIME,
                retryable=False,
            )
        return None if reader is None else self._counted(reader)

    def _counted(self, reader: RunReader) -> Failure | None:
        most = self.limits.max_files
        if most is not None and reader.files_transferred > most:
            return files_reached(most)
        over = deleted_too_many(reader)
        if over is not None:
            return over
        main = reader.problems.main
        if main is not None and reader.problems.breaks:
            return Failure.of(
                main.failure_class,
                Text(
                    "{count} errors in a row, the first: {text}",
                    count=BREAKER_ERRORS,
                    text=main.text,
                ),
                guard="consecutive_errors",
            )
        return None


def files_reached(most: int) -> Failure:
    """Give why a run ended that has sent its most files."""
    return Failure.of(
        FailureClass.GUARD,
        Text(
            "The limit of {most} files for one run is reached. The next run goes on from there.",
            most=most,
        ),
        guard="max_files",
    )


def deleted_too_many(reader: RunReader) -> Failure | None:
    """Tell that more files are gone than are tolerated; None while they are not."""
    if reader.most_deletes is None or reader.files_deleted <= reader.most_deletes:
        return None
    return Failure.of(
        FailureClass.GUARD,
        Text(
            "{deleted} files were deleted, more than planned and than the limits allow, so the "
            "run was ended. The source must have changed since it was planned.",
            deleted=reader.files_deleted,
        ),
        guard="max_delete_backstop",
    )
