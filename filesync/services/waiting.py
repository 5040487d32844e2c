"""Waiting for a run to end on behalf of a caller, without holding what others need."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection

from filesync.models import SyncRun

LONGEST_WAIT_S = 30
LOOK_EVERY_S = 0.5

# Each waits in a thread of the web server: half of them stay free for everybody else.
_places = threading.BoundedSemaphore(max(1, settings.WEB_THREADS // 2))


def wait_until_ended(task_id: str, wait_s: float) -> bool:
    """Wait until the run has ended, at most `wait_s` seconds; say whether it has.

    Returns at once where too many wait already. Between two looks the connection goes back to
    the pool, so that a waiter holds none.
    """
    deadline = time.monotonic() + min(wait_s, LONGEST_WAIT_S)
    with _place() as found:
        while not (ended := _has_ended(task_id)) and found:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            _let_connection_go()
            time.sleep(min(LOOK_EVERY_S, left_s))
    return ended


@contextmanager
def _place() -> Iterator[bool]:
    found = _places.acquire(blocking=False)
    try:
        yield found
    finally:
        if found:
            _places.release()


def _has_ended(task_id: str) -> bool:
    return SyncRun.objects.filter(task_id=task_id, state__in=SyncRun.TERMINAL).exists()


def _let_connection_go() -> None:
    if not connection.in_atomic_block:
        connection.close()
