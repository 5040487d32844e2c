"""Carry a MOVE out where no checksum proves a copy: copy a part, look again, delete what stayed.

rclone moves a file by copying it and deleting the source's by its name, whatever that holds then.
With a checksum in common it notices an edit; without one it deletes the only copy of what was
saved meanwhile. So the source is listed before and after, in parts, and a file that is not what it
was stays, and counts as failed. A part is so small that an attempt that ends loses little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from filesync.engine.drive import Driven
from filesync.engine.events import Event, Plan
from filesync.engine.outcome import GOES_ON
from filesync.engine.passes import Stage
from filesync.engine.prepare import Prepared
from filesync.engine.request import Method
from filesync.engine.stages import Stages
from filesync.engine.tuning import PairFacts

_PART_FILES = 2000
_PART_BYTES = 4 << 30
_LISTING = Stage("listed")
_LISTING_AGAIN = Stage("listed", part=True)
_REMOVING = Stage("remove", part=True)
# Elsewhere one way of listing may tell fractions of a second, and another leave them out.
_EXACT = frozenset({"local", "sftp"})
_FRACTION = re.compile(rb"\.\d+")
_NO_UTF8 = re.compile("[\udc80-\udcff]")
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
    """A file of the source: its name byte by byte, its size, and its time as rclone writes it."""

    name: bytes
    size_bytes: int
    changed_at: bytes


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
        (yield from self.run.ask_for_file(_LISTING)).replace(self._list)
        if plan is None:
            return
        earlier = self.run.reader.earlier
        earlier.all_bytes, earlier.all_files = plan.bytes_to_send, plan.adds + plan.updates

    def stages(self, to_run: Sequence[Stage]) -> Iterator[Stage]:
        """Give a run's stages with copies instead of its move, each once its forerunner is settled.

        The first copy makes the folders, unless the run is limited to some files.
        """
        yield from to_run[:-1]
        copy = replace(to_run[-1], verb="copy")
        number = copy.number
        if self.run.prepared.request.only_paths is None:
            yield replace(copy, flags=(*copy.flags, *_FOLDERS))
            number += 1
        with self._list.open("rb") as lines:
            for part in _parts(map(partial(read_listed, self._backend), lines)):
                self._part = part
                self._write(part)
                yield replace(copy, part=True, number=number)
                number += 1

    def settle(self, exit_code: int) -> Driven:
        """Delete at the source what was copied and is what it was; gives 0 to go on."""
        moving = self.run.reader.moving
        for path in moving.keys() - self._part.keys():
            # It was not there when the part was listed.
            del moving[path]
            yield from self.run.reader.changed_meanwhile(path)
        if moving:
            # What follows counts nothing of its own.
            yield from self.run.reader.begin_stage()
            self._write(moving)
            lines = (yield from self.run.ask(_LISTING_AGAIN)).splitlines()
            now = dict(map(partial(read_listed, self._backend), lines))
            for path in list(moving):
                if path not in now:
                    yield self.run.reader.moved(path)
                elif now[path] != self._part[path]:
                    del moving[path]
                    yield from self.run.reader.changed_meanwhile(path)
        if moving:
            self._write(moving)
            exit_code = (yield from self.run.drive(_REMOVING, self.run.reader.take)) or exit_code
            moving.clear()
        self.exit_code = exit_code or self.exit_code
        return 0 if exit_code in GOES_ON else exit_code

    @property
    def _backend(self) -> str:
        return self.run.prepared.request.source.remote.backend

    def _write(self, paths: Iterable[str]) -> None:
        names = b"".join(self._part[path].name + b"\0" for path in paths)
        self.run.prepared.files.part.write_bytes(names)


def read_listed(backend: str, line: bytes) -> tuple[str, Listed]:
    """Read "size;time;path", by the name that a log shows."""
    size, at, name = line.rstrip(b"\n").split(b";", 2)
    if backend not in _EXACT:
        at = _FRACTION.sub(b"", at)
    return _shown(name), Listed(name, int(size), at)


def _parts(files: Iterable[tuple[str, Listed]]) -> Iterator[dict[str, Listed]]:
    """Cut a list into parts, in none of which two files look alike."""
    part: dict[str, Listed] = {}
    size_bytes = 0
    for path, listed in files:
        if path in part or len(part) >= _PART_FILES or size_bytes >= _PART_BYTES:
            yield part
            part, size_bytes = {}, 0
        part[path] = listed
        size_bytes += max(0, listed.size_bytes)
    if part:
        yield part


def _shown(name: bytes) -> str:
    """Give a name as a log shows it: each byte that is no UTF-8 as the same character."""
    return _NO_UTF8.sub("\ufffd", name.decode("utf-8", errors="surrogateescape"))
