"""The worker's side of a run: drive the engine to the end, obey cancel and stop, tell the end."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
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
from filesync.services.leases import Claim, LeaseLost, work_folder
from filesync.services.recorder import DatabaseAway, Fence, Recorder
from filesync.services.requests import start_engine
from filesync.services.run_logs import log_path, store
from filesync.services.sides import sides_of
from filesync.services.storages import blame, store_refreshed
from filesync.services.undo import forget_unused
from scheduler.log_ids import about
from scheduler.outages import DATABASE_AWAY

logger = logging.getLogger(__name__)

FINISH_TRIES_S = 60.0
LOCK_WAIT_S = 15
WORKER_STOPS = (signal.SIGTERM, signal.SIGQUIT)


def execute(claim: Claim, *, watch: Callable[[engine.Event], None] | None = None) -> bool:
    """Carry out a claimed run to its end; return False where this process was told to stop.

    Then the run is back in the queue, and the process should end. `watch` sees every event of the
    engine, in this thread.
    """
    run = SyncRun.objects.select_related(
        "config__source_storage", "config__destination_storage", "retry_of", "restore_of"
    ).get(pk=claim.run_id)
    stop = engine.StopSignal()
    subject = about(run=run.pk, config=run.config_id, task=str(run.task_id))
    with subject, stopping_worker(stop) as stopped:
        if run.config is None:
            _persist(lambda: cancel_held(claim), stopped)
            return not stopped.is_set()
        recorder = Recorder(claim, stop, watch)
        try:
            result = _drive(run, recorder)
        except _HostBusy:
            _persist(
                lambda: requeue_run(claim, SyncRun.Reason.OVERLAP, delay_s=LOCK_WAIT_S), stopped
            )
        except LeaseLost as error:
            logger.error("run %s stopped: %s", run.pk, error)
        except DatabaseAway as error:
            logger.error("run %s stopped, it will be tried again: %s", run.pk, error)
            _persist(lambda: _give_back(claim), stopped)
        else:
            _tell(claim, run, result, stopped, in_doubt=recorder.failing_since is not None)
        # Last: a database that hangs must not hold up the telling of the end.
        store(log_path(run, claim))
    return not stopped.is_set()


def _tell(
    claim: Claim,
    run: SyncRun,
    result: engine.SyncResult,
    stopped: threading.Event,
    *,
    in_doubt: bool = False,
) -> None:
    """Write how the run ended; `in_doubt` says that the last write did not come through."""
    # A stop of the whole machine may reach rclone before it reaches this process.
    ends_early = result.outcome is engine.Outcome.CANCELLED or (
        result.failure is not None and result.failure.retryable
    )
    goes_back = ends_early and stopped.is_set()
    if in_doubt and not goes_back:
        # The first try may hang for as long as the lease lasts.
        _note(claim, result)
    _persist(journal.tell_refreshed, stopped)
    if result.failure is not None and not stopped.is_set():
        _blame(run, result.failure)
    if not in_doubt and not result.changed_files:
        _forget_unused(claim)
    if goes_back:
        _persist(lambda: requeue_run(claim, SyncRun.Reason.WORKER_STOPPED), stopped)
    elif _persist(lambda: finish_run(claim, result), stopped, aside=lambda: _note(claim, result)):
        journal.forget(claim)


def _note(claim: Claim, result: engine.SyncResult) -> None:
    """Keep an outcome in a file; without room for one the database has to take it."""
    try:
        journal.keep(claim, result)
    except OSError as error:
        logger.error("the outcome of run %s cannot be kept in a file: %s", claim.run_id, error)


def _forget_unused(claim: Claim) -> None:
    """Forget where a run that changed nothing keeps files; where it fails they go in their time."""
    try:
        forget_unused(claim)
    except DATABASE_AWAY as error:
        logger.warning("run %s: its place of kept files stays noted: %s", claim.run_id, error)


def _blame(run: SyncRun, failure: engine.Failure) -> None:
    """Pause what made the run fail, before its end rings the runs that wait for the same."""
    try:
        blame(sides_of(run), failure)
    except DATABASE_AWAY as error:
        logger.warning("run %s: its storages were not tested: %s", run.pk, error)
    except Exception:
        # Whatever keeps a test from being made must not keep the run from its end.
        logger.exception("run %s: its storages were not tested", run.pk)


class _HostBusy(Exception):
    """A transfer of the same config still lives on this host."""


def _drive(run: SyncRun, recorder: Recorder) -> engine.SyncResult:
    assert run.config is not None
    work_dir = settings.FILESYNC_WORK_DIR / work_folder(run.pk, recorder.claim.token)
    left: dict[str, Mapping[str, str]] = {}
    sides: dict[str, Storage] = {}
    result: engine.SyncResult | None = None
    try:
        sides = sides_of(run)
        with config_lock(run.config.pk) as lock:
            if lock is None:
                raise _HostBusy
            work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            events = start_engine(
                run,
                recorder.claim,
                work_dir=work_dir,
                stop=recorder.stop,
                inherit=(lock,),
                on_close=left.update,
            )
            with Fence(recorder), closing(events):
                for event in events:
                    if isinstance(event, engine.Finished):
                        recorder.finish()
                        result = event.result
                        return result
                    recorder.take(event)
        raise RuntimeError("the engine ended without a result")
    except (engine.EngineError, SecretsUnreadable) as error:
        return _failed(engine.FailureClass.CONFIG, error.message)
    except (_HostBusy, LeaseLost, DatabaseAway):
        raise
    except DATABASE_AWAY as error:
        raise DatabaseAway(f"it did not answer while the run was begun: {error}") from error
    except Exception as error:
        # The top of a run: whatever nobody foresaw ends it with its name, and not in silence when
        # the lease lapses. The text may hold a secret, so it stands in the worker's log only.
        logger.exception("run %s of %s failed in a way nobody foresaw", run.pk, run.config_name)
        return _failed(
            engine.FailureClass.INTERNAL,
            engine.Text("unforeseen {kind}", kind=type(error).__name__),
            changed_files=True,
        )
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)
        # Also of a run that is given up: the provider takes the old token no more.
        _keep_refreshed(sides, (result and result.refreshed) or left)


def _failed(
    failure_class: engine.FailureClass, message: str, *, changed_files: bool = False
) -> engine.SyncResult:
    failure = engine.Failure.of(failure_class, message)
    outcome = engine.Outcome.FAILED
    return engine.SyncResult(outcome=outcome, failure=failure, changed_files=changed_files)


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
        # A worker has seconds; a run that it gives back is done by the next one.
        stop.request(at_once=signum in WORKER_STOPS)

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


def _persist(
    write: Callable[[], object],
    stopped: threading.Event,
    *,
    aside: Callable[[], None] | None = None,
) -> bool:
    """Write an outcome; say whether it worked.

    A database that is away is tried for a minute, and once where this process was told to stop.
    `aside` is called when the first try fails: this process may die before the next.
    """
    deadline = time.monotonic() + FINISH_TRIES_S
    while True:
        try:
            write()
            return True
        except DATABASE_AWAY as error:
            connections.close_all()
            if aside is not None:
                aside()
                aside = None
            if stopped.is_set() or time.monotonic() > deadline:
                logger.error("the database stays away: %s", error)
                return False
            stopped.wait(1.0)


def _keep_refreshed(
    sides: Mapping[str, Storage], refreshed: Mapping[str, Mapping[str, str]]
) -> None:
    for section, values in refreshed.items():
        storage = sides[section]
        try:
            journal.keep_refreshed(storage, values)
        except OSError as error:
            logger.error("what was refreshed of %s cannot be kept in a file: %s", storage, error)
            try:
                store_refreshed(storage, values)
            except DATABASE_AWAY as away:
                logger.error("what was refreshed of %s is lost: %s", storage, away)


def _give_back(claim: Claim) -> None:
    """Put a run back into the queue, and what was refreshed into its storages before."""
    journal.tell_refreshed()
    requeue_run(claim, SyncRun.Reason.LEASE_LOST)
