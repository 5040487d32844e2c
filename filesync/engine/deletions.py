"""Find what may be deleted where rules can hide a file on one side alone; deleting is a stage.

A file may go only where the rules let it be seen at the destination, and where the source has none
of its name, of whatever size and age.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from filesync.engine.drive import Take, ticking
from filesync.engine.events import Event
from filesync.engine.filters import is_speakable
from filesync.engine.messages import Message, Skipped
from filesync.engine.passes import Stage, is_sized
from filesync.engine.paths import folders_above
from filesync.engine.plan import DELETE_WORDS, PlanTally, ReportCounts
from filesync.engine.stages import Stages

_REMOVE_DIR = "remove directory"
_SEEN = Stage("sync", ("--ignore-existing",), dry_run=True, report=True)
_WITHOUT_SOURCE = Stage("sync", ("--ignore-existing",), dry_run=True, sized=False)


@dataclass(slots=True)
class DeletionSearch:
    """Collect from dry runs what may be deleted; the names lie on the disk, in `path`.

    `take` counts it, into the `tally`. Where nothing `deletes`, names that a log cannot show count
    too. `exit_code` is the last that was not zero.
    `_seen` are the hashes of what the rules let be seen at the destination; None where everything
    that a dry run would delete is so.
    """

    tally: PlanTally
    take: Take
    path: Path
    deletes: bool = True
    exit_code: int = 0
    _seen: set[int] | None = None
    _emptier: set[int] = field(default_factory=set)
    _staying: set[int] = field(default_factory=set)
    _names: TextIO | None = None

    def find(self, stages: Stages) -> Generator[Event, None, ReportCounts]:
        """Tell the plan what would be deleted, and give how many files the rules see."""
        stages.prepared.files.nothing.mkdir(exist_ok=True)
        with self.path.open("w", encoding="utf-8") as self._names:
            if is_sized(stages.prepared.request.rules):
                self._seen = set()
                yield from self._drive(stages, _SEEN, see=True)
                if self._seen and not self.tally.problems:
                    yield from self._drive(stages, _WITHOUT_SOURCE)
            else:
                yield from self._drive(stages, _SEEN)
        counts = ReportCounts()
        yield from ticking(counts.read_file(stages.prepared.files.report))
        return counts

    def _drive(self, stages: Stages, stage: Stage, *, see: bool = False) -> Iterator[Event]:
        exit_code = yield from stages.drive(stage, self._see if see else self._take)
        self.exit_code = exit_code or self.exit_code
        self.tally.ended(exit_code)

    def _see(self, message: Message) -> list[Event]:
        if not isinstance(message, Skipped):
            return self.take(message)
        if message.what in DELETE_WORDS and self._seen is not None:
            self._seen.add(hash(message.path))
        return []

    def _take(self, message: Message) -> list[Event]:
        if not isinstance(message, Skipped):
            return self.take(message)
        if message.what in DELETE_WORDS:
            return self._delete(message)
        # rclone tells folders after files; one that keeps a file stays.
        key = hash(message.path)
        goes = message.what == _REMOVE_DIR and key in self._emptier and key not in self._staying
        return self.take(message) if goes else []

    def _delete(self, message: Skipped) -> list[Event]:
        path = message.path
        seen = self._seen is None or hash(path) in self._seen
        if not seen or (self.deletes and not is_speakable(path)):
            self._staying.update(map(hash, folders_above(path)))
            return []
        assert self._names is not None
        self._names.write(f"{path}\0")
        self._emptier.update(map(hash, folders_above(path)))
        return self.take(message)
