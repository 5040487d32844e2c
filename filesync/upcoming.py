"""What fires next, over all configs: read from their schedules, never one config at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from threading import Lock

from django.db.models import Case, Count, Min, Q, QuerySet, When
from django_celery_beat.models import PeriodicTasks

from filesync.models import SyncConfig
from scheduler import cron

# Configs whose schedule begins later and which are looked at, those that begin first.
STARTS_SEEN = 500
# Schedules are read again after so long, whatever their stamp says.
SEEN_AFTER = timedelta(seconds=30)


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

    The distinct schedules are remembered, and until the first of them fires the answer is, too;
    only the names are read then, which may change without any schedule.
    """
    known = _known_schedules(now)
    found = known.answer(limit, now)
    if found is None:
        found = _read_next(limit, known.soonest(now), now)
        known.keep(limit, found, now)
        return found
    wanted = SyncConfig.objects.filter(pk__in=[entry.config_id for entry in found])
    names = dict(wanted.values_list("pk", "name"))
    return [
        replace(entry, name=names[entry.config_id]) for entry in found if entry.config_id in names
    ]


def _read_next(limit: int, schedules: list[_Soon], now: datetime) -> list[NextRun]:
    """Read the configs of as many schedules as are needed."""
    live = _live(now)
    found: list[NextRun] = []
    while schedules and len(found) < limit:
        wanted, schedules = _enough(schedules, limit - len(found))
        found += _members(_started(live, now), wanted, limit - len(found))
    latest = found[-1].next_run if len(found) >= limit else None
    found += _later_starts(live, now, latest)
    return sorted(found, key=lambda entry: (entry.next_run, entry.config_id))[:limit]


def scheduled_count(*, now: datetime) -> int:
    """Return how many enabled configs have a cron and an end that has not passed."""
    return _known_schedules(now).configs


def missed_slots(since: datetime, *, now: datetime, at_most: int) -> int:
    """Return how many slots have passed since a moment, counted up to `at_most`."""
    missed = 0
    for expr, zone, configs in _known_schedules(now).groups:
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


@dataclass(slots=True)
class _Schedules:
    """The distinct schedules of all live configs, as one scan found them.

    True from `since` until `until`, when a config begins or ends, while no schedule was changed:
    each change of one moves the stamp that beat looks at, in its own transaction.
    """

    stamp: datetime | None
    since: datetime
    until: datetime
    configs: int
    groups: list[tuple[str, str, int]]
    _lock: Lock = field(default_factory=Lock)
    _soonest: list[_Soon] = field(default_factory=list)
    _asked: datetime | None = None
    _answers: dict[int, tuple[datetime, list[NextRun]]] = field(default_factory=dict)

    def answer(self, limit: int, now: datetime) -> list[NextRun] | None:
        """Return what was kept, None where one of it has fired since, or nothing was kept."""
        since, found = self._answers.get(limit, (now, []))
        return found if found and since <= now < found[0].next_run else None

    def keep(self, limit: int, found: list[NextRun], now: datetime) -> None:
        self._answers[limit] = now, found

    def hold(self, stamp: datetime | None, now: datetime) -> bool:
        return stamp is not None and stamp == self.stamp and self.since <= now < self.until

    def soonest(self, now: datetime) -> list[_Soon]:
        """Return the next slot of each, the soonest first; only those that have come are walked."""
        with self._lock:
            kept: list[_Soon] = []
            past: Iterable[tuple[str, str, int]] = self.groups
            if self._asked is not None and self._asked <= now:
                first = bisect_right(self._soonest, now, key=itemgetter(0))
                kept = self._soonest[first:]
                past = [entry[1:] for entry in self._soonest[:first]]
            for expr, zone, configs in past:
                if (slot := _slot_after(expr, zone, now)) is not None:
                    kept.append((slot, expr, zone, configs))
            self._soonest, self._asked = sorted(kept), now
            return self._soonest


_lock = Lock()
_last: _Schedules | None = None


def _known_schedules(now: datetime) -> _Schedules:
    """Return the schedules, read again where they may have changed.

    At 100,000 configs the scan takes 50 ms, and walking 2,000 schedules as long. Rows that were
    written past the models are seen after `SEEN_AFTER` at the latest.
    """
    global _last
    stamp = PeriodicTasks.last_change()
    with _lock:
        if _last is None or not _last.hold(stamp, now):
            _last = _read_schedules(stamp, now)
        return _last


def _read_schedules(stamp: datetime | None, now: datetime) -> _Schedules:
    begun = Q(start_time=None) | Q(start_time__lte=now)
    rows = list(
        _live(now)
        .order_by()
        .values_list("cron", "timezone")
        .annotate(
            configs=Count("pk"),
            begun=Count("pk", filter=begun),
            begins=Min("start_time", filter=Q(start_time__gt=now)),
            ends=Min("end_time"),
        )
    )
    turns = [moment for row in rows for moment in row[4:] if moment is not None]
    return _Schedules(
        stamp,
        since=now,
        until=min([now + SEEN_AFTER, *turns]),
        configs=sum(row[2] for row in rows),
        groups=[(expr, zone, configs) for expr, zone, _, configs, *_ in rows if configs],
    )


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
