"""The one authority on "when": which instants a cron expression names, in which zone.

No Django, no celery, no database, and no clock: "now" is always passed in. What an expression
may say is read by `scheduler.cron_grammar`, which days that names is said by `scheduler.cron_days`
and how the clock of a zone runs by `scheduler.cron_zones`. What other modules need of those is
offered here: this is the front door.

The calendar and the daylight-saving walk are our own. cronsim is the oracle of the
tests, away from clock changes, and does not walk here, because around them it is wrong:
- `0 */2 4 11 *`, America/Sao_Paulo 2018: answers 00:00, which that day does not have;
- `0 */3 * * *`, Australia/Lord_Howe 2025-04-06: loses 03:00 (the hour is 90 minutes long);
- started inside the second of two repeated hours it can answer a time in the past.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from scheduler import cron_words
from scheduler.cron_days import clocks_of, days_of
from scheduler.cron_errors import InvalidCron, translate_with
from scheduler.cron_errors import gettext as _
from scheduler.cron_fields import MAX_LENGTH
from scheduler.cron_grammar import Rule, normalise, numeric_fields, read_rule
from scheduler.cron_zones import (
    DAY_S,
    EPOCH_ORDINAL,
    Stretch,
    load_timezone,
    stretches,
    to_datetime,
    to_instant,
    year_of,
)

__all__ = [
    "MAX_LENGTH",
    "CronSchedule",
    "InvalidCron",
    "describe",
    "iter_slots",
    "load_timezone",
    "next_slots",
    "normalise",
    "numeric_fields",
    "previous_slot",
    "schedule",
    "slots_between",
    "translate_with",
]

# 29 February on one given weekday is the rarest thing the grammar can say: 40 years apart
# across 2100. What has not fired in 60 years never will.
HORIZON_YEARS = 60


def describe(expr: str, language: str = "en") -> str:
    """Say the expression in short human words; raises InvalidCron.

    Languages: `en`, `zh-hans` (also `zh-cn`, `zh`); any other gets English.
    """
    return cron_words.describe(normalise(expr), language)


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """One expression in one timezone; equal and hashable by normal expression and zone name.

    The rule is Debian cron's. A job whose minute or hour starts with `*` follows real time: it
    fires whenever the wall clock matches, in both passes of a repeated hour, and a skipped hour
    invents nothing. Any other job follows the wall clock: what falls in a gap fires once, right
    after it, and what falls in a repeated hour fires the first time only. A gap counts whatever
    its length, so Pacific/Apia's missing 30 December 2011 is made up for once as well, where
    Debian gives up on jumps over three hours.

    Raises InvalidCron when built from a bad expression or timezone.
    """

    expr: str
    timezone: str
    _rule: Rule = field(init=False, repr=False, compare=False)
    _clocks: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rule = read_rule(self.expr)
        object.__setattr__(self, "expr", rule.text)
        object.__setattr__(self, "_rule", rule)
        object.__setattr__(self, "_clocks", clocks_of(rule.hours, rule.minutes))
        object.__setattr__(self, "_zone", load_timezone(self.timezone))

    def next_after(self, after: datetime) -> datetime:
        """Return the first slot strictly later than `after` (aware), in UTC.

        Raises InvalidCron when there is none within 60 years, ValueError when `after` is naive.
        """
        start_s = to_instant(after) + 1
        last_year = min(year_of(start_s) + HORIZON_YEARS, 9998)
        while (year := year_of(start_s)) <= last_year:
            for stretch in stretches(self._zone, year):
                if stretch.end_s <= start_s:
                    continue
                found_s = self._first_in(stretch, start_s)
                if found_s is not None:
                    return to_datetime(found_s)
                start_s = stretch.end_s
        reason = _("%(cron)s does not fire in %(timezone)s by %(year)d") % {
            "cron": self.expr,
            "timezone": self.timezone,
            "year": last_year,
        }
        raise InvalidCron("cron", reason)

    def previous_at(self, at: datetime) -> datetime | None:
        """Return the latest slot at or before `at` (aware), in UTC; None within 60 years.

        Raises ValueError when `at` is naive.
        """
        at_s = to_instant(at)
        first_year = max(year_of(at_s) - HORIZON_YEARS, 2)
        while (year := year_of(at_s)) >= first_year:
            for stretch in reversed(stretches(self._zone, year)):
                if stretch.begin_s > at_s:
                    continue
                found_s = self._last_in(stretch, at_s)
                if found_s is not None:
                    return to_datetime(found_s)
                at_s = stretch.begin_s - 1
        return None

    def slots_after(self, after: datetime) -> Iterator[datetime]:
        """Yield every slot strictly later than `after`, ascending, in UTC."""
        while True:
            after = self.next_after(after)
            yield after

    def slots_between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield every slot with `after < slot <= until`, ascending, in UTC.

        Raises ValueError when a moment is naive.
        """
        return map(to_datetime, self.instants_between(after, until))

    def instants_between(self, after: datetime, until: datetime) -> Iterator[int]:
        """Yield what `slots_between` does as whole seconds since 1970, for those who count.

        Day by day: the minutes of a week take 2 ms so, 16 ms as moments, 90 ms from slot to slot.
        """
        start_s, end_s = to_instant(after) + 1, to_instant(until) + 1
        for year in range(year_of(start_s), year_of(end_s) + 1):
            for stretch in stretches(self._zone, year):
                begin_s = max(start_s, stretch.begin_s)
                if begin_s < min(end_s, stretch.end_s):
                    yield from self._all_in(stretch, begin_s, min(end_s, stretch.end_s))

    def _all_in(self, stretch: Stretch, begin_s: int, end_s: int) -> list[int]:
        walls = self._walls(self._first_wall_s(stretch, begin_s), end_s + stretch.offset_s)
        instants = [wall_s - stretch.offset_s for wall_s in walls]
        if instants and instants[0] < stretch.begin_s:
            # All that falls in a gap fires once.
            return [stretch.begin_s, *instants[bisect_right(instants, stretch.begin_s) :]]
        return instants

    def _walls(self, begin_s: int, end_s: int) -> list[int]:
        """Return the matching wall minutes from `begin_s` until before `end_s`, ascending."""
        first, last = begin_s // DAY_S, (end_s - 1) // DAY_S
        start = date.fromordinal(EPOCH_ORDINAL + first)
        year, month = start.year, start.month
        found: list[int] = []
        while (before_month := date(year, month, 1).toordinal() - EPOCH_ORDINAL - 1) < last:
            days = days_of(self._rule, year, month)
            lowest = bisect_left(days, first - before_month)
            for day in days[lowest : bisect_right(days, last - before_month)]:
                day_s = (before_month + day) * DAY_S
                clocks = self._clocks
                if day_s < begin_s or day_s + DAY_S > end_s:
                    lowest = bisect_left(clocks, begin_s - day_s)
                    clocks = clocks[lowest : bisect_left(clocks, end_s - day_s)]
                found += [day_s + clock_s for clock_s in clocks]
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        return found

    def _first_wall_s(self, stretch: Stretch, start_s: int) -> int:
        wall_s = start_s + stretch.offset_s
        if self._rule.interval:
            return wall_s
        # At the very beginning the floor stands even when it is earlier: that is the gap.
        return stretch.floor_s if start_s == stretch.begin_s else max(wall_s, stretch.floor_s)

    def _first_in(self, stretch: Stretch, start_s: int) -> int | None:
        found_s = self._wall_from(self._first_wall_s(stretch, start_s))
        if found_s is None:
            return None
        instant_s = max(found_s - stretch.offset_s, stretch.begin_s)
        return instant_s if instant_s < stretch.end_s else None

    def _last_in(self, stretch: Stretch, at_s: int) -> int | None:
        wall_s = self._wall_until(at_s + stretch.offset_s)
        if wall_s is None:
            return None
        begin_s = stretch.begin_s + stretch.offset_s
        if wall_s < (begin_s if self._rule.interval else stretch.floor_s):
            return None
        return max(wall_s - stretch.offset_s, stretch.begin_s)

    def _wall_from(self, wall_s: int) -> int | None:
        """Return the first matching wall minute at or after; None when not in this or next year."""
        day_number, second = divmod(wall_s, DAY_S)
        start = date.fromordinal(EPOCH_ORDINAL + day_number)
        days = days_of(self._rule, start.year, start.month)
        if start.day in days:
            at = bisect_left(self._clocks, second)
            if at < len(self._clocks):
                return day_number * DAY_S + self._clocks[at]
        year, month = start.year, start.month
        days = days[bisect_right(days, start.day) :]
        while not days:
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
            if year > start.year + 1:
                return None
            days = days_of(self._rule, year, month)
        found = date(year, month, days[0]).toordinal() - EPOCH_ORDINAL
        return found * DAY_S + self._clocks[0]

    def _wall_until(self, wall_s: int) -> int | None:
        """Return the last matching wall minute at or before; None when not in this or last year."""
        day_number, second = divmod(wall_s, DAY_S)
        start = date.fromordinal(EPOCH_ORDINAL + day_number)
        days = days_of(self._rule, start.year, start.month)
        if start.day in days:
            at = bisect_right(self._clocks, second)
            if at > 0:
                return day_number * DAY_S + self._clocks[at - 1]
        year, month = start.year, start.month
        days = days[: bisect_left(days, start.day)]
        while not days:
            year, month = (year, month - 1) if month > 1 else (year - 1, 12)
            if year < start.year - 1:
                return None
            days = days_of(self._rule, year, month)
        found = date(year, month, days[-1]).toordinal() - EPOCH_ORDINAL
        return found * DAY_S + self._clocks[-1]


# Behind a plain function, because lru_cache takes the types of the arguments away.
_built = lru_cache(maxsize=8192)(CronSchedule)


def schedule(expr: str, timezone: str) -> CronSchedule:
    """Return the schedule of an expression in a zone, built once; raises InvalidCron."""
    return _built(expr, timezone)


def iter_slots(expr: str, timezone: str, *, after: datetime) -> Iterator[datetime]:
    """Yield every slot strictly later than `after`, ascending, in UTC.

    Raises InvalidCron for a bad expression or timezone at once, not at the first slot.
    """
    return schedule(expr, timezone).slots_after(after)


def next_slots(expr: str, timezone: str, *, after: datetime, count: int) -> list[datetime]:
    """Return the first `count` slots strictly later than `after`, ascending, in UTC."""
    return list(islice(iter_slots(expr, timezone, after=after), count))


def previous_slot(expr: str, timezone: str, *, at: datetime) -> datetime | None:
    """Return the latest slot at or before `at`, in UTC; None when there is none in 60 years."""
    return schedule(expr, timezone).previous_at(at)


def slots_between(expr: str, timezone: str, *, after: datetime, until: datetime) -> list[datetime]:
    """Return the slots with `after < slot <= until`, ascending, in UTC."""
    return list(schedule(expr, timezone).slots_between(after, until))
