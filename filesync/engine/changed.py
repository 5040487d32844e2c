"""Notice local files that were changed while they were copied.

rclone looks for that itself while it computes a hash; between local disks it computes none (see
`skips_read_back`), nor where the sides have none in common, and a copy of a file that was rewritten
at its size held a part of each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filesync.engine.drive import Take
from filesync.engine.events import Event
from filesync.engine.messages import Copied, Message, Stats
from filesync.engine.passes import skips_read_back
from filesync.engine.paths import full_path
from filesync.engine.readers import RunReader
from filesync.engine.request import Method, SyncRequest
from filesync.engine.tuning import PairFacts

# A smaller file is read in one piece, and looking at each of very many would cost.
LEAST_BYTES = 64 << 10
_CLOCK_ERROR_S = 2


@dataclass(slots=True)
class ChangeWatch:
    """Takes rclone's messages to the reader, and looks at the larger files that arrived.

    A copy bears the time that its source had when rclone saw it. One whose source was changed since
    the stage began, and is newer than its copy, was changed after that.
    """

    reader: RunReader
    source: Path
    destination: Path
    began_at_s: float

    def take(self, message: Message) -> list[Event]:
        """Give what the message means; a file that was changed meanwhile has failed as well."""
        events = self.reader.take(message)
        if (
            isinstance(message, Copied)
            and (message.size_bytes or 0) >= LEAST_BYTES
            and self._changed(message)
        ):
            events += self.reader.changed_meanwhile(message.path)
        return events

    def _changed(self, message: Copied) -> bool:
        try:
            source = os.stat(self.source / message.path)
            copy = os.stat(self.destination / message.stored_as)
        except (OSError, ValueError):
            # Gone meanwhile, or by a name that a log cannot show.
            return False
        if source.st_mtime < self.began_at_s:
            return False
        return source.st_mtime_ns - copy.st_mtime_ns >= _rounding_ns(copy.st_mtime_ns)


def _rounding_ns(time_ns: int) -> int:
    """Give how much of a time a file system may have left out, by what it kept of one.

    FAT keeps two seconds, HFS+ one, exFAT hundredths, NTFS and SMB tenths of a microsecond.
    """
    return 2_000_000_000 if time_ns % 10_000_000 == 0 else 1_000_000


@dataclass(slots=True)
class UploadWatch:
    """Takes rclone's messages to the reader, and looks at the source of the larger files it sent.

    A transfer began after the statistics before those that first show it. `clock` gives the Unix
    time.
    """

    reader: RunReader
    source: Path
    clock: Callable[[], float] = time.time
    _told_at_s: float = field(init=False)
    _began_after_s: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._told_at_s = self.clock()

    def take(self, message: Message) -> list[Event]:
        """Give what the message means; a file that was changed meanwhile has failed as well."""
        events = self.reader.take(message)
        if isinstance(message, Stats):
            known = self._began_after_s
            names = (file.name for file in message.in_flight)
            self._began_after_s = {name: known.get(name, self._told_at_s) for name in names}
            self._told_at_s = self.clock()
        elif isinstance(message, Copied) and (message.size_bytes or 0) >= LEAST_BYTES:
            began_after_s = self._began_after_s.get(message.path, self._told_at_s)
            with suppress(OSError, ValueError):
                changed_at_s = os.stat(self.source / message.path).st_mtime
                # A time in the future tells nothing.
                if began_after_s <= changed_at_s <= self.clock() + _CLOCK_ERROR_S:
                    events += self.reader.changed_meanwhile(message.path)
        return events


def taker(request: SyncRequest, facts: PairFacts, reader: RunReader, *, now_s: float) -> Take:
    """Give who takes the messages of a stage that begins now (a Unix time)."""
    source = Path(full_path(request.source))
    if skips_read_back(request):
        return ChangeWatch(reader, source, Path(full_path(request.destination)), now_s).take
    is_plain = request.source.remote.backend == "local" and request.source.remote.encryption is None
    # A MOVE looks at the source itself before it deletes there.
    copies = request.method in (Method.INCREMENTAL, Method.FULL, Method.OVERWRITE)
    if is_plain and copies and not facts.shares_hash:
        return UploadWatch(reader, source).take
    return reader.take
