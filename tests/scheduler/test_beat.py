"""Beat through simulated days: its fires are `next_slots`, to the slot, clock changes included.

Only the clock is faked: the scheduler, the database, the claims and the broker are real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery import current_app
from django.db import OperationalError
from django.test.utils import override_settings
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from filesync.models import SyncConfig, SyncRun
from scheduler import cron
from scheduler.beat import CronDatabaseScheduler
from scheduler.checks import check_scheduler_class
from scheduler.claims import claim
from scheduler.models import BeatLease, Schedulable
from scheduler.sync_scheduler import get_sync_scheduler
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import doorbell, make_config, make_storage, waiting_messages
from tests.filesync.factories import use_broker as use_broker
from tests.servers.redis import RedisServer

# celery-beat's scheduler closes connections that are inside a transaction.
pytestmark = pytest.mark.django_db(transaction=True)

CRONS = (
    "30 2 * * *",
    "0 2 * * *",
    "15 1,2,3 * * *",
    "*/30 * * * *",
    "0 */2 * * *",
    "45 0-4 * * *",
    "20 2 * * sun",
    "10 1 1,15 * mon",
)

# Zone, and the day on which its clocks change (UTC and Shanghai have none).
CHANGES = (
    ("America/New_York", datetime(2026, 3, 8, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 3, 29, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, tzinfo=UTC)),
    ("Asia/Shanghai", datetime(2026, 3, 8, tzinfo=UTC)),
    ("UTC", datetime(2026, 3, 8, tzinfo=UTC)),
)


class Clock:
    """What `django.utils.timezone.now` says; tests move it."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC))
    monkeypatch.setattr(timezone, "now", clock)
    return clock


@pytest.fixture
def beat(broker: RedisServer, clock: Clock) -> Iterator[CronDatabaseScheduler]:
    scheduler = CronDatabaseScheduler(app=current_app, lazy=True)
    yield scheduler
    scheduler.close()


def run_until(beat: CronDatabaseScheduler, clock: Clock, end: datetime) -> None:
    """Tick at each time that beat itself names, up to `end`."""
    beat._tick_ours()
    while (due_at := beat._heap_of_ours.next_due_at()) is not None and due_at <= end:
        clock.now = due_at
        beat._tick_ours()
    clock.now = end


def slots_of(config: SyncConfig) -> list[datetime]:
    return [
        slot
        for slot in SyncRun.objects.filter(config=config)
        .order_by("slot")
        .values_list("slot", flat=True)
        if slot is not None
    ]


def states_of(config: SyncConfig) -> list[tuple[datetime | None, str]]:
    return list(SyncRun.objects.filter(config=config).order_by("slot").values_list("slot", "state"))


@pytest.mark.parametrize(("zone", "day"), CHANGES, ids=lambda value: str(value)[:20])
def test_beats_fires_are_the_next_slots_through_the_days_of_a_clock_change(
    local_root: Path, beat: CronDatabaseScheduler, clock: Clock, zone: str, day: datetime
) -> None:
    start, end = day - timedelta(hours=30, seconds=30), day + timedelta(hours=54)
    clock.now = start
    configs = [make_config(local_root, cron=expr, timezone=zone) for expr in CRONS]
    run_until(beat, clock, end)
    for config in configs:
        expected = cron.slots_between(config.cron, zone, after=start, until=end)
        assert slots_of(config) == expected, config.cron


def test_every_fired_slot_rings_a_worker_once(
    local_root: Path, beat: CronDatabaseScheduler, clock: Clock, broker: RedisServer
) -> None:
    configs = [make_config(local_root, cron="*/10 * * * *") for _ in range(3)]
    run_until(beat, clock, clock.now + timedelta(minutes=10))
    queued = SyncRun.objects.filter(state="QUEUED")
    assert sorted(waiting_messages(broker)) == sorted(doorbell(run) for run in queued)
    assert {run.config_id for run in queued} == {config.pk for config in configs}


def test_a_config_that_is_edited_never_fires_a_slot_from_before_the_edit(
    local_root: Path, beat: CronDatabaseScheduler, clock: Clock
) -> None:
    config = make_config(local_root, cron="0 18 * * *")
    run_until(beat, clock, clock.now + timedelta(minutes=20, seconds=5))
    # 12:20:35 now: 12:20 has just passed, 12:30 is to come.
    config.cron = "20,30 12 * * *"
    config.save()
    run_until(beat, clock, clock.now + timedelta(hours=2))
    assert slots_of(config) == [datetime(2026, 5, 4, 12, 30, tzinfo=UTC)]


def test_enabling_again_does_not_fire_what_passed_while_it_was_off(
    local_root: Path, beat: CronDatabaseScheduler, clock: Clock
) -> None:
    config = make_config(local_root, cron="*/10 * * * *", enable=False)
    run_until(beat, clock, clock.now + timedelta(minutes=25))
    assert slots_of(config) == []
    config.enable = True
    config.save()
    run_until(beat, clock, clock.now + timedelta(minutes=6))
    assert slots_of(config) == [datetime(2026, 5, 4, 12, 30, tzinfo=UTC)]


def test_start_and_end_bound_what_fires(
    local_root: Path, beat: CronDatabaseScheduler, clock: Clock
) -> None:
    noon = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    config = make_config(
        local_root,
        cron="*/10 * * * *",
        start_time=noon + timedelta(minutes=20),
        end_time=noon + timedelta(minutes=50),
    )
    run_until(beat, clock, noon + timedelta(hours=2))
    assert slots_of(config) == [noon + timedelta(minutes=minutes) for minutes in (20, 30, 40)]
    assert config.next_slot() is None


@pytest.mark.parametrize(
    ("policy", "grace_s", "expected"),
    [
        ("RUN_ONCE", 3600, ["MISSED", "MISSED", "MISSED", "QUEUED"]),
        ("RUN_ONCE", 120, ["MISSED", "MISSED", "MISSED", "MISSED"]),
        ("SKIP", 3600, ["MISSED", "MISSED", "MISSED", "MISSED"]),
    ],
)
def test_what_was_missed_while_beat_was_down_is_recorded_and_caught_up_at_most_once(
    local_root: Path,
    beat: CronDatabaseScheduler,
    clock: Clock,
    policy: str,
    grace_s: int,
    expected: list[str],
) -> None:
    config = make_config(
        local_root, cron="*/15 * * * *", misfire_policy=policy, misfire_grace_s=grace_s
    )
    clock.now += timedelta(minutes=65)
    beat._tick_ours()
    assert [state for _, state in states_of(config)] == expected
    beat._load()
    assert len(states_of(config)) == len(expected)


def test_a_clock_that_jumps_back_repeats_no_slot(
    local_root: Path, beat: CronDatabaseScheduler, clock: Clock
) -> None:
    config = make_config(local_root, cron="*/10 * * * *")
    run_until(beat, clock, clock.now + timedelta(minutes=30))
    fired = slots_of(config)
    clock.now -= timedelta(minutes=25)
    beat._load()
    run_until(beat, clock, clock.now + timedelta(minutes=25))
    assert slots_of(config) == fired
    run_until(beat, clock, clock.now + timedelta(minutes=10))
    assert len(slots_of(config)) == len(fired) + 1


def test_jitter_delays_each_config_by_its_own_stable_time(
    local_root: Path, beat: CronDatabaseScheduler, clock: Clock
) -> None:
    configs = [make_config(local_root, cron="0 13 * * *", jitter_s=1800) for _ in range(20)]
    beat._tick_ours()
    fired_at: dict[int | None, datetime] = {}
    slot = datetime(2026, 5, 4, 13, 0, tzinfo=UTC)
    while (due_at := beat._heap_of_ours.next_due_at()) is not None and due_at < slot + timedelta(
        hours=1
    ):
        clock.now = due_at
        beat._tick_ours()
        for run in SyncRun.objects.filter(state="QUEUED").exclude(config__in=fired_at):
            assert run.slot == slot
            fired_at[run.config_id] = clock.now
    assert set(fired_at) == {config.pk for config in configs}
    delays = [(moment - slot).total_seconds() for moment in fired_at.values()]
    assert all(0 <= delay <= 1800 for delay in delays)
    assert len(set(delays)) > 10
    again = CronDatabaseScheduler(app=current_app, lazy=True)
    again._load()
    clock.now = slot + timedelta(hours=2)
    kept = {group.offset.total_seconds() for group in again._heap_of_ours._groups.values()}
    assert kept == set(delays)


def test_a_row_that_cannot_fire_is_left_out_and_stops_no_other(
    local_root: Path, beat: CronDatabaseScheduler, clock: Clock
) -> None:
    bad, good = (make_config(local_root, cron=f"{m} 13 * * *") for m in (5, 6))
    row = PeriodicTask.objects.get(name=f"filesync.syncconfig:{bad.pk}")
    type(row.crontab).objects.filter(pk=row.crontab_id).update(minute="61")
    run_until(beat, clock, clock.now + timedelta(hours=2))
    assert slots_of(bad) == []
    assert len(slots_of(good)) == 1


def test_a_deleted_or_disabled_config_stops_firing(
    local_root: Path, beat: CronDatabaseScheduler, clock: Clock
) -> None:
    deleted, disabled = (make_config(local_root, cron="*/10 * * * *") for _ in range(2))
    run_until(beat, clock, clock.now + timedelta(minutes=10))
    deleted_id = deleted.pk
    deleted.delete()
    disabled.enable = False
    disabled.save()
    run_until(beat, clock, clock.now + timedelta(minutes=30))
    assert SyncRun.objects.filter(slot__isnull=False).count() == 2
    assert not SyncRun.objects.filter(config_id=deleted_id).exists()


@pytest.mark.usefixtures("broker")
def test_the_stock_part_never_fires_our_rows_and_keeps_all_others(local_root: Path) -> None:
    make_config(local_root, cron="* * * * *")
    interval = IntervalSchedule.objects.create(every=1, period="hours")
    PeriodicTask.objects.create(name="hourly", task="some.task", interval=interval)
    scheduler = CronDatabaseScheduler(app=current_app)
    names = {name for name in scheduler.schedule if not name.startswith("celery.")}
    assert names == {"hourly"}
    scheduler.close()


@pytest.mark.usefixtures("broker")
def test_a_foreign_row_that_is_due_when_beat_begins_to_lead_fires_once(
    beat: CronDatabaseScheduler, clock: Clock, broker: RedisServer
) -> None:
    clock.now = datetime.now(tz=UTC)
    hourly = IntervalSchedule.objects.create(every=1, period="hours")
    PeriodicTask.objects.create(name="backup", task="other.backup", interval=hourly)
    PeriodicTask.objects.update(last_run_at=clock.now - timedelta(hours=2))
    for _ in range(5):
        beat.tick()
    assert broker.client().llen("celery") == 1


def test_starting_beat_writes_the_rows_of_all_configs(local_root: Path) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    PeriodicTask.objects.all()._raw_delete("default")
    scheduler = CronDatabaseScheduler(app=current_app)
    assert PeriodicTask.objects.filter(name=f"filesync.syncconfig:{config.pk}").exists()
    scheduler.close()


@pytest.mark.usefixtures("broker")
def test_of_two_beats_one_leads_and_the_other_follows_when_it_closes() -> None:
    first = CronDatabaseScheduler(app=current_app, lazy=True)
    second = CronDatabaseScheduler(app=current_app, lazy=True)
    second._lease.holder = "another host:1"
    first.tick()
    second.tick()
    assert (first._lease.leading, second._lease.leading) == (True, False)
    first.close()
    second.tick()
    assert second._lease.leading
    BeatLease.objects.update(holder="a third:2")
    second._lease._checked_at = float("-inf")
    second.tick()
    assert not second._lease.leading
    second.close()


def test_a_schedulable_of_its_own_must_say_what_firing_means() -> None:
    with pytest.raises(NotImplementedError):
        Schedulable.fire([])


def test_another_scheduler_class_is_warned_about() -> None:
    assert check_scheduler_class(None) == []
    with override_settings(CELERY_BEAT_SCHEDULER="django_celery_beat.schedulers:DatabaseScheduler"):
        [warning] = check_scheduler_class(None)
    assert warning.id == "scheduler.W001"
    assert "CronDatabaseScheduler" in str(warning.hint)


def test_a_storage_alone_has_no_row(local_root: Path) -> None:
    make_storage(local_root)
    assert not PeriodicTask.objects.exists()


class DatabaseAwayOnce:
    """Fails a call once with the database's own error, and lets all later ones through."""

    def __init__(self, call: Callable[..., object]) -> None:
        self.call = call
        self.failed = False

    def __call__(self, *args: object, **kwargs: object) -> object:
        if not self.failed:
            self.failed = True
            raise OperationalError("the database is restarting")
        return self.call(*args, **kwargs)


@pytest.mark.parametrize("where", ["claim", "reload", "takeover"])
def test_a_database_error_in_the_middle_of_a_tick_loses_no_slot(
    local_root: Path,
    beat: CronDatabaseScheduler,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    config = make_config(local_root, cron="*/10 * * * *")
    beat.tick()
    clock.now = datetime(2026, 5, 4, 12, 10, tzinfo=UTC)
    match where:
        case "claim":
            monkeypatch.setattr("scheduler.beat.claim", DatabaseAwayOnce(claim))
        case "reload":
            config.cron = "*/5 * * * *"
            config.save()
            PeriodicTask.objects.update(start_time=clock.now - timedelta(hours=1))
            monkeypatch.setattr(beat, "_put", DatabaseAwayOnce(beat._put))
        case "takeover":
            beat._standing_by = True
            monkeypatch.setattr(beat, "_put", DatabaseAwayOnce(beat._put))
    beat.tick()
    assert slots_of(config) == []
    clock.now += timedelta(seconds=1)
    beat.tick()
    assert slots_of(config)[-1] == datetime(2026, 5, 4, 12, 10, tzinfo=UTC)


def test_a_slot_fired_while_the_clock_was_years_ahead_does_not_silence_the_schedule(
    local_root: Path, beat: CronDatabaseScheduler, clock: Clock
) -> None:
    config = make_config(local_root, cron="*/10 * * * *")
    PeriodicTask.objects.update(last_run_at=clock.now + timedelta(days=1500))
    run_until(beat, clock, clock.now + timedelta(minutes=10))
    assert slots_of(config) == [datetime(2026, 5, 4, 12, 10, tzinfo=UTC)]


def test_an_edited_spread_is_seen_at_the_next_tick(
    local_root: Path, beat: CronDatabaseScheduler, clock: Clock
) -> None:
    config = make_config(local_root, cron="0 13 * * *")
    run_until(beat, clock, clock.now + timedelta(minutes=5))
    config.jitter_s = 86_400
    config.save()
    beat._tick_ours()
    assert beat._heap_of_ours.next_due_at() != datetime(2026, 5, 4, 13, 0, tzinfo=UTC)


def test_a_row_whose_name_only_looks_like_ours_stops_no_other(
    local_root: Path, beat: CronDatabaseScheduler, clock: Clock
) -> None:
    config = make_config(local_root, cron="*/10 * * * *")
    row = PeriodicTask.objects.get()
    PeriodicTask.objects.create(
        name="Filesync.SyncConfig:7", task=row.task, crontab=row.crontab, kwargs="{}"
    )
    run_until(beat, clock, clock.now + timedelta(minutes=10))
    assert len(slots_of(config)) == 1


def test_a_refresh_between_equal_crontab_rows_keeps_what_was_not_fired(
    local_root: Path, beat: CronDatabaseScheduler, clock: Clock
) -> None:
    config = make_config(local_root, cron="*/10 * * * *")
    row = PeriodicTask.objects.get()
    twin = CrontabSchedule.objects.get()
    twin.pk = None
    twin.save()
    PeriodicTask.objects.update(crontab=twin)
    clock.now += timedelta(minutes=10)
    assert get_sync_scheduler().refresh().updated == 0
    row.refresh_from_db()
    assert row.crontab_id == twin.pk
    beat._tick_ours()
    assert slots_of(config) == [datetime(2026, 5, 4, 12, 10, tzinfo=UTC)]
