"""A worker's hold on a run: claim, keep, give back; conditional updates whose count is checked."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from filesync.models import RunItem, Storage, SyncRun
from filesync.notifications.outbox import put_ping
from filesync.services import pausing, places
from filesync.services.doorbells import ring
from filesync.services.results import store_result
from scheduler.clock import from_now

logger = logging.getLogger(__name__)

LEASE_S = 60
# Of workers that are after the same run one gets it; the others look again.
TURN_TRIES = 3


@dataclass(frozen=True, slots=True)
class Claim:
    """Proof that this worker holds the run: every later write names the token."""

    run_id: int
    token: uuid.UUID

    def held(self) -> Q:
        return Q(pk=self.run_id, state=SyncRun.State.RUNNING, lease_token=self.token)


def work_folder(run_id: int, token: uuid.UUID | None) -> str:
    """Return the name of a claim's private folder; no two claims of a run share one."""
    return f"run-{run_id}-{token.hex[:12] if token else 'none'}"


class LeaseLost(Exception):
    """Another process took the run, or it was ended: stop at once and write nothing."""

    code = "lease_lost"
    retryable = False


def answer_doorbell(task_id: str, *, worker: str) -> Claim | None:
    """Take the run that a doorbell names; where it cannot start, the one whose turn it is.

    So the queue of a storage keeps its order although messages come in any, and a lost message
    holds nobody up behind the run that it was for. None where nothing may start beside that run.
    """
    claim = claim_run(task_id, worker=worker)
    if claim is not None:
        return claim
    # Before the look at who may start: whoever ends a run after that look rings this one again.
    forget_doorbells([task_id])
    for _ in range(TURN_TRIES):
        run_id = _whose_turn(task_id)
        if run_id is None or not _is_for_same_workers(task_id, run_id):
            return None
        claim = _claim(Q(pk=run_id), worker)
        if claim is not None:
            return claim
    return None


def forget_doorbells(task_ids: Collection[str]) -> None:
    """Let the next sweep ring again for those of these runs that are still queued."""
    SyncRun.objects.filter(task_id__in=task_ids, state=SyncRun.State.QUEUED).update(rung_at=None)


def _is_for_same_workers(task_id: str, run_id: int) -> bool:
    """Whether a run goes to the queue that a doorbell came from; else its own workers are rung."""
    runs = SyncRun.objects.filter(Q(task_id=task_id) | Q(pk=run_id))
    if runs.values("queue").order_by().distinct().count() < 2:
        return True
    ring(runs.filter(places.unheard(), pk=run_id))
    return False


def claim_run(task_id: str, *, worker: str) -> Claim | None:
    """Take a queued run; None where it may not start.

    It is not taken when it is not QUEUED (a duplicate message), before its `not_before`, or while
    its storages are paused or have no place for it that an older run does not wait for; then it
    stays queued and is rung again.
    """
    return _claim(Q(task_id=task_id), worker)


def _whose_turn(task_id: str) -> int | None:
    """Return the oldest run that may start on the storages of a doorbell's run."""
    run = SyncRun.objects.select_related("config").filter(task_id=task_id).first()
    if run is None:
        return None
    storage_ids = places.storages_of(run)
    if not places.has_room(storage_ids):
        return None
    ready = next(places.may_start_on(storage_ids, heard=run.queue), None)
    return None if ready is None else ready.run_id


def _claim(which: Q, worker: str) -> Claim | None:
    with transaction.atomic():
        run = places.queued_and_due().select_related("config").filter(which).first()
        if run is None:
            pausing.tell_paused(which)
            return None
        sides = places.sides_of(run)
        if sides is None or not _has_place(run, sides):
            return None
        config = run.config
        token = uuid.uuid4()
        taken = SyncRun.objects.filter(pk=run.pk, state=SyncRun.State.QUEUED).update(
            state=SyncRun.State.RUNNING,
            reason=SyncRun.Reason.NONE,
            attempt=F("attempt") + 1,
            worker=worker,
            lease_token=token,
            lease_expires_at=from_now(LEASE_S),
            started_at=Now(),
            source_place=sides[0],
            destination_place=sides[1],
            phase="",
            progress={},
            message="",
            advice="",
            retryable=None,
            failure_class="",
            guard="",
        )
        if not taken:
            return None
        # What an earlier attempt did to a path is told by the log of that attempt.
        RunItem.objects.filter(run_id=run.pk).delete()
        run.refresh_from_db()
        store_result(run)
        if config is not None:
            put_ping(config, run, "start")
    logger.info(
        "run %s of %s started, attempt %d",
        run.pk,
        run.config_name,
        run.attempt,
        extra=run.log_extra("run_started"),
    )
    return Claim(run.pk, token)


def keep_lease(
    claim: Claim,
    *,
    phase: str,
    progress: dict[str, object],
    plan: dict[str, object] | None = None,
) -> bool:
    """Renew the lease and write the progress; return whether somebody asked to cancel.

    Raises:
        LeaseLost: the run is no longer this worker's.
    """
    values: dict[str, object] = {"phase": phase, "progress": progress}
    if plan is not None:
        values["plan"] = plan
    kept = SyncRun.objects.filter(claim.held()).update(lease_expires_at=from_now(LEASE_S), **values)
    if not kept:
        raise LeaseLost(f"run {claim.run_id} is no longer held by this worker")
    return SyncRun.objects.filter(pk=claim.run_id, cancel_requested_at__isnull=False).exists()


def _has_place(run: SyncRun, storage_ids: Collection[int]) -> bool:
    """Return whether it is the run's turn on its storages; locks them until the commit."""
    storages = Storage.objects.filter(pk__in=storage_ids).order_by("pk")
    list(storages.select_for_update(no_key=True).values_list("pk", flat=True))
    return places.has_turn(run)
