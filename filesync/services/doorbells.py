"""Doorbells: the messages that call a worker for queued runs; a lost one is rung again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from celery import current_app
from django.db.models.functions import Now

from filesync.models import SyncConfig, SyncRun
from scheduler.models import Doorbell
from scheduler.publishing import BrokerAway, publish

logger = logging.getLogger(__name__)


def ring(runs: Iterable[SyncRun], *, tell: bool = True) -> int:
    """Publish a doorbell for each queued run; return how many went out.

    A broker that is down is no error: the row stays QUEUED, and the sweep rings again. It says so
    as a warning unless `tell` is off, for a caller that tries every few seconds.
    """
    waiting = list(runs)
    # Before the message goes: a worker that hears it at once clears the mark.
    _note_bell(waiting, Now())
    return send(waiting, tell=tell)


def send(waiting: Sequence[SyncRun], *, tell: bool = True) -> int:
    """Publish the doorbells of runs that are marked as rung; return how many went out.

    The mark is taken back from those that did not, whatever came in between.
    """
    level = logging.WARNING if tell else logging.DEBUG
    unheard = waiting
    try:
        refused = publish(
            current_app,
            [doorbell(run.pk, run.task_id, run.config_id, run.queue) for run in waiting],
        )
        for queue, why in refused.items():
            logger.log(level, "queue %s takes no messages, its runs wait: %s", queue, why)
        unheard = [run for run in waiting if run.queue in refused]
    except BrokerAway as error:
        logger.log(level, "the broker does not answer, queued runs wait for it: %s", error)
    finally:
        if unheard:
            _note_bell(unheard, None)
    return len(waiting) - len(unheard)


def _note_bell(runs: Iterable[SyncRun], rung_at: Now | None) -> None:
    ids = [run.pk for run in runs]
    SyncRun.objects.filter(pk__in=ids, state=SyncRun.State.QUEUED).update(rung_at=rung_at)


def doorbell(run_id: int, task_id: object, config_id: object, queue: object) -> Doorbell:
    """Return the message that calls a worker for a queued run.

    It bears the run's task id; `run_id` tells it from a direct call once the run is gone.
    """
    kwargs = {SyncConfig.schedule_kwarg: config_id, "run_id": run_id}
    return Doorbell(SyncConfig.schedule_task, str(task_id), kwargs, str(queue))
