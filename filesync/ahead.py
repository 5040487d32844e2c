"""The time ahead as the page and the API show it: starts, clashes, clock changes, what to move."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from filesync import day_ahead
from filesync.clashes import Clash, Move, clashes, spread

MOVES = 100


@dataclass(frozen=True, slots=True)
class Window:
    """How far is looked, and the span in which starts are counted together."""

    hours: int
    bucket: timedelta

    @property
    def days(self) -> int:
        return self.hours // 24

    @property
    def buckets(self) -> int:
        return int(timedelta(hours=self.hours) / self.bucket)


WINDOWS = {
    "day": Window(24, timedelta(minutes=15)),
    "week": Window(7 * 24, timedelta(hours=1)),
}


@dataclass(frozen=True, slots=True)
class Ahead:
    """What was found; `storages` has name and limit of each, `counts` the starts of each span.

    `plans` are those of the storage that was asked for, `names` those of all configs; `clashes` are
    of the time `clashes_within`.
    """

    begins: datetime
    storage: int | None
    plans: list[day_ahead.Planned]
    names: dict[int, str]
    storages: dict[int, tuple[str, int]]
    counts: list[int]
    clashes: list[Clash]
    clashes_within: tuple[datetime, datetime]
    changes: list[day_ahead.ClockChange]
    moves: list[Move]


def look_ahead(window: Window, now: datetime, *, storage: int | None = None, day: int = 0) -> Ahead:
    """Return what starts from `now` on, of one storage or of all, as where there is none of the id.

    A week of every storage is too much to lay side by side, it took a third of a second: its
    clashes are those of one `day` of it, 24 hours from the begin or a multiple of them on. What is
    moved away from a clash knows all configs.
    """
    ends = now + timedelta(hours=window.hours)
    storages = day_ahead.storage_limits()
    limits = {pk: limit for pk, (_name, limit) in storages.items()}
    storage = storage if storage in storages else None
    every = day_ahead.planned(now, ends)
    plans = every if storage is None else [plan for plan in every if storage in plan.storages]
    # Counted from a full quarter of an hour, or a span would hold the ends of two.
    begins = _floor(now, window.bucket)
    since, until = now, ends
    if storage is None:
        since = now + min(day, window.days - 1) * timedelta(days=1)
        until = since + timedelta(days=1)
    clashing = clashes(every, limits, since=since, until=until, only=storage)
    return Ahead(
        begins,
        storage,
        plans,
        {plan.config_id: plan.name for plan in every},
        storages,
        day_ahead.histogram(plans, begins, window.bucket, window.buckets),
        clashing,
        (since, until),
        day_ahead.clock_changes(plans, now, now + timedelta(days=7)),
        spread(every, clashing, at_most=MOVES),
    )


def _floor(moment: datetime, step: timedelta) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step * step
