"""What is old goes, and only that: by days, by number, with items and results."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django.fixtures import SettingsWrapper

from filesync.models import RunItem, SyncRun
from filesync.services import retention
from filesync.services.finishing import finish_run
from filesync.services.retention import delete_expired
from scheduler.models import Heartbeat
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, make_config, make_run, stored_status
from tests.filesync.test_finishing import SUCCEEDED

pytestmark = pytest.mark.django_db


def test_history_past_its_days_is_deleted_with_its_items(
    local_root: Path, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_KEEP_RUNS_DAYS = 30
    config = make_config(local_root)
    now = timezone.now()
    old = make_run(
        config, state=SyncRun.State.SUCCEEDED, finished_at=now - timedelta(days=30, minutes=1)
    )
    young = make_run(
        config, state=SyncRun.State.SUCCEEDED, finished_at=now - timedelta(days=29, hours=23)
    )
    active = make_run(config)
    RunItem.objects.create(run=old, action="ADDED", path="a")
    RunItem.objects.create(run=young, action="ADDED", path="b")

    assert delete_expired() == 1
    assert set(SyncRun.objects.values_list("pk", flat=True)) == {young.pk, active.pk}
    assert [item.path for item in RunItem.objects.all()] == ["b"]


def test_the_celery_result_of_a_deleted_run_is_deleted_too(
    local_root: Path, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_KEEP_RUNS_DAYS = 30
    run = make_run(make_config(local_root))
    finish_run(claim(run), SUCCEEDED)
    SyncRun.objects.update(finished_at=timezone.now() - timedelta(days=31))

    assert delete_expired() == 1

    assert stored_status(run) is None


def test_more_history_than_one_chunk_goes_at_once(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 2)
    config = make_config(local_root)
    for _ in range(5):
        make_run(
            config,
            state=SyncRun.State.SUCCEEDED,
            finished_at=timezone.now() - timedelta(days=3650),
        )

    assert [delete_expired(), delete_expired()] == [5, 0]


def test_signs_of_life_of_processes_long_gone_are_deleted() -> None:
    now = timezone.now()
    for name, age in (("gone", timedelta(hours=2)), ("here", timedelta(minutes=1))):
        Heartbeat.objects.create(role="worker", name=name, started_at=now - age, seen_at=now - age)

    delete_expired()

    assert [process.name for process in Heartbeat.objects.all()] == ["here"]


def test_beyond_the_number_per_config_the_oldest_finished_runs_go(
    local_root: Path, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_KEEP_RUNS_PER_CONFIG = 3
    crowded, calm = make_config(local_root), make_config(local_root)
    now = timezone.now()
    runs = [make_run(crowded, state=SyncRun.State.SUCCEEDED, finished_at=now) for _ in range(5)]
    active = make_run(crowded)
    kept = [make_run(calm, state=SyncRun.State.FAILED, finished_at=now) for _ in range(3)]

    assert delete_expired() == 3

    left = set(SyncRun.objects.values_list("pk", flat=True))
    assert left == {run.pk for run in [*runs[3:], active, *kept]}


def test_an_active_run_is_kept_however_old_it_is(
    local_root: Path, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_KEEP_RUNS_PER_CONFIG = 1
    config = make_config(local_root)
    active = make_run(config)
    young = make_run(config, state=SyncRun.State.SUCCEEDED, finished_at=timezone.now())

    assert delete_expired() == 0
    assert set(SyncRun.objects.values_list("pk", flat=True)) == {active.pk, young.pk}
