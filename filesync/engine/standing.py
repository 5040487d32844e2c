"""How files stand at a destination, as listings show them, and which of them are the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# FAT keeps times in steps of two seconds; others round to one, or to less.
_SAME_TIME_S = 2.0


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file as a listing shows it; `changed_at_s` is a Unix time, hashes are seldom asked for."""

    size_bytes: int
    changed_at_s: float
    hashes: tuple[tuple[str, str], ...] = ()

    def equals(self, other: FileFacts) -> bool:
        """Whether both are one file, as far as size and time can say."""
        apart_s = abs(self.changed_at_s - other.changed_at_s)
        return self.size_bytes == other.size_bytes and apart_s <= _SAME_TIME_S

    def is_copy_of(self, other: FileFacts) -> bool:
        """Whether both have the same contents for sure, which hashes alone tell."""
        return self.size_bytes == other.size_bytes and self.hashes == other.hashes != ()


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A kept file, and the numbers of the attempt and of the stage of it that kept it first."""

    attempt: int
    facts: FileFacts
    stage: int = 1

    @property
    def place(self) -> tuple[int, int]:
        """When it was kept: attempt and stage, which sort by time."""
        return self.attempt, self.stage


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand now, and since when.

    `now` is the destination; `source` is given for a MOVE, whose files go back there. `unclear` are
    the paths of which an attempt kept a file whose log is lost. Both times
    are by the clock of the destination: what changed after `ended_at_s` is not the run's, and what
    changed after `begun_at_s` may be the work of an earlier attempt at undoing the run.
    """

    now: Mapping[str, FileFacts]
    kept: Mapping[str, KeptFile]
    ended_at_s: float
    begun_at_s: float | None = None
    source: Mapping[str, FileFacts] | None = None
    unclear: frozenset[str] = frozenset()
