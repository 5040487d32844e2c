"""Drills on a worker that is told to stop where celery by itself would wait without end.

That a worker gives its runs back is shown among the drills on runs.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
import termios
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from celery import current_app

from filesync.models import SyncRun
from tests.drills.run_lab import STARTS_WITHIN_S, RecordProperty, RunLab, Worker, hurry, lapse
from tests.drills.run_lab import open_lab as open_lab
from tests.project.system import still_alive

pytestmark = [pytest.mark.each_database, pytest.mark.each_broker, pytest.mark.timeout(300)]

STOPS_WITHIN_S = 15.0
# A pipe holds 64 KiB.
HALF_A_PIPE_BYTES = 32_768
# More than a pipe holds, so that a process that does not read has been given a part of it.
PADDING = "x" * 500_000


def test_a_worker_stops_while_it_hands_a_task_to_a_process_that_does_not_read(
    lab: RunLab,
) -> None:
    worker, process, _ = idle_worker(lab)
    process.suspend()
    lab.ask(publish_padded)
    lab.wait_for(
        lambda: unread_bytes(process) >= HALF_A_PIPE_BYTES,
        "half is handed over",
        timeout_s=STARTS_WITHIN_S,
    )
    worker.send(signal.SIGTERM)
    process.resume()
    assert seconds_until_stopped(worker) < STOPS_WITHIN_S
    assert "by force" not in worker.log()
    lab.end()


def test_a_run_whose_message_a_stopping_worker_has_taken_is_called_again(lab: RunLab) -> None:
    worker, process, config_ids = idle_worker(lab)
    process.suspend()
    [run_id] = lab.queue(config_ids)
    lab.wait_for(lambda: unread_bytes(process), "it is handed over", timeout_s=STARTS_WITHIN_S)
    worker.send(signal.SIGTERM)
    # Else it would read the message first, and give the run back by itself.
    lab.wait_for(lambda: is_told_to_stop(process), "it is told to stop", timeout_s=STOPS_WITHIN_S)
    process.resume()
    assert seconds_until_stopped(worker) < STOPS_WITHIN_S
    assert lab.ask(state_and_call, run_id) == ("QUEUED", None)
    lab.start_worker()
    [_, run] = lab.end()
    assert (run.state, run.attempt) == ("SUCCEEDED", 1)


@pytest.mark.drill
def test_a_worker_whose_pool_does_not_answer_is_ended_by_force(
    lab: RunLab, record_property: RecordProperty
) -> None:
    worker = lab.start_worker()
    config_ids = lab.add_syncs(2, seconds=60)
    run_ids = lab.queue(config_ids)
    for run_id in run_ids:
        lab.wait_for_transfer(run_id)
    lab.ask(hurry, config_ids)
    tree = worker.tree()
    for process in pool_of(worker):
        process.suspend()
    worker.send(signal.SIGTERM)
    took_s = seconds_until_stopped(worker)
    record_property("stopped_after_s", took_s)
    assert took_s < STOPS_WITHIN_S
    assert "by force" in worker.log()
    lab.wait_for(lambda: still_alive(tree) == [], "its pool dies with it", timeout_s=5.0)
    lab.ask(lapse, run_ids)
    lab.start_worker()
    for run in lab.end():
        assert (run.state, run.attempt) == ("SUCCEEDED", 2)
        lab.assert_in_step(run)


def idle_worker(lab: RunLab) -> tuple[Worker, psutil.Process, list[int]]:
    """Start a worker of one process; return both, and the configs of the run that it carried out.

    A worker is ready before its pool is, which it is once it has carried out a run.
    """
    worker = lab.start_worker(SYNCBEAT_WORKER_CONCURRENCY="1")
    config_ids = lab.add_syncs(1)
    [run_id] = lab.queue(config_ids)
    lab.wait_for_state(run_id, "SUCCEEDED")
    lab.wait_for(lambda: lab.ask(is_idle), "it is idle", timeout_s=STARTS_WITHIN_S)
    [process] = pool_of(worker)
    return worker, process, config_ids


def state_and_call(run_id: int) -> tuple[str, datetime | None]:
    return SyncRun.objects.values_list("state", "rung_at").get(pk=run_id)


def is_told_to_stop(process: psutil.Process) -> bool:
    """Tell whether a process that is suspended has a SIGQUIT waiting."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [waiting] = re.findall(r"^ShdPnd:\s*(\w+)", status, re.MULTILINE)
    return bool(int(waiting, 16) & 1 << (signal.SIGQUIT - 1))


def pool_of(worker: Worker) -> list[psutil.Process]:
    return psutil.Process(worker.pid).children()


def seconds_until_stopped(worker: Worker) -> float:
    told_at = time.monotonic()
    worker.wait()
    return time.monotonic() - told_at


def is_idle() -> bool:
    """Tell whether every worker says that it carries nothing out."""
    answers = current_app.control.inspect(timeout=1.0).active()
    return answers is not None and not any(answers.values())


def publish_padded() -> None:
    """Send a task that no pipe holds; it would fail, as its argument is unknown."""
    current_app.send_task("filesync.tasks.send_notification", kwargs={"padding": PADDING})


def unread_bytes(process: psutil.Process) -> int:
    """Return how much waits in the fullest of the pipes that a process reads from."""
    return max(waiting_bytes(path) for path in Path(f"/proc/{process.pid}/fd").iterdir())


def waiting_bytes(path: Path) -> int:
    if not os.readlink(path).startswith("pipe:"):
        return 0
    with suppress(OSError), open(path, "rb", 0, opener=without_waiting) as pipe:
        answer = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
        return int.from_bytes(answer, sys.byteorder)
    return 0


def without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
