"""What is old goes, and only that: by days, by number, with items and results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from django_celery_results.models import TaskResult
from pytest_django.fixtures import SettingsWrapper

from filesync.models import RunItem, SyncConfig, SyncRun
from filesync.services import retention
from filesync.services.execution import execute
from filesync.services.finishing import finish_run
from filesync.services.retention import delete_expired
from scheduler.models import Heartbeat
from tests.filesync.engine.lab import write_tree
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


def test_no_statement_deletes_more_than_a_chunk(
    local_root: Path, settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FILESYNC_KEEP_RUNS_PER_CONFIG = 3
    monkeypatch.setattr(retention, "CHUNK", 2)
    monkeypatch.setattr(retention, "ITEM_CHUNK", 3)
    config, now = make_config(local_root), timezone.now()
    for age in (timedelta(days=3650), timedelta()):
        for _ in range(5):
            run = make_run(config, state=SyncRun.State.SUCCEEDED, finished_at=now - age)
            for path in ("a", "b", "c", "d"):
                RunItem.objects.create(run=run, action="ADDED", path=path)
    for number in range(7):
        TaskResult.objects.create(task_id=f"of another task {number}")
    TaskResult.objects.update(date_done=now - timedelta(days=3650))
    deleted: dict[str, list[int]] = defaultdict(list)

    def count(
        execute: Callable[..., object], sql: str, params: object, many: bool, context: Any
    ) -> object:
        result = execute(sql, params, many, context)
        if sql.startswith("DELETE FROM "):
            deleted[sql.split('"')[1]].append(context["cursor"].rowcount)
        return result

    with connection.execute_wrapper(count):
        assert delete_expired() == 7

    of_runs, of_items = (deleted[model._meta.db_table] for model in (SyncRun, RunItem))
    of_results = deleted[TaskResult._meta.db_table]
    assert (sum(of_runs), max(of_runs)) == (7, 2)
    assert (sum(of_items), max(of_items)) == (28, 3)
    assert (sum(of_results), max(of_results)) == (7, 3)


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


def test_beyond_the_number_items_and_celery_results_go_too(
    local_root: Path, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_KEEP_RUNS_PER_CONFIG = 1
    config = make_config(local_root)
    runs = []
    for path in ("old", "young"):
        run = make_run(config)
        finish_run(claim(run), SUCCEEDED)
        RunItem.objects.create(run=run, action="ADDED", path=path)
        runs.append(run)

    assert delete_expired() == 1

    assert [stored_status(run) for run in runs] == [None, "SUCCESS"]
    assert [item.path for item in RunItem.objects.all()] == ["young"]


def test_an_active_run_is_kept_however_old_it_is(
    local_root: Path, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_KEEP_RUNS_PER_CONFIG = 1
    config = make_config(local_root)
    active = make_run(config)
    young = make_run(config, state=SyncRun.State.SUCCEEDED, finished_at=timezone.now())

    assert delete_expired() == 0
    assert set(SyncRun.objects.values_list("pk", flat=True)) == {active.pk, young.pk}


def test_the_run_that_tells_how_large_the_source_was_stays(
    local_root: Path, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_KEEP_RUNS_PER_CONFIG = 2
    source = local_root / "source"
    write_tree(source, {f"{number}.txt": "x" for number in range(10)})
    config = make_config(
        local_root,
        method=SyncConfig.Method.FULL,
        max_delete_percent=None,
        max_shrink_percent=30,
    )
    for _ in range(2):
        execute(claim(make_run(config)))
    for number in range(4):
        (source / f"{number}.txt").unlink()

    for _ in range(4):
        stopped = make_run(config)
        execute(claim(stopped))
        delete_expired()
        stopped.refresh_from_db()
        assert (stopped.state, stopped.guard) == ("FAILED", "source_shrunk")

    good = SyncRun.objects.filter(state=SyncRun.State.SUCCEEDED)
    assert good.count() == 1, "of two good ones the older one may go"
    SyncRun.objects.update(finished_at=timezone.now() - timedelta(days=1000))
    delete_expired()
    assert good.count() == 1
