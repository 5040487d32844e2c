"""Whose turn has come: runs are rung that waited for the storages which others have left.

After the commit and once for a transaction; who may start is decided in `places`.
"""

from __future__ import annotations

import threading
from itertools import islice

from django.db import transaction

from filesync.models import SyncRun
from filesync.services import places
from filesync.services.doorbells import ring

# A place or two are free after a run; more where a limit was raised, and the sweep rings too.
RING_AT_MOST = 4


class _Left(threading.local):
    """The storages that runs have left in this thread's transaction."""

    def __init__(self) -> None:
        self.storage_ids: frozenset[int] = frozenset()


_left = _Left()


def ring_waiting(run: SyncRun) -> None:
    """Ring the runs whose turn it is on the storages that `run` has left: one per free place.

    Once for all that a transaction ends, as a broker that hangs costs seconds each time it is
    tried. Those that a transaction left which was rolled back are asked about with the next one.
    """
    _left.storage_ids |= places.left_by(run)
    # They have ended, whatever becomes of the bells; the sweep rings too.
    transaction.on_commit(_ring, robust=True)


def _ring() -> None:
    """Ring for what was left; not for runs whose message waits for a worker.

    Where all workers are busy, each end would add some more.
    """
    storage_ids, _left.storage_ids = _left.storage_ids, frozenset()
    if not storage_ids:
        return
    ready = islice(places.may_start_on(storage_ids), RING_AT_MOST)
    ids = [waiting.run_id for waiting in ready]
    ring(list(SyncRun.objects.filter(places.unheard(), pk__in=ids).order_by("pk")))
