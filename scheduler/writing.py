"""Writes the PeriodicTask rows of schedulables: only what differs, and locked in one order.

Which of them to look at is decided elsewhere: `scheduler.sync_scheduler` and `scheduler.comparing`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from scheduler import cron, rows
from scheduler.bulk import insert_rows
from scheduler.crontabs import find_or_make
from scheduler.models import Schedulable

# So many changes of one refresh are told a line each in the log; of more, only the count.
CHANGES_KEPT = 200


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


class RowChange(NamedTuple):
    """What became of the schedule of one object: it was added, changed or removed."""

    word: str
    name: str
    object_id: int | None


@dataclass(slots=True)
class RefreshReport:
    """What a refresh did, in rows; `active_tasks` counts the enabled rows afterwards.

    `changes` are the first so many of them, one by one, for the log alone.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    errors: list[RowError] = field(default_factory=list)
    active_tasks: int = 0
    changes: list[RowChange] = field(default_factory=list)

    @property
    def written(self) -> int:
        return self.created + self.updated + self.removed

    def note(self, model: type[Schedulable], word: str, names: Iterable[str]) -> None:
        """Keep what became of rows, as far as there is room for more."""
        room = CHANGES_KEPT - len(self.changes)
        for name in islice(names, room):
            self.changes.append(RowChange(word, name, rows.object_id(model, name)))

    def as_dict(self) -> dict[str, object]:
        told = asdict(self)
        del told["changes"]
        return told


def write_locked(
    model: type[Schedulable], ids: Sequence[int], report: RefreshReport
) -> list[ValueError]:
    """Lock schedulables, read them again and bring their rows up to date, in one transaction.

    Returns what was left out, in the order in which the report names it.
    """
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
        before = report.written
        schedules = [rows.Schedule._make(values) for values in locked]
        errors = write_rows(model, schedules, report)
        if report.written != before:
            PeriodicTasks.update_changed()
        return errors


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
        remove_rows(model, report, named=dropped)
    existing = _existing(wanted)
    crontab_ids = find_or_make({key for _schedule, key in wanted.values()})
    now = timezone.now()
    fresh: list[rows.Row] = []
    changed: list[tuple[int, rows.Row, rows.Row]] = []
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
        if row_id is None or row is None:
            fresh.append(desired)
        elif row != desired:
            changed.append((row_id, row, desired))
        else:
            report.unchanged += 1
    insert_rows(PeriodicTask, [row._asdict() | {"date_changed": now} for row in fresh])
    _update(changed, now)
    report.created += len(fresh)
    report.note(model, "added", (row.name for row in fresh))
    report.updated += len(changed)
    report.note(model, "changed", (row.name for _pk, _before, row in changed))
    return errors


def _existing(names: Iterable[str]) -> dict[str, tuple[int, rows.Row]]:
    # Locked in the order of the ids, as beat's claim does it, so that neither waits for the
    # other in a circle.
    locked = PeriodicTask.objects.filter(name__in=list(names)).order_by("pk")
    found = locked.select_for_update(no_key=True).values_list("pk", *rows.Row._fields)
    return {values[1]: (values[0], rows.Row._make(values[1:])) for values in found}


def _update(changed: Sequence[tuple[int, rows.Row, rows.Row]], now: datetime) -> None:
    """Write the columns that differ, rows that change alike by one statement.

    `date_changed` too, as beat reads by it. 2,000 rows that are switched off take 0.1 s of CPU, and
    2,000 that all change otherwise 0.5 s; `bulk_update` took 4.1 s for either.
    """
    alike: dict[tuple[tuple[str, object], ...], list[int]] = defaultdict(list)
    for pk, before, after in changed:
        columns = zip(rows.Row._fields, before, after, strict=True)
        alike[tuple((name, new) for name, old, new in columns if old != new)].append(pk)
    for values, ids in alike.items():
        PeriodicTask.objects.filter(pk__in=ids).update(**dict(values), date_changed=now)


def remove_orphans(model: type[Schedulable], ids: Sequence[int], report: RefreshReport) -> None:
    """Delete rows of ours whose object is gone; each object is looked up again first."""
    with transaction.atomic():
        # A config that was saved since the tables were compared has a row that must stay.
        alive = set(model._default_manager.filter(pk__in=ids).values_list("pk", flat=True))
        names = [rows.row_name(model, pk) for pk in ids if pk not in alive]
        remove_rows(model, report, named=names)


def remove_rows(
    model: type[Schedulable], report: RefreshReport, *, named: Sequence[str] | None = None
) -> None:
    """Delete a model's rows, all or the named ones, inside a transaction."""
    ours = PeriodicTask.objects.filter(rows.ours([model]))
    removed = delete_rows(ours if named is None else ours.filter(name__in=named))
    report.removed += len(removed)
    report.note(model, "removed", removed)


def delete_rows(tasks: QuerySet[PeriodicTask], *, wake_beat: bool = True) -> list[str]:
    """Delete rows without a signal each, and wake beat once; inside a transaction.

    Returns the names of those that went.

    They are locked in the order of their ids before, as beat's claim does it: a deletion by
    itself locks in the order of its plan, and two such orders end in a deadlock.
    """
    names = list(tasks.order_by("pk").select_for_update().values_list("name", flat=True))
    if names:
        tasks._raw_delete(tasks.db)
        if wake_beat:
            PeriodicTasks.update_changed()
    return names
