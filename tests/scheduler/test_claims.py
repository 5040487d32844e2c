"""The slot claim: which late slot fires, and that of any number of beats one wins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from filesync.models import SyncConfig, SyncRun
from scheduler.claims import FRESH, claim, split_slots
from scheduler.models import Doorbell
from scheduler.slots import Due, Member
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import doorbell, make_config
from tests.racing import race

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SKIP, RUN_ONCE = SyncConfig.MisfirePolicy.SKIP, SyncConfig.MisfirePolicy.RUN_ONCE


@pytest.mark.parametrize(
    ("late_by", "policy", "fires"),
    [
        (timedelta(0), SKIP, True),
        (FRESH, SKIP, True),
        (FRESH + timedelta(seconds=1), SKIP, False),
        (timedelta(minutes=59), RUN_ONCE, True),
        (HOUR, RUN_ONCE, True),
        (HOUR + timedelta(seconds=1), RUN_ONCE, False),
    ],
)
def test_the_latest_slot_fires_when_fresh_or_within_its_grace(
    late_by: timedelta, policy: str, fires: bool
) -> None:
    slots = [NOW - late_by - 2 * HOUR, NOW - late_by]
    fired, missed = split_slots(slots, now=NOW, policy=policy, grace=HOUR)
    assert fired == (slots[-1] if fires else None)
    assert missed == (tuple(slots[:-1]) if fires else tuple(slots))


def test_a_rows_own_delay_does_not_make_its_slot_late() -> None:
    slot = NOW - timedelta(minutes=10)
    fired, _ = split_slots([slot], now=NOW, policy=SKIP, grace=HOUR, delay=timedelta(minutes=10))
    assert fired == slot


def due_of(config: SyncConfig, *slots: datetime) -> Due:
    row = PeriodicTask.objects.get(name=f"filesync.syncconfig:{config.pk}")
    member = Member(row.pk, "filesync.syncconfig", config.pk, slots[0] - HOUR, None)
    return Due(member, slots)


def recent_slot(*, minutes_ago: int = 0) -> datetime:
    """Return a slot that is over, of a config whose schedule counts from before it."""
    slot = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=minutes_ago)
    PeriodicTask.objects.update(start_time=slot - timedelta(days=1))
    return slot


@pytest.mark.django_db
def test_a_claimed_slot_becomes_one_queued_run_and_one_doorbell(local_root: Path) -> None:
    config = make_config(local_root, cron="* * * * *")
    slot = recent_slot()
    [bell] = claim([due_of(config, slot)], now=timezone.now())
    run = SyncRun.objects.get()
    assert (run.config_id, run.slot, run.state, run.trigger) == (config.pk, slot, "QUEUED", "CRON")
    assert bell == Doorbell("filesync.tasks.sync_file_task", *doorbell(run))
    row = PeriodicTask.objects.get(name=f"filesync.syncconfig:{config.pk}")
    assert (row.last_run_at, row.total_run_count) == (slot, 1)


@pytest.mark.django_db
def test_a_slot_is_claimed_once_however_often_it_is_asked_for(local_root: Path) -> None:
    config = make_config(local_root, cron="* * * * *")
    slot = recent_slot()
    assert len(claim([due_of(config, slot)], now=timezone.now())) == 1
    assert claim([due_of(config, slot)], now=timezone.now()) == []
    assert claim([due_of(config, slot - timedelta(minutes=1))], now=timezone.now()) == []
    assert SyncRun.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("change", ["disabled", "starts later", "ended", "deleted"])
def test_a_row_that_changed_since_it_was_loaded_is_not_fired(local_root: Path, change: str) -> None:
    config = make_config(local_root, cron="* * * * *")
    slot = recent_slot()
    due = due_of(config, slot)
    rows = PeriodicTask.objects.filter(pk=due.member.row_id)
    match change:
        case "disabled":
            rows.update(enabled=False)
        case "starts later":
            rows.update(start_time=slot + timedelta(seconds=1))
        case "ended":
            rows.update(expires=slot)
        case "deleted":
            rows.delete()
    assert claim([due], now=timezone.now()) == []
    assert not SyncRun.objects.exists()


@pytest.mark.django_db
def test_missed_slots_are_recorded_one_by_one_and_the_latest_is_caught_up(
    local_root: Path,
) -> None:
    config = make_config(local_root, cron="*/10 * * * *")
    last = recent_slot(minutes_ago=5)
    slots = [last - timedelta(minutes=20), last - timedelta(minutes=10), last]
    assert len(claim([due_of(config, *slots)], now=timezone.now())) == 1
    told = SyncRun.objects.order_by("slot").values_list("slot", "state", "trigger", "reason")
    assert list(told) == [
        (slots[0], "MISSED", "CRON", "MISFIRE"),
        (slots[1], "MISSED", "CRON", "MISFIRE"),
        (slots[2], "QUEUED", "CATCH_UP", ""),
    ]


@pytest.mark.django_db
def test_under_skip_a_late_slot_is_recorded_and_not_run(local_root: Path) -> None:
    config = make_config(local_root, cron="*/10 * * * *", misfire_policy="SKIP")
    slot = recent_slot(minutes_ago=5)
    assert claim([due_of(config, slot)], now=timezone.now()) == []
    run = SyncRun.objects.get()
    assert (run.slot, run.state, run.reason) == (slot, "MISSED", "MISFIRE")
    assert run.finished_at is not None


@pytest.mark.django_db
def test_a_slot_over_an_active_run_is_skipped_with_its_reason(local_root: Path) -> None:
    config = make_config(local_root, cron="* * * * *")
    active = SyncRun.objects.create(config=config, config_name=config.name)
    slot = recent_slot()
    assert claim([due_of(config, slot)], now=timezone.now()) == []
    skipped = SyncRun.objects.exclude(pk=active.pk).get()
    assert (skipped.slot, skipped.state, skipped.reason) == (slot, "SKIPPED", "OVERLAP")


@pytest.mark.django_db(transaction=True)
def test_of_five_beats_that_claim_at_once_each_slot_goes_to_one(local_root: Path) -> None:
    configs = [make_config(local_root, name=f"c{number}", cron="* * * * *") for number in range(40)]
    slot = recent_slot()
    dues = [due_of(config, slot) for config in configs]
    bells: list[Doorbell] = []

    def beat() -> None:
        bells.extend(claim(dues, now=timezone.now()))

    assert race([beat] * 5) == []
    assert len(bells) == len(configs)
    assert len({bell.task_id for bell in bells}) == len(configs)
    assert SyncRun.objects.filter(slot=slot, state="QUEUED").count() == len(configs)
    assert SyncRun.objects.count() == len(configs)
