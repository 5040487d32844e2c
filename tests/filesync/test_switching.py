"""Enabling and disabling many configs: their schedules go along, and one stops no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from filesync.models import SyncConfig
from filesync.services.switching import switch_configs, switch_each
from scheduler.cron import InvalidCron
from scheduler.writing import ScheduleConflict
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, periodic_row

pytestmark = pytest.mark.django_db


def broken_config(root: Path, *, enable: bool) -> SyncConfig:
    """Return a config whose cron was written past the model."""
    config = make_config(root, cron="0 2 * * *", enable=enable)
    SyncConfig.objects.filter(pk=config.pk).update(cron="61 * * * *")
    return config


def occupied_config(root: Path, *, enable: bool) -> SyncConfig:
    """Return a config of which another's periodic task has the name."""
    config = make_config(root, enable=enable)
    SyncConfig.objects.filter(pk=config.pk).update(cron="0 2 * * *")
    hourly = IntervalSchedule.objects.create(every=1, period="hours")
    PeriodicTask.objects.create(
        name=f"filesync.syncconfig:{config.pk}", task="reports.send", interval=hourly
    )
    return config


def is_enabled(config: SyncConfig) -> bool:
    config.refresh_from_db()
    return config.enable


@pytest.mark.parametrize("enable", [True, False])
def test_each_is_switched_with_its_schedule_and_told(local_root: Path, *, enable: bool) -> None:
    changes = [make_config(local_root, cron="0 2 * * *", enable=not enable) for _ in range(2)]
    by_hand = make_config(local_root, enable=not enable)
    stays = make_config(local_root, cron="0 2 * * *", enable=enable)
    other = make_config(local_root, cron="0 2 * * *", enable=not enable)
    before = {config.pk: config.updated_at for config in (*changes, stays)}

    done = switch_each(
        [stays.pk, by_hand.pk, *(config.pk for config in changes), 0, stays.pk], enable=enable
    )

    assert done.changed == [*(config.pk for config in changes), by_hand.pk]
    assert (done.unchanged, done.missing, done.refused) == ([stays.pk], [0], {})
    for config in (*changes, by_hand, stays):
        assert is_enabled(config) is enable
    assert is_enabled(other) is not enable
    for config in changes:
        row = periodic_row(config)
        assert row is not None
        assert row.enabled is enable
        assert config.updated_at > before[config.pk]
    assert stays.updated_at == before[stays.pk]
    assert periodic_row(by_hand) is None


def test_slots_of_a_config_count_from_when_it_was_enabled(local_root: Path) -> None:
    config = make_config(local_root, cron="0 2 * * *", enable=False)
    row = periodic_row(config)
    assert row is not None
    PeriodicTask.objects.filter(pk=row.pk).update(start_time="2026-01-01T00:00:00Z")

    switch_each([config.pk], enable=True)

    row.refresh_from_db()
    config.refresh_from_db()
    assert row.start_time is not None
    assert abs((row.start_time - config.updated_at).total_seconds()) < 60


@pytest.mark.parametrize("spoil", [broken_config, occupied_config])
def test_what_is_wrong_with_a_schedule_keeps_nobody_from_disabling(
    local_root: Path, spoil: Callable[..., SyncConfig]
) -> None:
    wrong = spoil(local_root, enable=True)
    fine = make_config(local_root, cron="0 2 * * *")

    assert switch_configs([wrong.pk, fine.pk], enable=False).refused == {}

    assert (is_enabled(wrong), is_enabled(fine)) == (False, False)
    assert not PeriodicTask.objects.filter(task=SyncConfig.schedule_task, enabled=True).exists()


def test_one_that_cannot_be_enabled_is_told_and_the_others_are(local_root: Path) -> None:
    broken = broken_config(local_root, enable=False)
    occupied = occupied_config(local_root, enable=False)
    fine = make_config(local_root, cron="0 2 * * *", enable=False)
    before = broken.updated_at

    done = switch_each([broken.pk, occupied.pk, fine.pk], enable=True)

    assert done.changed == [fine.pk]
    assert {pk: type(error) for pk, error in done.refused.items()} == {
        broken.pk: InvalidCron,
        occupied.pk: ScheduleConflict,
    }
    assert [is_enabled(config) for config in (broken, occupied, fine)] == [False, False, True]
    assert broken.updated_at == before
    row = periodic_row(fine)
    assert row is not None
    assert row.enabled


def test_where_all_or_none_is_asked_one_that_is_refused_stops_all(local_root: Path) -> None:
    fine = make_config(local_root, cron="0 2 * * *", enable=False)
    broken = broken_config(local_root, enable=False)

    with pytest.raises(InvalidCron):
        switch_configs([fine.pk, broken.pk], enable=True)

    row = periodic_row(fine)
    assert row is not None
    assert (is_enabled(fine), row.enabled) == (False, False)


def test_many_take_as_many_queries_as_a_few(local_root: Path) -> None:
    def queries(count: int) -> int:
        configs = [make_config(local_root, cron="0 2 * * *") for _ in range(count)]
        with CaptureQueriesContext(connection) as asked:
            switch_each([config.pk for config in configs], enable=False)
        return len(asked)

    assert queries(40) == queries(3)
