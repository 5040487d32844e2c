"""What a cron expression may say as a whole: its normal form, and the numbers it names.

One field of the five is read by `scheduler.cron_fields`. No clock, no calendar year and no time
zone here: that is `scheduler.cron`, which is also the front door: other modules import from there.
croniter reads every expression a second time in `normalise`; where the two readings differ the
expression is refused.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from functools import lru_cache

from croniter import CroniterError, croniter

from scheduler.cron_errors import InvalidCron
from scheduler.cron_errors import gettext as _
from scheduler.cron_fields import FIELDS, MAX_LENGTH, not_ascii, read_field, too_long
from scheduler.cron_words import MONTH_NAMES, WEEKDAY_NAMES

ORDER = "minute hour day month weekday"

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


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
    read_again(rule.text, rule.sets)
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


@lru_cache(maxsize=8192)
def read_rule(expr: str) -> Rule:
    """Return what an expression says, not yet read a second time; raises InvalidCron."""
    texts: list[str] = []
    sets: list[tuple[int, ...]] = []
    for spec, text in zip(FIELDS, _split(expr), strict=True):
        normal, values = read_field(spec, text)
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
        raise InvalidCron("cron", too_long(len(expr), MAX_LENGTH))
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
        raise InvalidCron("cron", not_ascii(odd[0]))
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
def read_again(text: str, sets: tuple[tuple[int, ...], ...]) -> None:
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
