"""The worker's side of a run: drive the engine to the end, obey cancel and stop, tell the end."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.db import connections

from filesync import engine
from filesync.models import Storage, SyncRun
from filesync.secrets import SecretsUnreadable
from filesync.services import journal
from filesync.services.finishing import cancel_held, finish_run, requeue_run
from filesync.services.leases import Claim, LeaseLost
from filesync.services.recorder import DATABASE_AWAY, DatabaseAway, Fence, Recorder

logger = logging.getLogger(__name__)

FINISH_TRIES_S = 60.0
LOCK_WAIT_S = 15
WORKER_STOPS = (signal.SIGTERM, signal.SIGQUIT)


def execute(claim: Claim, *, watch: Callable[[engine.Event], None] | None = None) -> None:
    """Carry out a claimed run to its end, whatever that is.

    `watch` sees every event of the engine, in this thread.

    Raises:
        SystemExit: this process was told to stop; the run is back in the queue.
    """
    run = SyncRun.objects.select_related(
        "config__source_storage", "config__destination_storage"
    ).get(pk=claim.run_id)
    if run.config is None:
        _persist(lambda: cancel_held(claim))
        return
    stop = engine.StopSignal()
    recorder = Recorder(claim, stop, watch)
    with stopping_worker(stop) as worker_stops, config_lock(run.config.pk) as lock:
        if lock is None:
            _persist(lambda: requeue_run(claim, SyncRun.Reason.OVERLAP, delay_s=LOCK_WAIT_S))
            return
        try:
            result = _drive(run, recorder, lock)
        except LeaseLost as error:
            logger.error("run %s stopped: %s", run.pk, error)
            return
        except DatabaseAway as error:
            logger.error("run %s stopped, it will be tried again: %s", run.pk, error)
            _persist(lambda: requeue_run(claim, SyncRun.Reason.LEASE_LOST))
            return
    if result.outcome is engine.Outcome.CANCELLED and worker_stops.is_set():
        _persist(lambda: requeue_run(claim, SyncRun.Reason.WORKER_STOPPED))
        raise SystemExit(0)
    _persist(recorder.store_items)
    _persist(lambda: _store_refreshed(run, result))
    if not _persist(lambda: finish_run(claim, result)):
        journal.keep(claim, result)


def _drive(run: SyncRun, recorder: Recorder, lock: int) -> engine.SyncResult:
    assert run.config is not None
    work_dir = settings.FILESYNC_WORK_DIR / f"run-{run.pk}-{run.attempt}"
    try:
        request = run.config.as_request(dry_run=run.dry_run, force=run.force)
        rclone = engine.find_rclone(settings.FILESYNC_RCLONE_BINARY or None)
        work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        events = engine.run_sync(
            request,
            work_dir=work_dir,
            rclone=rclone,
            local_roots=tuple(settings.FILESYNC_LOCAL_ROOTS),
            stop=recorder.stop,
            log_path=log_path(run),
            inherit=(lock,),
        )
        with Fence(recorder), closing(events):
            for event in events:
                if isinstance(event, engine.Finished):
                    recorder.check_fence()
                    return event.result
                recorder.take(event)
        raise RuntimeError("the engine ended without a result")
    except (engine.EngineError, SecretsUnreadable) as error:
        return _failed(engine.FailureClass.CONFIG, str(error))
    except (LeaseLost, DatabaseAway):
        raise
    except Exception as error:
        # The top of a run: whatever nobody foresaw ends it with its name, and not in silence when
        # the lease lapses. The text may hold a secret, so it stands in the worker's log only.
        logger.exception("run %s of %s failed in a way nobody foresaw", run.pk, run.config_name)
        return _failed(engine.FailureClass.INTERNAL, f"unforeseen {type(error).__name__}")
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)


def _failed(failure_class: engine.FailureClass, message: str) -> engine.SyncResult:
    failure = engine.Failure.of(failure_class, message)
    return engine.SyncResult(outcome=engine.Outcome.FAILED, failure=failure)


@contextmanager
def config_lock(config_id: int) -> Iterator[int | None]:
    """Hold the host's lock of a config; yield its descriptor, None where another holds it.

    rclone inherits the descriptor, so that the lock lasts as long as the transfer, even where the
    worker was killed and its child has not died yet. Between hosts the lease protects.
    """
    folder: Path = settings.FILESYNC_WORK_DIR / "locks"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / f"config-{config_id}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def log_path(run: SyncRun) -> Path:
    """Return where the run's compressed log is kept; one folder per thousand runs."""
    folder: Path = settings.FILESYNC_LOG_DIR / f"{run.pk // 1000:06d}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / f"{run.pk}-{run.attempt}.jsonl.gz"


@contextmanager
def stopping_worker(stop: engine.StopSignal) -> Iterator[threading.Event]:
    """Turn signals to this process into a stop of the transfer, while the block runs.

    Celery ends its pool processes with SIGQUIT on a cold shutdown (REMAP_SIGTERM), or SIGTERM;
    without this the process would die at once and leave the run to the lease's end. Ctrl-C at a
    terminal cancels the run; pool processes ignore it, and keep doing so. A thread that is not
    the main one cannot take signals and goes without.
    """
    stopped = threading.Event()

    def on_signal(signum: int, _frame: FrameType | None) -> None:
        if signum in WORKER_STOPS:
            stopped.set()
        stop.request()

    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    signals = [*WORKER_STOPS]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signals.append(signal.SIGINT)
    previous = {number: signal.signal(number, on_signal) for number in signals}
    try:
        yield stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _persist(write: Callable[[], object]) -> bool:
    """Write an outcome, trying a database that is away for a minute; say whether it worked."""
    deadline = time.monotonic() + FINISH_TRIES_S
    while True:
        try:
            write()
            return True
        except DATABASE_AWAY as error:
            connections.close_all()
            if time.monotonic() > deadline:
                logger.error("the database stays away, the outcome is kept aside: %s", error)
                return False
            time.sleep(1.0)


def _store_refreshed(run: SyncRun, result: engine.SyncResult) -> None:
    """Store the option values that rclone changed, such as a rotated OAuth token."""
    assert run.config is not None
    storages = {"src": run.config.source_storage_id, "dst": run.config.destination_storage_id}
    for section, values in result.refreshed.items():
        storage = Storage.objects.get(pk=storages[section])
        storage.secrets = {**storage.secrets, **values}
        storage.save(update_fields=["encrypted_secrets", "updated_at"])
