"""What one field of a cron expression may say: its numbers, names, ranges, steps and lists.

The five fields together are `scheduler.cron_grammar`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scheduler.cron_errors import FieldName, InvalidCron, gettext_noop
from scheduler.cron_errors import gettext as _
from scheduler.cron_words import MONTH_NAMES, WEEKDAY_NAMES

MAX_LENGTH = 100
"""The most characters of a whole expression."""


@dataclass(frozen=True, slots=True)
class Field:
    """One of the five fields: the numbers and names it takes."""

    name: FieldName
    low: int
    high: int
    top: int  # the highest number that may be written: Sunday is 0 and 7
    names: tuple[str, ...] = ()

    def refuse(self, reason: str) -> InvalidCron:
        return InvalidCron(self.name, reason)


FIELDS = (
    Field("minute", 0, 59, 59),
    Field("hour", 0, 23, 23),
    Field("day_of_month", 1, 31, 31),
    Field("month_of_year", 1, 12, 12, MONTH_NAMES),
    Field("day_of_week", 0, 6, 7, WEEKDAY_NAMES),
)

# What django-celery-beat's columns hold; the other three are longer than a whole expression.
COLUMN_LENGTHS: dict[FieldName, int] = {"month_of_year": 64, "day_of_week": 64}

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


def read_field(spec: Field, text: str) -> tuple[str, tuple[int, ...]]:
    """Return one field in normal form and its numbers, ascending; raises InvalidCron."""
    if odd := re.search(r"[^\x00-\x7f]", text):
        raise spec.refuse(not_ascii(odd[0]))
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
        raise spec.refuse(too_long(len(normal_text), longest))
    return normal_text, tuple(sorted(values))


def _read_item(spec: Field, item: str) -> tuple[list[str], list[int]]:
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


def _one(spec: Field, text: str, number: int) -> tuple[list[str], list[int]]:
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


def _backwards(spec: Field, item: str, first: int, last: int) -> str:
    if spec.high == 6 and last == 0:
        right = f"{first}-7"
        reason = _("%(item)s runs backwards: sunday is 0 here; write %(right)s")
    else:
        right = f"0-{last}" if first > spec.high else f"{first}-{spec.high},{spec.low}-{last}"
        reason = _("%(item)s runs backwards; write %(right)s")
    return reason % {"item": item, "right": right}


def _step(spec: Field, item: str, text: str) -> int:
    if not re.fullmatch("[0-9]+", text):
        reason = _("%(item)s: the step %(text)r is not a number")
        raise spec.refuse(reason % {"item": item, "text": text})
    step = int(text)
    span = spec.high - spec.low
    if not 1 <= step <= span:
        reason = _("%(item)s: the step %(step)d is out of range 1-%(most)d")
        raise spec.refuse(reason % {"item": item, "step": step, "most": span})
    return step


def _number(spec: Field, text: str, item: str) -> int:
    if text in spec.names:
        return spec.names.index(text) + spec.low
    if not re.fullmatch("[0-9]+", text):
        raise spec.refuse(_not_a_number(spec, item))
    number = int(text)
    if not spec.low <= number <= spec.top:
        reason = _("%(number)d is out of range %(least)d-%(most)d")
        raise spec.refuse(reason % {"number": number, "least": spec.low, "most": spec.top})
    return number


def _not_a_number(spec: Field, item: str) -> str:
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


def not_ascii(character: str) -> str:
    """Return the reason why a character cannot stand in an expression."""
    reason = _(
        "%(mark)a is not an ASCII character; only ASCII digits, names and * , - / are allowed"
    )
    return reason % {"mark": character}


def too_long(length: int, most: int) -> str:
    """Return the reason why a text of that length is refused."""
    return _("%(length)d characters; at most %(most)d are allowed") % {
        "length": length,
        "most": most,
    }
