"""What will start in the hours to come, and in which nights the clocks change.

Decides on plain values; `planned` and `storage_limits` alone read the database. Nothing here knows
a page. What clashes is in `filesync.clashes`. Starts are whole minutes since 1970, in UTC: of
10,000 configs there may be very many.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.core.cache import cache
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, OuterRef, Q, Subquery
from django.db.models.sql.compiler import SQLCompiler

from filesync.models import Storage, SyncConfig
from filesync.selectors import telling_runs
from scheduler import cron

# A config without a good run takes this long.
UNKNOWN_S = 60.0
# Of so many of the latest runs the median is taken: for all configs at once.
USUAL_OF = 5
USUAL_PLACE = "ahead:usual"
USUAL_KEPT_S = 60
NAMED = 5
MINUTE_S = 60
HOUR_MIN = 60
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Planned(NamedTuple):
    """One config with its starts in the window, ascending, and what a run usually takes.

    A named tuple, for there may be 10,000; those of one schedule share their tuple of starts.
    """

    config_id: int
    name: str
    cron: str
    timezone: str
    storages: tuple[int, ...]
    usual_s: float
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A night in which a zone's clocks jump; `shift_s` is negative where they go back."""

    timezone: str
    at: datetime
    shift_s: int
    names: tuple[str, ...]


def planned(now: datetime, until: datetime) -> list[Planned]:
    """Return every enabled config that fires in the window, by name; one walk per schedule.

    It is called by its remark where it has one, as in the list of configs.
    """
    usual_s = _usual_s()
    configs = (
        SyncConfig.objects.filter(enable=True)
        .exclude(cron="")
        .filter(Q(end_time=None) | Q(end_time__gt=now))
        .order_by("name")
    )
    walked: dict[tuple[str, str], tuple[int, ...]] = {}
    found: list[Planned] = []
    for pk, name, remark, expr, zone, begins, ends, source, destination in configs.values_list(
        "pk",
        "name",
        "remark",
        "cron",
        "timezone",
        "start_time",
        "end_time",
        "source_storage_id",
        "destination_storage_id",
    ):
        starts = walked.get((expr, zone))
        if starts is None:
            starts = walked[expr, zone] = _starts(expr, zone, now, until)
        if begins is not None:
            starts = tuple(minute for minute in starts if moment_of(minute) >= begins)
        if ends is not None:
            starts = tuple(minute for minute in starts if moment_of(minute) < ends)
        if starts:
            storages = (source,) if source == destination else (source, destination)
            lasts_s = usual_s.get(pk, UNKNOWN_S)
            found.append(Planned(pk, remark or name, expr, zone, storages, lasts_s, starts))
    return found


class Median(Subquery):
    """The median of the one column `took` of a subquery's rows; of an even number the lower one."""

    template = (
        "(SELECT took FROM (SELECT took, ROW_NUMBER() OVER (ORDER BY took) AS place,"
        " COUNT(*) OVER () AS many FROM (%(subquery)s) AS latest) AS ranked"
        " WHERE place = (many + 1) / 2)"
    )

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, Sequence[Any]]:
        # In half the time.
        ordered = "percentile_disc(0.5) WITHIN GROUP (ORDER BY took)"
        template = f"(SELECT {ordered} FROM (%(subquery)s) AS latest)"  # noqa: S608 - no input
        sql, values = self.as_sql(compiler, connection, template=template)
        return sql, values


def _usual_s() -> dict[int, float]:
    """Return the median of how long the latest telling runs of each config took, where it has one.

    Of two the shorter: a first copy takes hours, and says nothing about those that follow.
    Remembered for a minute: for 10,000 configs it takes the database longer than all else on the
    page, half as long again as the last run alone; whoever looks at the day looks at the week next.
    """
    known: dict[int, float] | None = cache.get(USUAL_PLACE)
    if known is None:
        telling = telling_runs().filter(config=OuterRef("pk"))
        took = telling.annotate(took=F("finished_at") - F("started_at")).values("took")[:USUAL_OF]
        configs = SyncConfig.objects.filter(enable=True).order_by()
        rows = configs.values_list("pk", Median(took))
        known = {pk: span.total_seconds() for pk, span in rows if span is not None}
        cache.set(USUAL_PLACE, known, USUAL_KEPT_S)
    return known


def _starts(expr: str, zone: str, now: datetime, until: datetime) -> tuple[int, ...]:
    try:
        instants = cron.schedule(expr, zone).instants_between(now, until)
        return tuple([instant_s // MINUTE_S for instant_s in instants])
    except cron.InvalidCron:
        return ()


def minute_of(moment: datetime) -> int:
    """Return the minute since 1970 in which a moment lies."""
    return int(moment.timestamp()) // MINUTE_S


def moment_of(minute: int) -> datetime:
    """Return when a minute since 1970 begins, in UTC."""
    return datetime.fromtimestamp(minute * MINUTE_S, UTC)


def storage_limits() -> dict[int, tuple[str, int]]:
    """Return name and limit of concurrent runs of every storage, by id."""
    rows = Storage.objects.values_list("pk", "name", "max_concurrent_runs")
    return {pk: (name, limit) for pk, name, limit in rows}


def histogram(
    plans: Iterable[Planned], now: datetime, bucket: timedelta, buckets: int
) -> list[int]:
    """Return how many runs start in each of the next `buckets` spans of time, whole minutes long.

    `now` is not after the first start.
    """
    counts = [0] * buckets
    # Many configs share a schedule, and thus the very tuple of starts.
    same: dict[int, int] = defaultdict(int)
    starts_of: dict[int, tuple[int, ...]] = {}
    for plan in plans:
        same[id(plan.starts)] += 1
        starts_of[id(plan.starts)] = plan.starts
    begin, width = minute_of(now), bucket // timedelta(minutes=1)
    for key, starts in starts_of.items():
        for minute in starts:
            number = (minute - begin) // width
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
            hour = minute_of(begin)
            near = (plan.name for plan in members if _starts_near(plan, hour))
            at = (begin + HOUR).astimezone(zone)
            found.append(ClockChange(name, at, shift_s, tuple(islice(near, NAMED))))
    return found


def _starts_near(plan: Planned, hour: int) -> bool:
    """Whether it starts within an hour of the hour that begins with that minute."""
    at = bisect_left(plan.starts, hour - HOUR_MIN)
    return at < len(plan.starts) and plan.starts[at] <= hour + 2 * HOUR_MIN


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
