"""Drive one rclone process to its end: read it, keep its log, obey a stop, notice when it must end.

Which process, and what its messages mean, is decided by the caller (run, restore).
"""

from __future__ import annotations

import copy
import os
import shutil
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from filesync.engine.busy import Reads
from filesync.engine.errors import Failure
from filesync.engine.events import Event, LogLine, ProcessStarted, StopSignal, Tick
from filesync.engine.log import (
    ENDED_LINE,
    Redactor,
    RunLog,
    command_line,
    own_line,
    secrets_of,
)
from filesync.engine.messages import Crash, Message, Stats
from filesync.engine.outcome import crashed, killed
from filesync.engine.process import RcloneProcess
from filesync.engine.readers import RunReader
from filesync.engine.request import Limits, Remote
from filesync.engine.telling import told
from filesync.engine.tuning import go_runtime, timetable_clock
from filesync.engine.watch import Watch

POLL_S = 0.25
"""The longest wait for output, so that an event comes well within 0.5 s."""

Take = Callable[[Message], list[Event]]
Driven = Generator[Event, None, int]


class Stopped(Exception):
    """The run ends here: by a wish (no failure), or for a reason."""

    def __init__(self, failure: Failure | None) -> None:
        super().__init__(failure)
        self.failure = failure


class _AtOnce(StopSignal):
    """Of the wishes to end a run only the one that leaves it no time for anything."""

    def __init__(self, stop: StopSignal) -> None:
        super().__init__()
        self._stop = stop

    @property
    def requested(self) -> bool:
        return self._stop.at_once


class Driver:
    """What the processes of one run share: its log, its limits, the wish to stop."""

    def __init__(
        self,
        work_dir: Path,
        *,
        remotes: Collection[Remote],
        limits: Limits,
        stop: StopSignal,
        inherit: tuple[int, ...],
    ) -> None:
        self.log = RunLog(None)
        self.exit_code: int | None = None
        self._crash: str | None = None
        self.rules: int | None = None
        self._work_dir = work_dir
        self._inherit = inherit
        self._stop = stop
        self._watch = Watch(limits, time.monotonic())
        self._runtime = {**go_runtime(remotes), **timetable_clock(limits)}
        self._redact = Redactor(secret for remote in remotes for secret in secrets_of(remote))

    def drive(
        self,
        argv: Sequence[str],
        take: Take,
        stdout_path: Path | None = None,
        *,
        reader: RunReader | None = None,
    ) -> Driven:
        """Run one process to its end, and give its exit code.

        Raises:
            Stopped: the run must end: by a wish, over a limit, or because rclone was killed
                or crashed.
        """
        self.log.write(self._redact(command_line(argv)))
        self._watch.begin_stage(time.monotonic())
        self._crash = None
        with RcloneProcess(
            argv,
            work_dir=self._work_dir,
            stdout_path=stdout_path,
            inherit=self._inherit,
            rules=self.rules,
            runtime=self._runtime,
        ) as process:
            yield ProcessStarted(process.pid)
            yield from self._read(process, take, reader)
            self.exit_code = process.wait()
        failure = killed(self.exit_code) or crashed(self.exit_code, self._crash)
        if failure is not None:
            self.log.write(ENDED_LINE)
            raise Stopped(failure)
        return self.exit_code

    def for_tidying(self, limits: Limits) -> Driver:
        """Give one with the same log for what a run puts in order after it was ended."""
        other = copy.copy(self)
        other._stop = _AtOnce(self._stop)
        other._watch = Watch(limits, time.monotonic())
        other.exit_code = None
        return other

    @property
    def must_end_at_once(self) -> bool:
        """Whether there is no time for putting anything in order."""
        return self._stop.at_once

    def warn(self, message: str) -> LogLine:
        """Put a warning of ours into the log, and give it."""
        self.log.write(own_line("warning", message))
        return LogLine("warning", message)

    def close(self) -> None:
        """Finish the log and let go of the rules; safe to call twice."""
        self.log.close()
        if self.rules is not None:
            os.close(self.rules)
            self.rules = None

    def _read(
        self, process: RcloneProcess, take: Take, reader: RunReader | None
    ) -> Iterator[Event]:
        """Yield what the lines mean, and end the process when it is time; may raise Stopped."""
        verdict: Stopped | None = None
        last_event_s = time.monotonic()
        reads = Reads(process.pid)
        while not process.ended:
            lines = process.read_lines(POLL_S)
            self.log.flush_when_due()
            now_s = time.monotonic()
            for event in self._taken(lines, take, now_s):
                yield event
                last_event_s = now_s
            if now_s - last_event_s >= POLL_S:
                yield Tick()
                last_event_s = now_s
            if self._watch.is_quiet(now_s) and reads.went_on():
                self._watch.begin_stage(now_s)
            if verdict is None:
                verdict = self._verdict(now_s, reader)
                if verdict is not None:
                    process.terminate()
        if verdict is not None:
            self.exit_code = process.wait()
            self.log.write(ENDED_LINE)
            raise verdict

    def _taken(self, lines: list[bytes], take: Take, now_s: float) -> Iterator[Event]:
        if not lines:
            return
        read = list(told(lines, self._redact))
        # Statistics come each second, and say nothing that lasts.
        lasting = [line for line, message in read if not isinstance(message, Stats)]
        if lasting:
            self.log.write(b"\n".join(lasting) + b"\n")
            self.log.remember(lasting)
        for _, message in read:
            self._watch.saw(message, now_s)
            if isinstance(message, Crash):
                self._crash = self._crash or message.text
            yield from take(message)

    def _verdict(self, now_s: float, reader: RunReader | None) -> Stopped | None:
        if self._stop.requested:
            return Stopped(None)
        failure = self._watch.verdict(now_s, reader)
        return None if failure is None else Stopped(failure)


def ticking(steps: Iterator[None]) -> Iterator[Event]:
    """Take steps of our own work, with a Tick whenever they have taken a while."""
    last_s = time.monotonic()
    for _ in steps:
        if time.monotonic() - last_s >= POLL_S:
            yield Tick()
            last_s = time.monotonic()


def empty_folder(folder: Path) -> None:
    """Remove what is in a folder, following no link; what cannot be removed stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
