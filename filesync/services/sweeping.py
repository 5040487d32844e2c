"""The sweep: makes true again what a crash left behind; safe to run anywhere and often."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from filesync.engine import Text
from filesync.models import SyncRun
from filesync.services import journal, places, run_logs
from filesync.services.doorbells import ring
from filesync.services.finishing import cancel_queued, cancel_where, change_run, log_end
from filesync.services.leases import work_folder
from filesync.services.workers import of_queues, room_for_calls
from scheduler.clock import from_now
from scheduler.queues import is_usable

logger = logging.getLogger(__name__)

SWEEP_EVERY_S = 5.0
RING_AGAIN_S = 60
RING_AT_MOST = 200
MAX_CRASHES = 3
RING_PER_SLOT = 4
LOST_ADVICE = gettext_noop("Look at the worker's log for what ends it (memory, disk).")


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What one sweep did, in runs."""

    requeued: int
    lost: int
    cancelled: int
    rung: int
    told: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def sweep() -> SweepReport:
    """Tell kept outcomes, requeue or give up what lost its lease, ring what waits."""
    _remove_leftovers()
    run_logs.collect()
    told, requeued, lost, cancelled = _recover_stale()
    cancelled += _cancel_waiting()
    return SweepReport(
        requeued=requeued,
        lost=lost,
        cancelled=cancelled,
        rung=_ring_forgotten(),
        told=told,
    )


def _recover_stale() -> tuple[int, int, int, int]:
    """Return how many runs were told of, queued again, given up and cancelled."""
    stale = Q(state=SyncRun.State.RUNNING, lease_expires_at__lt=Now())
    requeued = lost = cancelled = 0
    silent = list(SyncRun.objects.filter(stale).order_by("pk")[:RING_AT_MOST])
    # After the first query, which may have waited for a database that was away: what was kept
    # aside meanwhile is told, and its run not done again.
    told = journal.replay()
    for run in silent:
        held = stale & Q(pk=run.pk, lease_token=run.lease_token)
        # A cancel may have come since they were read.
        uncancelled = held & Q(cancel_requested_at__isnull=True)
        if run.crashes + 1 < MAX_CRASHES and _queue_again(uncancelled):
            requeued += 1
        elif run.crashes + 1 >= MAX_CRASHES and _give_up(uncancelled, run):
            lost += 1
        elif _cancel(held & Q(cancel_requested_at__isnull=False)):
            cancelled += 1
    return told, requeued, lost, cancelled


def _cancel(condition: Q) -> SyncRun | None:
    ended = cancel_where(condition)
    if ended is not None:
        log_end(ended)
    return ended


def _queue_again(condition: Q) -> SyncRun | None:
    run = change_run(
        condition,
        state=SyncRun.State.QUEUED,
        reason=SyncRun.Reason.LEASE_LOST,
        crashes=F("crashes") + 1,
        rung_at=None,
        lease_token=None,
        lease_expires_at=None,
        phase="",
    )
    if run is not None:
        logger.warning(
            "run %s of %s lost its worker, queued again",
            run.pk,
            run.config_name,
            extra=run.log_extra("run_requeued"),
        )
    return run


def _cancel_waiting() -> int:
    """Cancel queued runs that nobody should start.

    Their config was deleted while they were being queued, or they were queued again although
    somebody had asked to cancel them, as a version before this did.
    """
    orphaned = Q(config=None) | Q(cancel_requested_at__isnull=False)
    unwanted = SyncRun.objects.filter(orphaned, state=SyncRun.State.QUEUED)
    found = list(unwanted.values_list("pk", "config_id")[:RING_AT_MOST])
    user, deleted = SyncRun.Reason.CANCELLED_BY_USER, SyncRun.Reason.CONFIG_DELETED
    return sum(bool(cancel_queued(pk, user if config else deleted)) for pk, config in found)


def _give_up(condition: Q, run: SyncRun) -> SyncRun | None:
    ended = change_run(
        condition,
        state=SyncRun.State.LOST,
        reason=SyncRun.Reason.LEASE_LOST,
        finished_at=Now(),
        lease_token=None,
        lease_expires_at=None,
        phase="",
        failure_class="INTERNAL",
        message=Text("The worker died {count} times during this run.", count=run.crashes + 1),
        advice=LOST_ADVICE,
        retryable=False,
    )
    if ended is not None:
        log_end(ended)
    return ended


def _ring_forgotten() -> int:
    """Ring queued runs whose turn it is and whose message may be lost, oldest first.

    No more than the free workers of their queue could take up: messages that nobody consumes only
    fill the broker, and those of one queue would keep the others' from being rung.
    """
    room = room_for_calls(per_slot=RING_PER_SLOT)
    may_be_lost = places.unheard() | Q(rung_at__lt=from_now(-RING_AGAIN_S))
    silent = places.queued_and_due().filter(may_be_lost, of_queues(room.queues))
    last = silent.order_by("-pk").values_list("pk", flat=True).first()
    if last is None:
        return 0
    forgotten: list[SyncRun] = []
    ready = places.may_start(up_to=last)
    while not room.is_used_up and len(forgotten) < RING_AT_MOST:
        ids = [waiting.run_id for waiting in islice(ready, RING_AT_MOST)]
        if not ids:
            break
        found = silent.filter(pk__in=ids).order_by("pk")
        # Nobody ever hears of the others, who would keep the room for themselves.
        forgotten += [run for run in found if is_usable(run.queue) and room.take(run.queue)]
    return ring(forgotten[:RING_AT_MOST], tell=False)


def _remove_leftovers() -> None:
    """Remove the private folders of runs that were killed here; they hold a configuration."""
    work_dir: Path = settings.FILESYNC_WORK_DIR
    folders = {path.name: path for path in work_dir.glob("run-*") if path.is_dir()}
    if not folders:
        return
    running = SyncRun.objects.filter(state=SyncRun.State.RUNNING)
    held = {work_folder(pk, token) for pk, token in running.values_list("pk", "lease_token")}
    for name in folders.keys() - held:
        shutil.rmtree(folders[name], ignore_errors=True)
