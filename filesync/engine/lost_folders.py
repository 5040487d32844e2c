"""Find folders of the destination that a failed upload would delete.

On WebDAV a file can't be uploaded where a folder has its name. rclone then removes what it takes
for a failed upload, by that name: the folder goes, and all in it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filesync.engine.drive import Stopped, ticking
from filesync.engine.errors import Failure, FailureClass
from filesync.engine.events import Event
from filesync.engine.passes import ONLY_SIZE, Stage, writes_in_place
from filesync.engine.paths import folders_above
from filesync.engine.problems import Problems
from filesync.engine.request import Method, SyncRequest
from filesync.engine.stages import Stages
from filesync.engine.texts import Text

# Looks at the whole destination, also where the rules hide something there.
_LOOK = Stage(
    "copy",
    (*ONLY_SIZE, "--delete-excluded", "--no-traverse=false"),
    dry_run=True,
    report=True,
)
_SLOTS = 1 << 22
_BATCH = 1000


def loses_folders(request: SyncRequest) -> bool:
    """Whether a folder of the destination may go where a file of its name is to come.

    Under rename rules no report tells the names that files will have.
    """
    writes = request.method is not Method.CHECK
    return writes and writes_in_place(request) and not request.rules.renames


def check_folders(stages: Stages) -> Generator[Event, None, bool]:
    """End the run before anything is sent where a file would take a folder with it.

    Gives whether every file of the source was found, and of equal size: a copy that compares sizes
    would send none.

    Raises:
        Stopped: there is such a folder, or the destination could not be looked at.
    """
    problems = Problems()
    exit_code = yield from stages.drive(_LOOK, problems.note)
    for problem in problems.first.values():
        if problem.text.startswith("error reading destination"):
            raise Stopped(Failure.of(problem.failure_class, problem.text))
    search = _Search(stages.prepared.files.report)
    yield from ticking(search.find())
    if search.found is not None:
        raise Stopped(
            Failure.of(
                FailureClass.NAME_NOT_ALLOWED,
                Text(
                    "{path} is a file at the source and a folder at the destination, which a "
                    "failed upload would delete: nothing was sent.",
                    path=search.found,
                ),
            )
        )
    return exit_code == 0 and not problems.counts and search.same_sizes


@dataclass(slots=True)
class _Search:
    """Look in a report for a path that only the source has, and that is a folder beyond.

    Memory is bounded: paths that only the source has share places, and a folder that only seems to
    have such a path's name is looked for once more.
    """

    report: Path
    found: str | None = None
    same_sizes: bool = True
    _new: bytearray = field(default_factory=lambda: bytearray(_SLOTS))
    _suspects: set[str] = field(default_factory=set)

    def find(self) -> Iterator[None]:
        """Set `found` and `same_sizes`; yields now and then."""
        for path in self._paths(b"+*!"):
            if path is not None:
                self.same_sizes = False
                self._new[hash(path) % _SLOTS] = 1
            yield
        for path in self._paths(b"-"):
            for folder in folders_above(path or ""):
                if self._new[hash(folder) % _SLOTS]:
                    self._suspects.add(folder)
            yield
        if not self._suspects:
            return
        for path in self._paths(b"+"):
            if path is not None and path in self._suspects:
                self.found = os.fsencode(path).decode("utf-8", errors="replace")
                return
            yield

    def _paths(self, marks: bytes) -> Iterator[str | None]:
        """Give the paths with one of these marks, and None now and then."""
        with suppress(FileNotFoundError), self.report.open("rb") as lines:
            for number, line in enumerate(lines):
                if line[:1] in marks:
                    yield os.fsdecode(line[2:].rstrip(b"\n"))
                elif number % _BATCH == 0:
                    yield None
