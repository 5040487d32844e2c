"""The one authority on "when": which instants a cron expression names, in which zone.

No Django, no celery, no database, and no clock: "now" is always passed in. What an expression
may say is read by `scheduler.cron_grammar`; its names are offered here too.

The calendar and the daylight-saving walk are this module's own. cronsim is the oracle of the
tests, away from clock changes, and does not walk here, because around them it is wrong:
- `0 */2 4 11 *`, America/Sao_Paulo 2018: answers 00:00, which that day does not have;
- `0 */3 * * *`, Australia/Lord_Howe 2025-04-06: loses 03:00 (the hour is 90 minutes long);
- started inside the second of two repeated hours it can answer a time in the past.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

from scheduler import cron_words
from scheduler.cron_errors import InvalidCron, translate_with
from scheduler.cron_errors import gettext as _
from scheduler.cron_fields import MAX_LENGTH
from scheduler.cron_grammar import Rule, from_fields, normalise, numeric_fields, read_rule

__all__ = [
    "MAX_LENGTH",
    "CronSchedule",
    "InvalidCron",
    "describe",
    "from_fields",
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

DAY_S = 86_400
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

# 29 February on one given weekday is the rarest thing the grammar can say: 40 years apart
# across 2100. What has not fired in 60 years never will.
HORIZON_YEARS = 60

# Since 1970 no zone changes its offset twice within 6.9 days (tzdata 2026, all 599 names).
PROBE_S = 5 * DAY_S


def describe(expr: str, language: str = "en") -> str:
    """Say the expression in short human words; raises InvalidCron.

    Languages: `en`, `zh-hans` (also `zh-cn`, `zh`); any other gets English.
    """
    return cron_words.describe(normalise(expr), language)


@lru_cache(maxsize=1)
def _timezones() -> frozenset[str]:
    # `localtime` is whatever this host is set to and `Factory` is "not set": neither is a place.
    # Listing the names reads the whole zone directory, 23 ms.
    return frozenset(available_timezones() - {"localtime", "Factory"})


def load_timezone(name: str) -> ZoneInfo:
    """Return the zone of an IANA name, spelled exactly; raises InvalidCron.

    The name is looked up in the list of zones first, so no path ever reaches the file system.
    """
    if name in _timezones():
        return ZoneInfo(name)
    if not name:
        raise InvalidCron("timezone", _("empty; write an IANA name such as Europe/Berlin"))
    shown = name if len(name) <= 40 else name[:40] + "..."
    spelled = next((zone for zone in _timezones() if zone.lower() == name.lower()), None)
    if spelled:
        reason = _("%(name)a is not an IANA timezone; did you mean %(spelled)s")
    else:
        reason = _("%(name)a is not an IANA timezone; write one such as Europe/Berlin")
    raise InvalidCron("timezone", reason % {"name": shown, "spelled": spelled})


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A stretch of real time, within one UTC year, during which the offset stays the same.

    `floor_s` is the first wall time no earlier stretch has shown. After clocks went back it is
    later than the wall time at `begin_s`, after clocks went forward earlier: the gap is below it.
    All in seconds since 1970, real ones or wall ones.
    """

    begin_s: int
    end_s: int
    offset_s: int
    floor_s: int


def _offset_s(zone: ZoneInfo, instant_s: int) -> int:
    offset = (EPOCH + timedelta(seconds=instant_s)).astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _change_s(zone: ZoneInfo, before_s: int, after_s: int) -> int:
    """Return the first second of the new offset, which differs between the two instants."""
    old = _offset_s(zone, before_s)
    while after_s - before_s > 1:
        middle = (before_s + after_s) // 2
        if _offset_s(zone, middle) == old:
            before_s = middle
        else:
            after_s = middle
    return after_s


@lru_cache(maxsize=4096)
def _stretches(zone: ZoneInfo, year: int) -> tuple[_Stretch, ...]:
    year_s = (date(year, 1, 1).toordinal() - EPOCH_ORDINAL) * DAY_S
    end_s = (date(year + 1, 1, 1).toordinal() - EPOCH_ORDINAL) * DAY_S
    # Two days early: a change on 31 December still sets the floor of 1 January.
    begin_s = year_s - 2 * DAY_S
    offset_s = _offset_s(zone, begin_s)
    floor_s = begin_s + offset_s
    found: list[_Stretch] = []
    for before_s, probe_s in pairwise([*range(begin_s, end_s, PROBE_S), end_s - 1]):
        new_offset_s = _offset_s(zone, probe_s)
        if new_offset_s == offset_s:
            continue
        change_s = _change_s(zone, before_s, probe_s)
        found.append(_Stretch(begin_s, change_s, offset_s, floor_s))
        begin_s, floor_s, offset_s = change_s, change_s + offset_s, new_offset_s
    found.append(_Stretch(begin_s, end_s, offset_s, floor_s))
    return tuple(
        stretch
        if stretch.begin_s >= year_s
        else _Stretch(
            year_s,
            stretch.end_s,
            stretch.offset_s,
            max(stretch.floor_s, year_s + stretch.offset_s),
        )
        for stretch in found
        if stretch.end_s > year_s
    )


@lru_cache(maxsize=4096)
def _matching_days(
    days: tuple[int, ...],
    weekdays: tuple[int, ...],
    either: bool,
    first_weekday: int,
    length: int,
) -> tuple[int, ...]:
    """Return the matching days of a month of that length whose day 1 is that weekday (Sunday 0)."""
    chosen = set(days)
    on_weekday = {day for day in range(1, length + 1) if (first_weekday + day - 1) % 7 in weekdays}
    matching = chosen | on_weekday if either else chosen & on_weekday
    return tuple(sorted(day for day in matching if day <= length))


@lru_cache(maxsize=1024)
def _clocks(hours: tuple[int, ...], minutes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the times of day in seconds from 00:00, ascending; shared, for there can be 1,440."""
    return tuple(hour * 3600 + minute * 60 for hour in hours for minute in minutes)


def _year(instant_s: int) -> int:
    return date.fromordinal(EPOCH_ORDINAL + instant_s // DAY_S).year


def _to_instant(moment: datetime) -> int:
    """Return whole seconds since 1970, rounded down."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no timezone")
    return (moment - EPOCH) // timedelta(seconds=1)


def _to_datetime(instant_s: int) -> datetime:
    return EPOCH + timedelta(seconds=instant_s)


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
        object.__setattr__(self, "_clocks", _clocks(rule.hours, rule.minutes))
        object.__setattr__(self, "_zone", load_timezone(self.timezone))

    def next_after(self, after: datetime) -> datetime:
        """Return the first slot strictly later than `after` (aware), in UTC.

        Raises InvalidCron when there is none within 60 years, ValueError when `after` is naive.
        """
        start_s = _to_instant(after) + 1
        last_year = min(_year(start_s) + HORIZON_YEARS, 9998)
        while (year := _year(start_s)) <= last_year:
            for stretch in _stretches(self._zone, year):
                if stretch.end_s <= start_s:
                    continue
                found_s = self._first_in(stretch, start_s)
                if found_s is not None:
                    return _to_datetime(found_s)
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
        at_s = _to_instant(at)
        first_year = max(_year(at_s) - HORIZON_YEARS, 2)
        while (year := _year(at_s)) >= first_year:
            for stretch in reversed(_stretches(self._zone, year)):
                if stretch.begin_s > at_s:
                    continue
                found_s = self._last_in(stretch, at_s)
                if found_s is not None:
                    return _to_datetime(found_s)
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
        return map(_to_datetime, self.instants_between(after, until))

    def instants_between(self, after: datetime, until: datetime) -> Iterator[int]:
        """Yield what `slots_between` does as whole seconds since 1970, for those who count.

        Day by day: each minute of a week takes 1 ms so, and 55 ms from slot to slot.
        """
        start_s, end_s = _to_instant(after) + 1, _to_instant(until) + 1
        for year in range(_year(start_s), _year(end_s) + 1):
            for stretch in _stretches(self._zone, year):
                begin_s = max(start_s, stretch.begin_s)
                if begin_s < min(end_s, stretch.end_s):
                    yield from self._all_in(stretch, begin_s, min(end_s, stretch.end_s))

    def _all_in(self, stretch: _Stretch, begin_s: int, end_s: int) -> list[int]:
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
            days = self._days_of(year, month)
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

    def _first_wall_s(self, stretch: _Stretch, start_s: int) -> int:
        wall_s = start_s + stretch.offset_s
        if self._rule.interval:
            return wall_s
        # At the very beginning the floor stands even when it is earlier: that is the gap.
        return stretch.floor_s if start_s == stretch.begin_s else max(wall_s, stretch.floor_s)

    def _first_in(self, stretch: _Stretch, start_s: int) -> int | None:
        found_s = self._wall_from(self._first_wall_s(stretch, start_s))
        if found_s is None:
            return None
        instant_s = max(found_s - stretch.offset_s, stretch.begin_s)
        return instant_s if instant_s < stretch.end_s else None

    def _last_in(self, stretch: _Stretch, at_s: int) -> int | None:
        wall_s = self._wall_until(at_s + stretch.offset_s)
        if wall_s is None:
            return None
        begin_s = stretch.begin_s + stretch.offset_s
        if wall_s < (begin_s if self._rule.interval else stretch.floor_s):
            return None
        return max(wall_s - stretch.offset_s, stretch.begin_s)

    def _days_of(self, year: int, month: int) -> tuple[int, ...]:
        rule = self._rule
        if month not in rule.months:
            return ()
        monday_based, length = monthrange(year, month)
        return _matching_days(
            rule.days, rule.weekdays, rule.either_day, (monday_based + 1) % 7, length
        )

    def _wall_from(self, wall_s: int) -> int | None:
        """Return the first matching wall minute at or after; None when not in this or next year."""
        day_number, second = divmod(wall_s, DAY_S)
        start = date.fromordinal(EPOCH_ORDINAL + day_number)
        days = self._days_of(start.year, start.month)
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
            days = self._days_of(year, month)
        found = date(year, month, days[0]).toordinal() - EPOCH_ORDINAL
        return found * DAY_S + self._clocks[0]

    def _wall_until(self, wall_s: int) -> int | None:
        """Return the last matching wall minute at or before; None when not in this or last year."""
        day_number, second = divmod(wall_s, DAY_S)
        start = date.fromordinal(EPOCH_ORDINAL + day_number)
        days = self._days_of(start.year, start.month)
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
            days = self._days_of(year, month)
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
