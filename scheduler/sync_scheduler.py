"""SyncTaskScheduler: writes schedulables into django-celery-beat rows, and takes them back.

Every write compares first, covers only rows of ours (`scheduler.rows.ours`) and wakes beat once.
How rows are read and written is `scheduler.comparing`'s and `scheduler.writing`'s; when something
fires is decided by `scheduler.cron` and `scheduler.beat`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import get_language
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from scheduler import cron, rows
from scheduler.bulk import chunks, without_collector
from scheduler.comparing import compare
from scheduler.log_ids import ids
from scheduler.models import Schedulable, schedulable_models
from scheduler.writing import (
    CHANGES_KEPT,
    RefreshReport,
    delete_rows,
    remove_orphans,
    remove_rows,
    write_locked,
    write_rows,
)

logger = logging.getLogger(__name__)


class SyncTaskScheduler:
    """Keeps the PeriodicTask rows equal to the schedulables; stateless, safe to share."""

    def add(self, schedulable: Schedulable) -> None:
        """Write the row of one saved schedulable, in the caller's transaction if there is one.

        Raises:
            scheduler.cron.InvalidCron: its cron or time zone cannot be used.
            scheduler.writing.ScheduleConflict: a row that is not ours has its name.
        """
        model = type(schedulable)
        report = RefreshReport()
        with transaction.atomic():
            errors = write_rows(model, [rows.Schedule.of(schedulable)], report)
            if errors:
                raise errors[0]
            if report.written:
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

    def update_many(self, model: type[Schedulable], ids: Sequence[int]) -> dict[int, ValueError]:
        """Write the rows of saved schedulables in bulk; return what was left out, by id.

        The errors are those that `add` raises: a cron that cannot be used, a name that is taken.
        """
        report = RefreshReport()
        errors: list[ValueError] = []
        with transaction.atomic():
            for chunk in chunks(ids):
                errors += write_locked(model, chunk, report)
        _log_changes(report)
        if report.written:
            logger.info("%d schedules of %s changed", report.written, model._meta.label_lower)
        return {row.id: error for row, error in zip(report.errors, errors, strict=True)}

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
            removed = len(
                delete_rows(
                    PeriodicTask.objects.filter(rows.ours([model])).filter(
                        name=rows.row_name(model, object_id)
                    ),
                    wake_beat=wake_beat,
                )
            )
        if removed:
            _log_removed(model, object_id)
        return removed

    def clear(self) -> int:
        """Delete all rows of ours and no others; return how many went.

        The configs stay as they are: the next refresh, or start of beat, writes the rows again.
        """
        report = RefreshReport()
        with transaction.atomic():
            for model in schedulable_models():
                remove_rows(model, report)
        _log_changes(report)
        logger.info(
            "all schedules cleared: %d rows removed",
            report.removed,
            extra=ids("schedules_cleared"),
        )
        return report.removed

    def refresh(self) -> RefreshReport:
        """Make the rows equal to the schedulables, in bulk; a bad one is reported and left out.

        First everything is read and compared without a lock; only what differs is then locked,
        read again and written, 2,000 at a time, each chunk in a transaction of its own.
        """
        report = RefreshReport()
        for model in schedulable_models():
            with without_collector():
                compared = compare(model)
            report.unchanged += compared.unchanged
            for chunk in chunks(compared.differing):
                write_locked(model, chunk, report)
            for chunk in chunks(compared.orphaned):
                remove_orphans(model, chunk, report)
        ours = rows.ours(schedulable_models())
        report.active_tasks = PeriodicTask.objects.filter(ours, enabled=True).count()
        _log_changes(report)
        logger.info(
            "schedules refreshed: %d created, %d updated, %d unchanged, %d removed, %d errors",
            report.created,
            report.updated,
            report.unchanged,
            report.removed,
            len(report.errors),
            extra=ids("schedules_refreshed"),
        )
        for error in report.errors:
            logger.warning(
                "schedule of %s left out: %s",
                error.name,
                error.error,
                extra=ids("schedule_left_out", config=error.id),
            )
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


@cache
def get_sync_scheduler() -> SyncTaskScheduler:
    """Return the scheduler; it holds no state, so that every caller may share it."""
    return SyncTaskScheduler()


def _language() -> str:
    return get_language() or "en"


def _log_changes(report: RefreshReport) -> None:
    """Tell a line per row, unless they are very many: then the count alone is told."""
    if report.written > CHANGES_KEPT:
        return
    for change in report.changes:
        logger.info(
            "schedule of %s %s",
            change.name,
            change.word,
            extra=ids(f"schedule_{change.word}", config=change.object_id),
        )


def _log_removed(model: type[Schedulable], object_id: int) -> None:
    logger.info(
        "schedule of %s removed",
        rows.row_name(model, object_id),
        extra=ids("schedule_removed", config=object_id),
    )
