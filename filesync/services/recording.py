"""Runs that were not asked for through the queue: a direct `sync_file_task.delay(config_id=1)`."""

from __future__ import annotations

import uuid

from django.utils import timezone

from filesync.errors import ConfigDisabled, RunActive
from filesync.models import SyncConfig, SyncRun
from filesync.services.queueing import queue_run
from filesync.services.results import store_result


def record_direct_call(config_id: int, task_id: str) -> SyncRun:
    """Make the run of a task that was called directly; it bears the task's own id.

    Where the config is disabled or has an active run the row is SKIPPED with that reason.

    Raises:
        NotFound: there is no such config; the task fails with it.
    """
    try:
        return queue_run(config_id, task_id=task_id, ring_bell=False)
    except RunActive:
        reason = SyncRun.Reason.OVERLAP
    except ConfigDisabled:
        reason = SyncRun.Reason.DISABLED
    config = SyncConfig.objects.get(pk=config_id)
    run, made = SyncRun.objects.get_or_create(
        task_id=uuid.UUID(task_id),
        defaults={
            "config": config,
            "config_name": config.name,
            "state": SyncRun.State.SKIPPED,
            "reason": reason,
            "finished_at": timezone.now(),
        },
    )
    if made:
        store_result(run)
    return run
