"""The django-celery-results row of a run, written in the transaction that changes the run.

Celery is told to store none of the task itself, so that a duplicate delivery or a late
acknowledgement cannot make it tell another story; its own guesses about killed and stopped workers
are held back by `filesync.result_backend`.
"""

from __future__ import annotations

from celery import current_app
from celery.exceptions import TaskRevokedError
from celery.states import RETRY

from filesync.errors import SyncFailed, SyncRetrying
from filesync.models import SyncRun


def store_result(run: SyncRun) -> None:
    """Write what `run` says now; call it in the transaction that made it so."""
    current_app.backend.store_result(str(run.task_id), _outcome(run), run.task_status)


def summary(run: SyncRun) -> dict[str, object]:
    """Return the small JSON that a successful task's result holds."""
    return {
        "run_id": run.pk,
        "config_id": run.config_id,
        "state": run.state,
        "reason": run.reason,
        "attempt": run.attempt,
        "dry_run": run.dry_run,
        "files_transferred": run.files_transferred,
        "bytes_transferred": run.bytes_transferred,
        "files_deleted": run.files_deleted,
        "files_renamed": run.files_renamed,
        "files_checked": run.files_checked,
        "files_failed": run.files_failed,
        "duration_s": run.duration_s,
    }


def _outcome(run: SyncRun) -> object:
    state = run.state
    if state in (SyncRun.State.FAILED, SyncRun.State.PARTIAL, SyncRun.State.LOST):
        return SyncFailed(f"{run.failure_class or state}: {run.message} {run.advice}".strip())
    if state == SyncRun.State.CANCELLED:
        return TaskRevokedError(run.get_reason_display() or "cancelled")
    if run.task_status == RETRY:
        return SyncRetrying(run.message or run.get_reason_display())
    return summary(run)
