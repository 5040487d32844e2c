"""Storages that refuse every run: its waiting runs are held with one reason, and let go again."""

from __future__ import annotations

import logging

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from filesync import engine
from filesync.models import Storage, SyncRun
from filesync.services.doorbells import ring
from filesync.services.places import PAUSED

logger = logging.getLogger(__name__)

ADVICE = gettext_noop("Correct the storage, then test its connection: the run goes on by itself.")
RING_AT_MOST = 200


def uses(storage_id: int) -> Q:
    """Match the runs of the configs that read from a storage or write to it."""
    return Q(config__source_storage=storage_id) | Q(config__destination_storage=storage_id)


def pause(storage: Storage, message: str) -> None:
    """Hold every run that waits for a storage, until it is resumed; told once."""
    reason = engine.Text("{name} is paused: {why}", name=storage.name, why=message)
    paused = Storage.objects.filter(pk=storage.pk, paused_at=None).update(
        paused_at=Now(), paused_reason=reason
    )
    if paused:
        logger.warning("storage %s: its runs wait: %s", storage.name, message)
    hold(uses(storage.pk), reason)


def hold(runs: Q, reason: str) -> None:
    """Tell queued runs why they wait."""
    waiting = SyncRun.objects.filter(runs, state=SyncRun.State.QUEUED)
    ids = list(waiting.exclude(reason=SyncRun.Reason.STORAGE_PAUSED).values_list("pk", flat=True))
    SyncRun.objects.filter(pk__in=ids, state=SyncRun.State.QUEUED).update(
        reason=SyncRun.Reason.STORAGE_PAUSED, message=reason, advice=ADVICE
    )


def tell_paused(which: Q) -> None:
    """Tell a queued run that came after the pause why it waits; nothing where it waits for else."""
    queued = SyncRun.objects.filter(which, PAUSED, state=SyncRun.State.QUEUED)
    run = queued.select_related("config__source_storage", "config__destination_storage").first()
    if run is None or run.config is None:
        return
    for storage in (run.config.source_storage, run.config.destination_storage):
        if storage.paused_at is not None:
            hold(Q(pk=run.pk), storage.paused_reason)
            return


def resume(storage_id: int) -> None:
    """End the pause of a storage, and let the runs go that waited for it."""
    if Storage.objects.filter(pk=storage_id).update(paused_at=None, paused_reason=""):
        release(storage_id)


def release(storage_id: int) -> None:
    """Ring the runs that waited for a storage and for no other."""
    held = Q(state=SyncRun.State.QUEUED, reason=SyncRun.Reason.STORAGE_PAUSED)
    ready = SyncRun.objects.filter(uses(storage_id), held).exclude(PAUSED)
    ids = list(ready.values_list("pk", flat=True))
    if not ids:
        return
    SyncRun.objects.filter(held, pk__in=ids).update(
        reason=SyncRun.Reason.NONE, message="", advice="", rung_at=None
    )
    logger.info("%d runs go on that waited for storage %d", len(ids), storage_id)
    # The sweep rings the rest.
    runs = list(SyncRun.objects.filter(pk__in=ids[:RING_AT_MOST], state=SyncRun.State.QUEUED))
    transaction.on_commit(lambda: ring(runs))


def resume_where_changed(storage: Storage) -> None:
    """End the pause of a storage that is being saved when how it is reached has changed."""
    if storage.pk is None or storage.paused_at is None:
        return
    before = Storage.objects.filter(pk=storage.pk).first()
    if before is None or before.access() == storage.access():
        return
    storage.paused_at, storage.paused_reason = None, ""
    transaction.on_commit(lambda: release(storage.pk))
