"""Many wishes at once: a run of each config, thousands a transaction, each told for itself."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction

from filesync import engine
from filesync.errors import FilesyncError
from filesync.models import SyncConfig, SyncRun
from filesync.services.doorbells import ring
from filesync.services.queueing import (
    Asker,
    active_error,
    disabled_error,
    may_run,
    unknown_error,
)
from filesync.services.slot_runs import LOG_AT_MOST
from scheduler.bulk import chunks, insert_rows
from scheduler.log_ids import ids
from scheduler.outages import DATABASE_AWAY

logger = logging.getLogger(__name__)

# What is needed of a run that was queued: to ring for it, to tell of it.
SHOWN = ("task_id", "config", "config_name", "queue")


@dataclass(frozen=True, slots=True)
class QueueOutcome:
    """What became of one config of a batch: the run, or why there is none."""

    config_id: int
    config_name: str
    run: SyncRun | None
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What all runs of a batch have in common."""

    trigger: SyncRun.Trigger
    user: Asker = None
    dry_run: bool = False


def queue_all_enabled(*, user: Asker = None, dry_run: bool = False) -> list[QueueOutcome]:
    """Queue a run of every enabled config; say per config what became of it."""
    enabled = SyncConfig.objects.filter(enable=True).values_list("pk", "name")
    return queue_many(list(enabled), Wish(SyncRun.Trigger.BATCH, user, dry_run))


def queue_many(configs: Sequence[tuple[int, str]], wish: Wish) -> list[QueueOutcome]:
    """Queue a run of each config, by id and name, and ring for all of them together.

    Together, as a broker that hangs costs seconds each time it is tried. Where the database goes
    away, those that are not queued by then are told apart, and the sweep rings for the others.
    """
    names, found = dict(configs), dict[int, QueueOutcome]()
    for chunk in chunks(sorted(names)):
        try:
            found |= _queue_chunk(chunk, names, wish)
        except DATABASE_AWAY as error:
            logger.error("a batch ended, the database does not answer: %s", error)
            tried = set(chunk)
            found |= {pk: _away(pk, names[pk], tried=pk in tried) for pk in names.keys() - found}
            return [found[pk] for pk, _ in configs]
    queued = [outcome.run for outcome in found.values() if outcome.run is not None]
    # They are queued, whatever becomes of the bells.
    transaction.on_commit(lambda: ring(queued), robust=True)
    return [found[pk] for pk, _ in configs]


def _queue_chunk(
    config_ids: Sequence[int], names: Mapping[int, str], wish: Wish
) -> dict[int, QueueOutcome]:
    """Queue a run of each config, all in one transaction; say what became of each."""
    with transaction.atomic():
        # None can be deleted now, which would undo all of them; beat's inserts go on.
        wanted = SyncConfig.objects.filter(pk__in=config_ids).only("name", "enable", "queue")
        locked = wanted.order_by("pk").select_for_update(no_key=True)
        configs = {config.pk: config for config in locked}
        wished = [one for one in configs.values() if may_run(one, dry_run=wish.dry_run)]
        rows = [_row(config, wish) for config in wished]
        # In the order of their ids, as beat's: each waits for the other's unfinished run.
        insert_rows(SyncRun, rows, ignore_conflicts=True)
        made = SyncRun.objects.filter(task_id__in=[row["task_id"] for row in rows])
        queued = {run.config_id: run for run in made.only(*SHOWN)}
        busy = configs.keys() - queued
        active = SyncRun.objects.filter(config__in=busy, state__in=SyncRun.ACTIVE)
        others = {run.config_id: run for run in active}
    _log(queued.values(), wish)
    found: dict[int, QueueOutcome] = {}
    for pk in config_ids:
        config, run = configs.get(pk), queued.get(pk)
        if run is not None:
            found[pk] = QueueOutcome(pk, names[pk], run, "queued", "")
            continue
        error: FilesyncError = unknown_error(pk)
        if config is not None and may_run(config, dry_run=wish.dry_run):
            error = active_error(config, others.get(pk))
        elif config is not None:
            error = disabled_error(config)
        found[pk] = QueueOutcome(pk, names[pk], None, error.code, error.message)
    return found


def _row(config: SyncConfig, wish: Wish) -> dict[str, object]:
    return {
        "config_id": config.pk,
        "config_name": config.name,
        "queue": config.queue,
        "trigger": wish.trigger,
        "requested_by_id": wish.user.pk if wish.user is not None else None,
        "dry_run": wish.dry_run,
        "task_id": uuid.uuid4(),
    }


def _away(config_id: int, name: str, *, tried: bool) -> QueueOutcome:
    """Return what became of a config at which the database went away; if tried, nobody knows."""
    detail = (
        engine.Text("the database stopped answering: look at the runs of {name}", name=name)
        if tried
        else engine.Text("the database stopped answering: {name} is not queued", name=name)
    )
    return QueueOutcome(config_id, name, None, "database_away", detail)


def _log(queued: Collection[SyncRun], wish: Wish) -> None:
    """Say what was queued: a line each, or one for all where they are very many."""
    if len(queued) > LOG_AT_MOST:
        logger.info("%d runs queued (%s)", len(queued), wish.trigger, extra=ids("runs_queued"))
        return
    for run in queued:
        extra = run.log_extra("run_queued")
        logger.info(
            "run %s of config %s queued (%s)", run.pk, run.config_id, wish.trigger, extra=extra
        )
