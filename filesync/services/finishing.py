"""How runs end: each in exactly one terminal state, with its celery result, in one transaction."""

from __future__ import annotations

import contextlib
import logging
import random

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from filesync import engine
from filesync.errors import NotFound, RunFinished
from filesync.models import SyncRun
from filesync.services.leases import Claim
from filesync.services.queueing import ring
from filesync.services.results import store_result
from scheduler.clock import from_now

logger = logging.getLogger(__name__)

LONGEST_RETRY_DELAY_S = 3_600


def change_run(condition: Q, **values: object) -> SyncRun | None:
    """Change the run that `condition` names, with its celery result; None where none fits.

    The count of the conditional update decides: of two racers one changes the row.
    """
    with transaction.atomic():
        run = SyncRun.objects.filter(condition).select_for_update(no_key=True).first()
        if run is None or not SyncRun.objects.filter(condition, pk=run.pk).update(**values):
            return None
        run.refresh_from_db()
        store_result(run)
        return run


def finish_run(claim: Claim, result: engine.SyncResult) -> SyncRun | None:
    """End a held run as the engine's result says, or queue it for another attempt.

    Returns None where the run is no longer held: its lease lapsed and it was given away.
    """
    run = SyncRun.objects.select_related("config").filter(claim.held()).first()
    if run is None:
        return None
    delay_s = retry_delay_s(run, result)
    values = _counters(result) | _explanation(result)
    if delay_s is None:
        state = SyncRun.State(result.outcome.value)
        values |= {"state": state, "finished_at": Now()} | _released()
        if state == SyncRun.State.CANCELLED:
            values["reason"] = SyncRun.Reason.CANCELLED_BY_USER
    else:
        values |= {
            "state": SyncRun.State.QUEUED,
            "reason": SyncRun.Reason.RETRY,
            "not_before": from_now(delay_s),
        } | _released()
    changed = change_run(claim.held(), **values)
    if changed is None:
        return None
    if delay_s is None:
        logger.info(
            "run %s of %s ended %s: %d files, %d bytes, %d deleted, %d failed%s",
            changed.pk,
            changed.config_name,
            changed.state,
            changed.files_transferred,
            changed.bytes_transferred,
            changed.files_deleted,
            changed.files_failed,
            f"; {changed.failure_class}: {changed.message}" if changed.message else "",
        )
        ring_waiting()
    else:
        logger.warning(
            "run %s of %s failed (%s: %s), attempt %d again in %.0f s",
            changed.pk,
            changed.config_name,
            changed.failure_class,
            changed.message,
            changed.attempt + 1,
            delay_s,
        )
    return changed


def retry_delay_s(run: SyncRun, result: engine.SyncResult) -> float | None:
    """Return the seconds until another attempt, None where there is none.

    Doubles per attempt up to an hour, with a tenth of jitter so that runs that failed together do
    not come back together. A run that somebody cancelled is never tried again.
    """
    failure = result.failure
    if failure is None or not failure.retryable or run.cancel_requested_at is not None:
        return None
    if run.config is None or run.attempt >= run.config.max_attempts:
        return None
    delay_s: float = min(run.config.retry_delay_s * 2 ** (run.attempt - 1), LONGEST_RETRY_DELAY_S)
    return delay_s * random.uniform(0.9, 1.1)  # noqa: S311 - spread, not a secret


def requeue_run(claim: Claim, reason: SyncRun.Reason) -> bool:
    """Put a held run back into the queue, without counting the attempt; say whether it was held."""
    run = change_run(
        claim.held(),
        state=SyncRun.State.QUEUED,
        reason=reason,
        rung_at=None,
        attempt=F("attempt") - 1,
        **_released(),
    )
    if run is None:
        return False
    logger.warning("run %s of %s goes back to the queue: %s", run.pk, run.config_name, reason)
    return True


def cancel_run(
    run_id: int, *, reason: SyncRun.Reason = SyncRun.Reason.CANCELLED_BY_USER
) -> SyncRun:
    """Cancel a run: a queued one at once, a running one by a flag that its worker reads.

    Raises:
        NotFound: there is no such run.
        RunFinished: it has ended already.
    """
    run = change_run(
        Q(pk=run_id, state=SyncRun.State.QUEUED),
        state=SyncRun.State.CANCELLED,
        reason=reason,
        cancel_requested_at=Now(),
        finished_at=Now(),
    )
    if run is not None:
        logger.info("run %s of %s cancelled while queued", run.pk, run.config_name)
        return run
    asked = SyncRun.objects.filter(pk=run_id, state=SyncRun.State.RUNNING).update(
        cancel_requested_at=Now()
    )
    run = SyncRun.objects.filter(pk=run_id).first()
    if run is None:
        raise NotFound(f"there is no run {run_id}")
    if not asked:
        raise RunFinished(f"run {run_id} has ended already ({run.state})")
    logger.info("run %s of %s: cancel asked", run.pk, run.config_name)
    return run


def cancel_for_deleted_config(config_id: int) -> None:
    """Cancel what a config that is about to be deleted still has under way."""
    for run_id in SyncRun.objects.filter(config_id=config_id, state__in=SyncRun.ACTIVE).values_list(
        "pk", flat=True
    ):
        with contextlib.suppress(RunFinished):
            cancel_run(run_id, reason=SyncRun.Reason.CONFIG_DELETED)


def ring_waiting(limit: int = 5) -> None:
    """Ring the runs that have waited longest: a place may have become free for one of them."""
    waiting = (
        SyncRun.objects.filter(state=SyncRun.State.QUEUED)
        .filter(Q(not_before=None) | Q(not_before__lte=Now()))
        .order_by("id")[:limit]
    )
    ring(list(waiting))


def _released() -> dict[str, object]:
    return {"lease_token": None, "lease_expires_at": None, "phase": ""}


def _counters(result: engine.SyncResult) -> dict[str, object]:
    totals = result.totals
    return {
        "files_transferred": totals.files_transferred,
        "bytes_transferred": totals.bytes_transferred,
        "files_deleted": totals.files_deleted,
        "files_checked": totals.files_checked,
        "files_failed": totals.files_failed,
    }


def _explanation(result: engine.SyncResult) -> dict[str, object]:
    failure = result.failure
    if failure is None:
        return {"failure_class": "", "guard": "", "message": "", "advice": ""}
    return {
        "failure_class": failure.failure_class.value,
        "guard": failure.guard or "",
        "message": failure.message,
        "advice": failure.advice,
    }
