"""Wishes become runs: one row per wish, and a doorbell for a worker after the commit."""

from __future__ import annotations

import logging
import uuid
from contextlib import nullcontext

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from filesync import engine
from filesync.errors import ConfigDisabled, NotFound, NothingFailed, RunActive
from filesync.models import SyncConfig, SyncRun
from filesync.services.doorbells import send
from filesync.services.failures import activity, run_to_mend

logger = logging.getLogger(__name__)

Asker = AbstractBaseUser | AnonymousUser | None


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

    `force` runs a disabled config, and past the count guards; a dry run needs neither it nor an
    enabled config, for it changes nothing. `task_id` is for a caller that is the worker itself;
    with `ring_bell=False` the caller rings, or needs no bell. With the id of a run in
    `only_failed_of` it sends only the files that failed then, and deletes nothing.

    Raises:
        NotFound: there is no such config, or no such run to send the failed files of.
        AnotherConfig, NothingFailed, FailuresForgotten: as `run_to_mend` says of that run.
        ConfigDisabled: it is disabled, and neither `force` nor a dry run was asked for.
        RunActive: it has an active run; the database's constraint decides between racers.
    """
    config = SyncConfig.objects.filter(pk=config_id).only("name", "enable", "queue").first()
    if config is None:
        raise unknown_error(config_id)
    # A disabled config may be undone: that is often why it was disabled.
    if not (may_run(config, dry_run=dry_run) or force or restore_of is not None):
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
        rung_at=Now() if ring_bell else None,
    )
    try:
        # Alone it is a transaction by itself, without the round trips of its begin and its end.
        with transaction.atomic() if connection.in_atomic_block else nullcontext():
            run.save(force_insert=True)
        # The row has the time, this object only its expression: read it when it is asked for.
        del run.rung_at
        if ring_bell:
            transaction.on_commit(lambda: send([run]))
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
        ConfigDisabled: the config is disabled, and the old one was no dry run.
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


def may_run(config: SyncConfig, *, dry_run: bool) -> bool:
    """Whether a config is run for who does not insist: a dry run also of one that is disabled."""
    return config.enable or dry_run


def unknown_error(config_id: int) -> NotFound:
    return NotFound(engine.Text("there is no sync config {config_id}", config_id=config_id))


def disabled_error(config: SyncConfig) -> ConfigDisabled:
    return ConfigDisabled(
        engine.Text(
            "{name} is disabled: enable it, or make a dry run. Force would run it once all the "
            "same, but also past the guards on deletions.",
            name=config.name,
        )
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
