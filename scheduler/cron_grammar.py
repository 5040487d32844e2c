"""What a cron expression may say: the grammar, its normal form, and the numbers it names.

No clock, no calendar year and no time zone here: that is `scheduler.cron`, which is also the
front door: other modules import from there. croniter reads every expression a second time in
`normalise`; where the two readings differ the expression is refused.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from croniter import CroniterError, croniter

from scheduler.cron_words import MONTH_NAMES, WEEKDAY_NAMES

FieldName = Literal[
    "minute", "hour", "day_of_month", "month_of_year", "day_of_week", "cron", "timezone"
]

MAX_LENGTH = 100
ORDER = "minute hour day month weekday"


_translations: list[Callable[[str], str]] = []


def translate_with(translate: Callable[[str], str]) -> None:
    """Say reasons in the language that `translate` knows of; in English until this is called."""
    _translations[:] = [translate]


def _(text: str) -> str:
    return _translations[0](text) if _translations else text


def gettext_noop(text: str) -> str:
    """Mark a text for translation."""
    return text


class InvalidCron(ValueError):
    """Refuse an expression or a timezone: the field, and the reason in the reader's language."""

    code = "invalid_cron"
    retryable = False

    def __init__(self, field: FieldName, reason: str) -> None:
        super().__init__(field, reason)
        self.field: FieldName = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


@dataclass(frozen=True, slots=True)
class _Field:
    name: FieldName
    low: int
    high: int
    top: int  # the highest number that may be written: Sunday is 0 and 7
    names: tuple[str, ...] = ()

    def refuse(self, reason: str) -> InvalidCron:
        return InvalidCron(self.name, reason)


FIELDS = (
    _Field("minute", 0, 59, 59),
    _Field("hour", 0, 23, 23),
    _Field("day_of_month", 1, 31, 31),
    _Field("month_of_year", 1, 12, 12, MONTH_NAMES),
    _Field("day_of_week", 0, 6, 7, WEEKDAY_NAMES),
)

# What django-celery-beat's columns hold; the other three are longer than a whole expression.
COLUMN_LENGTHS: dict[FieldName, int] = {"month_of_year": 64, "day_of_week": 64}

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

EXTENSIONS = (
    ("#", gettext_noop("# (nth weekday) is not cron")),
    ("l", gettext_noop("L (last) is not cron")),
    ("w", gettext_noop("W (nearest working day) is not cron")),
    ("?", gettext_noop("? is not cron; write *")),
    (
        "r",
        gettext_noop("R (random) is not cron: the same expression must always mean the same times"),
    ),
    (
        "h",
        gettext_noop("H (hashed) is not cron: the same expression must always mean the same times"),
    ),
    (
        "~",
        gettext_noop("~ (random) is not cron: the same expression must always mean the same times"),
    ),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One expression, read: its normal text and the numbers each field allows, ascending."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    interval: bool  # the minute or the hour starts with *: it follows real time, not the wall
    either_day: bool  # neither day field starts with *: one of the two is enough

    @property
    def sets(self) -> tuple[tuple[int, ...], ...]:
        return self.minutes, self.hours, self.days, self.months, self.weekdays


def normalise(expr: str) -> str:
    """Return the one way this expression is stored; the same text in, the same text out.

    Raises InvalidCron. A step that only ever leaves its first value (`*/60`) is refused although
    Debian cron takes it: it reads as "every 60 minutes" and means "at minute 0".
    """
    rule = read_rule(expr)
    _read_again(rule.text, rule.sets)
    return rule.text


def numeric_fields(expr: str) -> tuple[str, str, str, str, str]:
    """Return minute, hour, day of month, month, weekday as django-celery-beat stores them.

    Names become numbers. Raises InvalidCron.
    """
    minute, hour, day, month, weekday = normalise(expr).split(" ")
    return (
        minute,
        hour,
        day,
        re.sub("[a-z]+", lambda name: str(MONTH_NAMES.index(name[0]) + 1), month),
        re.sub("[a-z]+", lambda name: str(WEEKDAY_NAMES.index(name[0])), weekday),
    )


def from_fields(
    minute: str, hour: str, day_of_month: str, month_of_year: str, day_of_week: str
) -> str:
    """Return the normal expression of five separate fields; raises InvalidCron."""
    texts = (minute, hour, day_of_month, month_of_year, day_of_week)
    for spec, text in zip(FIELDS, texts, strict=True):
        if not text.strip(" \t") or re.search(r"[ \t]", text.strip(" \t")):
            raise spec.refuse(
                _("%(text)r is not one field: it is empty or has a blank inside") % {"text": text}
            )
    return normalise(" ".join(texts))


@lru_cache(maxsize=8192)
def read_rule(expr: str) -> Rule:
    texts: list[str] = []
    sets: list[tuple[int, ...]] = []
    for spec, text in zip(FIELDS, _split(expr), strict=True):
        normal, values = _read_field(spec, text)
        texts.append(normal)
        sets.append(values)
    normal = " ".join(texts)
    if len(normal) > MAX_LENGTH:
        reason = _("%(length)d characters when written out; at most %(most)d are allowed")
        raise InvalidCron("cron", reason % {"length": len(normal), "most": MAX_LENGTH})
    minute, hour, day, _month, weekday = texts
    rule = Rule(
        normal,
        minutes=sets[0],
        hours=sets[1],
        days=sets[2],
        months=sets[3],
        weekdays=sets[4],
        interval=minute.startswith("*") or hour.startswith("*"),
        either_day=not (day.startswith("*") or weekday.startswith("*")),
    )
    _refuse_never(rule)
    return rule


def _split(expr: str) -> list[str]:
    if len(expr) > MAX_LENGTH:
        raise InvalidCron("cron", _too_long(len(expr), MAX_LENGTH))
    if control := re.search(r"[\x00-\x08\x0a-\x1f\x7f]", expr):
        reason = _("%(mark)r is a control character; write one plain line")
        raise InvalidCron("cron", reason % {"mark": control[0]})
    # str.split() would also split on no-break and ideographic spaces.
    texts = re.findall(r"[^ \t]+", expr)
    if not texts:
        raise InvalidCron("cron", _("empty; write %(order)s") % {"order": ORDER})
    if texts[0].startswith("@"):
        raise InvalidCron("cron", _macro_reason(texts[0].lower()))
    if len(texts) == 5:
        return texts
    if odd := re.search(r"[^\x00-\x7f]", expr):
        raise InvalidCron("cron", _not_ascii(odd[0]))
    if len(texts) == 6:
        reason = _("six fields: seconds are not supported; write %(order)s")
    elif len(texts) == 7:
        reason = _("seven fields: seconds and years are not supported; write %(order)s")
    elif len(texts) == 1:
        reason = _("1 field; exactly five are allowed: %(order)s")
    else:
        reason = _("%(count)d fields; exactly five are allowed: %(order)s")
    raise InvalidCron("cron", reason % {"count": len(texts), "order": ORDER})


def _macro_reason(macro: str) -> str:
    if macro in MACROS:
        return _("%(macro)s: write %(cron)s") % {"macro": macro, "cron": MACROS[macro]}
    if macro == "@reboot":
        return _("@reboot: a start of the machine is not a time")
    return _("%(macro)a is not known; write %(order)s") % {"macro": macro, "order": ORDER}


def _not_ascii(character: str) -> str:
    reason = _(
        "%(mark)a is not an ASCII character; only ASCII digits, names and * , - / are allowed"
    )
    return reason % {"mark": character}


def _too_long(length: int, most: int) -> str:
    return _("%(length)d characters; at most %(most)d are allowed") % {
        "length": length,
        "most": most,
    }


def _read_field(spec: _Field, text: str) -> tuple[str, tuple[int, ...]]:
    if odd := re.search(r"[^\x00-\x7f]", text):
        raise spec.refuse(_not_ascii(odd[0]))
    parts: list[str] = []
    values: set[int] = set()
    for item in text.lower().split(","):
        normal, numbers = _read_item(spec, item)
        parts.extend(normal)
        values.update(numbers)
    # The order stays as written: a star in front decides how the two day fields combine.
    normal_text = ",".join(dict.fromkeys(parts))
    longest = COLUMN_LENGTHS.get(spec.name, MAX_LENGTH)
    if len(normal_text) > longest:
        raise spec.refuse(_too_long(len(normal_text), longest))
    return normal_text, tuple(sorted(values))


def _read_item(spec: _Field, item: str) -> tuple[list[str], list[int]]:
    """Return one list item in normal form (it can become two) and its numbers."""
    if not item:
        raise spec.refuse(_("an item of the list is empty"))
    base, slash, step_text = item.partition("/")
    if base == "*":
        step = _step(spec, item, step_text) if slash else 1
        return ["*" if step == 1 else f"*/{step}"], list(range(spec.low, spec.high + 1, step))
    first_text, dash, last_text = base.partition("-")
    first = _number(spec, first_text, item)
    if not dash:
        if slash:
            step = _step(spec, item, step_text)
            reason = _("%(item)s: a step follows * or a range; write %(right)s")
            raise spec.refuse(reason % {"item": item, "right": f"{first}-{spec.high}/{step}"})
        return _one(spec, first_text, first)
    last = _number(spec, last_text, item)
    step = _step(spec, item, step_text) if slash else 1
    if last < first:
        raise spec.refuse(_backwards(spec, item, first, last))
    if first + step > last:
        # `9-9` is a full wrap to croniter and `5-5/3` is `5/3` to cronsim: leave no such range.
        return _one(spec, first_text, first)
    if last == 7 and spec.high == 6:
        return _range_to_sunday(first, step)
    named = first_text in spec.names and last_text in spec.names
    text = base if named else f"{first}-{last}"
    return [text if step == 1 else f"{text}/{step}"], list(range(first, last + 1, step))


def _one(spec: _Field, text: str, number: int) -> tuple[list[str], list[int]]:
    number = 0 if number > spec.high else number
    return [text if text in spec.names else str(number)], [number]


def _range_to_sunday(first: int, step: int) -> tuple[list[str], list[int]]:
    numbers = sorted({number % 7 for number in range(first, 8, step)})
    if step > 1:
        return [str(number) for number in numbers], numbers
    if first <= 1:
        # Not `*`: the literal star would turn "or" between the day fields into "and".
        return ["0-6"], numbers
    return ["0", "6" if first == 6 else f"{first}-6"], numbers


def _backwards(spec: _Field, item: str, first: int, last: int) -> str:
    if spec.high == 6 and last == 0:
        right = f"{first}-7"
        reason = _("%(item)s runs backwards: sunday is 0 here; write %(right)s")
    else:
        right = f"0-{last}" if first > spec.high else f"{first}-{spec.high},{spec.low}-{last}"
        reason = _("%(item)s runs backwards; write %(right)s")
    return reason % {"item": item, "right": right}


def _step(spec: _Field, item: str, text: str) -> int:
    if not re.fullmatch("[0-9]+", text):
        reason = _("%(item)s: the step %(text)r is not a number")
        raise spec.refuse(reason % {"item": item, "text": text})
    step = int(text)
    span = spec.high - spec.low
    if not 1 <= step <= span:
        reason = _("%(item)s: the step %(step)d is out of range 1-%(most)d")
        raise spec.refuse(reason % {"item": item, "step": step, "most": span})
    return step


def _number(spec: _Field, text: str, item: str) -> int:
    if text in spec.names:
        return spec.names.index(text) + spec.low
    if not re.fullmatch("[0-9]+", text):
        raise spec.refuse(_not_a_number(spec, item))
    number = int(text)
    if not spec.low <= number <= spec.top:
        reason = _("%(number)d is out of range %(least)d-%(most)d")
        raise spec.refuse(reason % {"number": number, "least": spec.low, "most": spec.top})
    return number


def _not_a_number(spec: _Field, item: str) -> str:
    allowed = f"{spec.low}-{spec.top}"
    if spec.names:
        names = f"{spec.names[0]}-{spec.names[-1]}"
        allowed = _("%(numbers)s or %(names)s") % {"numbers": allowed, "names": names}
    words = [word for word in re.findall("[a-z]{3,}", item) if word not in spec.names]
    for other in FIELDS:
        if any(word in other.names for word in words):
            reason = _("%(item)s belongs in %(field)s; allowed here: %(allowed)s")
            return reason % {"item": item, "field": other.name, "allowed": allowed}
    if not words:
        for mark, why in EXTENSIONS:
            if mark in item:
                reason = _("%(item)s: %(why)s; allowed here: %(allowed)s")
                return reason % {"item": item, "why": _(why), "allowed": allowed}
    reason = _("%(item)r is not a number, a range, a list or *; allowed here: %(allowed)s")
    return reason % {"item": item, "allowed": allowed}


def _refuse_never(rule: Rule) -> None:
    if rule.either_day:
        return
    longest = max(monthrange(2000, month)[1] for month in rule.months)
    if rule.days[0] > longest:
        reason = _(
            "never fires: day %(day)d does not exist in the months chosen, whose longest has "
            "%(longest)d days"
        )
        raise InvalidCron("day_of_month", reason % {"day": rule.days[0], "longest": longest})


@lru_cache(maxsize=8192)
def _read_again(text: str, sets: tuple[tuple[int, ...], ...]) -> None:
    """Refuse what croniter reads differently from the sets given."""
    try:
        expanded, nth_weekdays = croniter.expand(text)
    except CroniterError as error:
        reason = _("%(cron)s: read in two ways (%(error)s)") % {"cron": text, "error": error}
        raise InvalidCron("cron", reason) from error
    for spec, ours, theirs in zip(FIELDS, sets, expanded, strict=True):
        full = tuple(range(spec.low, spec.high + 1))
        if nth_weekdays or ours != (full if "*" in theirs else tuple(sorted(theirs))):
            raise spec.refuse(_("%(cron)s: read in two ways") % {"cron": text})
