"""How many processes of a host's pool send at once: a target that hangs never takes them all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

# Runs have the rest of the pool.
POOL_PER_SENDER = 4


def senders_at_most(pool: int) -> int:
    """Return how many of a pool's processes may send; the only one of a pool is for runs."""
    return max(pool // POOL_PER_SENDER, 1) if pool > 1 else 0


@contextmanager
def take_seat() -> Iterator[bool]:
    """Be one of this host's senders while the block runs; yield False where no seat is free.

    The kernel frees the seat of a process that is killed.
    """
    folder: Path = settings.FILESYNC_WORK_DIR / "locks"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(senders_at_most(settings.CELERY_WORKER_CONCURRENCY)):
        descriptor = os.open(folder / f"sender-{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        try:
            yield True
        finally:
            os.close(descriptor)
        return
    yield False
