"""What pages and API read: the next fires, who lives, what is active, and what to warn of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.cache import cache
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from filesync import selectors, status, upcoming
from filesync.models import Storage, SyncConfig, SyncRun
from filesync.selectors import BEAT_SILENT, WORKER_SILENT, ProcessHealth
from scheduler.models import BeatLease, Heartbeat
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_run, make_storage, point_broker_at
from tests.filesync.factories import use_broker as use_broker
from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from tests.servers.silent import SilentServer

pytestmark = pytest.mark.django_db

CRON = SyncRun.Trigger.CRON
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def hours(hour: int, *, day: int = 1) -> datetime:
    return datetime(2026, 3, day, hour, 0, tzinfo=UTC)


def test_the_soonest_fires_come_first_and_no_more_than_asked(local_root: Path) -> None:
    for hour in (20, 14, 18, 16):
        make_config(local_root, name=f"at {hour}", cron=f"0 {hour} * * *", timezone="UTC")

    found = upcoming.next_runs(3, now=NOON)

    assert [(entry.name, entry.next_run) for entry in found] == [
        ("at 14", hours(14)),
        ("at 16", hours(16)),
        ("at 18", hours(18)),
    ]


def test_each_fire_says_whose_it_is_and_by_which_clock(local_root: Path) -> None:
    config = make_config(local_root, name="photos", cron="0 2 * * *", timezone="Asia/Shanghai")

    (entry,) = upcoming.next_runs(10, now=NOON)

    assert (entry.config_id, entry.name) == (config.pk, "photos")
    assert (entry.cron, entry.timezone, entry.next_run) == (
        "0 2 * * *",
        "Asia/Shanghai",
        hours(18),
    )


def test_what_does_not_fire_is_left_out(local_root: Path) -> None:
    make_config(local_root, cron="0 14 * * *", enable=False)
    make_config(local_root, cron="")
    make_config(local_root, cron="0 14 * * *", timezone="UTC", end_time=hours(11))
    make_config(local_root, cron="0 14 * * *", timezone="UTC", end_time=hours(14))
    spoilt = make_config(local_root, cron="0 14 * * *")
    SyncConfig.objects.filter(pk=spoilt.pk).update(cron="99 * * * *")

    assert upcoming.next_runs(10, now=NOON) == []


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        (hours(9), None),
        (hours(14), None),
        (hours(15), None),
        (hours(9, day=8), None),
        (None, hours(15)),
        (None, hours(14)),
        (hours(15), hours(9, day=8)),
    ],
)
def test_the_fires_are_those_that_the_config_tells_itself(
    local_root: Path, start: datetime | None, end: datetime | None
) -> None:
    config = make_config(
        local_root, cron="0 14 * * *", timezone="UTC", start_time=start, end_time=end
    )

    found = [entry.next_run for entry in upcoming.next_runs(10, now=NOON)]

    slot = config.next_slot(now=NOON)
    assert found == ([] if slot is None else [slot])


def test_ten_thousand_configs_take_a_few_queries_and_are_read_once(
    local_root: Path, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    storage = make_config(local_root, cron="0 11 * * *").source_storage
    SyncConfig.objects.bulk_create(
        SyncConfig(
            name=f"bulk {number}",
            cron=f"{number % 60} {number % 24} * * *",
            source_storage=storage,
            destination_storage=storage,
        )
        for number in range(10_000)
    )

    # The stamp, the schedules, the configs of the first ones, and those that begin later.
    with django_assert_num_queries(4):
        found = upcoming.next_runs(10, now=NOON)
    # The stamp and the names.
    with django_assert_num_queries(2):
        assert upcoming.next_runs(10, now=NOON) == found
    with django_assert_num_queries(1):
        assert upcoming.scheduled_count(now=NOON) == 10_001

    assert len(found) == 10
    assert found == sorted(found, key=lambda entry: entry.next_run)


def test_a_new_name_is_seen_at_once_and_a_fire_that_is_over_no_longer(local_root: Path) -> None:
    config = make_config(local_root, name="old", cron="0 14 * * *", timezone="UTC")
    seen = []

    for name, now in (("old", NOON), ("new", NOON), ("new", hours(14)), ("new", NOON)):
        SyncConfig.objects.filter(pk=config.pk).update(name=name)
        seen += [(entry.name, entry.next_run) for entry in upcoming.next_runs(10, now=now)]

    first, second = hours(14), hours(14, day=2)
    assert seen == [("old", first), ("new", first), ("new", second), ("new", first)]


def test_a_change_of_a_schedule_is_seen_at_once(local_root: Path) -> None:
    config = make_config(local_root, cron="0 14 * * *", timezone="UTC")
    seen = []

    for fields in ({}, {"cron": "0 16 * * *"}, {"end_time": hours(15)}, {"end_time": None}):
        for name, value in fields.items():
            setattr(config, name, value)
        config.save()
        found = [entry.next_run for entry in upcoming.next_runs(10, now=NOON)]
        seen.append((found, upcoming.scheduled_count(now=NOON)))
    config.delete()

    assert seen == [([hours(14)], 1), ([hours(16)], 1), ([], 1), ([hours(16)], 1)]
    assert upcoming.scheduled_count(now=NOON) == 0


@pytest.mark.parametrize(
    ("start", "end", "counts"),
    [(None, hours(15), [1, 1, 0]), (hours(15), None, [1, 1, 1])],
)
def test_a_config_that_begins_or_ends_meanwhile_is_seen(
    local_root: Path, start: datetime | None, end: datetime | None, counts: list[int]
) -> None:
    config = make_config(
        local_root, cron="*/30 * * * *", timezone="UTC", start_time=start, end_time=end
    )

    moments = [hours(15) + timedelta(seconds=seconds) for seconds in (-1, 0, 1)]
    found = [upcoming.scheduled_count(now=moment) for moment in (moments[0], NOON, moments[2])]
    slots = [[entry.next_run for entry in upcoming.next_runs(2, now=now)] for now in moments]

    assert found == counts
    expected = [config.next_slot(now=now) for now in moments]
    assert slots == [[slot] if slot else [] for slot in expected]


def test_rows_that_were_written_past_the_models_are_seen_soon(local_root: Path) -> None:
    config = make_config(local_root, cron="0 14 * * *", timezone="UTC")
    upcoming.next_runs(1, now=NOON)
    SyncConfig.objects.filter(pk=config.pk).update(cron="0 16 * * *")

    (entry,) = upcoming.next_runs(1, now=NOON + upcoming.SEEN_AFTER)

    assert entry.next_run == hours(16)


def test_a_slot_that_has_come_is_not_remembered_as_the_next(local_root: Path) -> None:
    config = make_config(local_root, cron="0 * * * *")

    found = [upcoming.next_runs(1, now=hours(hour))[0].next_run for hour in (9, 9, 10, 8)]

    assert found == [config.next_slot(now=hours(hour)) for hour in (9, 9, 10, 8)]


def test_a_config_that_begins_later_takes_its_place_among_the_next(local_root: Path) -> None:
    for hour in (14, 16, 18):
        make_config(local_root, name=f"at {hour}", cron=f"0 {hour} * * *", timezone="UTC")
    for hour in (13, 17, 19):
        make_config(
            local_root,
            name=f"from {hour}",
            cron="*/30 * * * *",
            timezone="UTC",
            start_time=hours(hour),
        )

    found = upcoming.next_runs(3, now=NOON)

    assert [entry.name for entry in found] == ["from 13", "at 14", "at 16"]


@pytest.mark.parametrize(("at_most", "missed"), [(1_000, 9), (5, 5)])
def test_the_slots_that_nobody_fired_are_counted(
    local_root: Path, at_most: int, missed: int
) -> None:
    for _ in range(2):
        make_config(local_root, cron="*/30 * * * *", timezone="UTC")
    make_config(local_root, cron="0 12 * * *", timezone="UTC")
    make_config(local_root, cron="* * * * *", enable=False)
    make_config(local_root, cron="* * * * *", end_time=hours(11))

    assert upcoming.missed_slots(hours(10), now=NOON, at_most=at_most) == missed


@pytest.mark.parametrize(
    ("role", "silent_after"),
    [(Heartbeat.Role.BEAT, BEAT_SILENT), (Heartbeat.Role.WORKER, WORKER_SILENT)],
)
def test_a_process_lives_as_long_as_it_gives_signs_of_it(
    role: Heartbeat.Role, silent_after: timedelta
) -> None:
    now = timezone.now()
    for name, seen_at in (
        ("alive", now - silent_after / 2),
        ("silent", now - silent_after - timedelta(seconds=1)),
    ):
        Heartbeat.objects.create(role=role, name=name, started_at=now, seen_at=seen_at, slots=4)
    other = Heartbeat.Role.WORKER if role == Heartbeat.Role.BEAT else Heartbeat.Role.BEAT
    Heartbeat.objects.create(role=other, name="other", started_at=now, seen_at=now)

    both = selectors.processes()

    found = both.beats if role == Heartbeat.Role.BEAT else both.workers
    assert [(process.name, process.alive, process.slots) for process in found] == [
        ("alive", True, 4),
        ("silent", False, 4),
    ]


def test_a_page_on_a_host_with_a_wrong_clock_knows_who_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = timezone.now()
    for role in Heartbeat.Role:
        Heartbeat.objects.create(role=role, name=role, started_at=now, seen_at=now)
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(hours=2))

    both = selectors.processes()

    assert [process.alive for process in (*both.beats, *both.workers)] == [True, True]


def test_active_runs_are_the_running_ones_and_then_those_that_wait(local_root: Path) -> None:
    waits = make_run(make_config(local_root))
    runs = make_run(make_config(local_root), state=SyncRun.State.RUNNING)
    waits_too = make_run(make_config(local_root))
    for state in SyncRun.TERMINAL:
        make_run(make_config(local_root), state=state)

    assert selectors.active_runs() == [runs, waits, waits_too]
    assert selectors.active_runs(1) == [runs]


def test_a_broker_that_answers_is_reachable(broker: RedisServer) -> None:
    assert selectors.broker_reachable() is True


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("broker")
def test_a_broker_that_is_down_is_not() -> None:
    point_broker_at(f"redis://127.0.0.1:{free_port()}/0")

    assert selectors.broker_reachable() is False


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("broker")
def test_a_broker_that_hangs_is_not() -> None:
    with RedisServer() as hanging:
        point_broker_at(hanging.url)
        hanging.pause()
        reachable = selectors.broker_reachable()
        hanging.resume()

    assert reachable is False


def test_a_worker_that_runs_something_has_fewer_free_slots(local_root: Path) -> None:
    now = timezone.now()
    for name, seen_at in (("here", now), ("gone", now - 2 * WORKER_SILENT)):
        Heartbeat.objects.create(role="worker", name=name, started_at=now, seen_at=seen_at, slots=4)
    for _ in range(3):
        run = make_run(make_config(local_root), state=SyncRun.State.RUNNING)
        SyncRun.objects.filter(pk=run.pk).update(worker="here")

    found = selectors.processes(count_busy=True).workers

    assert [(worker.name, worker.busy, worker.free) for worker in found] == [
        ("gone", 0, 0),
        ("here", 3, 1),
    ]


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("broker")
def test_the_broker_is_not_asked_by_everybody_who_looks() -> None:
    assert selectors.broker_reachable_lately(wait_s=20) is True
    point_broker_at(f"redis://127.0.0.1:{free_port()}/0")

    assert selectors.broker_reachable_lately(wait_s=20) is True
    cache.delete("broker:now")
    assert selectors.broker_reachable_lately(wait_s=20) is True  # somebody else is asking
    cache.delete("broker:asked")
    assert selectors.broker_reachable_lately(wait_s=20) is False


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("broker")
def test_nobody_waits_for_a_broker_that_hangs_and_the_answer_before_is_told() -> None:
    with SilentServer() as silent:
        point_broker_at(f"redis://127.0.0.1:{silent.port}/0")

        assert selectors.broker_reachable_lately(wait_s=0) is None
        cache.set("broker:before", True)
        assert selectors.broker_reachable_lately(wait_s=0) is True


def test_beat_is_told_with_its_leader_its_standbys_and_its_lag(local_root: Path) -> None:
    now = timezone.now()
    for name in ("beat@a", "beat@b", "beat@c"):
        Heartbeat.objects.create(
            role="beat", name=name, started_at=now, seen_at=now, leading=name == "beat@b"
        )
    config = make_config(local_root)
    fired = make_run(config, state=SyncRun.State.SUCCEEDED, trigger=CRON, slot=NOON)
    late = NOON + timedelta(seconds=90)
    SyncRun.objects.filter(pk=fired.pk).update(created_at=late)
    make_run(config, state=SyncRun.State.MISSED, trigger=CRON, slot=hours(11))
    make_run(config, trigger=SyncRun.Trigger.MANUAL)

    found = status.read_status()

    beat = found.beat
    assert (beat.running, beat.leader, beat.standbys) == (True, "beat@b", 2)
    assert (beat.last_slot, beat.lag_s, beat.missed_slots) == (NOON, 90.0, 0)
    assert "Beat is slow: the last slot fired 90 s late." in found.warnings


@pytest.mark.parametrize("row_left", [True, False])
def test_a_beat_that_is_down_is_told_with_the_slots_it_missed(
    local_root: Path, *, row_left: bool
) -> None:
    now = timezone.now()
    gone = now - timedelta(minutes=30, seconds=5)
    if row_left:
        Heartbeat.objects.create(role="beat", name="beat@a", started_at=gone, seen_at=gone)
    BeatLease.objects.create(holder="", expires_at=gone)
    make_config(local_root, cron="* * * * *", timezone="UTC")

    found = status.read_status()

    assert not found.beat.running
    assert found.beat.last_seen_at == gone
    assert found.beat.missed_slots in (30, 31)
    (said,) = (line for line in found.warnings if "Beat" in line)
    assert said.startswith("Beat is down for 30 min: 3")


def process(name: str, *, alive: bool, leading: bool = True, slots: int = 4) -> ProcessHealth:
    seen_at = NOON if alive else NOON - timedelta(seconds=45)
    return ProcessHealth(name, seen_at, alive, leading and alive, slots)


def beats(*found: ProcessHealth, lag_s: float = 0.0, missed: int = 0) -> status.BeatHealth:
    seen = max((beat.seen_at for beat in found), default=None)
    return status.BeatHealth(found, seen, NOON, lag_s, missed)


BEAT = beats(process("beat@a", alive=True))
WORKER = process("worker@a", alive=True)


@pytest.mark.parametrize(
    ("beat", "workers", "broker", "said"),
    [
        (BEAT, [WORKER], True, []),
        (
            beats(process("beat@a", alive=False), missed=3),
            [WORKER],
            True,
            ["Beat is down for 45 s: 3 slots missed."],
        ),
        (
            beats(process("beat@a", alive=False), missed=1_000),
            [WORKER],
            True,
            ["Beat is down for 45 s: 1000+ slots missed."],
        ),
        (beats(), [WORKER], True, ["Beat has never run: schedules do not fire."]),
        (
            beats(process("beat@a", alive=True, leading=False)),
            [WORKER],
            True,
            ["No beat leads yet: schedules fire when one does, within seconds."],
        ),
        (
            beats(process("beat@a", alive=True), lag_s=200.0),
            [WORKER],
            True,
            ["Beat is slow: the last slot fired 3 min late."],
        ),
        (BEAT, [], True, ["No worker is running: queued runs wait."]),
        (
            BEAT,
            [process("worker@a", alive=False)],
            True,
            ["No worker for 45 s: queued runs wait."],
        ),
        (
            BEAT,
            [process("worker@a", alive=False), WORKER],
            True,
            ["The worker worker@a has been silent for 45 s."],
        ),
        (
            BEAT,
            [WORKER],
            False,
            ["The broker does not answer: runs are queued and start when it is back."],
        ),
    ],
)
def test_what_keeps_syncs_from_running_is_said(
    beat: status.BeatHealth, workers: list[ProcessHealth], said: list[str], *, broker: bool
) -> None:
    assert status.warnings(beat, workers, [], broker=broker, paused=[], now=NOON) == said


def test_a_paused_storage_is_named_with_what_to_do(local_root: Path) -> None:
    make_storage(local_root, name="Netdisk 网盘")
    Storage.objects.update(paused_at=NOON)
    make_storage(local_root, name="disk")

    assert "Netdisk 网盘: paused" in " ".join(status.read_status().warnings)
    assert "disk:" not in " ".join(status.read_status().warnings)


def test_a_run_that_waits_though_workers_are_free_is_told(local_root: Path) -> None:
    waits = make_run(make_config(local_root, name="photos"))
    SyncRun.objects.filter(pk=waits.pk).update(created_at=NOON - timedelta(minutes=12))
    waits.refresh_from_db()

    (said,) = status.warnings(BEAT, [WORKER], [waits], broker=True, paused=[], now=NOON)

    assert said.startswith(f"photos #{waits.pk} has waited for 12 min")
    full = ProcessHealth("worker@a", NOON, alive=True, leading=False, slots=4, busy=4)
    assert status.warnings(BEAT, [full], [waits], broker=True, paused=[], now=NOON) == []


def test_runs_that_are_late_are_told_until_they_start_or_end(local_root: Path) -> None:
    storage = make_storage(local_root)
    unstarted, other, long = (
        make_run(
            make_config(local_root, source_storage=storage, name=name),
            state=state,
            slot=NOON - timedelta(minutes=40),
            started_at=NOON - timedelta(hours=3) if state == SyncRun.State.RUNNING else None,
        )
        for name, state in [
            ("photos", SyncRun.State.QUEUED),
            ("music", SyncRun.State.QUEUED),
            ("films", SyncRun.State.RUNNING),
        ]
    )
    full = ProcessHealth("worker@a", NOON, alive=True, leading=False, slots=1, busy=1)

    def said(*active: SyncRun) -> list[str]:
        return status.warnings(BEAT, [full], active, broker=True, paused=[], now=NOON)

    assert said(long, unstarted, other) == []
    unstarted.late = SyncRun.Late.NOT_STARTED
    long.late = SyncRun.Late.TOO_LONG
    assert said(long, unstarted, other) == [
        f"photos #{unstarted.pk} is late: it has not started 40 min after its slot.",
        f"films #{long.pk} takes far longer than usual: 3 h so far.",
    ]
    other.late = SyncRun.Late.NOT_STARTED
    assert said(unstarted, other)[0].startswith("2 runs are late: photos")
    unstarted.state = SyncRun.State.RUNNING
    assert said(unstarted) == []
