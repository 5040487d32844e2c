"""Find files of the source that would have one name at the destination, and what they leave there.

Where rclone itself compares two names as one it passes over all but one of their files and says so.
It does not know which servers take capitals for small letters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filesync.engine import marker
from filesync.engine.command import RunFiles
from filesync.engine.drive import Stopped, Take
from filesync.engine.errors import Failure, FailureClass
from filesync.engine.events import Event
from filesync.engine.filters import is_speakable
from filesync.engine.messages import Message, Skipped
from filesync.engine.passes import Stage, never_replaces
from filesync.engine.renamed import moved_to
from filesync.engine.stages import Stages
from filesync.engine.texts import Text
from filesync.engine.tracking import nul_ended

STANDS_ALREADY = Text(
    "a file of its new name is at the destination already, and may be another one that a rename "
    "rule gave this name; not moved"
)
_SLOTS = 1 << 22
_BATCH = 1000


@dataclass(slots=True)
class NewNames:
    """The names that a MOVE would give, and whose; they lie on the disk, and memory is bounded.

    `alike` are two files whose names are one where capitals count as small letters.
    """

    files: RunFiles
    alike: tuple[str, str] | None = None
    _seen: bytearray = field(default_factory=lambda: bytearray(_SLOTS))
    _again: set[int] = field(default_factory=set)
    _lines: list[str] = field(default_factory=list)

    def watching(self, take: Take) -> Take:
        """Give a `take` that notes the names too."""

        def both(message: Message) -> list[Event]:
            if isinstance(message, Skipped):
                self.note(message)
            return take(message)

        return both

    def note(self, message: Skipped) -> None:
        """Note what a dry run of a move says of a file."""
        new = moved_to(message)
        if new is None or not is_speakable(new):
            return
        slot = hash(_folded(new)) % _SLOTS
        if self._seen[slot]:
            self._again.add(slot)
        self._seen[slot] = 1
        self._lines.append(f"{message.path}\0{new}\0")
        if len(self._lines) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what was noted."""
        with names_file(self.files).open("a", encoding="utf-8", errors="replace") as names:
            names.writelines(self._lines)
        self._lines.clear()

    def find_alike(self) -> Iterator[None]:
        """Find two files whose new names differ in capitals alone; yields now and then.

        Two spellings of one letter are no case: rclone compares those as one itself. What it keeps
        before it is replaced is told like a move, by the name that it has at the destination.
        """
        self.flush()
        first: dict[str, tuple[str, str]] = {}
        for old, new in pairs(self.files) if self._again else ():
            key = _folded(new)
            if hash(key) % _SLOTS in self._again:
                other, at = first.setdefault(key, (old, new))
                if _composed(at) != _composed(new):
                    self.alike = (other, old)
                    return
            yield


def names_file(files: RunFiles) -> Path:
    """Give where the old and new names of a MOVE lie, each ended by NUL."""
    return files.work_dir / "names"


def pairs(files: RunFiles) -> Iterator[tuple[str, str]]:
    """Read the old and new names of a MOVE."""
    with suppress(FileNotFoundError):
        names = nul_ended(names_file(files))
        yield from zip(names, names, strict=True)


def check_cases(stages: Stages, alike: tuple[str, str] | None) -> Iterator[Event]:
    """End a MOVE of two files that would be one where capitals count as small letters.

    Raises:
        Stopped: the destination is such a place, or it cannot be found out.
    """
    if alike is None:
        return
    prepared = stages.prepared
    if prepared.request.destination.remote.backend == "ftp":
        # A copy into a folder that is not there yet fails on FTP.
        yield from stages.ask(Stage("mkdir", at_destination=True))
    name, root = marker.new_name(), prepared.sides.destination
    if (yield from marker.turns_up(stages, name, root=root, places=[name.upper()])):
        one, other = alike
        text = Text(
            "{one} and {other} have one name at the destination, where capitals count as small "
            "letters: one would replace the other. Nothing was moved.",
            one=one,
            other=other,
        )
        raise Stopped(Failure.of(FailureClass.GUARD, text, guard="same_name"))


def tell_of_left(stages: Stages) -> Iterator[Event]:
    """Tell of the files that were not moved because their new name stands at the destination."""
    prepared, reader = stages.prepared, stages.reader
    if not never_replaces(prepared.request):
        return
    standing: set[str] = set()
    with suppress(FileNotFoundError), prepared.files.report.open("rb") as lines:
        for line in lines:
            if line[:2] in (b"= ", b"* "):
                standing.add(line[2:].rstrip(b"\n").decode("utf-8", "replace"))
    for old, new in pairs(prepared.files) if standing else ():
        if new in standing:
            standing.discard(new)
            yield from reader.left_out(old, STANDS_ALREADY)
    for new in sorted(standing):
        # Its old name cannot be told.
        yield from reader.left_out(new, STANDS_ALREADY)


def _composed(path: str) -> str:
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def _folded(path: str) -> str:
    return path.lower() if path.isascii() else _composed(_composed(path).casefold())
