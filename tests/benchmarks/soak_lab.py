"""What `make soak` runs and looks at: beat, worker and web server under very many small slots."""

from __future__ import annotations

import shutil
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from django.db import connection, transaction
from django_celery_results.models import TaskResult
from kombu import Connection

from filesync.models import Delivery, RunItem, RunLog, Storage, SyncConfig, SyncRun
from tests.benchmarks.soak_told import TOLD_OF, tell, unsent
from tests.drills.lab import BOOTS_WITHIN_S, MINUTE_S, Lab
from tests.drills.run_lab import NO_LIMIT, Worker, worker_argv
from tests.servers.process import HOST, GuardedProcess
from tests.servers.webhook import WebhookReceiver

FILES = 3
EVERY_MINUTE = "* * * * *"

Process = tuple[int, float]


class Sample(NamedTuple):
    """One look at the processes; memory in MiB, what the pool has as the mean of a process."""

    minute: float
    seen: Mapping[str, float]
    zombies: frozenset[Process]


class SlotRow(NamedTuple):
    """What became of a slot; times are Unix times, 0 where there is none."""

    config_id: int
    slot: float
    state: str
    created_at: float
    started_at: float
    finished_at: float
    attempt: int


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows the soak has made, and how large its database is."""

    counts: Mapping[str, int]
    size_mb: float


# --- what the lab's Django process does


def add_configs(root: str, count: int, first_slot: float) -> list[int]:
    """Save configs that fire each minute from a slot on, from "from N" to "to N"."""
    fields = {"backend": "local", "root": root, "max_concurrent_runs": NO_LIMIT}
    with transaction.atomic():
        storage = Storage.objects.create(name="disk", **fields)
        return [
            SyncConfig.objects.create(
                name=f"soak {number}",
                cron=EVERY_MINUTE,
                timezone="UTC",
                start_time=datetime.fromtimestamp(first_slot, tz=UTC),
                source_storage=storage,
                source_path=f"from {number}",
                destination_storage=storage,
                destination_path=f"to {number}",
            ).pk
            for number in range(count)
        ]


def slot_rows() -> list[SlotRow]:
    columns = (
        *("config_id", "slot", "state", "created_at", "started_at", "finished_at", "attempt"),
    )
    return [
        SlotRow(
            pk or 0,
            slot.timestamp() if slot else 0.0,
            state,
            created_at.timestamp(),
            started_at.timestamp() if started_at else 0.0,
            finished_at.timestamp() if finished_at else 0.0,
            attempt,
        )
        for pk, slot, state, created_at, started_at, finished_at, attempt in (
            SyncRun.objects.order_by("pk").values_list(*columns)
        )
    ]


def active_runs() -> int:
    return SyncRun.objects.filter(state__in=SyncRun.ACTIVE).count()


def rows() -> Rows:
    models = (SyncRun, TaskResult, RunItem, RunLog, Delivery)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        [size_bytes] = cursor.fetchone() or [0]
    counts = {str(model._meta.verbose_name_plural): model.objects.count() for model in models}
    return Rows(counts, size_bytes / 1e6)


def make_folders(files: Path, count: int) -> None:
    """Make trees that are in step, so that a run finds nothing to do."""
    for number in range(count):
        source = files / f"from {number}"
        source.mkdir(parents=True)
        for part in range(FILES):
            (source / f"{part}.txt").write_text(f"{number} {part}")
        shutil.copytree(source, files / f"to {number}")


# --- the lab


class SoakLab(Lab):
    """A lab with one beat, one worker and a web server, looked at while they work."""

    def start(self, configs: int) -> None:
        """Start them, and let the configs fire from the minute after the next on."""
        files = self._folder / "data" / "files"
        make_folders(files, configs)
        self.hook = self._stack.enter_context(WebhookReceiver())
        self._environment["SYNCBEAT_NOTIFY_NETWORKS"] = HOST
        self.beat = self.start_beat()
        self.web = self.start_web()
        argv = self.ask(worker_argv)
        self.worker = Worker(argv, self._environment, "worker", self._folder / "worker.log")
        self._stack.callback(self._end_worker)
        self.wait_for(lambda: " ready" in self.worker.log(), "it is up", timeout_s=BOOTS_WITHIN_S)
        self.first_slot = (time.time() // MINUTE_S + 2) * MINUTE_S
        self.config_ids = self.ask(add_configs, str(files), configs, self.first_slot)
        self.told_ids, self.pinged_ids = self.config_ids[::TOLD_OF], self.config_ids[1::TOLD_OF]
        self.ask(tell, self.hook.address, self.told_ids, self.pinged_ids)

    def watch(self, minutes: float, every_s: float) -> Iterator[Sample]:
        """Look at the processes each `every_s` seconds, and stop half a minute after a slot."""
        over = self.first_slot + minutes * MINUTE_S - MINUTE_S / 2
        at = self.first_slot
        while at < over:
            time.sleep(max(0.0, at - time.time()))
            yield self._sample((at - self.first_slot) / MINUTE_S)
            at += every_s
        time.sleep(max(0.0, over - time.time()))

    def _sample(self, minute: float) -> Sample:
        beat = psutil.Process(self.beat.pid)
        main, *below = self.worker.tree()
        pool = main.children()
        seen = {
            "worker, pool: processes": float(len(pool)),
            "broker: messages": float(waiting_messages(self.broker.url)),
        }
        for name, group in {
            "beat": [beat],
            "web": self.web.members(),
            "worker, main": [main],
            "worker, pool": pool,
        }.items():
            seen |= _looked_at(name, group)
        ended = (process for process in [*below, *beat.children(recursive=True)] if _dead(process))
        return Sample(minute, seen, frozenset((one.pid, one.create_time()) for one in ended))

    def cpu_s(self, database: GuardedProcess, broker: GuardedProcess) -> dict[str, float]:
        """Return the CPU seconds that each part has taken, without those of the start."""
        main = psutil.Process(self.worker.pid)
        pool = [process.cpu_times() for process in main.children()]
        return {
            "beat": _own_s(psutil.Process(self.beat.pid)),
            "web": sum(map(_own_s, self.web.members())),
            "worker, main": _own_s(main),
            "worker, pool": sum(times.user + times.system for times in pool),
            "rclone": sum(times.children_user + times.children_system for times in pool),
            "PostgreSQL": sum(map(_whole_s, database.members())),
            "broker": sum(map(_whole_s, broker.members())),
        }

    def stop_firing(self, *, patience_s: float) -> int:
        """Let no slot come any more; return how many runs are active when the patience is over."""
        self.manage("clear_schedules")
        deadline = time.monotonic() + patience_s
        while (active := self.ask(active_runs)) and time.monotonic() < deadline:
            time.sleep(1.0)
        return active

    def stop_telling(self, *, patience_s: float) -> int:
        """Wait until all is sent; return how many messages and pings are not."""
        deadline = time.monotonic() + patience_s
        while (left := self.ask(unsent)) and time.monotonic() < deadline:
            time.sleep(1.0)
        return left

    def stop(self) -> None:
        self.beat.stop()
        self.web.end()
        self.worker.stop()

    def _end_worker(self) -> None:
        if self.worker.running:
            self.worker.kill()


def _looked_at(name: str, processes: Sequence[psutil.Process]) -> dict[str, float]:
    def mean(values: Iterator[float]) -> float:
        return statistics.fmean(list(values) or [0.0])

    return {
        f"{name}: memory": mean(one.memory_info().rss / 2**20 for one in processes),
        f"{name}: descriptors": mean(float(one.num_fds()) for one in processes),
        f"{name}: threads": mean(float(one.num_threads()) for one in processes),
    }


def waiting_messages(broker_url: str) -> int:
    """Return how many messages wait in celery's queue."""
    # Redis has no queue that is empty.
    with Connection(broker_url) as connection, suppress(*connection.channel_errors):
        channel: Any = connection.default_channel
        return int(channel.queue_declare("celery", passive=True).message_count)
    return 0


def _dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _own_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _whole_s(process: psutil.Process) -> float:
    """Return what a process and its children that were waited for have taken."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def zombies_that_stay(samples: Sequence[Sample]) -> set[Process]:
    """Return those seen in two samples in a row: one that is waited for soon is no zombie."""
    return {one for before, after in pairwise(samples) for one in before.zombies & after.zombies}


def lost_and_doubled(
    found: Sequence[SlotRow], config_ids: Sequence[int], slots: Sequence[float]
) -> tuple[int, int]:
    """Return how many slots have no row, and how many have more than one."""
    counted = Counter((row.config_id, row.slot) for row in found)
    lost = sum((pk, slot) not in counted for pk in config_ids for slot in slots)
    return lost, sum(count > 1 for count in counted.values())
