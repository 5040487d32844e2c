"""The workers that live: which queues they serve, and how many more runs they could take up.

`Room` decides and is pure; the rest reads what it decides by. Ringing is in `doorbells`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count, Q

from filesync.models import SyncRun
from filesync.selectors import default_queue, living_workers

Queues = frozenset[str] | None
"""Names of queues as runs bear them, "" for celery's default one; None is each and every queue."""


@dataclass(slots=True)
class Calls:
    """For how many more runs a worker may be called, and of which queues."""

    queues: Queues
    left: int


class Room:
    """How many runs may be called for, queue by queue, so that no queue takes another's."""

    def __init__(self, calls: Iterable[Calls]) -> None:
        # Whoever serves few queues goes first: the others may be the only ones of theirs.
        self._calls = sorted(
            calls, key=lambda worker: (worker.queues is None, len(worker.queues or ()))
        )

    @property
    def queues(self) -> Queues:
        """The queues for which there is room; None where there is for all."""
        return _together(worker.queues for worker in self._calls if worker.left > 0)

    @property
    def is_used_up(self) -> bool:
        return all(worker.left <= 0 for worker in self._calls)

    def take(self, queue: str) -> bool:
        """Take the place of one call for a run of a queue; say whether there was one."""
        for worker in self._calls:
            if worker.left > 0 and (worker.queues is None or queue in worker.queues):
                worker.left -= 1
                return True
        return False


def of_queues(queues: Queues) -> Q:
    """Match the runs of these queues."""
    return Q() if queues is None else Q(queue__in=queues)


def served_queues(*, heard: str | None = None) -> Queues:
    """Return the queues that living workers serve; None where that may be any.

    So it is where no worker is known, or one does not say what it serves. `heard` is the queue
    from which a worker was called: it is served, whether that one has left a sign of life or not.
    """
    served = list(living_workers().values_list("queues", flat=True))
    if not served:
        return None
    mine = () if heard is None else (_as_runs_say({heard or default_queue()}),)
    return _together([*mine, *(_read(queues) for queues in served)])


def room_for_calls(*, per_slot: int) -> Room:
    """Return how many runs may be called for: so many per free slot of the living workers.

    For some of any queue, while no worker is known.
    """
    workers = list(living_workers().values_list("name", "queues", "slots"))
    if not workers:
        return Room([Calls(None, per_slot)])
    running = SyncRun.objects.filter(state=SyncRun.State.RUNNING).order_by()
    busy = dict(running.values_list("worker").annotate(runs=Count("pk")))
    # A pool that does not say its size has one slot at least.
    return Room(
        Calls(_read(queues), max(0, (slots or 1) - busy.get(name, 0)) * per_slot)
        for name, queues, slots in workers
    )


def _read(queues: str) -> Queues:
    """Return the queues of a heartbeat, where "" is a worker that does not say."""
    return _as_runs_say(set(queues.split(","))) if queues else None


def _as_runs_say(names: set[str]) -> frozenset[str]:
    return frozenset(names | {""} if default_queue() in names else names)


def _together(served: Iterable[Queues]) -> Queues:
    found: frozenset[str] = frozenset()
    for queues in served:
        if queues is None:
            return None
        found |= queues
    return found
