"""Drills on real beats: killed, paused, doubled, cut off; every slot of every config is one row.

No worker runs here: a queued run stays queued, so that what beat did is what is seen.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from filesync.models import Storage, SyncConfig, SyncRun
from scheduler.models import BeatLease, Heartbeat
from tests.drills.lab import (
    MINUTE_S,
    Beat,
    Lab,
    PostgresDatabases,
    sleep_until,
    slot_in,
    stay_within_a_minute,
)
from tests.filesync.factories import waiting_messages
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.each_database, pytest.mark.timeout(300)]

CONFIGS = 300
EVERY_MINUTE = "* * * * *"
NEVER_NOW = "0 0 1 1 *"
# Far more than it takes: a busy machine needs 15 s to start five beats.
FIRES_WITHIN_S = 40.0
# A leader that was killed leads by its lease for 15 s more, then a standby asks once a second.
TAKES_OVER_WITHIN_S = 20.0
# The sweep rings a queued run again when its bell is this old.
BELL_AGE = timedelta(seconds=61)

RecordProperty = Callable[[str, object], None]


class Run(NamedTuple):
    """What a drill wants to know of a run; `slot` is a Unix time."""

    config_id: int
    slot: float
    state: str
    trigger: str
    task_id: str
    created_at: float


# --- what the lab's Django process does


def add_configs(
    count: int,
    *,
    cron: str = EVERY_MINUTE,
    policy: str = "RUN_ONCE",
    first_slot: float = 0,
    wound_back_s: float = 0,
) -> list[int]:
    """Save configs in one transaction; `wound_back_s` lets their schedules count from earlier."""
    with transaction.atomic():
        # Places for all: what is rung again is what could start.
        fields = {"backend": "local", "root": "/nowhere", "max_concurrent_runs": CONFIGS}
        storage, _ = Storage.objects.get_or_create(name="lab", defaults=fields)
        start_time = datetime.fromtimestamp(first_slot, tz=UTC) if first_slot else None
        first = SyncConfig.objects.count()
        ids = [
            SyncConfig.objects.create(
                name=f"config {number}",
                cron=cron,
                timezone="UTC",
                misfire_policy=policy,
                start_time=start_time,
                source_storage=storage,
                source_path=f"from {number}",
                destination_storage=storage,
                destination_path=f"to {number}",
            ).pk
            for number in range(first, first + count)
        ]
        if wound_back_s:
            wind_back(ids, wound_back_s)
    return ids


def wind_back(ids: Sequence[int], seconds: float) -> None:
    """Make the rows what they would be, had the schedules been set and fired earlier."""
    past = timedelta(seconds=seconds)
    names = [f"filesync.syncconfig:{pk}" for pk in ids]
    PeriodicTask.objects.filter(name__in=names).update(
        start_time=F("start_time") - past,
        last_run_at=F("last_run_at") - past,
        date_changed=timezone.now(),
    )
    PeriodicTasks.update_changed()


def edit_config(config_id: int, **fields: str | bool) -> None:
    config = SyncConfig.objects.get(pk=config_id)
    for name, value in fields.items():
        setattr(config, name, value)
    config.save()


def runs() -> list[Run]:
    columns = ("config_id", "slot", "state", "trigger", "task_id", "created_at")
    return [
        Run(pk, slot.timestamp(), state, trigger, str(task_id), created_at.timestamp())
        for pk, slot, state, trigger, task_id, created_at in SyncRun.objects.order_by(
            "slot", "config_id"
        ).values_list(*columns)
    ]


def runs_of_slot(slot: float) -> int:
    return sum(run.slot == slot for run in runs())


def finish_runs() -> None:
    """Let the queued runs end, so that the next slot finds none active."""
    SyncRun.objects.filter(state="QUEUED").update(state="SUCCEEDED", finished_at=timezone.now())


def age_bells() -> None:
    """Wind the bells back instead of waiting a minute for the sweep to ring again.

    The sweep rings for workers that have room, so one that has much is made known.
    """
    SyncRun.objects.filter(rung_at__isnull=False).update(rung_at=F("rung_at") - BELL_AGE)
    now = timezone.now()
    Heartbeat.objects.update_or_create(
        role=Heartbeat.Role.WORKER,
        name="a worker with room",
        defaults={"started_at": now, "seen_at": now, "slots": CONFIGS},
    )


def leader() -> str:
    """Return the beat whose lease is live, by the database; empty when there is none."""
    held = BeatLease.objects.filter(expires_at__gt=timezone.now())
    return held.values_list("holder", flat=True).first() or ""


def beats_that_say_they_lead() -> list[str]:
    alive = timezone.now() - timedelta(seconds=12)
    beats = Heartbeat.objects.filter(role="beat", leading=True, seen_at__gt=alive)
    return list(beats.values_list("name", flat=True))


def seconds_until_seen() -> float:
    """Save a config with a slot that is due, and return how long beat took to claim it."""
    [pk] = add_configs(1, wound_back_s=90)
    saved_at = time.time()
    while not (run := SyncRun.objects.filter(config_id=pk).first()):
        assert time.time() - saved_at < FIRES_WITHIN_S, "beat did not see a saved config"
        time.sleep(0.005)
    return run.created_at.timestamp() - saved_at


def add_every_second_row() -> None:
    """Save a row that is not ours, which beat fires every second."""
    interval = IntervalSchedule.objects.create(every=1, period="seconds")
    PeriodicTask.objects.create(name="foreign", task="some.task", interval=interval)


# --- what is asked more than once


def wait_for_slot(lab: Lab, slot: float, count: int = CONFIGS, *, within_s: float = 0) -> None:
    lab.wait_for(
        lambda: lab.ask(runs_of_slot, slot) >= count,
        f"{count} configs have a run of the slot",
        timeout_s=within_s or FIRES_WITHIN_S + max(0.0, slot - time.time()),
    )


def assert_one_row_each(lab: Lab, ids: Sequence[int], slots: Sequence[float]) -> None:
    rows = Counter((run.config_id, run.slot) for run in lab.ask(runs))
    expected = {(pk, slot) for pk in ids for slot in slots}
    assert [key for key in expected if key not in rows] == [], "lost"
    assert [key for key in rows if rows[key] != 1] == [], "doubled"
    assert [key for key in rows if key[0] in ids and key[1] < min(slots)] == [], "from before"


def message_ids(lab: Lab) -> list[str]:
    """Return the task id of each message in the queue, oldest first."""
    if isinstance(lab.broker, RedisServer):
        return [task_id for task_id, _ in waiting_messages(lab.broker)]
    return lab.broker.waiting_task_ids("celery")


def wait_for_messages(lab: Lab, ids: set[str]) -> None:
    lab.wait_for(
        lambda: ids <= set(message_ids(lab)),
        f"{len(ids)} queued runs were published",
        timeout_s=FIRES_WITHIN_S,
    )


def queued_ids(lab: Lab) -> set[str]:
    return {run.task_id for run in lab.ask(runs) if run.state == "QUEUED"}


def beat_named(lab: Lab, name: str) -> Beat:
    return next(beat for beat in lab.beats if beat.name == name)


def wait_for_another_leader(lab: Lab, former: Beat, *, within_s: float) -> Beat:
    def another() -> str:
        name = lab.ask(leader)
        return "" if name == former.name else name

    return beat_named(lab, lab.wait_for(another, "another beat leads", timeout_s=within_s))


# --- the drills


def test_a_beat_killed_between_claim_and_publish_loses_nothing(lab: Lab) -> None:
    slot = slot_in(15.0)
    ids = lab.ask(add_configs, CONFIGS, first_slot=slot)
    beat = lab.start_beat()
    sleep_until(slot - 1.5)
    lab.broker.pause()
    wait_for_slot(lab, slot)
    beat.kill()
    lab.broker.resume()
    queued = queued_ids(lab)
    assert len(queued) == CONFIGS
    assert not queued <= set(message_ids(lab)), "the kill came too late to matter"
    lab.ask(age_bells)
    lab.start_beat()
    wait_for_messages(lab, queued)
    assert_one_row_each(lab, ids, [slot])


@pytest.mark.drill
@pytest.mark.each_broker
@pytest.mark.parametrize("count", [2, 5])
def test_any_number_of_beats_fires_each_slot_once_and_one_leads(
    lab: Lab, count: int, record_property: RecordProperty
) -> None:
    first = slot_in(15.0)
    ids = lab.ask(add_configs, CONFIGS, first_slot=first)
    for _ in range(count):
        lab.start_beat(ready=False)
    wait_for_slot(lab, first)
    assert_one_row_each(lab, ids, [first])
    wait_for_messages(lab, queued_ids(lab))
    assert len(message_ids(lab)) == CONFIGS
    assert len(lab.ask(beats_that_say_they_lead)) == 1

    former = beat_named(lab, lab.ask(leader))
    former.kill()
    killed_at = time.monotonic()
    now_leads = wait_for_another_leader(lab, former, within_s=TAKES_OVER_WITHIN_S)
    record_property("takeover_after_kill_s", time.monotonic() - killed_at)
    if count == 2:
        lab.start_beat()
    stopped_at = time.monotonic()
    now_leads.stop()
    wait_for_another_leader(lab, now_leads, within_s=10.0)
    record_property("takeover_after_stop_s", time.monotonic() - stopped_at)

    lab.ask(finish_runs)
    second = first + MINUTE_S
    wait_for_slot(lab, second)
    assert_one_row_each(lab, ids, [first, second])
    wait_for_messages(lab, queued_ids(lab))
    assert len(message_ids(lab)) == 2 * CONFIGS
    lab.wait_for(
        lambda: lab.ask(beats_that_say_they_lead) == [lab.ask(leader)],
        "the leader alone says that it leads",
        timeout_s=FIRES_WITHIN_S,
    )


@pytest.mark.drill
@pytest.mark.each_broker
def test_a_leader_that_was_frozen_past_its_lease_steps_back(lab: Lab) -> None:
    slot = slot_in(15.0)
    ids = lab.ask(add_configs, CONFIGS, first_slot=slot)
    former = lab.start_beat()
    lab.start_beat()
    assert lab.ask(leader) == former.name
    sleep_until(slot - 3.0)
    former.pause()
    wait_for_another_leader(lab, former, within_s=TAKES_OVER_WITHIN_S)
    wait_for_slot(lab, slot)
    former.resume()
    lab.wait_for(lambda: "stands by" in former.log(), "it stands by", timeout_s=FIRES_WITHIN_S)
    assert former.running
    assert lab.ask(leader) != former.name
    assert_one_row_each(lab, ids, [slot])
    wait_for_messages(lab, queued_ids(lab))
    assert len(message_ids(lab)) == CONFIGS


def test_what_passed_while_beat_was_down_is_missed_or_caught_up_once(lab: Lab) -> None:
    stay_within_a_minute(25.0)
    minute = time.time() // MINUTE_S * MINUTE_S
    twice_ago = ",".join(str(int(minute // 60 - ago) % 60) for ago in (6, 3))
    every_minute = lab.ask(add_configs, 50)
    run_once = lab.ask(add_configs, 50, cron=f"{twice_ago} * * * *")
    skip = lab.ask(add_configs, 50, cron=f"{twice_ago} * * * *", policy="SKIP")
    lab.start_beat().stop()
    lab.ask(wind_back, every_minute + run_once + skip, 8.5 * MINUTE_S)
    lab.start_beat()
    found: dict[int, list[tuple[float, str, str]]] = {}
    for run in lab.ask(runs):
        ago = (minute - run.slot) / MINUTE_S
        found.setdefault(run.config_id, []).append((ago, run.state, run.trigger))
    each_minute_missed = [(float(ago), "MISSED", "CRON") for ago in range(8, 0, -1)]
    caught_up = [*each_minute_missed, (0.0, "QUEUED", "CATCH_UP")]
    assert [found.get(pk) for pk in every_minute] == [caught_up] * 50
    once = [(6.0, "MISSED", "CRON"), (3.0, "QUEUED", "CATCH_UP")]
    assert [found.get(pk) for pk in run_once] == [once] * 50
    none = [(6.0, "MISSED", "CRON"), (3.0, "MISSED", "CRON")]
    assert [found.get(pk) for pk in skip] == [none] * 50


@pytest.mark.only_on("postgres")
def test_a_beat_that_is_stopped_within_a_claim_ends_in_order(lab: Lab) -> None:
    ids = lab.ask(add_configs, CONFIGS, cron=EVERY_MINUTE)
    beat = lab.start_beat()
    with psycopg.connect(lab.database_url) as blocker:
        # The runs that the claim inserts refer to these rows, so that it has to wait.
        blocker.execute("SELECT 1 FROM filesync_syncconfig FOR UPDATE")
        lab.ask(wind_back, ids, 90)
        lab.wait_for(lambda: waits_for_a_lock(lab), "the claim waits", timeout_s=FIRES_WITHIN_S)
        exit_code = beat.stop()
    assert exit_code == 0, lab.failed("exit code")
    assert "Traceback" not in beat.log()
    assert lab.ask(leader) == ""
    lab.start_beat()
    lab.wait_for(
        lambda: len(queued_ids(lab)) == CONFIGS, "it is caught up", timeout_s=FIRES_WITHIN_S
    )
    assert max(Counter((run.config_id, run.slot) for run in lab.ask(runs)).values()) == 1


def waits_for_a_lock(lab: Lab) -> bool:
    with psycopg.connect(lab.database_url) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        row = connection.execute(query).fetchone()
    return bool(row and row[0])


@pytest.mark.drill
@pytest.mark.each_broker
@pytest.mark.only_on("postgres")
def test_a_database_that_is_away_over_a_slot_costs_no_slot(lab: Lab, folder: Path) -> None:
    with PostgresServer() as server:
        databases = PostgresDatabases(server, folder)
        with Lab(databases.fresh(folder), lab.broker, folder) as own:
            slot = slot_in(35.0)
            ids = own.ask(add_configs, CONFIGS, first_slot=slot)
            beat = own.start_beat()
            sleep_until(slot - 20.0)
            server.stop()
            time.sleep(MINUTE_S)
            server.start()
            assert_one_outage(own, beat, ids, slot)


@pytest.mark.drill
@pytest.mark.each_broker
@pytest.mark.only_on("sqlite")
def test_a_database_that_is_locked_over_a_slot_costs_no_slot(lab: Lab) -> None:
    slot = slot_in(15.0)
    ids = lab.ask(add_configs, CONFIGS, first_slot=slot)
    beat = lab.start_beat()
    database = sqlite3.connect(lab.database_url.removeprefix("sqlite:///"), isolation_level=None)
    sleep_until(slot - 0.5)
    database.execute("BEGIN EXCLUSIVE")
    time.sleep(30.0)
    database.execute("ROLLBACK")
    database.close()
    assert_one_outage(lab, beat, ids, slot)


def assert_one_outage(lab: Lab, beat: Beat, ids: Sequence[int], slot: float) -> None:
    """Assert that beat lived through an outage of the database and told of it once."""
    wait_for_slot(lab, slot, within_s=30.0)
    assert beat.running
    assert_one_row_each(lab, ids, [slot])
    lab.wait_for(
        lambda: beat.lines("INFO", of="reaches the database again"),
        "it says that the database is back",
        timeout_s=FIRES_WITHIN_S,
    )
    assert len(beat.lines("ERROR", of="scheduler.beat")) == 1, lab.failed("errors")
    assert len(beat.lines("INFO", of="reaches the database again")) == 1


@pytest.mark.drill
@pytest.mark.each_broker
def test_a_broker_that_is_away_over_a_slot_costs_no_slot(lab: Lab) -> None:
    slot = slot_in(15.0)
    ids = lab.ask(add_configs, CONFIGS, first_slot=slot)
    beat = lab.start_beat()
    sleep_until(slot - 3.0)
    lab.broker.kill()
    wait_for_slot(lab, slot)
    lab.ask(age_bells)
    time.sleep(15.0)
    assert beat.running
    assert len(beat.lines("ERROR")) == 1, lab.failed("errors")
    assert beat.lines("INFO", of="reaches the broker again") == []
    assert len(beat.lines("WARNING", of="filesync")) <= 1, lab.failed("warnings")
    lab.broker.start()
    wait_for_messages(lab, queued_ids(lab))
    assert_one_row_each(lab, ids, [slot])
    assert len(queued_ids(lab)) == CONFIGS


def test_a_config_saved_while_beat_runs_is_seen_by_it(
    lab: Lab, record_property: RecordProperty
) -> None:
    lab.ask(add_configs, CONFIGS, cron=NEVER_NOW)
    lab.start_beat()
    delays = sorted(lab.ask(seconds_until_seen) for _ in range(10))
    record_property("seen_after_s", delays)
    assert delays[-1] < FIRES_WITHIN_S


def test_a_config_saved_while_beat_loads_is_not_lost(lab: Lab) -> None:
    lab.ask(add_configs, CONFIGS, cron=NEVER_NOW)
    beat = lab.start_beat(ready=False)
    saved: list[int] = []
    while "schedules loaded" not in beat.log() or len(saved) < 20:
        saved += lab.ask(add_configs, 1, wound_back_s=90)
        assert len(saved) < 2_000, lab.failed("beat does not start")
    lab.wait_for(
        lambda: {run.config_id for run in lab.ask(runs)} >= set(saved),
        "each has a run",
        timeout_s=FIRES_WITHIN_S,
    )


def test_an_edited_config_never_fires_a_slot_from_before_the_edit(lab: Lab) -> None:
    stay_within_a_minute(25.0)
    just_passed = f"{int(time.time() // 60) % 60} * * * *"
    edited, enabled, restarted = lab.ask(add_configs, 3, cron=NEVER_NOW)
    lab.ask(edit_config, enabled, cron=just_passed, enable=False)
    beat = lab.start_beat()
    lab.ask(edit_config, edited, cron=just_passed)
    lab.ask(edit_config, enabled, enable=True)
    # One that must fire shows that beat has read what was saved before it.
    [control] = lab.ask(add_configs, 1, cron=just_passed, wound_back_s=90)
    lab.wait_for(lambda: lab.ask(runs), "the control fires", timeout_s=FIRES_WITHIN_S)
    beat.stop()
    lab.ask(edit_config, restarted, cron=just_passed)
    lab.start_beat()
    [second_control] = lab.ask(add_configs, 1, cron=just_passed, wound_back_s=90)
    lab.wait_for(lambda: len(lab.ask(runs)) > 1, "it fires too", timeout_s=FIRES_WITHIN_S)
    assert [run.config_id for run in lab.ask(runs)] == [control, second_control]


@pytest.mark.drill
@pytest.mark.each_broker
def test_clearing_and_refreshing_under_a_running_beat(lab: Lab) -> None:
    cleared_slot = slot_in(40.0)
    ids = lab.ask(add_configs, CONFIGS, first_slot=cleared_slot)
    lab.ask(add_every_second_row)
    lab.start_beat()
    sleep_until(cleared_slot - 25.0)
    assert f"{CONFIGS} removed" in lab.manage("clear_schedules")
    sleep_until(cleared_slot)
    before = len(message_ids(lab))
    lab.wait_for(
        lambda: len(message_ids(lab)) > before + 3,
        "the row that is not ours goes on",
        timeout_s=FIRES_WITHIN_S,
    )
    assert lab.ask(runs) == []
    assert f"{CONFIGS} created" in lab.manage("refresh_schedules")
    # Wound back over the slot that just passed, so that it need not wait for the next.
    lab.ask(wind_back, ids, time.time() - cleared_slot + 5)
    wait_for_slot(lab, cleared_slot)
    assert_one_row_each(lab, ids, [cleared_slot])
