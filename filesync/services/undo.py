"""Undoing runs: where what a run deletes is kept, how a run is undone, when kept files go."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime
from itertools import chain

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from filesync import engine
from filesync.config_request import request_of
from filesync.errors import NotFound, NothingToUndo
from filesync.models import RunLog, Storage, SyncConfig, SyncRun
from filesync.secrets import SecretsUnreadable
from filesync.services.leases import Claim
from filesync.services.queueing import Asker, queue_run
from filesync.services.run_logs import attempts_of, lost_logs, raw_lines
from scheduler.clock import from_now
from scheduler.models import DAY_S

logger = logging.getLogger(__name__)

TRY_AGAIN_S = 3_600
PURGE_AT_ONCE = 20
# How long what an undoing needs stays at least after it was asked for: it may be tried again.
UNDO_WITHIN_S = DAY_S
# Stands in `kept` once the purge has begun: something of it may be gone.
PURGING = "purging"


def keep_for(run: SyncRun, claim: Claim) -> str | None:
    """Note where a held run keeps what it deletes; return this attempt's folder, None for none.

    A dry run keeps nothing, and is planned as the run that does.

    Raises:
        engine.EngineError: the config was changed since an earlier attempt: what the two did could
            not be undone together, and would be taken for one another's.
    """
    config = run.config
    assert config is not None
    there = {
        "storage": config.destination_storage_id,
        "path": config.destination_path,
        "source_storage": config.source_storage_id,
        "source_path": config.source_path,
        "method": config.method,
    }
    if run.kept and any(run.kept.get(key, value) != value for key, value in there.items()):
        raise engine.EngineError(
            engine.Text(
                "the method, a storage or a path of the config was changed since this run began: "
                "it ends here and can be undone. Run the sync anew"
            )
        )
    if not config.keep_deleted_days or config.method == SyncConfig.Method.CHECK:
        return None
    assert run.started_at is not None
    folder = f"{engine.KEPT_FOLDER}/{run.created_at:%Y-%m-%d}-run-{run.pk}"
    attempt = f"{folder}/{attempt_folder(run.started_at, claim.token)}"
    if run.dry_run:
        return attempt
    SyncRun.objects.filter(claim.held()).update(
        kept={**there, "folder": folder},
        kept_until=from_now(config.keep_deleted_days * DAY_S),
    )
    return attempt


def kept_before(run: SyncRun) -> str | None:
    """Return the folder in which earlier attempts of a held run kept files; None for none."""
    return str(run.kept["folder"]) if run.kept and not run.dry_run else None


def attempt_folder(started_at: datetime, claim: uuid.UUID) -> str:
    """Return the name of the folder in which one attempt keeps files; they sort by time."""
    return f"{started_at.astimezone(UTC):%Y%m%dT%H%M%S%f}-{claim.hex[:8]}"


def forget_unused(claim: Claim) -> None:
    """Forget the place of kept files of a held run, which changed nothing in its only attempt."""
    earlier = RunLog.objects.filter(run=OuterRef("pk")).exclude(claim=claim.token)
    # Of an earlier attempt the log may be on its way still.
    held = SyncRun.objects.filter(claim.held(), crashes=0, attempts=[]).exclude(Exists(earlier))
    held.update(kept=None, kept_until=None)


def queue_restore(
    run_id: int,
    *,
    user: Asker = None,
    dry_run: bool = False,
    ring_bell: bool = True,
) -> SyncRun:
    """Queue a run that undoes a run which ended; nobody else runs that config meanwhile.

    Raises:
        NotFound: there is no such run, or its config was deleted.
        NothingToUndo: nothing of it is kept, or it is no longer the latest that changed files.
        RunActive: the config has an active run.
    """
    old = SyncRun.objects.filter(pk=run_id).first()
    if old is None:
        raise NotFound(engine.Text("there is no run {run_id}", run_id=run_id))
    if old.config_id is None:
        raise NotFound(
            engine.Text(
                "the config of run {run_id} was deleted, so that it cannot be undone", run_id=run_id
            )
        )
    with transaction.atomic():
        _check_undoable(old)
        return queue_run(
            old.config_id,
            trigger=SyncRun.Trigger.RESTORE,
            user=user,
            dry_run=dry_run,
            restore_of=old,
            ring_bell=ring_bell,
        )


def keeping() -> Q:
    """Return the condition of the runs that keep all that undoing them needs."""
    kept = Q(state__in=SyncRun.TERMINAL, kept__isnull=False, kept_until__gt=Now())
    return kept & ~Q(kept__has_key=PURGING)


def _hold(run: SyncRun) -> bool:
    """Have the kept files of a run stay for a while; say whether they are all there.

    A purge that begins at the same moment finds another time in the row, or is found here.
    """
    kept = SyncRun.objects.filter(keeping(), pk=run.pk)
    soon = from_now(UNDO_WITHIN_S)
    return bool(kept.filter(kept_until__lt=soon).update(kept_until=soon)) or kept.exists()


def _check_undoable(run: SyncRun) -> None:
    if not _hold(run):
        raise NothingToUndo(
            engine.Text(
                "run {pk} kept nothing to undo it with: it changed nothing, its "
                "time is over, or its config keeps no deleted files (days to keep "
                "deleted files)",
                pk=run.pk,
            )
        )
    undone = SyncRun.objects.filter(
        restore_of=OuterRef("pk"), state=SyncRun.State.SUCCEEDED, dry_run=False
    )
    if SyncRun.objects.filter(Q(pk=run.pk) & Exists(undone)).exists():
        raise NothingToUndo(engine.Text("run {pk} has been undone already", pk=run.pk))
    later = SyncRun.objects.filter(
        config=run.config_id, pk__gt=run.pk, dry_run=False, restore_of=None
    ).filter(
        Q(files_transferred__gt=0)
        | Q(files_deleted__gt=0)
        | Q(files_renamed__gt=0)
        # The numbers are those of its last attempt; an earlier one may have changed files.
        | Q(kept_until__isnull=False)
    )
    newest = later.exclude(Exists(undone)).order_by("-pk").first()
    if newest is not None:
        raise NothingToUndo(
            engine.Text(
                "run {later} changed files after run {pk}, or may have: undo that one first",
                later=newest.pk,
                pk=run.pk,
            )
        )


def undo_request(run: SyncRun) -> engine.UndoRequest:
    """Return the engine's request for a run that undoes another, secrets in plain text.

    Raises:
        engine.EngineError: the other run, or the storage it kept files on, is gone.
    """
    old, config = run.restore_of, run.config
    assert config is not None
    if old is None or not old.kept or PURGING in old.kept or old.finished_at is None:
        raise engine.EngineError(
            engine.Text("the run that was to be undone is gone, or keeps nothing any more")
        )
    kept = old.kept
    source = _endpoint(kept["source_storage"], kept["source_path"])
    return engine.UndoRequest(
        destination=_endpoint(kept["storage"], kept["path"]),
        kept_dir=kept["folder"],
        attempts=tuple(
            (attempt_folder(started_at, claim), raw_lines(old.logs.filter(claim=claim)))
            for claim, started_at in attempts_of(old.pk)
        ),
        ended_at_s=_ended_at_s(old, old.finished_at),
        limits=request_of(config).limits,
        source=source if kept["method"] == SyncConfig.Method.MOVE else None,
        begun_at_s=_begun_at_s(old),
        logs_lost=lost_logs(old),
        dry_run=run.dry_run,
    )


def _ended_at_s(old: SyncRun, finished_at: datetime) -> float:
    """Return when the last attempt of a run ended, which may have waited long for another.

    What was changed meanwhile is not the run's.
    """
    last = old.attempts[-1]["ended_at"] if old.attempts else None
    ended_at = datetime.fromisoformat(str(last)) if last else finished_at
    is_last = old.started_at is None or old.started_at <= ended_at
    return (ended_at if is_last else finished_at).timestamp()


def _begun_at_s(old: SyncRun) -> float | None:
    """Return when the first attempt at undoing a run began that has ended; None without one."""
    tries = SyncRun.objects.filter(restore_of=old, dry_run=False)
    attempts = chain.from_iterable(tries.values_list("attempts", flat=True))
    starts = (str(attempt["started_at"]) for attempt in attempts if attempt["started_at"])
    return min((datetime.fromisoformat(text).timestamp() for text in starts), default=None)


def _endpoint(storage_id: int, path: str) -> engine.Endpoint:
    storage = Storage.objects.filter(pk=storage_id).first()
    if storage is None:
        raise engine.EngineError(
            engine.Text("a storage of the run that was to be undone was deleted")
        )
    return engine.Endpoint(storage.as_remote(), path)


def purge_expired() -> int:
    """Delete kept files that are over their time; return of how many runs.

    Asks the storages, so it runs in workers. Whoever moves `kept_until` on deletes; a storage
    that does not answer is asked again in an hour. What an active undoing needs stays.
    """
    purged = 0
    undoing = SyncRun.objects.filter(restore_of=OuterRef("pk"), state__in=SyncRun.ACTIVE)
    over = SyncRun.objects.filter(
        ~Exists(undoing), kept_until__lt=Now(), state__in=SyncRun.TERMINAL
    )
    while runs := list(over.order_by("kept_until")[:PURGE_AT_ONCE]):
        for run in runs:
            mine = over.filter(pk=run.pk, kept_until=run.kept_until)
            kept = {**(run.kept or {}), PURGING: True}
            if mine.update(kept=kept, kept_until=from_now(TRY_AGAIN_S)) and _purged(run):
                SyncRun.objects.filter(pk=run.pk).update(kept=None, kept_until=None)
                purged += 1
    return purged


def _purged(run: SyncRun) -> bool:
    """Delete what a run kept; say whether nothing is left of it."""
    if not run.kept:
        return True
    storage = Storage.objects.filter(pk=run.kept["storage"]).first()
    if storage is None:
        return True
    try:
        failure = engine.purge_kept(
            storage.as_remote(),
            run.kept["folder"],
            rclone=engine.find_rclone(settings.FILESYNC_RCLONE_BINARY or None),
            local_roots=tuple(settings.FILESYNC_LOCAL_ROOTS),
        )
    except (engine.EngineError, SecretsUnreadable) as error:
        logger.warning("what run %d kept is not deleted: %s", run.pk, error)
        return False
    if failure is not None:
        logger.warning("what run %d kept is not deleted: %s", run.pk, failure.message)
    return failure is None
