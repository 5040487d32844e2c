"""The sweep: makes true again what a crash left behind; safe to run anywhere and often."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings
from django.db.models import F, Q
from django.db.models.functions import Now

from filesync.models import SyncRun
from filesync.services import journal
from filesync.services.finishing import change_run
from filesync.services.queueing import ring
from scheduler.clock import from_now

logger = logging.getLogger(__name__)

SWEEP_EVERY_S = 5.0
RING_AGAIN_S = 60
RING_AT_MOST = 200
MAX_CRASHES = 3


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
    told = journal.replay()
    _remove_leftovers()
    requeued, lost, cancelled = _recover_stale()
    return SweepReport(
        requeued=requeued,
        lost=lost,
        cancelled=cancelled,
        rung=_ring_forgotten(),
        told=told,
    )


def _recover_stale() -> tuple[int, int, int]:
    stale = Q(state=SyncRun.State.RUNNING, lease_expires_at__lt=Now())
    requeued = lost = cancelled = 0
    for run in SyncRun.objects.filter(stale).order_by("pk")[:RING_AT_MOST]:
        condition = stale & Q(pk=run.pk, lease_token=run.lease_token)
        if run.cancel_requested_at is not None:
            cancelled += bool(_give_up(condition, SyncRun.State.CANCELLED, run))
        elif run.attempt >= MAX_CRASHES:
            lost += bool(_give_up(condition, SyncRun.State.LOST, run))
        else:
            requeued += bool(
                change_run(
                    condition,
                    state=SyncRun.State.QUEUED,
                    reason=SyncRun.Reason.LEASE_LOST,
                    rung_at=None,
                    lease_token=None,
                    lease_expires_at=None,
                    phase="",
                )
            )
            logger.warning("run %s of %s lost its worker, queued again", run.pk, run.config_name)
    return requeued, lost, cancelled


def _give_up(condition: Q, state: SyncRun.State, run: SyncRun) -> SyncRun | None:
    logger.error("run %s of %s lost its worker, given up as %s", run.pk, run.config_name, state)
    is_lost = state == SyncRun.State.LOST
    cancelled = SyncRun.Reason.CANCELLED_BY_USER if run.config_id else SyncRun.Reason.CONFIG_DELETED
    return change_run(
        condition,
        state=state,
        reason=SyncRun.Reason.LEASE_LOST if is_lost else cancelled,
        finished_at=Now(),
        lease_token=None,
        lease_expires_at=None,
        phase="",
        failure_class="INTERNAL" if is_lost else "",
        message=f"The worker died {run.attempt} times during this run." if is_lost else "",
        advice="Look at the worker's log for what ends it (memory, disk)." if is_lost else "",
    )


def _ring_forgotten() -> int:
    """Ring queued runs whose message may be lost; a doorbell too many does no harm."""
    forgotten = (
        SyncRun.objects.filter(state=SyncRun.State.QUEUED)
        .filter(Q(not_before=None) | Q(not_before__lte=Now()))
        .filter(
            Q(rung_at=None)
            | Q(rung_at__lt=from_now(-RING_AGAIN_S))
            | Q(not_before__gt=F("rung_at"))
        )
        .order_by("pk")[:RING_AT_MOST]
    )
    return ring(list(forgotten))


def _remove_leftovers() -> None:
    """Remove the private folders of runs that were killed here; they hold a configuration."""
    work_dir: Path = settings.FILESYNC_WORK_DIR
    folders = {path.name: path for path in work_dir.glob("run-*") if path.is_dir()}
    if not folders:
        return
    running = SyncRun.objects.filter(state=SyncRun.State.RUNNING).values_list("pk", "attempt")
    for name in folders.keys() - {f"run-{pk}-{attempt}" for pk, attempt in running}:
        shutil.rmtree(folders[name], ignore_errors=True)
