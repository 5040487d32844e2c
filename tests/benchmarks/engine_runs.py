"""Whole runs, from queued to their terminal state, as a worker does them: time and memory."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil

from filesync.engine import Method
from tests.benchmarks.measuring import make_tree
from tests.benchmarks.report import Row

SAMPLED_EVERY_S = 0.1
Run = Callable[[], None]


@cache
def install(top: Path) -> None:
    """Set up Django in this process, over an empty database below `top`; only once."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    os.environ["SYNCBEAT_DATA_DIR"] = str(top / "data")
    os.environ["FILESYNC_LOCAL_ROOTS"] = str(top)
    os.environ["LOG_LEVEL"] = "error"
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def prepared(top: Path, source: Path, method: Method = Method.INCREMENTAL) -> Run:
    """Return what queues, claims and executes one run that copies a folder beside itself."""
    install(top)
    from filesync.models import Storage, SyncConfig, SyncRun
    from filesync.services import execution, leases, queueing

    storage, _ = Storage.objects.get_or_create(name="here", backend="local", root=str(top))
    path = source.relative_to(top)
    config = SyncConfig.objects.create(
        name=f"{path} {method}",
        method=method,
        source_storage=storage,
        source_path=str(path),
        destination_storage=storage,
        destination_path=f"{path}-copy",
    )

    def run() -> None:
        queued = queueing.queue_run(config.pk, ring_bell=False)
        claim = leases.claim_run(str(queued.task_id), worker="bench@here")
        assert claim is not None
        execution.execute(claim)
        queued.refresh_from_db()
        assert queued.state == SyncRun.State.SUCCEEDED, queued.explanation

    return run


def timed_run(run: Run) -> float:
    started_s = time.perf_counter()
    run()
    return time.perf_counter() - started_s


def memory_rows(top: Path, root: Path, files: int) -> list[Row]:
    """Measure what runs over many files take: growth of the worker, peak of rclone."""
    make_tree(root / "few", 10)
    make_tree(root / "many", files)
    prepared(top, root / "few")()  # what every run needs is loaded before
    rows = []
    for work, method in (("first copy", Method.INCREMENTAL), ("rerun, no change", Method.FULL)):
        run = prepared(top, root / "many", method)
        with _growth_mb() as grown_mb:
            run()
        # The peak of all children so far: it never falls.
        rclone_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
        took = f"worker +{grown_mb[0]:.0f} MB, rclone {rclone_mb:.0f} MB"
        work = f"memory, {work} of {files:,} files, {method}"
        rows.append(Row(work, "-", took, "-", "<= +50 MB, <= 700 MB"))
    return rows


@contextmanager
def _growth_mb() -> Iterator[list[float]]:
    """Yield a list whose one number becomes the most that this process grew meanwhile."""
    me, over = psutil.Process(), threading.Event()
    before = most = me.memory_info().rss
    grown_mb: list[float] = []

    def watch() -> None:
        nonlocal most
        while not over.wait(SAMPLED_EVERY_S):
            most = max(most, me.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield grown_mb
    finally:
        over.set()
        watching.join()
        grown_mb.append(max(0, most - before) / 1e6)
