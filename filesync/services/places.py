"""Who may start next: the places of the storages, handed out in the order of the queue.

`next_to_start` decides and is pure; the rest reads what it decides by. Claiming is in `leases`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import BigIntegerField, F, Min, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from filesync.models import Storage, SyncConfig, SyncRun
from filesync.services.workers import Queues, of_queues, served_queues

# A walk down the queue mostly ends at its head.
CHUNK = 200
_SIDES = ("config__source_storage", "config__destination_storage")
# Of a run that a version before these columns claimed, its config tells.
_HELD = tuple(
    Coalesce(place, side, output_field=BigIntegerField())
    for place, side in zip(("source_place", "destination_place"), _SIDES, strict=True)
)
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
    return next_to_start(_line(up_to, free, served_queues(heard=heard)), free)


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


def sides_of(run: SyncRun) -> tuple[int, int] | None:
    """Return the ids of the storages that a queued run reads and writes; None without a config.

    That of an undoing are those of the run that it undoes, whatever the config names by now.
    """
    config = run.config
    if config is None:
        return None
    undone = _sides_of_undoing(run.restore_of.kept if run.restore_of else None)
    if undone is not None and len(Storage.objects.in_bulk(undone)) == len(set(undone)):
        return undone
    return config.source_storage_id, config.destination_storage_id


def storages_of(run: SyncRun) -> frozenset[int]:
    """Return the ids of the storages that a queued run uses; none where its config was deleted."""
    return frozenset(sides_of(run) or ())


def left_by(run: SyncRun) -> frozenset[int]:
    """Return the ids of the storages that a run has left, whether it had a place or waited."""
    held = (run.source_place, run.destination_place)
    return storages_of(run).union(pk for pk in held if pk is not None)


def _sides_of_undoing(kept: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """Return the storages on which it acts to undo a run, as that run noted them in `kept`."""
    if not kept:
        return None
    written = int(kept["storage"])
    read = int(kept["source_storage"]) if kept.get("method") == SyncConfig.Method.MOVE else written
    return read, written


def free_places() -> dict[int, int]:
    """Return the places left by storage; below zero where a limit was lowered meanwhile.

    A run has those that it was given at its claim, even where its config was edited or deleted.
    """
    running = SyncRun.objects.filter(state=SyncRun.State.RUNNING)
    taken = Counter(pk for sides in running.values_list(*_HELD) for pk in set(sides))
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


def _line(up_to: int | None, free: Mapping[int, int], served: Queues) -> Iterator[Waiting]:
    """Yield the waiting, oldest first, without those that change nothing for `next_to_start`.

    Thousands may wait for a full storage; of them only the oldest counts. Undoings are few, and
    what they use is not in a column.
    """
    waiting = queued_and_due().filter(of_queues(served))
    if full := [pk for pk, places in free.items() if places <= 0]:
        syncs = waiting.filter(restore_of=None)
        uses_full = Q(config__source_storage__in=full) | Q(config__destination_storage__in=full)
        counts = ~uses_full | Q(restore_of__isnull=False) | Q(pk__in=_oldest_on(syncs, full))
        waiting = waiting.filter(counts)
    if up_to is not None:
        waiting = waiting.filter(pk__lte=up_to)
    last = 0
    while chunk := list(
        waiting.filter(pk__gt=last)
        .order_by("pk")
        .values_list("pk", *_SIDES, "restore_of__kept")[:CHUNK]
    ):
        for last, source, destination, kept in chunk:
            undone = _sides_of_undoing(kept)
            if undone is None or not free.keys() >= set(undone):
                undone = source, destination
            yield Waiting(last, frozenset(undone))


def _oldest_on(waiting: QuerySet[SyncRun], storage_ids: Sequence[int]) -> set[int]:
    """Return the oldest waiting run of each of the storages."""
    oldest: dict[int, int] = {}
    for side in _SIDES:
        firsts = waiting.filter(**{f"{side}__in": storage_ids}).order_by().values_list(side)
        for storage_id, run_id in firsts.annotate(Min("pk")):
            oldest[storage_id] = min(run_id, oldest.get(storage_id, run_id))
    return set(oldest.values())
