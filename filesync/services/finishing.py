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
from filesync.services.attempts import with_ended_attempt
from filesync.services.documents import plan_document
from filesync.services.kept_words import words_of_kept
from filesync.services.leases import Claim
from filesync.services.results import store_result
from filesync.services.turns import ring_waiting
from scheduler.clock import from_now

logger = logging.getLogger(__name__)

LONGEST_RETRY_DELAY_S = 3_600
_END_LEVELS = {
    SyncRun.State.FAILED: logging.ERROR,
    SyncRun.State.LOST: logging.ERROR,
    SyncRun.State.PARTIAL: logging.WARNING,
}


def change_run(condition: Q, **values: object) -> SyncRun | None:
    """Change the run that `condition` names, with its celery result; None where none fits.

    The count of the conditional update decides: of two racers one changes the row. Where it ends
    an attempt, that is noted with the run.
    """
    with transaction.atomic():
        found = SyncRun.objects.filter(condition).annotate(now=Now())
        run = found.select_for_update(no_key=True).first()
        if run is None:
            return None
        if run.state == SyncRun.State.RUNNING:
            values["attempts"] = with_ended_attempt(run, values, run.now)
        values |= words_of_kept(run, values)
        if not SyncRun.objects.filter(condition, pk=run.pk).update(**values):
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
    told = _counters(result) | _explanation(result)
    if result.plan is not None:
        told["plan"] = plan_document(result.plan)
    delay_s = retry_delay_s(run, result)
    changed: SyncRun | None
    if delay_s is not None:
        changed = change_run(
            claim.held() & Q(cancel_requested_at__isnull=True),
            state=SyncRun.State.QUEUED,
            reason=SyncRun.Reason.RETRY,
            not_before=from_now(delay_s),
            **told,
            **_released(),
        )
        if changed is not None:
            _log_retry(changed, delay_s)
            ring_waiting(changed)
            return changed
    state = SyncRun.State(result.outcome.value)
    if state == SyncRun.State.CANCELLED or delay_s is not None:
        changed = cancel_where(claim.held(), **told)
    else:
        changed = change_run(claim.held(), state=state, finished_at=Now(), **told, **_released())
    if changed is not None:
        log_end(changed)
        ring_waiting(changed)
    return changed


def cancel_where(condition: Q, **values: object) -> SyncRun | None:
    """End a run as CANCELLED, for the reason that its row tells."""
    run = SyncRun.objects.filter(condition).first()
    deleted = run is not None and run.config_id is None
    reason = SyncRun.Reason.CONFIG_DELETED if deleted else SyncRun.Reason.CANCELLED_BY_USER
    return change_run(
        condition,
        state=SyncRun.State.CANCELLED,
        reason=reason,
        finished_at=Now(),
        **values,
        **_released(),
    )


def _log_retry(run: SyncRun, delay_s: float) -> None:
    logger.warning(
        "run %s of %s failed (%s: %s), attempt %d again in %.0f s",
        run.pk,
        run.config_name,
        run.failure_class,
        run.message,
        run.attempt + 1,
        delay_s,
        extra=run.log_extra("run_retry"),
    )


def log_end(run: SyncRun) -> None:
    """Tell how a run ended, at the level of its state."""
    logger.log(
        _END_LEVELS.get(SyncRun.State(run.state), logging.INFO),
        "run %s of %s ended %s after %.1f s: "
        "%d files, %d bytes, %d deleted, %d renamed, %d failed%s",
        run.pk,
        run.config_name,
        run.state,
        run.duration_s or 0,
        run.files_transferred,
        run.bytes_transferred,
        run.files_deleted,
        run.files_renamed,
        run.files_failed,
        f"; {run.failure_class}: {run.message}" if run.message else "",
        extra=run.log_extra("run_finished"),
    )


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


def requeue_run(claim: Claim, reason: SyncRun.Reason, *, delay_s: float = 0) -> bool:
    """Put a held run back into the queue, without counting the attempt; say whether it was held.

    One that somebody asked to cancel ends CANCELLED instead.
    """
    run = change_run(
        claim.held() & Q(cancel_requested_at__isnull=True),
        state=SyncRun.State.QUEUED,
        reason=reason,
        rung_at=None,
        not_before=from_now(delay_s) if delay_s else None,
        attempt=F("attempt") - 1,
        **_released(),
    )
    if run is None:
        return cancel_where(claim.held()) is not None
    logger.warning(
        "run %s of %s goes back to the queue: %s",
        run.pk,
        run.config_name,
        reason,
        extra=run.log_extra("run_requeued"),
    )
    ring_waiting(run)
    return True


def cancel_held(claim: Claim) -> SyncRun | None:
    """End a held run as CANCELLED before anything was started."""
    return cancel_where(claim.held())


def cancel_run(
    run_id: int, *, reason: SyncRun.Reason = SyncRun.Reason.CANCELLED_BY_USER
) -> SyncRun:
    """Cancel a run: a queued one at once, a running one by a flag that its worker reads.

    Raises:
        NotFound: there is no such run.
        RunFinished: it has ended already.
    """
    while True:
        run = cancel_queued(run_id, reason)
        if run is not None:
            return run
        asked = SyncRun.objects.filter(pk=run_id, state=SyncRun.State.RUNNING).update(
            cancel_requested_at=Now()
        )
        run = SyncRun.objects.filter(pk=run_id).first()
        if run is None:
            raise NotFound(engine.Text("there is no run {run_id}", run_id=run_id))
        if asked:
            logger.info(
                "run %s of %s: cancel asked",
                run.pk,
                run.config_name,
                extra=run.log_extra("run_cancel_asked"),
            )
            return run
        if run.is_terminal:
            raise RunFinished(
                engine.Text(
                    "run {run_id} has ended already ({state})", run_id=run_id, state=run.state
                )
            )
        # It changed between the two updates: queued again, or started. Ask once more.


def cancel_queued(run_id: int, reason: SyncRun.Reason) -> SyncRun | None:
    """Cancel a run that is queued; None where it is not."""
    run = change_run(
        Q(pk=run_id, state=SyncRun.State.QUEUED),
        state=SyncRun.State.CANCELLED,
        reason=reason,
        cancel_requested_at=Now(),
        finished_at=Now(),
    )
    if run is not None:
        logger.info(
            "run %s of %s cancelled while queued",
            run.pk,
            run.config_name,
            extra=run.log_extra("run_finished"),
        )
        # It may have been the first of a line, which kept places for it.
        ring_waiting(run)
    return run


def cancel_for_deleted_config(config_id: int) -> None:
    """Cancel what a config that is about to be deleted still has under way."""
    for run_id in SyncRun.objects.filter(config_id=config_id, state__in=SyncRun.ACTIVE).values_list(
        "pk", flat=True
    ):
        with contextlib.suppress(RunFinished):
            cancel_run(run_id, reason=SyncRun.Reason.CONFIG_DELETED)


def _released() -> dict[str, object]:
    return {"lease_token": None, "lease_expires_at": None, "phase": ""}


def _counters(result: engine.SyncResult) -> dict[str, object]:
    totals = result.totals
    return {
        "files_transferred": totals.files_transferred,
        "bytes_transferred": totals.bytes_transferred,
        "files_deleted": totals.files_deleted,
        "files_renamed": totals.files_renamed,
        "files_checked": totals.files_checked,
        "files_failed": totals.files_failed,
    }


def _explanation(result: engine.SyncResult) -> dict[str, object]:
    failure = result.failure
    if failure is None:
        return {
            "failure_class": "",
            "guard": "",
            "message": "",
            "advice": "",
            "retryable": None,
        }
    return {
        "failure_class": failure.failure_class.value,
        "guard": failure.guard or "",
        "message": failure.message,
        "advice": failure.advice,
        "retryable": failure.retryable,
    }
