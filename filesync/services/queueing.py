"""Wishes become runs: one row per wish or slot, and a doorbell for a worker after the commit."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime
from operator import itemgetter

from celery import current_app
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from filesync import engine
from filesync.errors import ConfigDisabled, NotFound, NothingFailed, RunActive
from filesync.models import SyncConfig, SyncRun
from filesync.services.failures import activity, run_to_mend
from scheduler.bulk import insert_rows
from scheduler.log_ids import ids
from scheduler.models import Doorbell, DueSlot
from scheduler.publishing import BrokerAway, publish

logger = logging.getLogger(__name__)

Asker = AbstractBaseUser | AnonymousUser | None

# More slots than this at once are told in one line.
LOG_AT_MOST = 200

# The namespace of task ids that are derived from (config, slot): two beats name one task alike.
SLOT_NAMESPACE = uuid.UUID("6a9f7b0e-5d0c-4c39-9a35-7f6d1a3c9f52")


def queue_run(
    config_id: int,
    *,
    trigger: SyncRun.Trigger = SyncRun.Trigger.MANUAL,
    user: Asker = None,
    dry_run: bool = False,
    force: bool = False,
    retry_of: SyncRun | None = None,
    only_failed_of: int | None = None,
    restore_of: SyncRun | None = None,
    task_id: str | None = None,
    ring_bell: bool = True,
) -> SyncRun:
    """Queue one run of a config and ring a worker after the commit.

    `force` runs a disabled config, and past the count guards. `task_id` is for a caller that is
    the worker itself; with `ring_bell=False` the caller rings, or needs no bell. With the id of a
    run in `only_failed_of` it sends only the files that failed then, and deletes nothing.

    Raises:
        NotFound: there is no such config, or no such run to send the failed files of.
        AnotherConfig, NothingFailed, FailuresForgotten: as `run_to_mend` says of that run.
        ConfigDisabled: it is disabled and `force` is off.
        RunActive: it has an active run; the database's constraint decides between racers.
    """
    config = SyncConfig.objects.filter(pk=config_id).only("name", "enable", "queue").first()
    if config is None:
        raise unknown_error(config_id)
    # A disabled config may be undone: that is often why it was disabled.
    if not config.enable and not force and restore_of is None:
        raise disabled_error(config)
    if only_failed_of is not None:
        trigger, retry_of = SyncRun.Trigger.RETRY, run_to_mend(config, only_failed_of)
    run = SyncRun(
        config=config,
        config_name=config.name,
        trigger=trigger,
        queue=config.queue,
        requested_by_id=user.pk if user is not None else None,
        dry_run=dry_run,
        force=force,
        retry_of=retry_of,
        only_failed=only_failed_of is not None,
        restore_of=restore_of,
        task_id=uuid.UUID(task_id) if task_id else uuid.uuid4(),
        rung_at=timezone.now() if ring_bell else None,
    )
    try:
        # Alone it is a transaction by itself, without the round trips of its begin and its end.
        with transaction.atomic() if connection.in_atomic_block else nullcontext():
            run.save(force_insert=True)
        if ring_bell:
            transaction.on_commit(lambda: _send([run]))
    except IntegrityError:
        active = SyncRun.objects.filter(config=config, state__in=SyncRun.ACTIVE).first()
        raise active_error(config, active) from None
    logger.info(
        "run %s of %s queued (%s)",
        run.pk,
        config.name,
        trigger,
        extra=run.log_extra("run_queued"),
    )
    return run


def retry_run(run_id: int, *, user: Asker = None, only_failed: bool = False) -> SyncRun:
    """Queue a new run of the config of a run that ended; the new one names the old.

    With `only_failed` it sends only the files that failed then, and deletes nothing.

    Raises:
        NotFound: there is no such run, or its config was deleted.
        RunActive: the config has an active run, this one or another.
        ConfigDisabled: the config is disabled.
        NothingFailed, FailuresForgotten: only the failed files were asked for, as `run_to_mend`.
    """
    old = SyncRun.objects.filter(pk=run_id).first()
    if old is None:
        raise NotFound(engine.Text("there is no run {run_id}", run_id=run_id))
    if old.config_id is None:
        raise NotFound(
            engine.Text(
                "the config of run {run_id} was deleted, there is nothing to run again",
                run_id=run_id,
            )
        )
    if old.undoes:
        raise NothingFailed(
            engine.Text(
                "run {run_id} undid another run: undo that one again instead", run_id=run_id
            )
        )
    return queue_run(
        old.config_id,
        trigger=SyncRun.Trigger.RETRY,
        user=user,
        dry_run=old.dry_run,
        retry_of=old,
        only_failed_of=old.pk if only_failed else None,
    )


def queue_slots(due: Sequence[DueSlot]) -> list[Doorbell]:
    """Record every claimed slot as one row; return the doorbells of those that are queued.

    Called in beat's claim transaction. A slot whose config has an active run is SKIPPED, slots
    that nobody fired are MISSED.
    """
    configs = {
        pk: (name, queue)
        for pk, name, queue in SyncConfig.objects.filter(
            pk__in=[entry.object_id for entry in due]
        ).values_list("pk", "name", "queue")
    }
    now = timezone.now()
    missed: list[SlotRow] = []
    firing: list[SlotRow] = []
    for entry in due:
        config = configs.get(entry.object_id)
        if config is None:
            continue
        missed += [
            _slot_row(entry.object_id, config, slot, now) | _ended(SyncRun.State.MISSED, now)
            for slot in entry.missed
        ]
        if entry.slot is not None:
            row = _slot_row(entry.object_id, config, entry.slot, now)
            if entry.missed:
                row["trigger"] = SyncRun.Trigger.CATCH_UP
            firing.append(row)
    # In the order of the configs, as a batch inserts: each waits for the other's unfinished run.
    firing.sort(key=itemgetter("config_id"))
    insert_rows(SyncRun, missed, ignore_conflicts=True)
    insert_rows(SyncRun, firing, ignore_conflicts=True)
    queued = _queued_ids(firing)
    # The constraint on one active run per config has turned the others away.
    overlapping = [row for row in firing if row["task_id"] not in queued]
    skipped = [row | _ended(SyncRun.State.SKIPPED, now) for row in overlapping]
    insert_rows(SyncRun, skipped, ignore_conflicts=True)
    queued_rows = [row for row in firing if row["task_id"] in queued]
    transaction.on_commit(lambda: _log_slots(queued_rows, skipped, missed))
    return [
        _doorbell(
            queued[row["task_id"]],
            row["task_id"],
            row["config_id"],
            row["queue"],
        )
        for row in queued_rows
    ]


def _log_slots(
    queued: Sequence[SlotRow], skipped: Sequence[SlotRow], missed: Sequence[SlotRow]
) -> None:
    """Say what became of claimed slots: a line each, or one for all where they are very many."""
    kinds = (("queued", queued), ("skipped", skipped), ("missed", missed))
    for word, rows in kinds:
        if len(rows) > LOG_AT_MOST:
            logger.info("%d runs %s for their slots", len(rows), word, extra=ids(f"runs_{word}"))
            continue
        for row in rows:
            logger.info(
                "run of %s %s for its slot %s",
                row["config_name"],
                word,
                row["slot"],
                extra=ids(f"run_{word}", config=row["config_id"], task=str(row["task_id"])),
            )


def ring(runs: Iterable[SyncRun], *, tell: bool = True) -> int:
    """Publish a doorbell for each queued run; return how many went out.

    A broker that is down is no error: the row stays QUEUED, and the sweep rings again. It says so
    as a warning unless `tell` is off, for a caller that tries every few seconds.
    """
    waiting = list(runs)
    # Before the message goes: a worker that hears it at once clears the mark.
    _note_bell(waiting, Now())
    return _send(waiting, tell=tell)


def _send(waiting: Sequence[SyncRun], *, tell: bool = True) -> int:
    """Publish the doorbells of runs that are marked as rung; take the mark back where it fails."""
    try:
        publish(
            current_app,
            [_doorbell(run.pk, run.task_id, run.config_id, run.queue) for run in waiting],
        )
    except BrokerAway as error:
        level = logging.WARNING if tell else logging.DEBUG
        logger.log(level, "the broker does not answer, queued runs wait for it: %s", error)
        _note_bell(waiting, None)
        return 0
    return len(waiting)


def _note_bell(runs: Iterable[SyncRun], rung_at: Now | None) -> None:
    ids = [run.pk for run in runs]
    SyncRun.objects.filter(pk__in=ids, state=SyncRun.State.QUEUED).update(rung_at=rung_at)


def _doorbell(run_id: int, task_id: object, config_id: object, queue: object) -> Doorbell:
    """Return the message that calls a worker for a queued run.

    It bears the run's task id; `run_id` tells it from a direct call once the run is gone.
    """
    kwargs = {SyncConfig.schedule_kwarg: config_id, "run_id": run_id}
    return Doorbell(SyncConfig.schedule_task, str(task_id), kwargs, str(queue))


def unknown_error(config_id: int) -> NotFound:
    return NotFound(engine.Text("there is no sync config {config_id}", config_id=config_id))


def disabled_error(config: SyncConfig) -> ConfigDisabled:
    return ConfigDisabled(
        engine.Text("{name} is disabled: enable it, or run it with force", name=config.name)
    )


def active_error(config: SyncConfig, active: SyncRun | None) -> RunActive:
    """Return why another run is refused; `active` is None where it ended this moment."""
    if active is None:
        return RunActive(
            engine.Text("{name} had a run that ended this moment: try again", name=config.name)
        )
    return RunActive(
        engine.Text(
            "{name} has a run that is {state} already (task {task_id}): wait for it, or cancel it",
            name=config.name,
            state=activity(active),
            task_id=str(active.task_id),
        ),
        str(active.task_id),
    )


SlotRow = dict[str, object]


def _slot_row(config_id: int, config: tuple[str, str], slot: datetime, now: datetime) -> SlotRow:
    """Return the columns of a run that fires for a slot; its task id follows from the slot.

    `config` is its name and its queue.
    """
    name, queue = config
    return {
        "config_id": config_id,
        "config_name": name,
        "queue": queue,
        "slot": slot,
        "task_id": uuid.uuid5(SLOT_NAMESPACE, f"{config_id}@{slot.isoformat()}"),
        "trigger": SyncRun.Trigger.CRON,
        "state": SyncRun.State.QUEUED,
        "reason": SyncRun.Reason.NONE,
        "rung_at": now,
        "finished_at": None,
    }


def _ended(state: SyncRun.State, now: datetime) -> SlotRow:
    """Return what differs in the row of a slot for which nothing runs."""
    missed = state == SyncRun.State.MISSED
    reason = SyncRun.Reason.MISFIRE if missed else SyncRun.Reason.OVERLAP
    return {"state": state, "reason": reason, "rung_at": None, "finished_at": now}


def _queued_ids(rows: Sequence[SlotRow]) -> dict[object, int]:
    """Return the run ids by task id of those rows that are in the table now, queued."""
    ids = [str(row["task_id"]) for row in rows]
    queued = SyncRun.objects.filter(task_id__in=ids, state=SyncRun.State.QUEUED)
    return dict(queued.values_list("task_id", "pk"))
