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
from filesync.engine.messages import Message, Skipped
from filesync.engine.passes import ONLY_SIZE, Stage, writes_in_place
from filesync.engine.paths import folders_above
from filesync.engine.problems import Problems
from filesync.engine.renamed import moved_to
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
# What a rename rule gives a name, and which.
_NEW_NAMES = Stage("rename", dry_run=True)
_SLOTS = 1 << 22


def loses_folders(request: SyncRequest) -> bool:
    """Whether a folder of the destination may go where a file of its name is to come."""
    return request.method is not Method.CHECK and writes_in_place(request)


def check_folders(stages: Stages) -> Generator[Event, None, bool]:
    """End the run before anything is sent where a file would take a folder with it.

    Gives whether every file of the source was found, and of equal size: a copy that compares sizes
    would send none. Of rename rules that is not known.

    Raises:
        Stopped: there is such a folder, or the destination could not be looked at.
    """
    problems = Problems()
    exit_code = yield from stages.drive(_LOOK, problems.note)
    for problem in problems.first.values():
        if problem.text.startswith("error reading destination"):
            raise Stopped(Failure.of(problem.failure_class, problem.text))
    search = _Search(stages.prepared.files.report)
    renames = bool(stages.prepared.request.rules.renames)
    yield from ticking(search.read_folders())
    if search.has_folders:
        yield from ticking(search.read_names())
        if renames:
            # What cannot be read there is not sent either.
            yield from stages.drive(_NEW_NAMES, search.take)
        yield from ticking(search.find())
    if search.found is not None:
        raise Stopped(
            Failure.of(FailureClass.NAME_NOT_ALLOWED, _why(search.found, renames=renames))
        )
    return exit_code == 0 and not problems.counts and search.same_sizes and not renames


def _why(path: str, *, renames: bool) -> Text:
    if renames:
        return Text(
            "A rename rule gives a file the name {path}, which is a folder at the destination that "
            "a failed upload would delete: nothing was sent.",
            path=path,
        )
    return Text(
        "{path} is a file at the source and a folder at the destination, which a failed upload "
        "would delete: nothing was sent.",
        path=path,
    )


@dataclass(slots=True)
class _Search:
    """Look in a report for a path that only the source has, and that is a folder beyond.

    Memory is bounded: folders share places, and whether a name is really one of them is looked up
    once more.
    """

    report: Path
    found: str | None = None
    same_sizes: bool = True
    has_folders: bool = False
    _folders: bytearray = field(default_factory=lambda: bytearray(_SLOTS))
    # All of these have the name of a folder, or one that shares its place.
    _only_source: set[str] = field(default_factory=set)
    _old: set[str] = field(default_factory=set)
    _new: set[str] = field(default_factory=set)

    def read_folders(self) -> Iterator[None]:
        """Note the folders of files that only the destination has, and `same_sizes`."""
        for mark, path in self._lines(b"-+*!"):
            if mark != b"-":
                self.same_sizes = False
            for folder in folders_above(path) if mark == b"-" else ():
                self.has_folders = True
                self._folders[hash(folder) % _SLOTS] = 1
            yield

    def read_names(self) -> Iterator[None]:
        """Note the names of what only the source has."""
        for _, path in self._lines(b"+"):
            self._note(path, self._only_source)
            yield

    def take(self, message: Message) -> list[Event]:
        """Note a name that rename rules give, and the one before."""
        if isinstance(message, Skipped) and (new := moved_to(message)) is not None:
            self._note(message.path, self._old)
            self._note(new, self._new)
        return []

    def find(self) -> Iterator[None]:
        """Set `found`; yields now and then."""
        suspects = (self._only_source - self._old) | self._new
        for _, path in self._lines(b"-") if suspects else ():
            found = suspects.intersection(folders_above(path))
            if found:
                self.found = os.fsencode(found.pop()).decode("utf-8", errors="replace")
                return
            yield

    def _note(self, path: str, names: set[str]) -> None:
        if self._folders[hash(path) % _SLOTS]:
            names.add(path)

    def _lines(self, marks: bytes) -> Iterator[tuple[bytes, str]]:
        with suppress(FileNotFoundError), self.report.open("rb") as lines:
            for line in lines:
                if line[:1] in marks:
                    yield line[:1], os.fsdecode(line[2:].rstrip(b"\n"))
