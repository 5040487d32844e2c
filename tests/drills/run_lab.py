"""The lab of runs: real workers to kill, pause and stop, their transfers seen; no promises.

A worker stands below no guardian here: what it leaves behind when it is killed is what the
drills want to see. It dies with the tests instead.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import psutil
import pytest
from django_celery_results.models import TaskResult

from filesync.models import Storage, SyncConfig, SyncRun
from filesync.services.queueing import queue_run
from filesync.services.sweeping import RING_AGAIN_S
from project.services import build_services
from scheduler.clock import from_now
from scheduler.models import Heartbeat
from tests.drills.lab import (
    BOOTS_WITHIN_S,
    PR_SET_PDEATHSIG,
    Broker,
    Databases,
    DrillFailed,
    Lab,
)
from tests.project.system import processes_of, still_alive
from tests.servers.process import REPOSITORY, send

RecordProperty = Callable[[str, object], None]

SAMPLE_EVERY_S = 0.05
STARTS_WITHIN_S = 30.0
ENDS_WITHIN_S = 90.0
STOPS_WITHIN_S = 30.0
# At this rate a run of as many files of this size lasts about as many seconds.
SLOW = "256K"
SECOND_BYTES = 256 * 1024
# The runs of one drill may all go at once, unless it is about the limit.
NO_LIMIT = 64

_LIBC = ctypes.CDLL(None, use_errno=True)


class Run(NamedTuple):
    """A run as its row tells, and `status`, the word in its celery result row.

    Times are Unix times, 0 where there is none.
    """

    pk: int
    config_id: int
    task_id: str
    state: str
    reason: str
    task_status: str
    status: str
    attempt: int
    worker: str
    bytes_done: int
    files_transferred: int
    failure_class: str
    slot: float
    started_at: float
    finished_at: float


class Transfer(NamedTuple):
    """One living rclone process, and whose run it carries out."""

    run_id: int
    pid: int


# --- what the lab's Django process does


def worker_argv() -> list[str]:
    """Return the command line by which `manage.py up` starts a worker."""
    services = build_services(Path(os.environ["SYNCBEAT_DATA_DIR"]))
    (worker,) = (service for service in services if service.name == "worker")
    argv = list(worker.argv)
    # This process keeps its own log short; a worker's is what a failed drill is read by.
    argv[argv.index("--loglevel") + 1] = "INFO"
    return argv


def add_syncs(
    root: str, names: Sequence[str], bandwidth: str = "", limit: int = NO_LIMIT, remote: str = ""
) -> list[int]:
    """Save a config per name, from "from NAME" to "to NAME" below the local folder `root`.

    `remote` names a storage that is there already, which then is the destination.
    """
    storage, _ = Storage.objects.get_or_create(
        name=f"disk of {limit}",
        defaults={"backend": "local", "root": root, "max_concurrent_runs": limit},
    )
    destination = Storage.objects.get(name=remote) if remote else storage
    return [
        SyncConfig.objects.create(
            name=name,
            bandwidth=bandwidth,
            # One file after the other, so that some are whole and one is not.
            transfers=1 if bandwidth else None,
            retry_delay_s=1,
            source_storage=storage,
            source_path=f"from {name}",
            destination_storage=destination,
            destination_path=f"to {name}",
        ).pk
        for name in names
    ]


def queue(config_ids: Sequence[int]) -> list[int]:
    """Queue a run of each config as an execute call does; return the runs' ids."""
    return [queue_run(pk).pk for pk in config_ids]


def hurry(config_ids: Sequence[int]) -> None:
    """Let the next attempts go unlimited; one that runs keeps the rate it was started with."""
    SyncConfig.objects.filter(pk__in=config_ids).update(bandwidth="")


def lapse(run_ids: Collection[int]) -> None:
    """Let leases end now instead of within a minute."""
    running = SyncRun.objects.filter(pk__in=run_ids, state="RUNNING")
    running.update(lease_expires_at=from_now(-1))


def age_bells() -> None:
    """Wind the bells back instead of waiting a minute for the sweep to ring again."""
    SyncRun.objects.filter(state="QUEUED").update(rung_at=from_now(-RING_AGAIN_S - 1))


def workers_alive() -> list[str]:
    return list(Heartbeat.objects.filter(role="worker").values_list("name", flat=True))


# No others: the database may be that of a version before this one.
_READ = [
    "config_id",
    "task_id",
    "state",
    "reason",
    "attempt",
    "worker",
    "progress",
    "files_transferred",
    "failure_class",
    "slot",
    "started_at",
    "finished_at",
]


def runs() -> list[Run]:
    """Return every run, oldest first, with its status of the same moment."""
    statuses = statuses_told()
    while True:
        told = [_told(run, statuses) for run in SyncRun.objects.only(*_READ).order_by("pk")]
        before, statuses = statuses, statuses_told()
        if statuses == before:
            return told


def statuses_told() -> dict[str, str]:
    return dict(TaskResult.objects.values_list("task_id", "status"))


def _told(run: SyncRun, statuses: Mapping[str, str]) -> Run:
    bytes_done = run.progress.get("bytes_done", 0)
    return Run(
        pk=run.pk,
        config_id=run.config_id or 0,
        task_id=str(run.task_id),
        state=run.state,
        reason=run.reason,
        task_status=run.task_status,
        status=statuses.get(str(run.task_id), ""),
        attempt=run.attempt,
        worker=run.worker,
        bytes_done=bytes_done if isinstance(bytes_done, int) else 0,
        files_transferred=run.files_transferred,
        failure_class=run.failure_class,
        slot=run.slot.timestamp() if run.slot else 0.0,
        started_at=run.started_at.timestamp() if run.started_at else 0.0,
        finished_at=run.finished_at.timestamp() if run.finished_at else 0.0,
    )


# --- processes


class Worker:
    """One worker as `manage.py up` starts it; its log is a file of its own."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        name: str,
        log_file: Path,
        checkout: Path = REPOSITORY,
    ) -> None:
        self._log_file = log_file
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [word.replace("worker@", f"{name}@") for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"DJANGO_SETTINGS_MODULE": "project.settings", **environment},
                cwd=checkout,
                start_new_session=True,
                preexec_fn=lambda: _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
            )
        self.name = name

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    def tree(self) -> list[psutil.Process]:
        """Return its main process, its pool and their rclone processes."""
        main = psutil.Process(self._process.pid)
        return [main, *main.children(recursive=True)]

    def send(self, number: signal.Signals) -> None:
        """Signal the main process alone."""
        self._process.send_signal(number)

    def send_to_all(self, number: signal.Signals) -> None:
        """Signal the main process, its pool and their rclone processes."""
        for process in self.tree():
            send(process, number)

    def wait(self) -> int:
        """Wait for its end and return the exit code, negative for a signal."""
        return self._process.wait(STOPS_WITHIN_S)

    def kill(self) -> None:
        """End the main process as a crash would, and see that its tree ends by itself."""
        tree = self.tree()
        self._process.kill()
        self._process.wait()
        _, alive = psutil.wait_procs(tree, timeout=5.0)
        assert still_alive(alive) == [], "orphans"

    def stop(self) -> int:
        if self.running:
            self.send(signal.SIGTERM)
        return self.wait()


class Sampler:
    """Looks every 50 ms which rclone processes of the lab are alive; the frozen do not count."""

    def __init__(self, folder: Path) -> None:
        self._mark = f"{folder}/".encode()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="sampler", daemon=True)
        self._locked: set[Transfer] = set()
        self.samples: set[frozenset[Transfer]] = set()
        self.without_lock: set[Transfer] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def now(self) -> frozenset[Transfer]:
        found = (self._seen(folder) for folder in Path("/proc").glob("[0-9]*"))
        return frozenset(transfer for transfer in found if transfer is not None)

    def of(self, run_id: int) -> set[int]:
        """Return the pids of all processes seen so far that carried out the run."""
        return {
            transfer.pid
            for sample in self.samples
            for transfer in sample
            if transfer.run_id == run_id
        }

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_EVERY_S):
            sample = self.now()
            self.samples.add(sample)
            for transfer in sample - self._locked:
                held = holds_config_lock(transfer.pid)
                if held is not None:
                    (self._locked if held else self.without_lock).add(transfer)

    def _seen(self, process: Path) -> Transfer | None:
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"/rclone") and b"--temp-dir" in words:
                work_dir = words[words.index(b"--temp-dir") + 1]
                state = (process / "stat").read_text().rpartition(") ")[2][0]
                if work_dir.startswith(self._mark) and state not in "TZX":
                    run_id, _attempt = work_dir.rpartition(b"/run-")[2].split(b"-")
                    return Transfer(int(run_id), int(process.name))
        return None


def holds_config_lock(pid: int) -> bool | None:
    """Tell whether a process has a descriptor with the flock of a config; None when it is gone."""
    process = Path("/proc") / str(pid)
    with suppress(OSError):
        descriptors = list((process / "fd").iterdir())
        held = any(
            "/locks/config-" in os.readlink(descriptor)
            and " FLOCK " in (process / "fdinfo" / descriptor.name).read_text()
            for descriptor in descriptors
        )
        # One that is ending has closed all.
        return held if descriptors else None
    return None


class RunLab(Lab):
    """A lab with workers, whose transfers are watched from beginning to end."""

    def __init__(self, database_url: str, broker: Broker, folder: Path) -> None:
        super().__init__(database_url, broker, folder)
        self.data_dir = folder / "data"
        self.files = self.data_dir / "files"
        self._elsewhere = folder / "elsewhere"
        self.files.mkdir(parents=True)
        self.workers: list[Worker] = []
        self.sampler = Sampler(folder)
        self.passed = False
        self._asked: list[int] = []
        self._environment["SYNCBEAT_WORKER_CONCURRENCY"] = "4"
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        super().__enter__()
        self._argv = self.ask(worker_argv)
        self._stack.enter_context(self.sampler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self.workers:
            if worker.running:
                worker.send(signal.SIGKILL)
                worker.wait()
        for process in self._processes():
            send(process, signal.SIGKILL)
        super().__exit__(kind, error, traceback)

    def add_syncs(
        self,
        count: int,
        *,
        seconds: int = 0,
        limit: int = NO_LIMIT,
        remote: str = "",
    ) -> list[int]:
        """Save configs with a source tree each; with `seconds` a run of it lasts about as long."""
        names = self.make_sources(count, seconds=seconds)
        bandwidth = SLOW if seconds else ""
        return self.ask(add_syncs, str(self.files), names, bandwidth, limit, remote)

    def make_sources(self, count: int, *, seconds: int = 0) -> list[str]:
        """Make source trees, and return the names of the configs that they are for."""
        names = [str(number) for number in itertools.islice(self._numbers, count)]
        for name in names:
            source = self.files / f"from {name}"
            source.mkdir()
            for part in range(seconds or 1):
                size = SECOND_BYTES if seconds else 10
                (source / f"{part:03}.bin").write_bytes(os.urandom(size))
        return names

    def queue(self, config_ids: Sequence[int]) -> list[int]:
        """Queue a run of each config as an execute call does; return the runs' ids."""
        run_ids = self.ask(queue, config_ids)
        self._asked += run_ids
        return run_ids

    def start_worker(
        self,
        *,
        ready: bool = True,
        checkout: Path = REPOSITORY,
        command: Sequence[str] = (),
        name: str = "",
        **settings: str,
    ) -> Worker:
        """Start one more worker and wait until it takes runs, unless it need not be `ready`.

        With a `command` it is started by that, which gives it its `name`.
        """
        name = name or f"worker{len(self.workers)}"
        log_file = self._folder / f"{name}.log"
        argv = [sys.executable, "-m", *command] if command else self._argv
        worker = Worker(argv, self._environment | settings, name, log_file, checkout)
        self.workers.append(worker)
        if ready:
            self.wait_for(lambda: " ready" in worker.log(), "it is up", timeout_s=BOOTS_WITHIN_S)
        return worker

    def start_worker_elsewhere(self) -> Worker:
        """Start a worker as on another host: with a data folder, and so locks, of its own."""
        return self.start_worker(
            SYNCBEAT_DATA_DIR=str(self._elsewhere), FILESYNC_LOCAL_ROOTS=str(self.files)
        )

    def worker_of(self, run: Run) -> Worker:
        return next(worker for worker in self.workers if run.worker.startswith(f"{worker.name}@"))

    def run(self, run_id: int) -> Run:
        return next(run for run in self.ask(runs) if run.pk == run_id)

    def wait_for_transfer(self, run_id: int, *, attempt: int = 1) -> Transfer:
        """Wait until the run has sent something in that attempt; return its process."""

        def transfer() -> Transfer | None:
            run = self.run(run_id)
            if run.state != "RUNNING" or run.attempt != attempt or not run.bytes_done:
                return None
            return next((seen for seen in self.sampler.now() if seen.run_id == run_id), None)

        return self.wait_for(transfer, f"run {run_id} transfers", timeout_s=STARTS_WITHIN_S)

    def kill_transfer(self, run_id: int, *, attempt: int = 1) -> None:
        """Kill the pool process that carries out the run, and end the run's lease."""
        transfer = self.wait_for_transfer(run_id, attempt=attempt)
        parent_of(transfer).kill()
        self.wait_for(
            lambda: transfer not in self.sampler.now(), "rclone dies with it", timeout_s=5.0
        )
        self.ask(lapse, [run_id])

    def wait_for_state(self, run_id: int, *states: str, within_s: float = ENDS_WITHIN_S) -> Run:
        def reached() -> Run | None:
            run = self.run(run_id)
            return run if run.state in states else None

        return self.wait_for(reached, f"run {run_id} is {'/'.join(states)}", timeout_s=within_s)

    def end(self, *, given_up: Collection[int] = ()) -> list[Run]:
        """Assert the common pass of every drill, and return all runs.

        None is active after 90 s, and none of what was asked for is missing; the runs `given_up`
        are LOST and no others. None ever ran twice at once: no two processes of a config were
        seen, and each held the config's flock. Each celery result row says what its run says; a
        slot that was skipped or missed has none.
        Beats and workers are stopped here, and no process is left.
        """
        self.wait_for(
            lambda: all(run.finished_at for run in self.ask(runs)),
            "no run is active",
            timeout_s=ENDS_WITHIN_S,
        )
        for beat in self.beats:
            if beat.running:
                beat.stop()
        for worker in self.workers:
            worker.stop()
        assert still_alive(self._processes()) == [], self.failed("left behind")
        ended = self.ask(runs)
        assert set(self._asked) <= {run.pk for run in ended}, "a row is lost"
        lost = {run.pk for run in ended if run.state == "LOST"}
        assert lost == set(given_up), self.failed("lost")
        otherwise = [run for run in ended if run.status != told_of(run)]
        assert otherwise == [], self.failed(f"celery told otherwise: {otherwise}")
        self._assert_never_two_at_once(ended)
        self.passed = True
        return ended

    def _assert_never_two_at_once(self, ended: Sequence[Run]) -> None:
        config_of = {run.pk: run.config_id for run in ended}
        doubled = [
            sample
            for sample in self.sampler.samples
            if max(Counter(config_of[seen.run_id] for seen in sample).values(), default=0) > 1
        ]
        assert doubled == [], "two at once"
        assert self.sampler.without_lock == set(), "not held by the config's lock"

    def _processes(self) -> list[psutil.Process]:
        """Return what works for the lab, on either of its hosts."""
        return [*processes_of(self.data_dir), *processes_of(self._elsewhere)]

    def source(self, run: Run) -> dict[str, bytes]:
        return contents(self.files / f"from {self.ask(name_of, run.config_id)}")

    def sent(self, run: Run) -> dict[str, bytes]:
        """Return what stands at a local destination, half sent files too."""
        return contents(self.files / f"to {self.ask(name_of, run.config_id)}")

    def assert_in_step(self, run: Run) -> None:
        """Assert that the destination holds the source's files and nothing half sent."""
        sent, source = self.sent(run), self.source(run)
        wrong = {name for name in sent.keys() | source.keys() if sent.get(name) != source.get(name)}
        assert wrong == set(), "missing, half sent or more than the source has"

    def failed(self, what: str) -> DrillFailed:
        logs = [f"--- {worker.name}\n{worker.log()[-6000:]}" for worker in self.workers]
        return DrillFailed("\n".join([str(super().failed(what)), *logs]))


def told_of(run: Run) -> str:
    """Return what the celery result row of an ended run says; empty where there is to be none."""
    return "" if run.task_status == "IGNORED" else run.task_status


def name_of(config_id: int) -> str:
    return SyncConfig.objects.get(pk=config_id).name


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder by its path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def parent_of(transfer: Transfer) -> psutil.Process:
    """Return the pool process that started it."""
    parent = psutil.Process(transfer.pid).parent()
    assert parent is not None
    return parent


# --- fixtures


@contextmanager
def run_lab(database_url: str, broker: Broker, folder: Path) -> Iterator[RunLab]:
    """Yield a lab, and see that its drill ended with what holds for every drill."""
    with RunLab(database_url, broker, folder) as lab:
        yield lab
        assert lab.passed, "the drill must end with RunLab.end()"


@pytest.fixture(name="lab")
def open_lab(databases: Databases, broker: Broker, folder: Path) -> Iterator[RunLab]:
    """Return a lab of runs on a broker of its own."""
    with run_lab(databases.fresh(folder), broker, folder) as lab:
        yield lab
