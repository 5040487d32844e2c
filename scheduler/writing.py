"""Writes the PeriodicTask rows of schedulables: only what differs, and locked in one order.

Which of them to look at is decided elsewhere: `scheduler.sync_scheduler` and `scheduler.comparing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from scheduler import cron, rows
from scheduler.bulk import insert_rows
from scheduler.crontabs import find_or_make
from scheduler.models import Schedulable


class ScheduleConflict(ValueError):
    """A foreign PeriodicTask row has the name that ours needs."""

    code = "schedule_conflict"
    retryable = False


@dataclass(frozen=True, slots=True)
class RowError:
    """A schedulable that was left out of a refresh, and why."""

    id: int
    name: str
    field: str
    error: str


@dataclass(slots=True)
class RefreshReport:
    """What a refresh did, in rows; `active_tasks` counts the enabled rows afterwards."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    errors: list[RowError] = field(default_factory=list)
    active_tasks: int = 0

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def write_locked(model: type[Schedulable], ids: Sequence[int], report: RefreshReport) -> None:
    """Lock schedulables, read them again and bring their rows up to date, in one transaction."""
    with transaction.atomic():
        # The lock orders us after a save that is under way, so that its newer schedule is
        # not overwritten with what was read before it. Beat's inserts take KEY SHARE on
        # these rows, which NO KEY UPDATE lets pass.
        locked = (
            model._default_manager.filter(pk__in=ids)
            .order_by("pk")
            .select_for_update(no_key=True)
            .values_list(*rows.Schedule._fields)
        )
        before = report.created + report.updated + report.removed
        write_rows(model, [rows.Schedule._make(values) for values in locked], report)
        if report.created + report.updated + report.removed != before:
            PeriodicTasks.update_changed()


def write_rows(
    model: type[Schedulable], schedules: Sequence[rows.Schedule], report: RefreshReport
) -> list[ValueError]:
    """Bring the rows of `schedules` up to date; add to `report`, return what was left out."""
    errors: list[ValueError] = []
    wanted: dict[str, tuple[rows.Schedule, rows.CrontabKey]] = {}
    dropped: list[str] = []
    for schedule in schedules:
        name = rows.row_name(model, schedule.pk)
        if not schedule.cron:
            dropped.append(name)
            continue
        try:
            key = rows.CrontabKey.of(schedule.cron, schedule.timezone)
        except cron.InvalidCron as error:
            errors.append(error)
            report.errors.append(RowError(schedule.pk, name, error.field, str(error)))
            dropped.append(name)
            continue
        wanted[name] = (schedule, key)

    if dropped:
        report.removed += delete_rows(
            PeriodicTask.objects.filter(rows.ours([model])).filter(name__in=dropped)
        )
    existing = _existing(wanted)
    crontab_ids = find_or_make({key for _schedule, key in wanted.values()})
    now = timezone.now()
    fresh: list[rows.Row] = []
    changed: list[tuple[int, rows.Row]] = []
    for name, (schedule, key) in wanted.items():
        row_id, row = existing.get(name, (None, None))
        if row is not None and row.task != model.schedule_task:
            conflict = ScheduleConflict(
                _(
                    "a periodic task named %(name)s exists and calls %(task)s; "
                    "rename or delete it under Advanced, then refresh the schedules"
                )
                % {"name": name, "task": row.task}
            )
            errors.append(conflict)
            report.errors.append(RowError(schedule.pk, name, "name", str(conflict)))
            continue
        desired = rows.desired_row(
            model, schedule, crontab_ids=crontab_ids[key], existing=row, now=now
        )
        if row_id is None:
            fresh.append(desired)
        elif row != desired:
            changed.append((row_id, desired))
        else:
            report.unchanged += 1
    insert_rows(PeriodicTask, [row._asdict() | {"date_changed": now} for row in fresh])
    _update(changed, now)
    report.created += len(fresh)
    report.updated += len(changed)
    return errors


def _existing(names: Iterable[str]) -> dict[str, tuple[int, rows.Row]]:
    # Locked in the order of the ids, as beat's claim does it, so that neither waits for the
    # other in a circle.
    locked = PeriodicTask.objects.filter(name__in=list(names)).order_by("pk")
    found = locked.select_for_update(no_key=True).values_list("pk", *rows.Row._fields)
    return {values[1]: (values[0], rows.Row._make(values[1:])) for values in found}


def _update(changed: Sequence[tuple[int, rows.Row]], now: datetime) -> None:
    """Write our columns; `date_changed` too, as beat reads by it and bulk writes skip it."""
    tasks = [PeriodicTask(pk=pk, **row._asdict(), date_changed=now) for pk, row in changed]
    fields = [name.removesuffix("_id") for name in rows.Row._fields]
    PeriodicTask.objects.bulk_update(tasks, [*fields, "date_changed"], batch_size=200)


def remove_orphans(model: type[Schedulable], ids: Sequence[int]) -> int:
    """Delete rows of ours whose object is gone; each object is looked up again first."""
    with transaction.atomic():
        # A config that was saved since the tables were compared has a row that must stay.
        alive = set(model._default_manager.filter(pk__in=ids).values_list("pk", flat=True))
        names = [rows.row_name(model, pk) for pk in ids if pk not in alive]
        return delete_rows(PeriodicTask.objects.filter(rows.ours([model])).filter(name__in=names))


def delete_rows(tasks: QuerySet[PeriodicTask], *, wake_beat: bool = True) -> int:
    """Delete rows without a signal each, and wake beat once; inside a transaction.

    They are locked in the order of their ids before, as beat's claim does it: a deletion by
    itself locks in the order of its plan, and two such orders end in a deadlock.
    """
    list(tasks.order_by("pk").select_for_update().values_list("pk", flat=True))
    # None where the condition is empty, as an orphan that came back makes it.
    removed = tasks._raw_delete(tasks.db) or 0
    if removed and wake_beat:
        PeriodicTasks.update_changed()
    return removed
