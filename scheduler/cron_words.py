"""Cron expressions in human words, English and Simplified Chinese, and cron's own names.

Reads normalised text only: what may be written and when it fires is `scheduler.cron`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

CHINESE = frozenset({"zh", "zh-cn", "zh-hans"})

# Longer lists of clock times are said as minutes and hours.
MAX_CLOCKS = 6

ENGLISH_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
# Weeks are told from Monday: Sunday, cron's 0, is 7 here.
ENGLISH_WEEKDAYS = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
)
CHINESE_WEEKDAYS = ("周一", "周二", "周三", "周四", "周五", "周六", "周日")


@dataclass(frozen=True, slots=True)
class _Field:
    """One field: its numbers, ascending, and how they were written."""

    values: tuple[int, ...]
    full: bool
    step: int  # n of a lone */n, 1 when every value is in, 0 otherwise
    stepped: bool

    @property
    def single(self) -> bool:
        return len(self.values) == 1

    @property
    def unbroken(self) -> bool:
        return self.values[-1] - self.values[0] == len(self.values) - 1


@dataclass(frozen=True, slots=True)
class _Words:
    minute: _Field
    hour: _Field
    day: _Field
    month: _Field
    weekday: _Field
    either_day: bool

    @property
    def clocks(self) -> list[str]:
        """The times of day when few and none from a step, else nothing."""
        if self.minute.step or self.hour.step:
            return []
        if len(self.minute.values) * len(self.hour.values) > MAX_CLOCKS:
            return []
        return [f"{h:02d}:{m:02d}" for h in self.hour.values for m in self.minute.values]

    @property
    def by_day(self) -> bool:
        return not self.day.full and not (self.either_day and self.weekday.full)

    @property
    def by_weekday(self) -> bool:
        return not self.weekday.full and not (self.either_day and self.day.full)


def describe(expr: str, language: str = "en") -> str:
    """Say a normalised expression in short words.

    Languages: `en`, `zh-hans` (also `zh-cn`, `zh`); any other gets English.
    """
    words = _read(expr)
    if language.lower().replace("_", "-") in CHINESE:
        return _chinese(words)
    return _english(words)


def _read(expr: str) -> _Words:
    minute, hour, day, month, weekday = expr.split(" ")
    week = _field(weekday, 0, 6, WEEKDAY_NAMES)
    from_monday = tuple(sorted(value or 7 for value in week.values))
    return _Words(
        _field(minute, 0, 59),
        _field(hour, 0, 23),
        _field(day, 1, 31),
        _field(month, 1, 12, MONTH_NAMES),
        _Field(from_monday, week.full, week.step, week.stepped),
        either_day=not (day.startswith("*") or weekday.startswith("*")),
    )


def _field(text: str, low: int, high: int, names: tuple[str, ...] = ()) -> _Field:
    def number(word: str) -> int:
        return names.index(word) + low if word in names else int(word)

    values: set[int] = set()
    for item in text.split(","):
        base, _, step = item.partition("/")
        first, _, last = base.partition("-")
        begin, end = (low, high) if base == "*" else (number(first), number(last or first))
        values.update(range(begin, end + 1, int(step or 1)))
    full = len(values) == high - low + 1
    lone_step = text.removeprefix("*/")
    step_of_all = 1 if full else int(lone_step) if text != lone_step and lone_step.isdigit() else 0
    return _Field(tuple(sorted(values)), full, step_of_all, "/" in text)


def _spans(values: Sequence[int], label: Callable[[int], str], to: str) -> list[str]:
    """Return the labels, three or more neighbours shortened to first-to-last."""
    spans: list[str] = []
    begin = 0
    for end in range(1, len(values) + 1):
        if end < len(values) and values[end] == values[end - 1] + 1:
            continue
        run = values[begin:end]
        if len(run) > 2:
            spans.append(f"{label(run[0])}{to}{label(run[-1])}")
        else:
            spans.extend(label(value) for value in run)
        begin = end
    return spans


def _even_step(field: _Field) -> int:
    """Return the one distance between the many values of a stepped field, else 0."""
    values = field.values
    step = values[1] - values[0] if len(values) > MAX_CLOCKS else 0
    even = field.stepped and step > 1 and values == tuple(range(values[0], values[-1] + 1, step))
    return step if even else 0


def _two_digits(value: int) -> str:
    return f"{value:02d}"


def _and(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def _english_list(field: _Field, label: Callable[[int], str], unit: str = "") -> str:
    if step := _even_step(field):
        return f"{label(field.values[0])} to {label(field.values[-1])}{unit} in steps of {step}"
    return _and(_spans(field.values, label, " to ")) + unit


def _english(words: _Words) -> str:
    time = _english_time(words)
    days = _english_days(words)
    if days or words.hour.step:
        return time + days
    return f"{time} every day"


def _english_time(words: _Words) -> str:
    minute, hour = words.minute, words.hour
    if words.clocks:
        return f"At {_and(words.clocks)}"
    first = f"{hour.values[0]:02d}:{minute.values[0]:02d}"
    if minute.single and hour.step > 1:
        if 24 % hour.step:
            return f"Every {hour.step} hours from {first} each day"
        at = f" at minute {minute.values[0]}" if minute.values[0] else ""
        return f"Every {hour.step} hours{at}"
    if minute.single and not hour.step and hour.unbroken:
        return f"Every hour from {first} to {hour.values[-1]:02d}:{minute.values[0]:02d}"
    if not minute.step and hour.step == 1:
        return f"Every hour at {_english_minutes(minute)}"
    time = _english_every(minute.step) if minute.step else f"At {_english_minutes(minute)}"
    if hour.step == 1:
        return time
    comma = "," if not minute.step or 60 % minute.step else ""
    if hour.unbroken:
        return f"{time}{comma} from {hour.values[0]:02d}:00 to {hour.values[-1]:02d}:59"
    return f"{time}, in hours {_english_list(hour, _two_digits)}"


def _english_minutes(minute: _Field) -> str:
    return f"minute{'' if minute.single else 's'} {_english_list(minute, str)}"


def _english_every(step: int) -> str:
    if step == 1:
        return "Every minute"
    return f"Every {step} minutes" + (" from minute 0 of each hour" if 60 % step else "")


def _english_days(words: _Words) -> str:
    weekdays = _english_list(words.weekday, lambda value: ENGLISH_WEEKDAYS[value - 1])
    months = _english_list(words.month, lambda value: ENGLISH_MONTHS[value - 1])
    within = f"from {months}" if " to " in months else f"in {months}"
    also_within = "" if words.month.full else f", {within}"
    on = "on day " if words.day.single else "on days "
    if words.by_day and words.by_weekday:
        days = _english_list(words.day, str, " of the month")
        if words.either_day:
            return f" {on}{days} or on {weekdays}{also_within}"
        return f" {on}{days}, and only if it is {weekdays.replace(' and ', ' or ')}{also_within}"
    if words.by_day:
        unit = " of the month" if words.month.full else f" of {months}"
        return f" {on}{_english_list(words.day, str, unit)}"
    if words.by_weekday:
        return f", {weekdays}{also_within}"
    if words.month.full:
        return ""
    return f" {within}" if words.hour.step else f" every day {within}"


def _chinese_and(parts: Sequence[str]) -> str:
    return f"{'、'.join(parts[:-1])} 和 {parts[-1]}" if len(parts) > 1 else parts[0]


def _chinese_list(
    field: _Field, label: Callable[[int], str], to: str = " 至 ", unit: str = ""
) -> str:
    if step := _even_step(field):
        return f"{label(field.values[0])}{to}{label(field.values[-1])}{unit}（步长 {step}）"
    return "、".join(_spans(field.values, label, to)) + unit


def _chinese(words: _Words) -> str:
    days = _chinese_days(words)
    time = _chinese_time(words)
    if words.hour.step:
        return f"{days}，{time}" if days else time
    return f"{days or '每天'} {time}"


def _chinese_time(words: _Words) -> str:
    minute, hour = words.minute, words.hour
    if words.clocks:
        return _chinese_and(words.clocks)
    first = f"{hour.values[0]:02d}:{minute.values[0]:02d}"
    if minute.single and hour.step > 1:
        if 24 % hour.step:
            return f"自每日 {first} 起每 {hour.step} 小时"
        at = f"的第 {minute.values[0]} 分钟" if minute.values[0] else ""
        return f"每 {hour.step} 小时{at}"
    if minute.single and not hour.step and hour.unbroken:
        return f"{first} 至 {hour.values[-1]:02d}:{minute.values[0]:02d} 每小时"
    if minute.step:
        time = _chinese_every(minute.step)
    else:
        time = f"每小时第 {_chinese_list(minute, str, unit=' 分钟')}"
    if hour.step == 1:
        return time
    if hour.unbroken:
        return f"{hour.values[0]:02d}:00 至 {hour.values[-1]:02d}:59 {time}"
    return f"{_chinese_list(hour, _two_digits, unit=' 时')}内{time}"


def _chinese_every(step: int) -> str:
    if step == 1:
        return "每分钟"
    return f"每小时从第 0 分钟起每 {step} 分钟" if 60 % step else f"每 {step} 分钟"


def _chinese_days(words: _Words) -> str:
    weekdays = _chinese_list(words.weekday, lambda value: CHINESE_WEEKDAYS[value - 1], "至")
    months = _chinese_list(words.month, lambda value: f"{value} 月", "至 ")
    days = _chinese_list(words.day, lambda value: f"{value} 日", "至 ")
    if words.by_day:
        date = words.month.single and not words.by_weekday
        of_months = "每月" if words.month.full else months if date else f"{months}的"
        days = f"{of_months} {days}"
        if not words.by_weekday:
            return days
        return f"{days}或{weekdays}" if words.either_day else f"{days}且逢{weekdays}"
    if words.by_weekday:
        return weekdays if words.month.full else f"{months}的{weekdays}"
    if words.month.full:
        return ""
    return months if words.hour.step else f"{months}每天"
