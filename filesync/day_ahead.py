"""What will run in the hours to come: starts, clashes on a storage, clock changes, a better spread.

Decides on plain values; `planned` alone reads the database. Nothing here knows a page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import F, OuterRef, Q, Subquery

from filesync.models import Storage, SyncConfig, SyncRun
from scheduler import cron

# A config whose last good run is unknown takes this long.
UNKNOWN_S = 60.0
MINUTES = 60


@dataclass(frozen=True, slots=True)
class Planned:
    """One config with its starts in the window, ascending in UTC, and what a run usually takes."""

    config_id: int
    name: str
    cron: str
    timezone: str
    storages: tuple[int, ...]
    usual_s: float
    slots: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Clash:
    """A time in which more runs want a storage than it allows; the others wait."""

    storage_id: int
    starts: datetime
    ends: datetime
    runs: int
    limit: int
    config_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A night in which a zone's clocks jump; `shift_s` is negative where they go back."""

    timezone: str
    at: datetime
    shift_s: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """A config that would better start at another minute of its hour."""

    config_id: int
    name: str
    cron: str
    new_cron: str


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
            storages = tuple(sorted({source, destination}))
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


def clashes(
    plans: Iterable[Planned], limits: Mapping[int, int], *, at_most: int = 20
) -> list[Clash]:
    """Return the times in which a storage's limit is passed, the earliest of each storage first.

    A run is taken to start on its slot and to last as long as its config's last good one.
    """
    by_storage: dict[int, list[tuple[datetime, int, int]]] = defaultdict(list)
    for plan in plans:
        lasts = timedelta(seconds=plan.usual_s)
        for storage_id in plan.storages:
            events = by_storage[storage_id]
            for slot in plan.slots:
                events.append((slot, 1, plan.config_id))
                events.append((slot + lasts, -1, plan.config_id))
    found: list[Clash] = []
    for storage_id, events in by_storage.items():
        found += _clashes_of(storage_id, limits[storage_id], events)
    return sorted(found, key=lambda clash: (clash.starts, clash.storage_id))[:at_most]


def _clashes_of(
    storage_id: int, limit: int, events: list[tuple[datetime, int, int]]
) -> list[Clash]:
    # What ends at a moment makes place for what starts at it.
    events.sort(key=lambda event: (event[0], event[1]))
    running: dict[int, int] = defaultdict(int)
    found: list[Clash] = []
    count, since, most, who = 0, None, 0, ()  # type: int, datetime | None, int, tuple[int, ...]
    for moment, change, config_id in events:
        count += change
        running[config_id] += change
        # With those that have ended left in, the walk took a second for 10,000 configs.
        if not running[config_id]:
            del running[config_id]
        if count > limit and count > most:
            most = count
            who = tuple(pk for pk, times in running.items() if times > 0)
            since = since or moment
        elif count <= limit and since is not None:
            found.append(Clash(storage_id, since, moment, most, limit, who))
            since, most, who = None, 0, ()
    return found


def clock_changes(plans: Iterable[Planned], now: datetime, until: datetime) -> list[ClockChange]:
    """Return the jumps of the clocks of all zones in use, with what fires within an hour of one."""
    by_zone: dict[str, list[Planned]] = defaultdict(list)
    for plan in plans:
        by_zone[plan.timezone].append(plan)
    hour = timedelta(hours=1)
    found: list[ClockChange] = []
    for name, members in sorted(by_zone.items()):
        zone = cron.load_timezone(name)
        moment = now.replace(minute=0, second=0, microsecond=0)
        while moment < until:
            shift_s = _offset_s(zone, moment + hour) - _offset_s(zone, moment)
            if shift_s:
                near = [
                    plan.name
                    for plan in members
                    if any(moment - hour <= slot <= moment + 2 * hour for slot in plan.slots)
                ]
                at = (moment + hour).astimezone(zone)
                found.append(ClockChange(name, at, shift_s, tuple(near[:5])))
            moment += hour
    return found


def _offset_s(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def spread(plans: Sequence[Planned], clashing: Iterable[Clash]) -> list[Move]:
    """Propose another minute of the same hour for configs that clash, so that fewer start together.

    Only a cron whose minute is one number is moved. The longest run of each clash stays where it
    is; each of the others goes where the fewest minutes of runs of the same storage lie.
    """
    by_id = {plan.config_id: plan for plan in plans}
    minutes = {plan.config_id: _minute(plan.cron) for plan in plans}
    load: dict[int, list[int]] = defaultdict(lambda: [0] * MINUTES)
    for plan in plans:
        _occupy(load, plan, minutes[plan.config_id], 1)
    moves: dict[int, Move] = {}
    for clash in clashing:
        movable = [by_id[pk] for pk in clash.config_ids if minutes[pk] is not None]
        movable.sort(key=lambda plan: (-plan.usual_s, plan.config_id))
        for plan in movable[1:]:
            minute = minutes[plan.config_id]
            if plan.config_id in moves or minute is None:
                continue
            _occupy(load, plan, minute, -1)
            best = min(range(MINUTES), key=lambda at: _cost(load, plan, at, minute))
            _occupy(load, plan, best, 1)
            if best != minute:
                rest = plan.cron.split(" ", 1)[1]
                new_cron = f"{best} {rest}"
                moves[plan.config_id] = Move(plan.config_id, plan.name, plan.cron, new_cron)
    return sorted(moves.values(), key=lambda move: (move.name, move.config_id))


def _minute(expr: str) -> int | None:
    first = expr.split(" ", 1)[0]
    return int(first) if first.isdecimal() else None


def _span(plan: Planned) -> int:
    """Return how many minutes of an hour a run takes, at least one."""
    return min(MINUTES, 1 + int(plan.usual_s // 60))


def _occupy(load: dict[int, list[int]], plan: Planned, minute: int | None, change: int) -> None:
    if minute is None:
        return
    for storage_id in plan.storages:
        for step in range(_span(plan)):
            load[storage_id][(minute + step) % MINUTES] += change


def _cost(load: dict[int, list[int]], plan: Planned, minute: int, before: int) -> tuple[int, int]:
    taken = sum(
        load[storage_id][(minute + step) % MINUTES]
        for storage_id in plan.storages
        for step in range(_span(plan))
    )
    return taken, abs(minute - before)
