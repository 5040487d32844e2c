"""The celery tasks: ids in, one service, small JSON out; no logic of their own."""

from __future__ import annotations

import logging

from celery import Task, shared_task
from celery.exceptions import Ignore

from filesync.models import SyncRun
from filesync.notifications import outbox
from filesync.services import batches, leases, retention, sweeping
from filesync.services.execution import execute
from filesync.services.recording import record_direct_call

logger = logging.getLogger(__name__)


@shared_task(bind=True, name="filesync.tasks.sync_file_task")
def sync_file_task(
    self: Task[[int, int | None], None], config_id: int, run_id: int | None = None
) -> None:
    """Run the sync config `config_id`.

    The message is a doorbell: it carries the id and the task id of a queued run, of which an older
    one that waits for the same storages goes first. It rings for nothing when that run was
    deleted. Called directly, without `run_id` and with a task id that no
    run has, it makes its own run. The run's outcome is stored together with the run
    (`services.results`), and celery stores none; a process that was told to stop exits.

    Raises:
        NotFound: called directly for a config that does not exist.
        Ignore: called directly; what is linked to the call must not take each end for a success.
    """
    # Not Ignore for a doorbell: celery copies the frames of an exception, 250 KB each time.
    self.request.ignore_result = run_id is not None
    task_id = str(self.request.id)
    if not SyncRun.objects.filter(task_id=task_id).exists():
        if run_id is not None:
            logger.info("a doorbell of run %s rang for nothing: the run was deleted", run_id)
            return
        record_direct_call(config_id, task_id)
    claim = leases.answer_doorbell(task_id, worker=str(self.request.hostname))
    if claim is not None and not execute(claim):
        raise SystemExit(0)
    if run_id is None:
        raise Ignore


@shared_task(name="filesync.tasks.sync_all_enabled_configs")
def sync_all_enabled_configs() -> list[dict[str, object]]:
    """Queue every enabled config; return per config its task id, or why it was not queued."""
    return [
        {
            "config_id": outcome.config_id,
            "task_id": str(outcome.run.task_id) if outcome.run else None,
            "status": outcome.code,
            "detail": outcome.detail,
        }
        for outcome in batches.queue_all_enabled()
    ]


@shared_task(name="filesync.tasks.send_notification", ignore_result=True)
def send_notification(delivery_id: int) -> None:
    """Send a message of the outbox and what else is due; what is not taken waits there."""
    outbox.send_from_pool(delivery_id)


@shared_task(name="filesync.tasks.housekeeping")
def housekeeping() -> dict[str, int]:
    """Sweep once, and delete what is old; beat and workers do both by themselves."""
    return sweeping.sweep().as_dict() | {"deleted": retention.delete_expired()}
