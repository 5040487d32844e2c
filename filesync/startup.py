"""What runs beside beat, workers and web: sweep, watch, the worker's heartbeat, death signal."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import signals as celery_signals
from django.db import connection, connections
from django.db.models.functions import Now
from django.utils import timezone

from filesync.models import SyncConfig
from filesync.notifications.watch import WATCH_EVERY_S, watch
from filesync.services import leases, retention, sweeping, undo
from scheduler.models import Heartbeat
from scheduler.outages import DATABASE_AWAY

logger = logging.getLogger(__name__)

HEARTBEAT_EVERY_S = 10.0
# Celery waits four seconds for a new pool process, and begins another for one that leaves.
FORK_AGAIN_S = 0.2
PR_SET_PDEATHSIG = 1
# Loaded before any fork: the child of a threaded process must not load libraries.
_LIBC = ctypes.CDLL(None, use_errno=True)

_stopping = threading.Event()
# The threads that may have a connection open; a process that is forked has them as they were.
_connected: set[str] = set()


def connect() -> None:
    """Connect to celery's signals; they only fire in a worker or beat."""
    celery_signals.beat_init.connect(_on_beat_init, dispatch_uid="filesync.beat_init")
    celery_signals.worker_init.connect(_on_worker_init, dispatch_uid="filesync.worker_init")
    celery_signals.worker_ready.connect(_on_worker_ready, dispatch_uid="filesync.worker_ready")
    celery_signals.worker_shutting_down.connect(
        _on_worker_stopping, dispatch_uid="filesync.worker_stopping"
    )


def watch_from_web() -> None:
    """Let a web process take part in the watch: it lives where beat and workers may not."""
    _repeat("watch", WATCH_EVERY_S, watch)


def _on_beat_init(**_: object) -> None:
    _repeat("sweep", sweeping.SWEEP_EVERY_S, sweeping.sweep)
    _repeat("retention", retention.RETAIN_EVERY_S, retention.delete_expired)
    _repeat("watch", WATCH_EVERY_S, watch)


def _on_worker_init(sender: object, **_: object) -> None:
    # Celery's event heartbeat would retry a broker that is gone without end, holding a lock that
    # the shutdown waits for: 4 of 6 workers hung. Ours is a row.
    options: dict[str, object] = sender.options  # type: ignore[attr-defined]  # celery's worker
    options.update(without_heartbeat=True, without_mingle=True, without_gossip=True)
    # Imported here: it loads celery's pool, which no other process needs.
    from filesync.prefork import end_in_time

    end_in_time()
    celery_signals.worker_process_init.connect(
        partial(_die_with, os.getpid()), weak=False, dispatch_uid="filesync.worker_process"
    )
    celery_signals.worker_process_init.connect(
        _leave_if_connected, dispatch_uid="filesync.forked_connected"
    )


def _on_worker_ready(sender: object, **_: object) -> None:
    name = str(getattr(sender, "hostname", socket.gethostname()))
    slots = int(getattr(getattr(sender, "pool", None), "num_processes", 0) or 0)
    queues = _queues_of(sender)
    started_at = timezone.now()

    def beat_heart() -> None:
        Heartbeat.objects.update_or_create(
            role=Heartbeat.Role.WORKER,
            name=name,
            defaults={
                "started_at": started_at,
                # The database's clock, by which others judge whether it lives.
                "seen_at": Now(),
                "slots": slots,
                "queues": queues,
            },
        )

    _repeat("heartbeat", HEARTBEAT_EVERY_S, beat_heart)
    _repeat("sweep", sweeping.SWEEP_EVERY_S, sweeping.sweep)
    _repeat("retention", retention.RETAIN_EVERY_S, retention.delete_expired)
    _repeat("watch", WATCH_EVERY_S, watch)
    _repeat("kept files", retention.RETAIN_EVERY_S, undo.purge_expired)


def _queues_of(consumer: object) -> str:
    app: Any = getattr(consumer, "app", None)
    return ",".join(sorted(app.amqp.queues.consume_from)) if app is not None else ""


def _on_worker_stopping(**_: object) -> None:
    _stopping.set()
    # Not here: the signal may have come while this thread held the connection or a lock. The worker
    # waits for it as it ends, and is ended by force where the database does not answer.
    threading.Thread(target=_give_doorbells_back, name="filesync-doorbells").start()


def _give_doorbells_back() -> None:
    """Have the runs called again whose messages this worker took and may not come to answer.

    Celery's pool acknowledges a message before its process has read it; one that was told to stop
    meanwhile reads no more, and the run waited a minute for a sweep that took the message for lost.
    """
    # Imported here: it is a worker's.
    from celery.worker import state

    requests = list(state.requests.values())
    taken = [one.id for one in requests if one.name == SyncConfig.schedule_task]
    try:
        leases.forget_doorbells(taken)
    except DATABASE_AWAY as error:
        logger.error("doorbells: the database does not answer: %s", error)
    finally:
        connections.close_all()


def _die_with(worker_pid: int, **_: object) -> None:
    """Make this pool process die with its worker: an orphan would go on syncing unseen."""
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # The worker may have gone before the call took effect.
        if os.getppid() != worker_pid:
            os._exit(1)


def _leave_if_connected(**_: object) -> None:
    """End this pool process where a thread of its worker had SQLite open when it was forked.

    SQLite notes per process which locks its connections hold. The notes are copied, their owners
    are not: whatever lock a thread held then is held for ever in the copy, "database is locked" at
    each write (https://www.sqlite.org/howtocorrupt.html, section 2.6). Celery forks another.
    """
    if _connected and connection.vendor == "sqlite":
        time.sleep(FORK_AGAIN_S)
        os._exit(0)


def _repeat(what: str, every_s: float, action: Callable[[], object]) -> None:
    """Run `action` now and every `every_s` seconds in a daemon thread; say once when it cannot."""

    def loop() -> None:
        told = False
        while not _stopping.is_set():
            _connected.add(what)
            try:
                action()
                told = False
            except DATABASE_AWAY as error:
                if not told:
                    logger.error("%s: the database does not answer: %s", what, error)
                    told = True
            except Exception:
                # The top of a thread: one that dies would never be missed.
                if not told:
                    logger.exception("%s failed, it is tried again every %.0f s", what, every_s)
                    told = True
            finally:
                connections.close_all()
                _connected.discard(what)
            _stopping.wait(every_s)

    threading.Thread(target=loop, name=f"filesync-{what}", daemon=True).start()
