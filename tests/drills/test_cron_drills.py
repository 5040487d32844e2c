"""Drills on beat and workers together: from a slot to the end of its run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from filesync.models import SyncConfig, SyncRun
from tests.drills.lab import MINUTE_S, sleep_until, slot_in
from tests.drills.run_lab import RecordProperty, RunLab
from tests.drills.run_lab import open_lab as open_lab
from tests.drills.test_beat_drills import (
    TAKES_OVER_WITHIN_S,
    beat_named,
    leader,
    wait_for_another_leader,
)

pytestmark = [
    pytest.mark.drill,
    pytest.mark.each_database,
    pytest.mark.each_broker,
    pytest.mark.timeout(300),
]

CONFIGS = 8
SECONDS = 15
FIRES_WITHIN_S = 30.0


def test_a_beat_killed_while_its_runs_go_costs_no_slot_and_no_run(
    lab: RunLab, record_property: RecordProperty
) -> None:
    config_ids = lab.add_syncs(CONFIGS - 1) + lab.add_syncs(1, seconds=SECONDS)
    lab.start_worker()
    for _ in range(2):
        lab.start_beat()
    first = slot_in(5.0)
    lab.ask(schedule, config_ids, first)
    sleep_until(first)
    wait_for_runs(lab, CONFIGS)
    beat = beat_named(lab, lab.ask(leader))
    beat.kill()
    killed_at = time.monotonic()
    wait_for_another_leader(lab, beat, within_s=TAKES_OVER_WITHIN_S)
    record_property("takeover_after_kill_s", time.monotonic() - killed_at)
    sleep_until(first + MINUTE_S)
    wait_for_runs(lab, 2 * CONFIGS)
    lab.ask(unschedule, config_ids)
    ended = lab.end()
    # On a busy machine a run may last over its config's next slot, whose row then says so.
    skipped = [run for run in ended if run.state == "SKIPPED"]
    assert {run.reason for run in skipped} <= {"OVERLAP"}
    record_property("skipped", len(skipped))
    assert {(run.state, run.attempt) for run in ended if run not in skipped} == {("SUCCEEDED", 1)}
    slots = Counter((pk, slot) for pk in config_ids for slot in (first, first + MINUTE_S))
    assert Counter(lab.ask(fired)) == slots


def schedule(config_ids: Sequence[int], first_slot: float) -> None:
    """Let configs fire each minute from a slot on."""
    for config in SyncConfig.objects.filter(pk__in=config_ids):
        config.cron, config.timezone = "* * * * *", "UTC"
        config.start_time = datetime.fromtimestamp(first_slot, tz=UTC)
        config.save()


def unschedule(config_ids: Sequence[int]) -> None:
    for config in SyncConfig.objects.filter(pk__in=config_ids):
        config.enable = False
        config.save()


def fired() -> list[tuple[int, float]]:
    """Return config and slot of every run, the slot as a Unix time."""
    rows = SyncRun.objects.values_list("config_id", "slot")
    return [(pk or 0, slot.timestamp() if slot else 0.0) for pk, slot in rows]


def wait_for_runs(lab: RunLab, count: int) -> None:
    lab.wait_for(
        lambda: len(lab.ask(fired)) >= count, f"{count} runs are there", timeout_s=FIRES_WITHIN_S
    )
