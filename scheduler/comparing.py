"""Which PeriodicTask rows are not what their schedulables say: both read and compared, no lock.

What differs is written by `scheduler.writing`, which locks it and looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from django.db.models.functions import Length
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from scheduler import cron, rows
from scheduler.bulk import CHUNK
from scheduler.crontabs import ids_by_key
from scheduler.models import Schedulable


class Comparison(NamedTuple):
    """The ids whose row is not what it should be, those of rows without object, and a count."""

    differing: list[int]
    orphaned: list[int]
    unchanged: int


def compare(model: type[Schedulable]) -> Comparison:
    """Compare the rows of a model with what they should be; nothing is locked.

    Walks both tables side by side in the order of the ids: names of one prefix sort by
    number when the shorter come first.
    """
    now = timezone.now()
    crontab_ids = ids_by_key(CrontabSchedule.objects.all())
    # By what the config says, as 100,000 configs say few different things.
    ids_of = cache(lambda expr, zone: crontab_ids.get(rows.CrontabKey.of(expr, zone)))
    differing: list[int] = []
    orphaned: list[int] = []
    unchanged = 0
    for row_id, values, row in _side_by_side(model):
        if values is None:
            orphaned.append(row_id)
            continue
        schedule = rows.Schedule._make(values)
        if not schedule.cron and row is None:
            continue
        if row is not None and _is_current(model, schedule, row, ids_of, now):
            unchanged += 1
        else:
            differing.append(schedule.pk)
    return Comparison(differing, orphaned, unchanged)


def _side_by_side(
    model: type[Schedulable],
) -> Iterator[tuple[int, tuple[Any, ...] | None, rows.Row | None]]:
    """Yield (id, the object's columns or None, its row or None), ascending by id."""
    objects = iter(
        model._default_manager.order_by("pk")
        .values_list(*rows.Schedule._fields)
        .iterator(chunk_size=CHUNK)
    )
    tasks = (
        rows.Row._make(values)
        for values in PeriodicTask.objects.filter(rows.ours([model]))
        .order_by(Length("name"), "name")
        .values_list(*rows.Row._fields)
        .iterator(chunk_size=CHUNK)
    )
    numbered = ((rows.object_id(model, row.name), row) for row in tasks)
    ours = ((row_id, row) for row_id, row in numbered if row_id is not None)
    values, (row_id, row) = next(objects, None), next(ours, (0, None))
    while values is not None or row is not None:
        if values is not None and (row is None or values[0] < row_id):
            yield values[0], values, None
            values = next(objects, None)
        elif values is None or row_id < values[0]:
            yield row_id, None, row
            row_id, row = next(ours, (0, None))
        else:
            yield row_id, values, row
            values, (row_id, row) = next(objects, None), next(ours, (0, None))


def _is_current(
    model: type[Schedulable],
    schedule: rows.Schedule,
    row: rows.Row,
    ids_of: Callable[[str, str], list[int] | None],
    now: datetime,
) -> bool:
    try:
        ids = ids_of(schedule.cron, schedule.timezone)
    except cron.InvalidCron:
        return False
    return ids is not None and row == rows.desired_row(
        model, schedule, crontab_ids=ids, existing=row, now=now
    )
