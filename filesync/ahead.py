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
    def buckets(self) -> int:
        return int(timedelta(hours=self.hours) / self.bucket)


WINDOWS = {
    "day": Window(24, timedelta(minutes=15)),
    "week": Window(7 * 24, timedelta(hours=1)),
}


@dataclass(frozen=True, slots=True)
class Ahead:
    """What was found; `storages` has name and limit of each, `counts` the starts of each span."""

    begins: datetime
    plans: list[day_ahead.Planned]
    storages: dict[int, tuple[str, int]]
    counts: list[int]
    clashes: list[Clash]
    changes: list[day_ahead.ClockChange]
    moves: list[Move]


def look_ahead(window: Window, now: datetime) -> Ahead:
    """Return what starts from `now` on; clashes are those of the first day."""
    plans = day_ahead.planned(now, now + timedelta(hours=window.hours))
    # Counted from a full quarter of an hour, or a span would hold the ends of two.
    begins = _floor(now, window.bucket)
    storages = day_ahead.storage_limits()
    limits = {pk: limit for pk, (_name, limit) in storages.items()}
    # A week of every config is too much to lay side by side; its first day stands for it.
    clashing = clashes(plans, limits, until=begins + timedelta(days=1))
    return Ahead(
        begins,
        plans,
        storages,
        day_ahead.histogram(plans, begins, window.bucket, window.buckets),
        clashing,
        day_ahead.clock_changes(plans, begins, begins + timedelta(days=7)),
        spread(plans, clashing, at_most=MOVES),
    )


def _floor(moment: datetime, step: timedelta) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step * step
