"""What a held run asks of the engine, as the run and its config say."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings

from filesync import engine
from filesync.config_request import request_of
from filesync.models import SyncRun
from filesync.services.failures import failed_paths
from filesync.services.leases import Claim
from filesync.services.run_logs import log_path
from filesync.services.undo import keep_for, kept_before, undo_request
from filesync.services.unsure import unsure_since_s

# So many may fail of themselves, each of them all that it may send, before one of them comes again.
_LATEST_RUNS = 10


def start_engine(
    run: SyncRun,
    claim: Claim,
    *,
    work_dir: Path,
    stop: engine.StopSignal,
    inherit: tuple[int, ...],
    on_close: engine.TokensLeft | None = None,
) -> Generator[engine.Event, None, None]:
    """Return the events of a held run; closing them ends it.

    Raises:
        engine.EngineError: the run cannot be carried out as it is.
    """
    start: Callable[..., Generator[engine.Event, None, None]]
    if run.undoes:
        start = partial(engine.run_restore, undo_request(run))
    else:
        start = partial(engine.run_sync, sync_request(run, claim))
    return start(
        work_dir=work_dir,
        rclone=engine.find_rclone(settings.FILESYNC_RCLONE_BINARY or None),
        local_roots=tuple(settings.FILESYNC_LOCAL_ROOTS),
        stop=stop,
        log_path=log_path(run, claim),
        inherit=inherit,
        on_close=on_close,
    )


def sync_request(run: SyncRun, claim: Claim) -> engine.SyncRequest:
    """Return the request of a held run, and note where it keeps what it deletes."""
    assert run.config is not None
    request = request_of(run.config, dry_run=run.dry_run, force=run.force)
    if run.force and run.plan is not None:
        request = _as_forced(request, run.plan)
    return replace(
        request,
        keep_deleted_dir=keep_for(run, claim),
        put_back_from=kept_before(run),
        only_paths=_only_paths(run),
        unsure_since_s=unsure_since_s(run),
        failed_before=_failed_before(run),
    )


def _as_forced(request: engine.SyncRequest, plan: Mapping[str, Any]) -> engine.SyncRequest:
    """Let a further attempt delete no more than the plan that a person forced.

    The source may have gone since, and nobody looked at what that plan would be.
    """
    if not plan.get("source_files"):
        # All was to go: there is no more.
        return request
    guards = engine.Guards(max_delete_files=int(plan["deletes"]), max_delete_percent=None)
    return replace(request, force=False, guards=guards)


def _failed_before(run: SyncRun) -> frozenset[str]:
    """Return the files that failed in the latest runs, where no run may send all."""
    assert run.config is not None
    if run.config.max_files is None:
        return frozenset()
    runs = run.config.runs.filter(dry_run=False, pk__lt=run.pk).exclude(
        trigger=SyncRun.Trigger.RESTORE
    )
    latest = runs.order_by("-id")[:_LATEST_RUNS]
    return frozenset(path for one in latest for path in failed_paths(one))


def _only_paths(run: SyncRun) -> tuple[str, ...] | None:
    """Return the files a run is limited to: those that failed in the run it comes after."""
    if not run.only_failed:
        return None
    failed = failed_paths(run.retry_of) if run.retry_of else ()
    if not failed:
        raise engine.EngineError(
            engine.Text("the run whose failed files were to be sent is gone: run it whole")
        )
    return failed
