"""A slow second opinion on cron: walks every real minute and asks what Debian cron would do.

Shares no code with `scheduler.cron` nor with any cron library, and takes valid expressions only.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
# Longer than the longest jump a clock ever made since 1970 (24 hours).
LEAD = timedelta(days=2)
WALL_ZERO = datetime(1970, 1, 1, tzinfo=UTC)

LOWS = (0, 0, 1, 1, 0)
HIGHS = (59, 23, 31, 12, 7)
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an expression says: five sets of numbers and the two facts a literal star decides."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    on_real_time: bool
    both_days: bool

    def matches(self, minute: int, hour: int, day: int, month: int, weekday: int) -> bool:
        if minute not in self.minutes or hour not in self.hours or month not in self.months:
            return False
        if self.both_days:
            return day in self.days and weekday in self.weekdays
        return day in self.days or weekday in self.weekdays


def meaning(expr: str) -> Meaning:
    texts = expr.lower().split()
    sets = [_expand(index, text) for index, text in enumerate(texts)]
    minutes, hours, days, months, weekdays = sets
    return Meaning(
        minutes,
        hours,
        days,
        months,
        frozenset(number % 7 for number in weekdays),
        on_real_time=texts[0][0] == "*" or texts[1][0] == "*",
        both_days=texts[2][0] == "*" or texts[4][0] == "*",
    )


def _expand(index: int, text: str) -> frozenset[int]:
    numbers: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        if span == "*":
            # Debian's weekday star runs over 0-7, but no step up to 6 hits 7 without 0.
            first, last = LOWS[index], 6 if index == 4 else HIGHS[index]
        else:
            begin, _, end = span.partition("-")
            first, last = _value(index, begin), _value(index, end or begin)
        number = first
        while number <= last:
            numbers.add(number)
            number += int(step or "1")
    return frozenset(numbers)


def _value(index: int, word: str) -> int:
    if word.isdigit():
        return int(word)
    return MONTHS.index(word) + 1 if index == 3 else WEEKDAYS.index(word)


Wall = tuple[int, int, int, int, int]


@lru_cache(maxsize=200_000)
def _wall(wall_minute: int) -> Wall:
    """Return minute, hour, day, month, weekday (Sunday 0) of a wall minute counted from 1970."""
    moment = WALL_ZERO + wall_minute * MINUTE
    return moment.minute, moment.hour, moment.day, moment.month, moment.isoweekday() % 7


@dataclass(frozen=True, slots=True)
class Window:
    """A walked piece of real time: each UTC minute from two days early with its wall minute."""

    zone: str
    begin: datetime
    end: datetime
    walked: tuple[tuple[datetime, int], ...]


def walk(zone: str, begin: str, days: int) -> Window:
    first = datetime.fromisoformat(begin).replace(tzinfo=UTC)
    end = first + timedelta(days=days)
    place = ZoneInfo(zone)
    walked: list[tuple[datetime, int]] = []
    instant = first - LEAD
    while instant <= end:
        wall = instant.astimezone(place).replace(tzinfo=UTC)
        walked.append((instant, (wall - WALL_ZERO) // MINUTE))
        instant += MINUTE
    return Window(zone, first, end, tuple(walked))


def fires(said: Meaning, window: Window) -> list[datetime]:
    """Return the instants of a window, its begin excluded, when Debian cron would start the job.

    Debian keeps a virtual clock for fixed-time jobs: it never goes back, and when the wall jumps
    ahead it catches up through every skipped minute at once.
    """
    found: list[datetime] = []
    virtual = window.walked[0][1]
    for instant, wall in window.walked[1:]:
        if said.on_real_time:
            due = said.matches(*_wall(wall))
        else:
            due = any(said.matches(*_wall(shown)) for shown in range(virtual + 1, wall + 1))
            virtual = max(virtual, wall)
        if due and instant > window.begin:
            found.append(instant)
    return found


def random_expression(dice: random.Random) -> str:
    """Return a valid expression that fires some day, in any spelling the grammar has."""
    texts = [_random_field(dice, index) for index in range(5)]
    if dice.random() < 0.7:
        texts[3] = "*"
    said = meaning(" ".join(texts))
    if said.both_days and min(said.days) > 28:
        texts[2] = "*"
    expr = dice.choice([" ", "  ", "\t"]).join(texts)
    return expr.upper() if dice.random() < 0.1 else expr


def _random_field(dice: random.Random, index: int) -> str:
    star_weight = 0.15 if index == 0 else 0.45
    if dice.random() < star_weight:
        return "*"
    items = 1 if dice.random() < 0.6 else dice.randint(2, 4)
    return ",".join(_random_item(dice, index) for _ in range(items))


def _random_item(dice: random.Random, index: int) -> str:
    low, high = LOWS[index], HIGHS[index]
    span = high - low - (index == 4)
    shape = dice.random()
    if shape < 0.15:
        return f"*/{dice.randint(1, span)}"
    if shape < 0.55:
        return _spelled(dice, index, dice.randint(low, high))
    first, last = sorted((dice.randint(low, high), dice.randint(low, high)))
    text = f"{_spelled(dice, index, first)}-{_spelled(dice, index, last)}"
    return f"{text}/{dice.randint(1, min(span, 9))}" if shape < 0.75 else text


def _spelled(dice: random.Random, index: int, number: int) -> str:
    if index >= 3 and dice.random() < 0.3 and not (number == 7 and index == 4):
        return MONTHS[number - 1] if index == 3 else WEEKDAYS[number]
    return f"0{number}" if dice.random() < 0.1 else str(number)
