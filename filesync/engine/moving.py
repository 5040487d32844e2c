"""Carry a MOVE out where no checksum proves a copy: copy a part, look again, delete what stayed.

rclone moves a file by copying it and deleting the source's by its name, whatever that holds then.
With a checksum in common it notices an edit; without one it deletes the only copy of what was
saved meanwhile. So the source is listed before and after, in parts, and a file that is not what it
was stays, and counts as failed. A part is so small that an attempt that ends loses little.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from filesync.engine.drive import Driven
from filesync.engine.events import Event, Plan
from filesync.engine.passes import Stage
from filesync.engine.prepare import Prepared
from filesync.engine.request import Method
from filesync.engine.stages import Stages
from filesync.engine.tuning import PairFacts

_PART_FILES = 2000
_PART_BYTES = 4 << 30
# rclone's exit codes after which the next part may go better: single files failed.
_GOES_ON = frozenset({0, 1, 5, 6})
_LISTING = Stage("listed")
_LISTING_AGAIN = Stage("listed", part=True)
_REMOVING = Stage("remove", part=True)
# Makes the folders: no file is as large.
_FOLDERS = ("--min-size", "8191P")


def moves_in_parts(prepared: Prepared, facts: PairFacts) -> bool:
    """Whether nothing but a second look tells that a file was not changed while it was copied.

    Within one storage the server moves the file itself.
    """
    is_move = prepared.request.method is Method.MOVE
    return is_move and not prepared.one_section and not facts.shares_hash


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of the source: its name byte by byte, and its size and time as rclone writes them."""

    name: bytes
    facts: bytes | None


@dataclass(slots=True)
class PartedMove:
    """The parts of a move: `stages` gives the copies one by one, and `settle` ends each.

    `exit_code` is the last of a copy or a removal that was not zero.
    """

    run: Stages
    exit_code: int = 0
    _part: dict[str, Listed] = field(default_factory=dict)

    @property
    def _list(self) -> Path:
        return self.run.prepared.files.work_dir / "to-move"

    def list_source(self, plan: Plan | None) -> Iterator[Event]:
        """List what is to be moved; the names lie on the disk. A plan says how much it is.

        Raises:
            Stopped: the source could not be listed.
        """
        yield from self.run.ask(_LISTING)
        self.run.prepared.files.answer.replace(self._list)
        if plan is None:
            return
        earlier = self.run.reader.earlier
        earlier.all_bytes, earlier.all_files = plan.bytes_to_send, plan.adds + plan.updates

    def stages(self, to_run: Sequence[Stage]) -> Iterator[Stage]:
        """Give a run's stages with copies instead of its move, each once its forerunner is settled.

        The first copy makes the folders.
        """
        yield from to_run[:-1]
        copy = replace(to_run[-1], verb="copy")
        yield replace(copy, flags=(*copy.flags, *_FOLDERS))
        number = copy.number
        with self._list.open("rb") as lines:
            for self._part in _parts(lines):
                number += 1
                self._write(self._part)
                yield replace(copy, part=True, number=number)

    def settle(self, exit_code: int) -> Driven:
        """Delete at the source what was copied and is what it was; gives 0 to go on."""
        moving = self.run.reader.moving
        if moving:
            self._write(moving)
            now = _by_name((yield from self.run.ask(_LISTING_AGAIN)).splitlines())
            for path in list(moving):
                if path not in now:
                    yield self.run.reader.moved(path)
                elif now[path].facts is None or now[path] != self._part[path]:
                    del moving[path]
                    yield from self.run.reader.changed_meanwhile(path)
        if moving:
            self._write(moving)
            exit_code = (yield from self.run.drive(_REMOVING, self.run.reader.take)) or exit_code
            moving.clear()
        self.exit_code = exit_code or self.exit_code
        return 0 if exit_code in _GOES_ON else exit_code

    def _write(self, paths: Iterable[str]) -> None:
        names = b"".join(self._part[path].name + b"\0" for path in paths)
        self.run.prepared.files.part.write_bytes(names)


def _parts(lines: Iterable[bytes]) -> Iterator[dict[str, Listed]]:
    some: list[bytes] = []
    size_bytes = 0
    for line in lines:
        some.append(line.rstrip(b"\n"))
        size_bytes += max(0, int(line.partition(b";")[0]))
        if len(some) >= _PART_FILES or size_bytes >= _PART_BYTES:
            yield _by_name(some)
            some, size_bytes = [], 0
    if some:
        yield _by_name(some)


def _by_name(lines: Iterable[bytes]) -> dict[str, Listed]:
    """Read "size;time;path" by the names that a log shows: of two that look alike none is sure."""
    found: dict[str, Listed] = {}
    for line in lines:
        size, at, name = line.split(b";", 2)
        path = name.decode("utf-8", errors="replace")
        found[path] = Listed(name, None if path in found else size + b";" + at)
    return found
