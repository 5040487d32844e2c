"""What a run tells its caller: events while it runs, and the result at its end."""

from __future__ import annotations

import enum
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from filesync.engine.errors import Failure


class StopSignal:
    """A wish to end a run, which any thread may state at any time."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._at_once = threading.Event()

    def request(self, *, at_once: bool = False) -> None:
        """Ask the run to end; it then finishes with CANCELLED.

        `at_once` leaves it no time to put back what it set aside for files that did not come.
        """
        if at_once:
            self._at_once.set()
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether the run has been asked to end."""
        return self._event.is_set()

    @property
    def at_once(self) -> bool:
        """Whether there is no time for anything else."""
        return self._at_once.is_set()


class Phase(enum.StrEnum):
    """What a run is doing."""

    PLANNING = "PLANNING"
    LISTING = "LISTING"
    TRANSFERRING = "TRANSFERRING"
    DELETING = "DELETING"


class Action(enum.StrEnum):
    """What happened to one path; in a plan, what would happen."""

    ADDED = "ADDED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"
    RENAMED = "RENAMED"
    MOVED = "MOVED"
    RESTORED = "RESTORED"
    DIR_MADE = "DIR_MADE"
    DIR_REMOVED = "DIR_REMOVED"
    TIME_UPDATED = "TIME_UPDATED"
    DIFFERS = "DIFFERS"
    MISSING_ON_DESTINATION = "MISSING_ON_DESTINATION"
    MISSING_ON_SOURCE = "MISSING_ON_SOURCE"
    FAILED = "FAILED"


class Outcome(enum.StrEnum):
    """How a run ended."""

    SUCCEEDED = "SUCCEEDED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """The run entered another phase."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class InFlight:
    """A file on its way; `size_bytes` is -1 while unknown."""

    name: str
    size_bytes: int
    bytes_done: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the run stands; totals grow while the listing goes on. `eta_s` is None if unknown."""

    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int
    checks_done: int
    checks_total: int
    deletes: int
    errors: int
    speed_bytes_per_s: float
    eta_s: float | None
    in_flight: tuple[InFlight, ...] = ()


# Not frozen, as that takes four times as long to make, and one is made for each file.
@dataclass(slots=True)
class ItemDone:
    """One path was dealt with; a FAILED one carries the error.

    Paths are as rclone logs them: a newline shows as "␊", invalid UTF-8 as U+FFFD. That of a
    folder which could not be listed ends with a slash. `old_path` is what a RENAMED one was called
    before.
    """

    action: Action
    path: str
    size_bytes: int | None = None
    error: str | None = None
    old_path: str = ""


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One change that a plan would make; `old_path` is what a RENAMED file is called now."""

    action: Action
    path: str
    size_bytes: int | None = None
    old_path: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do. Counts are exact; `items` is a capped sample, deletions kept first.

    A file that would be renamed at the destination is neither an addition nor a deletion, and
    `bytes_renamed` need not be sent.
    `source_files`, `source_bytes` and `destination_files` count what the filters let through;
    they are None for a method whose dry run does not tell them (CHECK).
    """

    adds: int = 0
    updates: int = 0
    deletes: int = 0
    renames: int = 0
    dirs_made: int = 0
    dirs_removed: int = 0
    times_updated: int = 0
    bytes_to_send: int = 0
    bytes_to_delete: int = 0
    bytes_renamed: int = 0
    source_files: int | None = None
    source_bytes: int | None = None
    destination_files: int | None = None
    items: tuple[PlanItem, ...] = ()
    items_left_off: int = 0


@dataclass(frozen=True, slots=True)
class PlanReady:
    """The plan stands; the guards have not spoken yet."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class LogLine:
    """A warning or an error of rclone; `object` is the path it speaks of."""

    level: str
    message: str
    object: str | None = None


@dataclass(frozen=True, slots=True)
class ProcessStarted:
    """An rclone process was started; its process group has the same number."""

    pid: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing happened; the caller may renew its lease."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a run did, exact even where items are capped. CHECK counts differences apart."""

    files_transferred: int = 0
    bytes_transferred: int = 0
    files_deleted: int = 0
    dirs_removed: int = 0
    files_renamed: int = 0
    files_checked: int = 0
    files_failed: int = 0
    differences: int = 0


@dataclass(frozen=True, slots=True)
class SyncResult:
    """How a run ended.

    `failure` is set unless the outcome is SUCCEEDED or CANCELLED. `log_tail` holds the last lines
    with secrets blanked. `changed_files` says that a file at the destination was changed, or may
    have been: there may be something to undo. `refreshed` maps "src" and "dst" to option values
    that rclone changed, such as an OAuth token: they are secrets, in plain text.
    """

    outcome: Outcome
    totals: Totals = Totals()
    failure: Failure | None = None
    plan: Plan | None = None
    exit_code: int | None = None
    log_tail: tuple[str, ...] = ()
    duration_s: float = 0.0
    changed_files: bool = False
    refreshed: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every run."""

    result: SyncResult


Event = PhaseChanged | Progress | ItemDone | PlanReady | LogLine | ProcessStarted | Tick | Finished
