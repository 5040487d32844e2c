"""Drills on a small fleet: one beat and one worker of two are killed; workers have their queues."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial

import pytest

from filesync.models import SyncConfig
from tests.drills.lab import MINUTE_S, sleep_until, slot_in
from tests.drills.run_lab import RecordProperty, Run, RunLab, Worker, runs
from tests.drills.run_lab import open_lab as open_lab
from tests.drills.test_beat_drills import (
    TAKES_OVER_WITHIN_S,
    beat_named,
    leader,
    wait_for_another_leader,
)
from tests.drills.test_cron_drills import fired, schedule, unschedule, wait_for_runs
from tests.project.docs import block_commands

pytestmark = [
    pytest.mark.drill,
    pytest.mark.each_database,
    pytest.mark.each_broker,
    pytest.mark.timeout(400),
]

SHORT, LONG = 20, 6
SECONDS = 12
SLOTS = 3
STARTS_WITHIN_S = 30.0
# Longer than it takes to start a run whose bell was heard.
QUIET_S = 8.0


def test_a_worker_and_the_leading_beat_killed_together_cost_no_slot_and_no_run(
    lab: RunLab, record_property: RecordProperty
) -> None:
    config_ids = lab.add_syncs(LONG, seconds=SECONDS) + lab.add_syncs(SHORT)
    workers = [lab.start_worker(), lab.start_worker_elsewhere()]
    for _ in range(2):
        lab.start_beat()
    first = slot_in(5.0)
    slots = [first + number * MINUTE_S for number in range(SLOTS)]
    lab.ask(schedule, config_ids, first)
    sleep_until(first)
    for worker in workers:
        lab.wait_for(partial(transferring, lab, worker), "both transfer", timeout_s=STARTS_WITHIN_S)
    killed = workers[0]
    beat = beat_named(lab, lab.ask(leader))
    beat.kill()
    killed.kill()
    killed_at = time.monotonic()
    left = [run for run in lab.ask(runs) if not run.finished_at]
    cut = {run.pk for run in left if run.state == "RUNNING" and is_of(run, killed)}
    assert cut, "the kill came too late to matter"
    wait_for_another_leader(lab, beat, within_s=TAKES_OVER_WITHIN_S)
    record_property("takeover_after_kill_s", round(time.monotonic() - killed_at, 1))
    for number, slot in enumerate(slots[1:], start=2):
        sleep_until(slot)
        wait_for_runs(lab, number * len(config_ids))
    lab.ask(unschedule, config_ids)
    ended = lab.end()

    assert Counter(lab.ask(fired)) == Counter((pk, slot) for pk in config_ids for slot in slots)
    assert {run.pk for run in ended if run.attempt == 2} == cut
    # The next slot finds a run that waits for its lease to end, or for another bell.
    skipped = [run for run in ended if run.state == "SKIPPED"]
    assert {run.slot for run in skipped} <= {slots[1]}
    assert {run.config_id for run in skipped} <= {run.config_id for run in left}
    assert {run.state for run in ended if run not in skipped} == {"SUCCEEDED"}
    record_property("cut_left_skipped", (len(cut), len(left), len(skipped)))
    for run in ended:
        lab.assert_in_step(run)


def test_the_workers_of_the_docs_take_the_runs_of_their_queues(lab: RunLab) -> None:
    near, both = (words for words in block_commands("docs/operations.md") if words[0] == "celery")
    far, plain = lab.add_syncs(2)
    lab.ask(set_queue, far, "shanghai")
    worker = lab.start_worker(command=near, name="shanghai")
    there, here = lab.queue([far, plain])
    lab.wait_for_state(there, "SUCCEEDED")
    time.sleep(QUIET_S)
    assert lab.run(here).state == "QUEUED"
    worker.stop()
    worker = lab.start_worker(command=both, name="celery")
    [again] = lab.queue([far])
    for run_id in (here, again):
        lab.wait_for_state(run_id, "SUCCEEDED")
    ended = {run.pk: run.worker.partition("@")[0] for run in lab.end()}
    assert ended == {there: "shanghai", here: "celery", again: "celery"}


def set_queue(config_id: int, queue: str) -> None:
    SyncConfig.objects.filter(pk=config_id).update(queue=queue)


def transferring(lab: RunLab, worker: Worker) -> set[int]:
    """Return the runs that a worker transfers for now."""
    seen = {transfer.run_id for transfer in lab.sampler.now()}
    return {
        run.pk for run in lab.ask(runs) if run.pk in seen and is_of(run, worker) and run.bytes_done
    }


def is_of(run: Run, worker: Worker) -> bool:
    return run.worker.startswith(f"{worker.name}@")
