"""What a line of rclone's log can say, each as a shape of its own.

How a line is read stands in lines, what it means for a run in readers and plan. None is changed
once it is made. Those that come for each file are not frozen: making a frozen one takes four times
as long.
"""

from __future__ import annotations

from dataclasses import dataclass

from filesync.engine.errors import FailureClass
from filesync.engine.events import InFlight


@dataclass(frozen=True, slots=True)
class Stats:
    """rclone's counters at one moment; `checks` counts comparisons and deletions alike."""

    bytes_done: int
    bytes_total: int
    transfers_done: int
    transfers_total: int
    checks_done: int
    checks_total: int
    deletes: int
    deleted_dirs: int
    renames: int
    errors: int
    listed: int
    speed_bytes_per_s: float
    eta_s: float | None
    in_flight: tuple[InFlight, ...]


@dataclass(slots=True)
class Copied:
    """A file arrived; `new` is False where it replaced another.

    `path` is its name at the source; `stored_as` the one at the destination, which a rename rule
    may have changed.
    """

    path: str
    size_bytes: int | None
    new: bool
    server_side: bool = False
    renamed_to: str | None = None

    @property
    def stored_as(self) -> str:
        """The path at the destination."""
        return self.path if self.renamed_to is None else self.renamed_to


@dataclass(slots=True)
class Deleted:
    """A file was removed: at the destination, or at the source of a move."""

    path: str


@dataclass(frozen=True, slots=True)
class MovedServerSide:
    """A file was renamed by the storage, also when it is kept before being overwritten.

    `renamed_to` is its new name, None where only its folder is another.
    """

    path: str
    renamed_to: str | None = None


@dataclass(frozen=True, slots=True)
class MovedToBackup:
    """A file that the run deletes was kept in the backup folder."""

    path: str


@dataclass(frozen=True, slots=True)
class Renamed:
    """A file at the destination took another name instead of being sent again.

    A dry run says so too, after it said that it skips the move.
    """

    path: str
    old_path: str


@dataclass(frozen=True, slots=True)
class TimeUpdated:
    """The contents were equal, only the modification time was set."""

    path: str


@dataclass(frozen=True, slots=True)
class DirMade:
    """A folder was made."""

    path: str


@dataclass(frozen=True, slots=True)
class DirRemoved:
    """A folder was removed."""

    path: str


COPY = "copy"
"""rclone's word for a file that would be sent, in `Skipped`."""


@dataclass(slots=True)
class Skipped:
    """What a dry run would do; `what` is rclone's own word ("copy", "delete", ...)."""

    what: str
    path: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A file of the source was passed over, for another has the same name at the destination.

    The path of a folder ends with a slash: nothing in it was looked at.
    """

    path: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A check found two sides unequal; which side misses the file only the report tells."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """An error; `path` is None when it is about no single file.

    That of a folder which could not be listed ends with a slash: nobody knows what is in it.
    `unplaced` says that a copy came and did not get its name, which is the path then.
    """

    text: str
    path: str | None
    failure_class: FailureClass
    critical: bool
    unplaced: bool = False


@dataclass(frozen=True, slots=True)
class Crash:
    """The Go runtime ended rclone, for want of memory or by a fault of its own."""

    text: str


@dataclass(frozen=True, slots=True)
class LastWords:
    """Why the whole command failed, said at its end; often the only line about it."""

    text: str
    failure_class: FailureClass


@dataclass(frozen=True, slots=True)
class Remark:
    """Anything else, plain text included."""

    level: str
    text: str
    path: str | None


Message = (
    Stats
    | Copied
    | Deleted
    | MovedServerSide
    | MovedToBackup
    | Renamed
    | TimeUpdated
    | DirMade
    | DirRemoved
    | Skipped
    | Duplicate
    | Difference
    | Problem
    | Crash
    | LastWords
    | Remark
)
