"""CronDatabaseScheduler: fires rows of ours from a heap; leaves all others to django-celery-beat.

Here a tick is put together; what is due, who leads and who wins a slot are decided in `slots`,
`lease` and `claims`.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler

from scheduler import cron, rows, startup
from scheduler.bulk import without_collector
from scheduler.claims import FAR_AHEAD, claim
from scheduler.lease import Lease
from scheduler.models import Doorbell, schedulable_models
from scheduler.outages import DATABASE_AWAY
from scheduler.publishing import BrokerAway, publish
from scheduler.slots import Member, SlotHeap

logger = logging.getLogger(__name__)

POLL_S = 1.0
RECONCILE_S = 300.0
# Rows are stamped by the clock of whoever wrote them; the overlap covers clocks that differ.
CHANGED_OVERLAP = timedelta(seconds=60)
JUST_BEFORE = timedelta(microseconds=1)
CHUNK = 10_000
CLOSE_S = 3.0
NEVER = float("-inf")
DATABASE, BROKER = "the database", "the broker"


class LoadedRow(NamedTuple):
    """What beat reads of a row of ours; `counts_from` is where its slots begin to count."""

    pk: int
    name: str
    enabled: bool
    crontab_id: int | None
    last_run_at: datetime | None
    counts_from: datetime
    expires: datetime | None
    headers: str | None


class CronDatabaseScheduler(DatabaseScheduler):
    """Beat's scheduler. Any number may run: one leads, each slot is claimed by exactly one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._lease = Lease(f"{socket.gethostname()}:{os.getpid()}")
        self._models = {model._meta.label_lower: model for model in schedulable_models()}
        self._heap_of_ours = SlotHeap()
        self._loaded_at = NEVER
        self._stamp: datetime | None = None
        self._stock_stamp: datetime | None = None
        self._stamp_read_at: datetime | None = None
        self._troubles: set[str] = set()
        self._standing_by = False
        super().__init__(*args, **kwargs)
        self.max_interval = POLL_S

    def setup_schedule(self) -> None:
        startup.load_schedules()
        super().setup_schedule()

    def enabled_models_qs(self) -> QuerySet[PeriodicTask]:
        """Return the rows that the stock part fires: all that are not ours.

        Its own query leaves out crontabs of other hours, to load fewer: that is what makes it
        miss a job that was due while beat was down, and it costs seconds where there are many
        crontabs. Rows that are not ours are few.
        """
        stock: QuerySet[PeriodicTask] = self.Model.objects.enabled()
        return stock.exclude(rows.ours(self._models.values()))

    def schedule_changed(self) -> bool:
        """Tell the stock part whether to reload; unlike its own test this survives clock skew."""
        changed = self._stamp != self._stock_stamp
        self._stock_stamp = self._stamp
        return changed

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Fire what is due; return the seconds until the next look, at most `POLL_S`."""
        try:
            # The connection is kept from tick to tick: opening one took two thirds of an idle tick.
            # After an error all are closed.
            if not self._lease.hold():
                self._stand_by()
                return POLL_S
            self._lead()
            ours_s = self._tick_ours()
            if self._initial_read:
                # What the stock part reads now is newer than the stamp. To read it a second time
                # would place rows in its heap that forget what they fired in between.
                self._stock_stamp = self._stamp
            stock_s = float(super().tick(*args, **kwargs))
        except DATABASE_AWAY as error:
            self._report(DATABASE, error)
            connections.close_all()
            # What was taken from the heap may not be claimed: it is read again from the rows.
            self._loaded_at = NEVER
            return POLL_S
        self._recovered(DATABASE)
        return max(0.0, min(ours_s, stock_s, POLL_S))

    def close(self) -> None:
        """Write what celery-beat still has to write and give the lease back, in 3 s at most.

        Called from celery's signal handler, which may have interrupted a query on this thread's
        connection; a query inside it would wait for that one for ever. So another thread does it,
        on a connection of its own.
        """
        writer = threading.Thread(target=self._write_last, name="beat-close", daemon=True)
        writer.start()
        writer.join(CLOSE_S)

    def _write_last(self) -> None:
        try:
            super().close()
            self._lease.release()
        except DATABASE_AWAY as error:
            logger.warning("the beat lease could not be released, it lapses by itself: %s", error)
        finally:
            connections.close_all()

    # --- leading and standing by

    def _lead(self) -> None:
        if self._standing_by or self._loaded_at == NEVER:
            logger.info("beat %s leads", self._lease.holder)
            self._standing_by = False
            self._initial_read = True
            self._heap = None
            self._load()

    def _stand_by(self) -> None:
        if not self._standing_by:
            logger.info("beat %s stands by: another beat leads", self._lease.holder)
            self._standing_by = True
            self._heap_of_ours = SlotHeap()
        self._recovered(DATABASE)

    def _report(self, what: str, error: BaseException | str) -> None:
        if what not in self._troubles:
            logger.error("beat cannot reach %s, it keeps trying: %s", what, error)
        self._troubles.add(what)

    def _recovered(self, what: str) -> None:
        if what in self._troubles:
            logger.info("beat reaches %s again", what)
        self._troubles.discard(what)

    # --- rows of ours

    def _tick_ours(self) -> float:
        if time.monotonic() - self._loaded_at > RECONCILE_S:
            self._load()
        elif self._read_stamp():
            self._reload_changed()
        now = timezone.now()
        due_at = self._heap_of_ours.next_due_at()
        if due_at is not None and due_at <= now:
            self._publish(claim(self._heap_of_ours.due(now), now=now))
            due_at = self._heap_of_ours.next_due_at()
        if due_at is None:
            return POLL_S
        return (due_at - timezone.now()).total_seconds()

    def _read_stamp(self) -> bool:
        """Read the change stamp; return whether it moved. Read it before the rows."""
        before = self._stamp
        self._stamp = self.Changes.last_change()
        return self._stamp != before

    def _load(self) -> None:
        """Read all rows of ours, and settle the slots that passed while nobody fired."""
        started = time.monotonic()
        self._loaded_at = NEVER
        self._read_stamp()
        self._stamp_read_at = timezone.now()
        self._heap_of_ours = SlotHeap()
        with without_collector():
            row_ids = self._put(PeriodicTask.objects.filter(rows.ours(self._models.values())))
        self._catch_up(row_ids)
        self._loaded_at = time.monotonic()
        logger.info(
            "%d schedules loaded in %.3f s", len(self._heap_of_ours), self._loaded_at - started
        )

    def _reload_changed(self) -> None:
        since = (self._stamp_read_at or timezone.now()) - CHANGED_OVERLAP
        self._stamp_read_at = timezone.now()
        changed = Q(date_changed__gte=since) & rows.ours(self._models.values())
        self._catch_up(self._put(PeriodicTask.objects.filter(changed)))

    def _put(self, tasks: QuerySet[PeriodicTask]) -> list[int]:
        """Place rows in the heap and drop disabled ones; return the ids of those placed."""
        columns = LoadedRow._fields
        now = timezone.now()
        placed: list[int] = []
        schedules: dict[int, cron.CronSchedule] = {}
        tasks = tasks.annotate(counts_from=Coalesce("start_time", "date_changed"))
        rows_read = iter(tasks.values_list(*columns).iterator(chunk_size=CHUNK))
        while chunk := [LoadedRow._make(row) for row in islice(rows_read, CHUNK)]:
            wanted = {row.crontab_id for row in chunk if row.enabled} - schedules.keys()
            schedules |= self._schedules(wanted)
            placed += [row.pk for row in chunk if self._place(row, schedules, now)]
        return placed

    def _place(
        self,
        row: LoadedRow,
        schedules: Mapping[int, cron.CronSchedule],
        now: datetime,
    ) -> bool:
        label = row.name.partition(":")[0]
        model = self._models.get(label)
        object_id = rows.object_id(model, row.name) if model is not None else None
        schedule = schedules.get(row.crontab_id) if row.crontab_id is not None else None
        if not row.enabled or object_id is None or schedule is None:
            self._heap_of_ours.drop(row.pk)
            return False
        # A slot at the very start still counts: what is settled ends just before it.
        since = row.counts_from - JUST_BEFORE
        last = row.last_run_at
        if last is not None and since < last <= now + FAR_AHEAD:
            since = last
        offset_s = rows.jitter_offset_s(row.name, rows.jitter_of(row.headers))
        member = Member(row.pk, label, object_id, since, row.expires)
        try:
            self._heap_of_ours.put(member, schedule, offset_s, now=now)
        except cron.InvalidCron as error:
            logger.error("schedule %s never fires and is left out: %s", row.name, error)
            return False
        return True

    @staticmethod
    def _schedules(crontab_ids: Iterable[int | None]) -> dict[int, cron.CronSchedule]:
        """Return the schedules of crontab rows; one that cannot fire is reported and left out."""
        found: dict[int, cron.CronSchedule] = {}
        columns = ("pk", *rows.CrontabKey._fields)
        crontabs = CrontabSchedule.objects.filter(pk__in=[pk for pk in crontab_ids if pk])
        for pk, *fields, zone in crontabs.values_list(*columns):
            try:
                found[pk] = cron.schedule(" ".join(fields), str(zone))
            except cron.InvalidCron as error:
                logger.error("crontab %s cannot be read and is left out: %s", pk, error)
        return found

    def _catch_up(self, row_ids: Iterable[int]) -> None:
        now = timezone.now()
        overdue = self._heap_of_ours.overdue(row_ids, now)
        if overdue:
            self._publish(claim(overdue, now=now))

    def _publish(self, doorbells: Sequence[Doorbell]) -> None:
        """Send the messages; what cannot be sent stays queued in the database for the sweep."""
        if not doorbells:
            return
        try:
            refused = publish(self.app, doorbells)
        except BrokerAway as error:
            self._report(BROKER, error)
        else:
            self._recovered(BROKER)
            for queue, why in refused.items():
                self._report(f"queue {queue}", why)
