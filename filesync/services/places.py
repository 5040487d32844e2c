"""Who may start next: the places of the storages, handed out in the order of the queue.

`next_to_start` decides and is pure; the rest reads what it decides by. Claiming is in `leases`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import F, Min, Q, QuerySet
from django.db.models.functions import Now

from filesync.models import Storage, SyncRun
from filesync.services.workers import Queues, of_queues, served_queues

# A walk down the queue mostly ends at its head.
CHUNK = 200
_SIDES = ("config__source_storage", "config__destination_storage")
PAUSED = Q(config__source_storage__paused_at__isnull=False) | Q(
    config__destination_storage__paused_at__isnull=False
)
"""Runs that wait for a paused storage."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued run whose time has come, and the storages of which it needs a place each."""

    run_id: int
    storage_ids: frozenset[int]


def next_to_start(waiting: Iterable[Waiting], free: Mapping[int, int]) -> Iterator[Waiting]:
    """Yield those of the waiting, oldest first, that may start with the places that are free.

    A run for which one storage has no place holds the places that it needs elsewhere, or younger
    runs could take them for ever. Only the first in a storage's line does: else one crowded
    storage would keep the others idle. So the oldest of all starts when those have ended that run
    on its storages now, and then the next is the oldest.
    """
    left = dict(free)
    full = {pk for pk, places in free.items() if places <= 0}
    awaited: set[int] = set()
    for run in waiting:
        # A storage that was made a moment ago has no number yet.
        crowded = {pk for pk in run.storage_ids if left.get(pk, 0) <= 0}
        is_first = crowded.isdisjoint(awaited)
        # Behind others for a storage that was full before: as if it was not there, see `_line`.
        awaited |= crowded if is_first else crowded & full
        if not crowded:
            yield run
        if is_first:
            for pk in run.storage_ids - crowded:
                left[pk] -= 1


def may_start(
    *,
    up_to: int | None = None,
    free: Mapping[int, int] | None = None,
    heard: str | None = None,
) -> Iterator[Waiting]:
    """Yield the queued runs that may start now, oldest first; `up_to` is the last to look at.

    Those of a queue that no living worker serves are not in the line: they would hold places for
    ever. `heard` is the queue from which a worker was called, and so is served. `free` are the
    free places where the caller has read them already.
    """
    free = free_places() if free is None else free
    full = [pk for pk, places in free.items() if places <= 0]
    return next_to_start(_line(up_to, full, served_queues(heard=heard)), free)


def may_start_on(storage_ids: Iterable[int], *, heard: str | None = None) -> Iterator[Waiting]:
    """Yield those of `may_start` that use one of the storages."""
    return (run for run in may_start(heard=heard) if not run.storage_ids.isdisjoint(storage_ids))


def has_turn(run: SyncRun) -> bool:
    """Whether its storages have a place for the run, with those before it in the line served.

    Asked by a worker that was called for it. Sure only while the caller holds the locks of these
    storages.
    """
    free = free_places()
    if not _has_room(storages_of(run), free):
        return False
    ready = may_start(up_to=run.pk, free=free, heard=run.queue)
    return any(first.run_id == run.pk for first in ready)


def has_room(storage_ids: Iterable[int]) -> bool:
    """Whether each of the storages has a free place, whoever waits for it."""
    return _has_room(storage_ids, free_places())


def _has_room(storage_ids: Iterable[int], free: Mapping[int, int]) -> bool:
    return all(free.get(pk, 0) > 0 for pk in storage_ids)


def storages_of(run: SyncRun) -> frozenset[int]:
    """Return the ids of the storages that a run uses; none where its config was deleted."""
    config = run.config
    if config is None:
        return frozenset()
    return frozenset({config.source_storage_id, config.destination_storage_id})


def free_places() -> dict[int, int]:
    """Return the places left by storage; below zero where a limit was lowered meanwhile."""
    running = SyncRun.objects.filter(state=SyncRun.State.RUNNING, config__isnull=False)
    taken = Counter(pk for sides in running.values_list(*_SIDES) for pk in set(sides))
    limits = Storage.objects.values_list("pk", "max_concurrent_runs", "shares_token")
    # Each run may replace an OAuth token, and would make that of the other worthless.
    return {pk: (1 if shared else limit) - taken[pk] for pk, limit, shared in limits}


def queued_and_due() -> QuerySet[SyncRun]:
    """Return the runs that wait for a worker and a place, and for nothing else."""
    due = Q(not_before=None) | Q(not_before__lte=Now())
    return SyncRun.objects.filter(due, ~PAUSED, state=SyncRun.State.QUEUED, config__isnull=False)


def unheard() -> Q:
    """Match queued runs whose own message is not on its way: nobody was rung, or it came too early.

    A message that is heard takes its run, or leaves it unheard (`leases.answer_doorbell`).
    """
    return Q(rung_at=None) | Q(not_before__gt=F("rung_at"))


def _line(up_to: int | None, full: Sequence[int], served: Queues) -> Iterator[Waiting]:
    """Yield the waiting, oldest first, without those that change nothing for `next_to_start`.

    Thousands may wait for a full storage; of them only the oldest counts.
    """
    waiting = queued_and_due().filter(of_queues(served))
    if full:
        uses_full = Q(config__source_storage__in=full) | Q(config__destination_storage__in=full)
        waiting = waiting.filter(~uses_full | Q(pk__in=_oldest_on(waiting, full)))
    if up_to is not None:
        waiting = waiting.filter(pk__lte=up_to)
    last = 0
    while chunk := list(
        waiting.filter(pk__gt=last).order_by("pk").values_list("pk", *_SIDES)[:CHUNK]
    ):
        for last, *storage_ids in chunk:
            yield Waiting(last, frozenset(storage_ids))


def _oldest_on(waiting: QuerySet[SyncRun], storage_ids: Sequence[int]) -> set[int]:
    """Return the oldest waiting run of each of the storages."""
    oldest: dict[int, int] = {}
    for side in _SIDES:
        firsts = waiting.filter(**{f"{side}__in": storage_ids}).order_by().values_list(side)
        for storage_id, run_id in firsts.annotate(Min("pk")):
            oldest[storage_id] = min(run_id, oldest.get(storage_id, run_id))
    return set(oldest.values())
