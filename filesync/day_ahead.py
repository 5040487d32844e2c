"""What will start in the hours to come, and in which nights the clocks change.

Decides on plain values; `planned` and `storage_limits` alone read the database. Nothing here knows
a page. What clashes is in `filesync.clashes`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db.models import F, OuterRef, Q, Subquery

from filesync.models import Storage, SyncConfig, SyncRun
from scheduler import cron

# A config whose last good run is unknown takes this long.
UNKNOWN_S = 60.0
NAMED = 5
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Planned(NamedTuple):
    """One config with its starts in the window, ascending in UTC, and what a run usually takes.

    A named tuple, for there may be 10,000; those of one schedule share their tuple of slots.
    """

    config_id: int
    name: str
    cron: str
    timezone: str
    storages: tuple[int, ...]
    usual_s: float
    slots: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A night in which a zone's clocks jump; `shift_s` is negative where they go back."""

    timezone: str
    at: datetime
    shift_s: int
    names: tuple[str, ...]


def planned(now: datetime, until: datetime) -> list[Planned]:
    """Return every enabled config that fires in the window; one query, one walk per schedule."""
    good = SyncRun.objects.filter(
        config=OuterRef("pk"), state=SyncRun.State.SUCCEEDED, dry_run=False
    ).order_by("-pk")
    configs = (
        SyncConfig.objects.filter(enable=True)
        .exclude(cron="")
        .filter(Q(end_time=None) | Q(end_time__gt=now))
        .annotate(
            took=Subquery(good.annotate(took=F("finished_at") - F("started_at")).values("took")[:1])
        )
        .order_by("name")
    )
    walked: dict[tuple[str, str], tuple[datetime, ...]] = {}
    found: list[Planned] = []
    for pk, name, expr, zone, starts, ends, source, destination, took in configs.values_list(
        "pk",
        "name",
        "cron",
        "timezone",
        "start_time",
        "end_time",
        "source_storage_id",
        "destination_storage_id",
        "took",
    ):
        slots = walked.get((expr, zone))
        if slots is None:
            slots = walked[expr, zone] = _slots(expr, zone, now, until)
        if starts is not None or ends is not None:
            slots = tuple(
                slot
                for slot in slots
                if (starts is None or slot >= starts) and (ends is None or slot < ends)
            )
        if slots:
            usual_s = took.total_seconds() if took is not None else UNKNOWN_S
            storages = (source,) if source == destination else (source, destination)
            found.append(Planned(pk, name, expr, zone, storages, usual_s, slots))
    return found


def _slots(expr: str, zone: str, now: datetime, until: datetime) -> tuple[datetime, ...]:
    try:
        return tuple(cron.slots_between(expr, zone, after=now, until=until))
    except cron.InvalidCron:
        return ()


def storage_limits() -> dict[int, tuple[str, int]]:
    """Return name and limit of concurrent runs of every storage, by id."""
    rows = Storage.objects.values_list("pk", "name", "max_concurrent_runs")
    return {pk: (name, limit) for pk, name, limit in rows}


def histogram(
    plans: Iterable[Planned], now: datetime, bucket: timedelta, buckets: int
) -> list[int]:
    """Return how many runs start in each of the next `buckets` spans of time."""
    counts = [0] * buckets
    # Many configs share a schedule, and thus the very tuple of slots.
    same: dict[int, int] = defaultdict(int)
    slots_of: dict[int, tuple[datetime, ...]] = {}
    for plan in plans:
        same[id(plan.slots)] += 1
        slots_of[id(plan.slots)] = plan.slots
    for key, slots in slots_of.items():
        for slot in slots:
            number = int((slot - now) / bucket)
            if number < buckets:
                counts[number] += same[key]
    return counts


def clock_changes(plans: Iterable[Planned], now: datetime, until: datetime) -> list[ClockChange]:
    """Return the jumps of the clocks of all zones in use, with what fires within an hour of one."""
    by_zone: dict[str, list[Planned]] = defaultdict(list)
    for plan in plans:
        by_zone[plan.timezone].append(plan)
    found: list[ClockChange] = []
    for name, members in sorted(by_zone.items()):
        zone = cron.load_timezone(name)
        for begin, shift_s in _jumps(zone, now.replace(minute=0, second=0, microsecond=0), until):
            near = (
                plan.name
                for plan in members
                if any(begin - HOUR <= slot <= begin + 2 * HOUR for slot in plan.slots)
            )
            at = (begin + HOUR).astimezone(zone)
            found.append(ClockChange(name, at, shift_s, tuple(islice(near, NAMED))))
    return found


def _jumps(zone: ZoneInfo, begin: datetime, until: datetime) -> Iterator[tuple[datetime, int]]:
    """Yield the hours in which the clocks jump, and by how much.

    The hours of a day are looked at only where it has one: no zone jumps twice within a week.
    """
    while begin < until:
        if _offset_s(zone, begin) != _offset_s(zone, begin + DAY):
            for hour in (begin + number * HOUR for number in range(24)):
                shift_s = _offset_s(zone, hour + HOUR) - _offset_s(zone, hour)
                if shift_s and hour < until:
                    yield hour, shift_s
        begin += DAY


def _offset_s(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0
