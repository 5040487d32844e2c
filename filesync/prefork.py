"""How a worker stops: its whole pool at once, and in time whatever stands in the way.

Celery lets a new pool process forget its worker's database connections only where the name of the
pool's module says "prefork". Without that both used one, and read each other's answers.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from celery.concurrency.prefork import TaskPool

STOPS_WITHIN_S = 13.0
"""From SIGTERM to the end by force; 15 s are promised, and rclone is given 10 of them."""

_STOPS = {signal.SIGTERM, signal.SIGQUIT}
_TOLD = b"error: the worker did not stop in time and is ended by force; its runs are queued again\n"


class StoppingPool(TaskPool):
    """Celery's pool of processes, of which each is told to stop, not only those known to be busy.

    Celery stops within its signal handler, wherever its main process was. Where that was handing
    a task over, it waited for the process that waited for the other half: 1 of 27 workers hung.
    """

    # billiard's pool, which has no types; None while it does not run.
    _pool: Any

    def on_stop(self) -> None:
        """Tell each process to stop, then wait for all as celery does."""
        if self._pool is not None:
            for process in list(self._pool._pool):
                self._pool.terminate_job(process.pid, signal.SIGQUIT)
                # Celery has a last word for each: on a full pipe that nobody reads it would hang.
                with suppress(OSError):
                    _make_room(process.inq._writer.fileno())
        super().on_stop()


def _make_room(pipe: int) -> None:
    if sys.platform == "linux":
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 2 * fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ))


def end_in_time() -> None:
    """End this worker by force where a stop lasts too long; call it in the main thread.

    The kernel's word that a signal came goes to a pipe: a thread reads it even while the main
    thread hangs. Pool processes and their transfers die with this process (PR_SET_PDEATHSIG).
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    # What a pool process is told does not stop the worker.
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=_end_after, args=(told,), name="filesync-stop", daemon=True).start()


def _end_after(told: int) -> None:
    while not _STOPS.intersection(os.read(told, 64)):
        continue
    time.sleep(STOPS_WITHIN_S)
    # Not by the log: the main thread may hold its lock.
    os.write(2, _TOLD)
    os._exit(1)
