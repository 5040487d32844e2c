"""What a PeriodicTask row of ours looks like: its name, its owner, its values; pure, no I/O.

The shapes are named tuples, not dataclasses: a refresh builds and compares 100,000 of each, and
they are made and compared in C.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache, lru_cache
from typing import NamedTuple

from django.db.models import Q

from scheduler import cron
from scheduler.models import Schedulable


class CrontabKey(NamedTuple):
    """The columns that identify one CrontabSchedule row."""

    minute: str
    hour: str
    day_of_month: str
    month_of_year: str
    day_of_week: str
    timezone: str

    @classmethod
    def of(cls, expr: str, timezone: str) -> CrontabKey:
        """Return the key of a schedule; raises InvalidCron."""
        return _crontab_key(expr, timezone)


@lru_cache(maxsize=8192)
def _crontab_key(expr: str, timezone: str) -> CrontabKey:
    cron.load_timezone(timezone)
    return CrontabKey(*cron.numeric_fields(expr), timezone)


class Schedule(NamedTuple):
    """The columns of a Schedulable that its PeriodicTask row is made of."""

    pk: int
    cron: str
    timezone: str
    enable: bool
    remark: str
    start_time: datetime | None
    end_time: datetime | None
    jitter_s: int

    @classmethod
    def of(cls, schedulable: Schedulable) -> Schedule:
        return cls(*(getattr(schedulable, name) for name in cls._fields))


class Row(NamedTuple):
    """The columns of a PeriodicTask row that we own.

    `start_time` is the time from which slots count: the later of the config's own start and the
    moment its schedule last changed. It is what keeps an edit from firing an earlier slot.
    """

    name: str
    task: str
    kwargs: str
    crontab_id: int
    enabled: bool
    start_time: datetime | None
    expires: datetime | None
    description: str
    headers: str | None


@cache
def name_prefix(model: type[Schedulable]) -> str:
    return f"{model._meta.label_lower}:"


def row_name(model: type[Schedulable], object_id: int) -> str:
    return f"{name_prefix(model)}{object_id}"


def object_id(model: type[Schedulable], name: str) -> int | None:
    """Return the id in the name of a row of ours, None where the name is not one."""
    prefix = name_prefix(model)
    digits = name[len(prefix) :]
    if not (name.startswith(prefix) and digits.isascii() and digits.isdigit()):
        return None
    return int(digits)


def ours(models: Iterable[type[Schedulable]]) -> Q:
    """Return the filter for PeriodicTask rows that belong to `models`.

    A row is ours by its name and its task; a row that only looks like one is left alone.
    """
    condition = Q(pk__in=[])
    for model in models:
        condition |= Q(name__startswith=name_prefix(model), task=model.schedule_task)
    return condition


def desired_row(
    model: type[Schedulable],
    schedule: Schedule,
    *,
    crontab_ids: Sequence[int],
    existing: Row | None,
    now: datetime,
) -> Row:
    """Return what the row of `schedule` must hold, given what it holds.

    `crontab_ids` are the equal crontab rows of this schedule, of which two saves at once may make
    several: a row that uses any of them has not changed its schedule.
    """
    counts_from, crontab_id = now, crontab_ids[0]
    if existing is not None and existing.crontab_id in crontab_ids:
        crontab_id = existing.crontab_id
        since = existing.start_time
        if existing.enabled == schedule.enable and since is not None and since <= now:
            counts_from = since
    if schedule.start_time is not None:
        counts_from = max(counts_from, schedule.start_time)
    # In the order of the columns: by name it takes half as long again, 100,000 times.
    return Row(
        row_name(model, schedule.pk),
        model.schedule_task,
        f'{{"{model.schedule_kwarg}": {schedule.pk}}}',
        crontab_id,
        schedule.enable,
        counts_from,
        schedule.end_time,
        schedule.remark,
        f'{{"jitter_s": {schedule.jitter_s}}}' if schedule.jitter_s else "{}",
    )


def jitter_of(headers: str | None) -> int:
    """Return the spread that a row of ours carries in its headers, in seconds; 0 without one."""
    if not headers or headers == "{}":
        return 0
    try:
        return int(json.loads(headers)["jitter_s"])
    except (ValueError, KeyError, TypeError):
        return 0


def jitter_offset_s(name: str, jitter_s: int) -> int:
    """Return the fixed delay of the row `name` after its slots, from 0 to `jitter_s` seconds."""
    if jitter_s <= 0:
        return 0
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") % (jitter_s + 1)
