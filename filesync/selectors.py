"""What pages, API and commands read: plain values from rows, never from `inspect`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Thread
from typing import NamedTuple

from celery import current_app
from django.core.cache import cache
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from kombu.exceptions import OperationalError as BrokerError

from filesync.engine import Action, Text
from filesync.errors import NotFound
from filesync.models import RunItem, SyncConfig, SyncRun
from scheduler.clock import from_now
from scheduler.models import Heartbeat
from scheduler.publishing import write_connection

BEAT_SILENT = timedelta(seconds=20)
WORKER_SILENT = timedelta(seconds=40)
QUEUES_KEPT_S = 10
BROKER_ASKED_EVERY_S = 5
BROKER_ANSWER_HOLDS_S = 60
# A page waits no longer than this for an answer, and a program no longer than that.
PAGE_WAITS_S = 0.3
STATUS_WAITS_S = 3.0
ASKS_BROKER = "asks the broker"
# Ids rise with time, but for this long: a transaction, or the clocks of two hosts.
CLOCK_SLACK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """One beat or worker, by its last sign of life; `busy` of its `slots` run something."""

    name: str
    seen_at: datetime
    alive: bool
    leading: bool
    slots: int
    busy: int = 0
    queues: frozenset[str] = frozenset()

    @property
    def free(self) -> int:
        return max(0, self.slots - self.busy) if self.alive else 0


class Processes(NamedTuple):
    """Every beat and every worker that left a row, by name."""

    beats: list[ProcessHealth]
    workers: list[ProcessHealth]


def processes(*, count_busy: bool = False) -> Processes:
    """Read how they are; with `count_busy`, a query more, also what each worker runs now.

    Who lives is told by the database's clock, by which they give their signs of life.
    """
    running = SyncRun.objects.filter(state=SyncRun.State.RUNNING).order_by()
    counts = running.values_list("worker").annotate(runs=Count("pk"))
    busy = dict(counts) if count_busy else {}
    found = Processes([], [])
    for beat in Heartbeat.objects.annotate(now=Now()).order_by("name"):
        is_worker = beat.role == Heartbeat.Role.WORKER
        alive = beat.now - beat.seen_at < (WORKER_SILENT if is_worker else BEAT_SILENT)
        # One that was killed leaves its row behind, leading and all.
        leading = beat.leading and alive
        runs = busy.get(beat.name, 0) if is_worker else 0
        health = ProcessHealth(
            beat.name, beat.seen_at, alive, leading, beat.slots, runs, beat.queue_names
        )
        (found.workers if is_worker else found.beats).append(health)
    return found


def living_workers() -> QuerySet[Heartbeat]:
    """Return the workers that were heard of lately, by the database's clock."""
    lately = from_now(-WORKER_SILENT.total_seconds())
    return Heartbeat.objects.filter(role=Heartbeat.Role.WORKER, seen_at__gt=lately)


def used_queues() -> frozenset[str]:
    """Return the queues that enabled configs and queued runs name."""
    configs = SyncConfig.objects.order_by().filter(enable=True).values_list("queue")
    waiting = SyncRun.objects.order_by().filter(state=SyncRun.State.QUEUED)
    named = configs.union(waiting.values_list("queue"))
    return frozenset(queue or default_queue() for (queue,) in named)


def used_queues_lately() -> frozenset[str]:
    """Return what `used_queues` said within the last 10 s in this process; pages poll it."""
    known: frozenset[str] = cache.get_or_set("queues:used", used_queues, QUEUES_KEPT_S)  # type: ignore[assignment]
    return known


def default_queue() -> str:
    """Return the queue of what names none."""
    return str(current_app.conf.task_default_queue)


def unserved_queues(workers: Sequence[ProcessHealth]) -> list[str]:
    """Return the queues in use that no living worker serves.

    None where no worker lives at all, which is told otherwise, or where one does not say what it
    serves, as a version before this did not.
    """
    alive = [worker for worker in workers if worker.alive]
    if not alive or not all(worker.queues for worker in alive):
        return []
    return sorted(used_queues_lately().difference(*(worker.queues for worker in alive)))


def active_runs(limit: int = 50) -> list[SyncRun]:
    """Return running runs, then queued ones, oldest first."""
    return list(SyncRun.objects.filter(state__in=SyncRun.ACTIVE).order_by("-state", "id")[:limit])


def broker_reachable() -> bool:
    """Ask the broker once, for a few seconds at most."""
    try:
        with write_connection(current_app) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=1)
    except (BrokerError, OSError):
        return False
    return True


def broker_reachable_lately(*, wait_s: float) -> bool | None:
    """Say what the broker answered within the last 5 s in this process; ask it when it is older.

    It is asked in a thread of its own, for which one caller waits `wait_s` at most. All others
    take the answer before, of the last minute; None where there is none.
    """
    if cache.get("broker:now") is None and cache.add("broker:asked", True, BROKER_ASKED_EVERY_S):
        asking = Thread(target=_ask_broker, name=ASKS_BROKER, daemon=True)
        asking.start()
        asking.join(wait_s)
    reachable: bool | None = cache.get("broker:now", cache.get("broker:before"))
    return reachable


def _ask_broker() -> None:
    reachable = broker_reachable()
    cache.set("broker:now", reachable, timeout=BROKER_ASKED_EVERY_S)
    cache.set("broker:before", reachable, timeout=BROKER_ANSWER_HOLDS_S)


def last_id_before(moment: datetime) -> QuerySet[SyncRun, int]:
    """Return a subquery of the last run that may have been queued before a moment.

    A list by id that begins its walk there does not throw away all that came later.
    """
    near = SyncRun.objects.filter(created_at__lt=moment + CLOCK_SLACK)
    return near.order_by("-created_at", "-id").values_list("id", flat=True)[:1]


SEARCHED_CONFIGS = 500
LONGEST_ID = 18
"""Digits of an id that both databases take."""


def is_id(text: str) -> bool:
    """Whether a row could have it as its id; databases refuse larger numbers."""
    return text.isascii() and text.isdecimal() and len(text) <= LONGEST_ID


def find_runs(runs: QuerySet[SyncRun], term: str) -> QuerySet[SyncRun]:
    """Keep the runs of syncs with a text in their name or remark, and the run of that number.

    The configs are searched, and their runs found by index: a million texts take a second.
    """
    named = SyncConfig.objects.filter(Q(name__icontains=term) | Q(remark__icontains=term))
    ids = list(named.values_list("pk", flat=True)[:SEARCHED_CONFIGS])
    found = Q(config__in=ids) | Q(config=None, config_name__icontains=term)
    if is_id(term):
        found |= Q(pk=int(term))
    return runs.filter(found)


USUAL_OF = 20
USUAL_AT_LEAST = 5


def telling_runs() -> QuerySet[SyncRun]:
    """Return the runs that tell how long their config takes, newest first: the good whole ones.

    Runs that undid another, and those of a few files only, say nothing of it.
    """
    return (
        SyncRun.objects.filter(state=SyncRun.State.SUCCEEDED, dry_run=False, only_failed=False)
        .exclude(trigger=SyncRun.Trigger.RESTORE)
        .order_by("-id")
    )


def usual_duration_s(config_id: int) -> float | None:
    """Return the median of a config's latest telling runs; None where they are too few."""
    spans = (
        telling_runs()
        .filter(config_id=config_id, started_at__isnull=False, finished_at__isnull=False)
        .values_list("started_at", "finished_at")[:USUAL_OF]
    )
    durations = [(end - start).total_seconds() for start, end in spans if start and end]
    return statistics.median(durations) if len(durations) >= USUAL_AT_LEAST else None


def items_of(run: SyncRun, most: int, *, after: int | None = None) -> list[RunItem]:
    """Return up to `most` of a run's items, failed ones first; those behind the item `after`.

    Raises:
        NotFound: the run has no item `after`.
    """
    failed = run.items.filter(action=Action.FAILED)
    others = run.items.exclude(action=Action.FAILED)
    if after is not None:
        last = run.items.filter(pk=after).first()
        if last is None:
            raise NotFound(Text("run {run_id} has no item {item_id}", run_id=run.pk, item_id=after))
        if last.action == Action.FAILED:
            failed = failed.filter(pk__gt=after)
        else:
            failed, others = failed.none(), others.filter(pk__gt=after)
    rows = list(failed[:most])
    return [*rows, *others[: most - len(rows)]]
