"""SyncTaskScheduler: writes schedulables into django-celery-beat rows, and takes them back.

Every write compares first, covers only rows of ours (`scheduler.rows.ours`) and wakes beat once.
When something fires is decided elsewhere: `scheduler.cron` and `scheduler.beat`.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Length
from django.utils import timezone
from django.utils.translation import get_language
from django_celery_beat.models import CrontabSchedule, PeriodicTask, PeriodicTasks

from scheduler import cron, rows
from scheduler.bulk import insert_rows, without_collector
from scheduler.log_ids import ids
from scheduler.models import Schedulable, schedulable_models

logger = logging.getLogger(__name__)

# Large enough that 100,000 configs need 50 rounds, small enough for SQLite's parameter limit.
CHUNK = 2_000


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


class SyncTaskScheduler:
    """Keeps the PeriodicTask rows equal to the schedulables; stateless, safe to share."""

    def add(self, schedulable: Schedulable) -> None:
        """Write the row of one saved schedulable, in the caller's transaction if there is one.

        Raises:
            scheduler.cron.InvalidCron: its cron or time zone cannot be used.
            ScheduleConflict: a row that is not ours has its name.
        """
        model = type(schedulable)
        report = RefreshReport()
        with transaction.atomic():
            errors = self._write(model, [rows.Schedule.of(schedulable)], report)
            if errors:
                raise errors[0]
            if report.created or report.updated or report.removed:
                PeriodicTasks.update_changed()
        if report.created or report.updated:
            logger.info(
                "schedule of %s %s: %s (%s), enabled=%s",
                rows.row_name(model, schedulable.pk),
                "added" if report.created else "changed",
                schedulable.cron,
                schedulable.timezone,
                schedulable.enable,
                extra=ids(
                    "schedule_added" if report.created else "schedule_changed",
                    config=schedulable.pk,
                ),
            )
        elif report.removed:
            _log_removed(model, schedulable.pk)

    update = add

    def remove(self, model: type[Schedulable], object_id: int, *, wake_beat: bool = True) -> int:
        """Delete the row of one schedulable; return how many rows went.

        Without `wake_beat` the caller calls `PeriodicTasks.update_changed` before it commits, when
        it needs no other lock any more: all writers meet in that one row.
        """
        with transaction.atomic():
            # First the object, as a save and a refresh lock it, then its row. This lock lets the
            # inserts of a claim pass, which holds the row.
            ours = model._default_manager.filter(pk=object_id)
            list(ours.select_for_update(no_key=True).values_list("pk", flat=True))
            removed = self._delete(
                PeriodicTask.objects.filter(rows.ours([model])).filter(
                    name=rows.row_name(model, object_id)
                ),
                wake_beat=wake_beat,
            )
        if removed:
            _log_removed(model, object_id)
        return removed

    def clear(self) -> int:
        """Delete all rows of ours and no others; return how many went.

        The configs stay as they are: the next refresh, or start of beat, writes the rows again.
        """
        with transaction.atomic():
            removed = self._delete(PeriodicTask.objects.filter(rows.ours(schedulable_models())))
        logger.info("all schedules cleared: %d rows removed", removed)
        return removed

    def refresh(self) -> RefreshReport:
        """Make the rows equal to the schedulables, in bulk; a bad one is reported and left out.

        First everything is read and compared without a lock; only what differs is then locked,
        read again and written, 2,000 at a time, each chunk in a transaction of its own.
        """
        report = RefreshReport()
        for model in schedulable_models():
            with without_collector():
                differing, orphaned = self._differences(model, report)
            for chunk in _chunks(differing):
                self._write_locked(model, chunk, report)
            for chunk in _chunks(orphaned):
                report.removed += self._remove_orphans(model, chunk)
        ours = rows.ours(schedulable_models())
        report.active_tasks = PeriodicTask.objects.filter(ours, enabled=True).count()
        logger.info(
            "schedules refreshed: %d created, %d updated, %d unchanged, %d removed, %d errors",
            report.created,
            report.updated,
            report.unchanged,
            report.removed,
            len(report.errors),
        )
        for error in report.errors:
            logger.warning("schedule of %s left out: %s", error.name, error.error)
        return report

    def sync_all_tasks(self) -> RefreshReport:
        """Refresh; the plain twin of `sync_all_tasks_from_db`."""
        return self.refresh()

    async def sync_all_tasks_from_db(self) -> RefreshReport:
        """Refresh from asynchronous code."""
        return await sync_to_async(self.refresh, thread_sensitive=True)()

    def validate_cron_expression(
        self, expr: str, timezone_name: str | None = None, count: int = 5
    ) -> dict[str, object]:
        """Return whether `expr` can be scheduled, its words and its next `count` fire times.

        A valid one gives `{valid, cron, timezone, description, next_runs, next_run_in_seconds}`,
        times as ISO 8601 in the named zone; an invalid one `{valid: False, field, error}`.
        """
        zone_name = timezone_name or str(settings.TIME_ZONE)
        now = timezone.now()
        try:
            normalised = cron.normalise(expr)
            zone = cron.load_timezone(zone_name)
            slots = cron.next_slots(normalised, zone_name, after=now, count=count)
        except cron.InvalidCron as error:
            return {"valid": False, "field": error.field, "error": error.reason}
        return {
            "valid": True,
            "cron": normalised,
            "timezone": zone_name,
            "description": cron.describe(normalised, _language()),
            "next_runs": [slot.astimezone(zone).isoformat() for slot in slots],
            "next_run_in_seconds": (slots[0] - now).total_seconds() if slots else None,
        }

    # --- writing

    def _differences(
        self, model: type[Schedulable], report: RefreshReport
    ) -> tuple[list[int], list[int]]:
        """Return the ids whose row is not what it should be, and the ids of rows without object.

        Walks both tables side by side in the order of the ids: names of one prefix sort by
        number when the shorter come first.
        """
        now = timezone.now()
        crontab_ids = _by_key(CrontabSchedule.objects.all())
        # By what the config says, as 100,000 configs say few different things.
        ids_of = cache(lambda expr, zone: crontab_ids.get(rows.CrontabKey.of(expr, zone)))
        differing: list[int] = []
        orphaned: list[int] = []
        for row_id, values, row in self._side_by_side(model):
            if values is None:
                orphaned.append(row_id)
                continue
            schedule = rows.Schedule._make(values)
            if not schedule.cron and row is None:
                continue
            if row is not None and _is_current(model, schedule, row, ids_of, now):
                report.unchanged += 1
            else:
                differing.append(schedule.pk)
        return differing, orphaned

    @staticmethod
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

    def _write_locked(
        self, model: type[Schedulable], ids: Sequence[int], report: RefreshReport
    ) -> None:
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
            self._write(model, [rows.Schedule._make(values) for values in locked], report)
            if report.created + report.updated + report.removed != before:
                PeriodicTasks.update_changed()

    def _write(
        self, model: type[Schedulable], schedules: Sequence[rows.Schedule], report: RefreshReport
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
            report.removed += self._delete(
                PeriodicTask.objects.filter(rows.ours([model])).filter(name__in=dropped)
            )
        existing = self._existing(wanted)
        crontab_ids = self._crontab_ids({key for _, key in wanted.values()})
        now = timezone.now()
        fresh: list[rows.Row] = []
        changed: list[tuple[int, rows.Row]] = []
        for name, (schedule, key) in wanted.items():
            row_id, row = existing.get(name, (None, None))
            if row is not None and row.task != model.schedule_task:
                conflict = ScheduleConflict(
                    f"a periodic task named {name} exists and calls {row.task}; "
                    "rename or delete it under Advanced, then refresh the schedules"
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
        self._update(changed, now)
        report.created += len(fresh)
        report.updated += len(changed)
        return errors

    @staticmethod
    def _existing(names: Iterable[str]) -> dict[str, tuple[int, rows.Row]]:
        # Locked in the order of the ids, as beat's claim does it, so that neither waits for the
        # other in a circle.
        locked = PeriodicTask.objects.filter(name__in=list(names)).order_by("pk")
        found = locked.select_for_update(no_key=True).values_list("pk", *rows.Row._fields)
        return {values[1]: (values[0], rows.Row._make(values[1:])) for values in found}

    @staticmethod
    def _crontab_ids(keys: set[rows.CrontabKey]) -> dict[rows.CrontabKey, list[int]]:
        """Return the CrontabSchedule rows of each key, lowest id first; make those missing.

        The table has no uniqueness: two saves at once may make equal rows.
        """
        columns = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        superset = {f"{column}__in": {getattr(key, column) for key in keys} for column in columns}
        ids = _by_key(CrontabSchedule.objects.filter(**superset))
        missing = sorted(keys - ids.keys(), key=str)
        made = CrontabSchedule.objects.bulk_create(
            [CrontabSchedule(**key._asdict()) for key in missing]
        )
        return ids | {key: [row.pk] for key, row in zip(missing, made, strict=True)}

    @staticmethod
    def _update(changed: Sequence[tuple[int, rows.Row]], now: datetime) -> None:
        """Write our columns; `date_changed` too, as beat reads by it and bulk writes skip it."""
        tasks = [PeriodicTask(pk=pk, **row._asdict(), date_changed=now) for pk, row in changed]
        fields = [name.removesuffix("_id") for name in rows.Row._fields]
        PeriodicTask.objects.bulk_update(tasks, [*fields, "date_changed"], batch_size=200)

    def _remove_orphans(self, model: type[Schedulable], ids: Sequence[int]) -> int:
        """Delete rows of ours whose object is gone; each object is looked up again first."""
        with transaction.atomic():
            # A config that was saved since the tables were compared has a row that must stay.
            alive = set(model._default_manager.filter(pk__in=ids).values_list("pk", flat=True))
            names = [rows.row_name(model, pk) for pk in ids if pk not in alive]
            return self._delete(
                PeriodicTask.objects.filter(rows.ours([model])).filter(name__in=names)
            )

    @staticmethod
    def _delete(tasks: QuerySet[PeriodicTask], *, wake_beat: bool = True) -> int:
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


@cache
def get_sync_scheduler() -> SyncTaskScheduler:
    """Return the scheduler; it holds no state, so that every caller may share it."""
    return SyncTaskScheduler()


def _by_key(crontabs: QuerySet[CrontabSchedule]) -> dict[rows.CrontabKey, list[int]]:
    found: dict[rows.CrontabKey, list[int]] = defaultdict(list)
    for *values, pk in crontabs.order_by("pk").values_list(*rows.CrontabKey._fields, "pk"):
        found[rows.CrontabKey(*map(str, values))].append(pk)
    return dict(found)


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]


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


def _language() -> str:
    return get_language() or "en"


def _log_removed(model: type[Schedulable], object_id: int) -> None:
    logger.info(
        "schedule of %s removed",
        rows.row_name(model, object_id),
        extra=ids("schedule_removed", config=object_id),
    )
