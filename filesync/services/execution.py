"""The worker's side of a run: drive the engine, keep the lease, store what it did, obey cancel."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.db import InterfaceError, OperationalError, connections

from filesync import engine
from filesync.models import RunItem, Storage, SyncRun
from filesync.secrets import SecretsUnreadable
from filesync.services.finishing import cancel_held, finish_run, requeue_run
from filesync.services.leases import Claim, LeaseLost, keep_lease

logger = logging.getLogger(__name__)

DATABASE_AWAY = (OperationalError, InterfaceError)

WRITE_EVERY_S = 1.0
# Longer without a renewal and another worker may soon hold the run: 35 s here plus 10 s to kill
# what runs stay below the lease's 60 s.
FENCE_S = 35.0
FINISH_TRIES_S = 60.0
ITEM_BATCH = 500
ITEMS_PER_RUN = 10_000
WORKER_STOPS = (signal.SIGTERM, signal.SIGQUIT)


class DatabaseAway(Exception):
    """The database did not answer for longer than the lease lets a run go on unseen."""


@dataclass(slots=True)
class Recorder:
    """Collects the engine's events and writes them: the lease and progress, items in batches.

    Failed items are always stored, others up to `ITEMS_PER_RUN`; the counters stay exact.
    """

    claim: Claim
    stop: engine.StopSignal
    watch: Callable[[engine.Event], None] | None = None
    phase: str = ""
    progress: dict[str, object] = field(default_factory=dict)
    items: list[RunItem] = field(default_factory=list)
    items_stored: int = 0
    written_at: float = field(default_factory=time.monotonic)
    tried_at: float = field(default_factory=time.monotonic)

    def take(self, event: engine.Event) -> None:
        """Note one event; write when it is time to.

        Raises:
            LeaseLost: the run is another worker's now.
            DatabaseAway: nothing could be written for `FENCE_S` seconds.
        """
        if self.watch is not None:
            self.watch(event)
        match event:
            case engine.PhaseChanged(phase):
                self.phase = phase.value
            case engine.Progress():
                self.progress = progress_document(event)
            case engine.ItemDone():
                self._take_item(event)
            case engine.PlanReady(plan):
                SyncRun.objects.filter(self.claim.held()).update(plan=plan_document(plan))
            case _:
                pass
        if time.monotonic() - self.tried_at >= WRITE_EVERY_S:
            self.write()

    def write(self) -> None:
        self.tried_at = time.monotonic()
        try:
            self.store_items()
            if keep_lease(self.claim, phase=self.phase, progress=self.progress):
                self.stop.request()
            self.written_at = time.monotonic()
        except DATABASE_AWAY as error:
            connections.close_all()
            if time.monotonic() - self.written_at > FENCE_S:
                raise DatabaseAway(f"no write for {FENCE_S:.0f} s: {error}") from error

    def store_items(self) -> None:
        batch, self.items = self.items, []
        try:
            RunItem.objects.bulk_create(batch, batch_size=ITEM_BATCH)
        except DATABASE_AWAY:
            self.items = batch + self.items
            raise

    def _take_item(self, item: engine.ItemDone) -> None:
        failed = item.action is engine.Action.FAILED
        if self.items_stored >= ITEMS_PER_RUN and not failed:
            return
        self.items_stored += 1
        self.items.append(
            RunItem(
                run_id=self.claim.run_id,
                action=item.action.value,
                path=item.path,
                size_bytes=item.size_bytes,
                error=item.error or "",
            )
        )


def execute(claim: Claim, *, watch: Callable[[engine.Event], None] | None = None) -> None:
    """Carry out a claimed run to its end, whatever that is; raises nothing that is expected.

    `watch` sees every event of the engine, in this thread.
    """
    run = SyncRun.objects.select_related(
        "config__source_storage", "config__destination_storage"
    ).get(pk=claim.run_id)
    if run.config is None:
        _persist(lambda: cancel_held(claim))
        return
    work_dir = settings.FILESYNC_WORK_DIR / f"run-{run.pk}-{run.attempt}"
    stop = engine.StopSignal()
    recorder = Recorder(claim, stop, watch)
    with stopping_worker(stop) as worker_stops:
        try:
            result = _drive(run, recorder, work_dir)
        except LeaseLost as error:
            logger.error("run %s stopped: %s", run.pk, error)
            return
        except DatabaseAway as error:
            logger.error("run %s stopped, it will be tried again: %s", run.pk, error)
            return
        finally:
            shutil.rmtree(work_dir, ignore_errors=True)
        if result.outcome is engine.Outcome.CANCELLED and worker_stops.is_set():
            _persist(lambda: requeue_run(claim, SyncRun.Reason.WORKER_STOPPED))
            raise SystemExit(0)
        _persist(recorder.store_items)
        _store_refreshed(run, result)
        _persist(lambda: finish_run(claim, result))


def _drive(run: SyncRun, recorder: Recorder, work_dir: Path) -> engine.SyncResult:
    assert run.config is not None
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
        )
        with closing(events):
            for event in events:
                if isinstance(event, engine.Finished):
                    return event.result
                recorder.take(event)
    except (engine.EngineError, SecretsUnreadable) as error:
        failure = engine.Failure.of(engine.FailureClass.CONFIG, str(error))
        return engine.SyncResult(outcome=engine.Outcome.FAILED, failure=failure)
    raise RuntimeError("the engine ended without a result")


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


def _persist(write: Callable[[], object]) -> None:
    """Write an outcome; a database that is away is tried for a minute, then left to the sweep."""
    deadline = time.monotonic() + FINISH_TRIES_S
    while True:
        try:
            write()
            return
        except DATABASE_AWAY as error:
            connections.close_all()
            if time.monotonic() > deadline:
                logger.error("the outcome could not be written, the run will be retried: %s", error)
                return
            time.sleep(1.0)


def _store_refreshed(run: SyncRun, result: engine.SyncResult) -> None:
    """Store the option values that rclone changed, such as a rotated OAuth token."""
    assert run.config is not None
    storages = {"src": run.config.source_storage_id, "dst": run.config.destination_storage_id}
    for section, values in result.refreshed.items():
        storage = Storage.objects.get(pk=storages[section])
        storage.secrets = {**storage.secrets, **values}
        storage.save(update_fields=["encrypted_secrets", "updated_at"])


def progress_document(progress: engine.Progress) -> dict[str, object]:
    """Return the JSON that a run's `progress` column holds; `percent` is None while unknown."""
    percent = (
        round(100 * progress.bytes_done / progress.bytes_total, 1) if progress.bytes_total else None
    )
    return {
        "percent": percent,
        "bytes_done": progress.bytes_done,
        "bytes_total": progress.bytes_total,
        "files_done": progress.files_done,
        "files_total": progress.files_total,
        "checks_done": progress.checks_done,
        "deletes": progress.deletes,
        "errors": progress.errors,
        "speed_bytes_per_s": progress.speed_bytes_per_s,
        "eta_s": progress.eta_s,
        "in_flight": [
            {"name": file.name, "size_bytes": file.size_bytes, "bytes_done": file.bytes_done}
            for file in progress.in_flight
        ],
    }


def plan_document(plan: engine.Plan) -> dict[str, object]:
    """Return the JSON that a run's `plan` column holds."""
    return {
        "adds": plan.adds,
        "updates": plan.updates,
        "deletes": plan.deletes,
        "renames": plan.renames,
        "dirs_removed": plan.dirs_removed,
        "bytes_to_send": plan.bytes_to_send,
        "source_files": plan.source_files,
        "source_bytes": plan.source_bytes,
        "destination_files": plan.destination_files,
        "items": [
            {"action": item.action.value, "path": item.path, "size_bytes": item.size_bytes}
            for item in plan.items
        ],
        "items_left_off": plan.items_left_off,
    }
