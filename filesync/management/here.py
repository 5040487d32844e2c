"""What the commands share that carry out a run in their own process."""

from __future__ import annotations

import socket
from collections.abc import Callable

from django.core.management.base import CommandError

from filesync import engine
from filesync.models import SyncRun
from filesync.services.execution import execute
from filesync.services.leases import Claim, claim_run


def claim_here(run: SyncRun, command: str) -> Claim:
    """Claim a queued run for this process.

    Raises:
        CommandError: a storage is in use, so that a worker starts it later.
    """
    claim = claim_run(str(run.task_id), worker=f"{command}@{socket.gethostname()}")
    if claim is None:
        raise CommandError(
            f"run {run.pk} is queued: the storage is in use; a worker starts it when it is free"
        )
    return claim


def carry_out(
    run: SyncRun, claim: Claim, *, watch: Callable[[engine.Event], None] | None = None
) -> None:
    """Carry out a claimed run; afterwards `run` holds how it ended.

    Raises:
        CommandError: this process was told to stop, and a worker goes on with it.
    """
    finished = execute(claim, watch=watch)
    run.refresh_from_db()
    if not finished:
        raise CommandError(f"stopped; run {run.pk} is queued, a worker goes on with it")
