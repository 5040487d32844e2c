"""The calendar: which days of a month a rule names, and which times of a day.

No time zone here: a day is a date and a time what a clock on the wall shows.
"""

from __future__ import annotations

from calendar import monthrange
from functools import lru_cache

from scheduler.cron_grammar import Rule


def days_of(rule: Rule, year: int, month: int) -> tuple[int, ...]:
    """Return the days of one month that the rule names, ascending."""
    if month not in rule.months:
        return ()
    monday_based, length = monthrange(year, month)
    return _matching_days(rule.days, rule.weekdays, rule.either_day, (monday_based + 1) % 7, length)


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
def clocks_of(hours: tuple[int, ...], minutes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the times of day in seconds from 00:00, ascending; shared, for there can be 1,440."""
    return tuple(hour * 3600 + minute * 60 for hour in hours for minute in minutes)
