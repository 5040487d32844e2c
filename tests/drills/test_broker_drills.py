"""Drills on the broker under real workers: it forgets, it freezes; no run is lost or doubled.

The bells of queued runs are wound back where a drill would only wait a minute for the sweep to
ring again.
"""

from __future__ import annotations

import time

import pytest

from filesync.services.queueing import queue_run
from tests.drills.run_lab import (
    ENDS_WITHIN_S,
    RecordProperty,
    RunLab,
    age_bells,
    queue,
    runs,
)
from tests.drills.run_lab import open_lab as open_lab

pytestmark = [pytest.mark.drill, pytest.mark.each_database, pytest.mark.timeout(300)]

QUEUED = 100
# A frozen Redis held a publish for 4.5 s; what waits longer than this hangs.
ANSWERS_WITHIN_S = 15.0
FROZEN_S = 20.0


def test_a_broker_that_forgets_everything_twice_loses_and_doubles_no_run(
    lab: RunLab, record_property: RecordProperty
) -> None:
    run_ids = lab.ask(queue, lab.add_syncs(QUEUED))
    lab.broker.kill()
    lab.broker.start()
    assert lab.broker.client().llen("celery") == 0, "it kept them: nothing is shown"
    lab.start_worker()
    lab.ask(age_bells)
    began_at = time.monotonic()
    lab.wait_for(lambda: finished(lab) > QUEUED // 3, "a third is done", timeout_s=ENDS_WITHIN_S)
    lab.broker.client().flushall()
    record_property("finished_at_the_flush", finished(lab))
    lab.ask(age_bells)
    ended = lab.end()
    record_property("all_ended_after_s", time.monotonic() - began_at)
    assert [run.pk for run in ended] == run_ids
    assert {(run.state, run.attempt) for run in ended} == {("SUCCEEDED", 1)}
    for run in ended:
        lab.assert_in_step(run)


def finished(lab: RunLab) -> int:
    return sum(run.finished_at > 0 for run in lab.ask(runs))


def test_under_a_frozen_broker_runs_go_on_and_new_ones_are_recorded(
    lab: RunLab, record_property: RecordProperty
) -> None:
    lab.start_worker()
    [before] = lab.ask(queue, lab.add_syncs(1, seconds=10))
    lab.wait_for_transfer(before)
    [config_id] = lab.add_syncs(1)
    lab.broker.pause()
    frozen_at = time.monotonic()
    answered_after_s = lab.ask(seconds_of_a_call, config_id)
    record_property("answered_after_s", answered_after_s)
    assert answered_after_s < ANSWERS_WITHIN_S
    [_, recorded] = lab.ask(runs)
    assert (recorded.config_id, recorded.state) == (config_id, "QUEUED")
    lab.wait_for_state(before, "SUCCEEDED", within_s=FROZEN_S)
    time.sleep(max(0.0, frozen_at + FROZEN_S - time.monotonic()))
    lab.broker.resume()
    resumed_at = time.monotonic()
    ended = lab.end()
    record_property("ended_after_thaw_s", time.monotonic() - resumed_at)
    assert [(run.state, run.attempt) for run in ended] == [("SUCCEEDED", 1)] * 2


def seconds_of_a_call(config_id: int) -> float:
    began_at = time.monotonic()
    queue_run(config_id)
    return time.monotonic() - began_at
