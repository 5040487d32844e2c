"""Kill what carries out a lab's runs, at random, and end the leases of what died."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from filesync.models import SyncRun
from scheduler.clock import from_now
from tests.drills.run_lab import ENDS_WITHIN_S, RunLab, Transfer, parent_of, runs

LOOKS = 5
LOOK_EVERY_S = 0.2


def kill_something(lab: RunLab, chance: random.Random) -> list[str]:
    """Kill an rclone, a pool process or a worker, none of whose runs would be given up.

    Returns what was killed, nothing where it had ended by itself.
    """

    def victim() -> Transfer | None:
        fresh = {run.pk for run in lab.ask(runs) if run.state == "RUNNING" and run.attempt < 3}
        found = sorted(seen for seen in lab.sampler.now() if seen.run_id in fresh)
        return chance.choice(found) if found else None

    what = chance.choices(["rclone", "pool process", "worker"], [3, 5, 2])[0]
    transfer = lab.wait_for(victim, "there is something to kill", timeout_s=ENDS_WITHIN_S)
    worker = next(one for one in lab.workers if one.running)
    own = (run for run in lab.ask(runs) if run.worker.startswith(f"{worker.name}@"))
    if what == "worker" and all(run.attempt < 3 for run in own if run.state == "RUNNING"):
        worker.kill()
        lab.start_worker(ready=False)
        return [what]
    with suppress(psutil.NoSuchProcess):
        (psutil.Process(transfer.pid) if what == "rclone" else parent_of(transfer)).kill()
        return ["rclone" if what == "rclone" else "pool process"]
    return []


def lapse_attempts(dead: Sequence[tuple[int, int]]) -> None:
    """End the leases of attempts; one that another has begun meanwhile keeps its own."""
    for run_id, attempt in dead:
        running = SyncRun.objects.filter(pk=run_id, attempt=attempt, state=SyncRun.State.RUNNING)
        running.update(lease_expires_at=from_now(-1))


def lapse_the_dead(lab: RunLab) -> bool:
    """End the leases of runs that nobody carries out; tell whether every run has ended."""
    told = lab.ask(runs)
    # Claimed a while ago, and seen at no look: between two stages a run has no process.
    silent = {run.pk: run for run in told if time.time() - run.started_at > 5}
    for _ in range(LOOKS):
        for seen in lab.sampler.now():
            silent.pop(seen.run_id, None)
        time.sleep(LOOK_EVERY_S)
    dead = [(run.pk, run.attempt) for run in silent.values() if run.state == "RUNNING"]
    lab.ask(lapse_attempts, dead)
    return all(run.finished_at for run in told)
