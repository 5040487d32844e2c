"""Carry a CHECK out, and tell what it finds: which paths differ, and where one is missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from filesync.engine.deletions import DeletionSearch
from filesync.engine.drive import Driven, Stopped
from filesync.engine.events import Action, Event, ItemDone, Tick
from filesync.engine.messages import Message, Problem, Skipped, Stats
from filesync.engine.passes import Stage, hides_there, stages_to_run
from filesync.engine.plan import DELETE_WORDS, PlanTally
from filesync.engine.source_names import named_at_source
from filesync.engine.stages import Stages
from filesync.engine.tuning import PairFacts

_MARKS = {
    b"+": Action.MISSING_ON_DESTINATION,
    b"-": Action.MISSING_ON_SOURCE,
    b"*": Action.DIFFERS,
}
_COMPARED = frozenset({b"+", b"-", b"*", b"="})
_TICK_S = 0.25


def compared(stages: Stages, facts: PairFacts) -> Driven:
    """Compare the two sides, and give an exit code: 0 also where they differ.

    Raises:
        Stopped: the run was ended.
    """
    request, reader = stages.prepared.request, stages.reader
    to_run = stages_to_run(request, facts, None, clears=False)
    found = Differences(stages, lists_alike=any(stage.alike for stage in to_run))
    for stage in to_run:
        yield from reader.begin_stage()
        try:
            exit_code = yield from stages.drive(stage, reader.take)
        except Stopped:
            yield from named_at_source(stages.prepared.files.report, reader)
            raise
        yield from named_at_source(stages.prepared.files.report, reader)
        yield from found.read(stage)
        # rclone fails too where all went well and it found differences.
        is_verdict = exit_code == 1 and reader.differences and not reader.problems.counts
        if exit_code != 0 and not is_verdict:
            return exit_code
    if hides_there(request) and request.only_paths is None:
        yield from reader.begin_stage()
        return (yield from found.find_only_there())
    return 0


@dataclass(slots=True)
class Differences:
    """Tell of each path that differs once, whichever stage of a CHECK finds it.

    With `lists_alike` a later stage compares the contents of what the first one found to be alike.
    Differences and comparisons are counted in the totals of the stages' reader.
    """

    stages: Stages
    lists_alike: bool
    _told: set[int] = field(default_factory=set)
    _checked: int = 0

    def read(self, stage: Stage) -> Iterator[Event]:
        """Tell of the paths in a stage's report."""
        prepared = self.stages.prepared
        # Where the whole destination was looked at, what only it has need not count.
        counts = _COMPARED - {b"-"} if hides_there(prepared.request) else _COMPARED
        checked, last_s = 0, time.monotonic()
        with ExitStack() as files:
            try:
                report = files.enter_context(prepared.files.report.open("rb"))
            except FileNotFoundError:
                return
            alike = None
            if self.lists_alike and not stage.alike:
                alike = files.enter_context(prepared.files.alike.open("wb"))
            for line in report:
                mark = line[:1]
                if mark not in counts:
                    continue
                checked += 1
                if mark == b"=" and alike is not None:
                    alike.write(line[2:].rstrip(b"\n") + b"\0")
                told = []
                if action := _MARKS.get(mark):
                    path = line[2:].rstrip(b"\n").decode("utf-8", errors="replace")
                    told = self._tell(action, path)
                    yield from told
                if not told and time.monotonic() - last_s >= _TICK_S:
                    yield Tick()
                    last_s = time.monotonic()
        self._checked = max(self._checked, checked)
        self._count()

    def find_only_there(self) -> Driven:
        """Tell of what only the destination has, where the stages could not; gives an exit code."""
        stages = self.stages
        tally = PlanTally(stages.prepared.request)

        def take(message: Message) -> list[Event]:
            if isinstance(message, Skipped):
                deletes = message.what in DELETE_WORDS
                return self._tell(Action.MISSING_ON_SOURCE, message.path) if deletes else []
            if isinstance(message, Stats):
                return tally.take(message)
            if isinstance(message, Problem):
                tally.take(message)
            return stages.reader.take(message)

        before = len(self._told)
        search = DeletionSearch(tally, take, stages.prepared.files.deletions, deletes=False)
        yield from search.find(stages)
        self._checked += len(self._told) - before
        self._count()
        return search.exit_code

    def _tell(self, action: Action, path: str) -> list[Event]:
        key = hash(path)
        # What a folder holds that could not be read, nobody knows.
        if key in self._told or self.stages.reader.failed.hold(path):
            return []
        self._told.add(key)
        return [ItemDone(action, path)]

    def _count(self) -> None:
        reader = self.stages.reader
        reader.files_checked, reader.differences = self._checked, len(self._told)
