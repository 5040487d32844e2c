"""What fires next, over all configs: read from their schedules, never one config at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from django.db.models import Case, Count, Q, QuerySet, When

from filesync.models import SyncConfig
from scheduler import cron

# Configs whose schedule begins later and which are looked at, those that begin first.
STARTS_SEEN = 500


@dataclass(frozen=True, slots=True)
class NextRun:
    """When one config fires next."""

    config_id: int
    name: str
    cron: str
    timezone: str
    next_run: datetime


def next_runs(limit: int, *, now: datetime) -> list[NextRun]:
    """Return the enabled configs that fire soonest.

    One query reads the distinct schedules, whose next slots are remembered; one more reads the
    configs of those that are needed.
    """
    live = _live(now)
    schedules = sorted(_next_slots(live, now))
    found: list[NextRun] = []
    while schedules and len(found) < limit:
        wanted, schedules = _enough(schedules, limit - len(found))
        found += _members(_started(live, now), wanted, limit - len(found))
    latest = found[-1].next_run if len(found) >= limit else None
    found += _later_starts(live, now, latest)
    return sorted(found, key=lambda entry: (entry.next_run, entry.config_id))[:limit]


def scheduled_count(*, now: datetime) -> int:
    """Return how many enabled configs have a cron and an end that has not passed."""
    return _live(now).count()


def missed_slots(since: datetime, *, now: datetime, at_most: int) -> int:
    """Return how many slots have passed since a moment, counted up to `at_most`."""
    live = _started(_live(now), now)
    groups = live.order_by().values_list("cron", "timezone").annotate(configs=Count("pk"))
    missed = 0
    for expr, zone, configs in groups:
        after = since
        while (slot := _slot_after(expr, zone, after)) is not None and slot <= now:
            missed += configs
            after = slot
            if missed >= at_most:
                return at_most
    return missed


def _live(now: datetime) -> QuerySet[SyncConfig]:
    live = SyncConfig.objects.filter(enable=True).exclude(cron="")
    return live.filter(Q(end_time=None) | Q(end_time__gt=now))


def _started(live: QuerySet[SyncConfig], now: datetime) -> QuerySet[SyncConfig]:
    return live.filter(Q(start_time=None) | Q(start_time__lte=now))


# When a schedule fires next, the schedule, and how many configs have it.
_Soon = tuple[datetime, str, str, int]


def _next_slots(live: QuerySet[SyncConfig], now: datetime) -> Iterator[_Soon]:
    groups = _started(live, now).order_by().values_list("cron", "timezone")
    for expr, zone, configs in groups.annotate(configs=Count("pk")):
        asked, slot = _remembered.get((expr, zone), (now, None))
        if slot is None or not asked <= now < slot:
            slot = _slot_after(expr, zone, now)
            if slot is None:
                continue
            if len(_remembered) >= MOST_REMEMBERED:
                _remembered.clear()
            _remembered[expr, zone] = (now, slot)
        yield slot, expr, zone, configs


def _enough(schedules: list[_Soon], limit: int) -> tuple[list[_Soon], list[_Soon]]:
    """Split off the first schedules that have `limit` configs together."""
    configs = 0
    for number, soon in enumerate(schedules, start=1):
        configs += soon[-1]
        if configs >= limit:
            return schedules[:number], schedules[number:]
    return schedules, []


def _members(live: QuerySet[SyncConfig], schedules: list[_Soon], limit: int) -> list[NextRun]:
    """Return the configs of these schedules whose end lets them fire, the soonest first."""
    ranks: list[When] = []
    wanted = Q()
    for rank, (slot, expr, zone, _) in enumerate(schedules):
        mine = Q(cron=expr, timezone=zone) & (Q(end_time=None) | Q(end_time__gt=slot))
        ranks.append(When(mine, then=rank))
        wanted |= mine
    ranked = live.filter(wanted).annotate(rank=Case(*ranks)).order_by("rank", "pk")
    return [
        NextRun(pk, name, schedules[rank][1], schedules[rank][2], schedules[rank][0])
        for pk, name, rank in ranked.values_list("pk", "name", "rank")[:limit]
    ]


# The next slot of a schedule stays so until it has come: computing 2,000 takes 60 ms.
_remembered: dict[tuple[str, str], tuple[datetime, datetime]] = {}
MOST_REMEMBERED = 50_000


def _later_starts(
    live: QuerySet[SyncConfig], now: datetime, latest: datetime | None
) -> list[NextRun]:
    """Return the fires of configs whose schedule begins later, none after `latest`."""
    coming = live.filter(start_time__gt=now).order_by("start_time")
    if latest is not None:
        coming = coming.filter(start_time__lte=latest)
    found: list[NextRun] = []
    for pk, name, expr, zone, starts, ends in coming.values_list(
        "pk", "name", "cron", "timezone", "start_time", "end_time"
    )[:STARTS_SEEN]:
        assert starts is not None
        slot = _slot_after(expr, zone, starts - timedelta(microseconds=1))
        if slot is not None and (ends is None or slot < ends):
            found.append(NextRun(pk, name, expr, zone, slot))
    return found


@lru_cache(maxsize=20_000)
def _slot_after(expr: str, zone: str, after: datetime) -> datetime | None:
    """Return the next slot; None for a cron that was written past the model: a refresh tells."""
    try:
        return cron.schedule(expr, zone).next_after(after)
    except cron.InvalidCron:
        return None
