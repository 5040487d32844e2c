"""Drills on the sweep: a sweeper that is killed leaves the rest of its work to another."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

import pytest

from filesync.models import SyncRun
from filesync.services.leases import claim_run
from tests.drills.run_lab import STARTS_WITHIN_S, RecordProperty, RunLab, lapse
from tests.drills.run_lab import open_lab as open_lab

pytestmark = [
    pytest.mark.drill,
    pytest.mark.each_database,
    pytest.mark.each_broker,
    pytest.mark.timeout(300),
]

SILENT = 100
SWEPT_AT_THE_KILL = 10


def test_a_sweeper_killed_in_the_middle_of_a_sweep_leaves_the_rest_to_another(
    lab: RunLab, record_property: RecordProperty
) -> None:
    run_ids = lab.queue(lab.add_syncs(SILENT, limit=SILENT))
    lab.ask(take_and_die, run_ids)
    sweeper = lab.start_command("sweep_runs")
    swept = lab.ask(kill_in_the_middle, sweeper.pid)
    record_property("swept_at_the_kill", swept)
    lab.wait_for(lambda: not sweeper.running, "it is dead", timeout_s=STARTS_WITHIN_S)
    assert swept < SILENT, "the kill came too late to matter"
    lab.start_worker()
    ended = lab.end()
    assert [run.pk for run in ended] == run_ids
    assert {(run.state, run.attempt) for run in ended} == {("SUCCEEDED", 2)}
    assert lab.ask(crashes) == {1}, "a death was counted twice, or not"
    for run in ended:
        lab.assert_in_step(run)


def take_and_die(run_ids: Sequence[int]) -> None:
    """Claim runs as a worker does that dies at once, and let their leases end."""
    for task_id in SyncRun.objects.filter(pk__in=run_ids).values_list("task_id", flat=True):
        assert claim_run(str(task_id), worker="dead@elsewhere") is not None
    lapse(run_ids)


def kill_in_the_middle(pid: int) -> int:
    """Kill a sweeper once it has queued some runs again; return how many it has."""
    queued = SyncRun.objects.filter(state=SyncRun.State.QUEUED)
    deadline = time.monotonic() + STARTS_WITHIN_S
    while queued.count() < SWEPT_AT_THE_KILL:
        assert time.monotonic() < deadline, "nothing was swept"
    os.kill(pid, signal.SIGKILL)
    return queued.count()


def crashes() -> set[int]:
    return set(SyncRun.objects.values_list("crashes", flat=True))
