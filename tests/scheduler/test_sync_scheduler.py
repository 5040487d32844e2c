"""Configs and their PeriodicTask rows: written by the signal, reconciled by the refresh."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_beat.models import (
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
)

from filesync.models import SyncConfig
from scheduler.sync_scheduler import get_sync_scheduler
from scheduler.writing import ScheduleConflict
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, periodic_row

pytestmark = pytest.mark.django_db
scheduler = get_sync_scheduler()


def the_row(config: SyncConfig) -> PeriodicTask:
    row = periodic_row(config)
    assert row is not None
    return row


def make_foreign_rows() -> list[PeriodicTask]:
    """Return rows that are not ours, two of them with names that look like ours."""
    interval = IntervalSchedule.objects.create(every=1, period="hours")
    return [
        PeriodicTask.objects.create(name=name, task=task, interval=interval)
        for name, task in [
            ("nightly", "filesync.tasks.sync_file_task"),
            ("filesync.syncconfig:900", "somebody.elses.task"),
            ("filesync.syncconfigs:1", "filesync.tasks.sync_file_task"),
        ]
    ]


def test_saving_a_config_writes_its_row(local_root: Path) -> None:
    config = make_config(
        local_root, cron="0 9,18 * * MON-FRI", timezone="Asia/Shanghai", remark="工作日报表"
    )
    row = the_row(config)
    assert row.name == f"filesync.syncconfig:{config.pk}"
    assert row.task == "filesync.tasks.sync_file_task"
    assert row.kwargs == f'{{"config_id": {config.pk}}}'
    assert row.enabled
    assert row.description == "工作日报表"
    crontab = row.crontab
    assert (crontab.minute, crontab.hour, crontab.day_of_week) == ("0", "9,18", "1-5")
    assert str(crontab.timezone) == "Asia/Shanghai"


def test_two_configs_with_one_schedule_share_one_crontab_row(local_root: Path) -> None:
    first = make_config(local_root, cron="0 2 * * *")
    second = make_config(local_root, cron="00 02 * * *")
    assert the_row(first).crontab_id == the_row(second).crontab_id
    assert CrontabSchedule.objects.count() == 1


def test_disabling_switches_the_row_off_and_enabling_on_again(local_root: Path) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    config.enable = False
    config.save()
    assert not the_row(config).enabled
    config.enable = True
    config.save()
    assert the_row(config).enabled


def test_clearing_the_cron_or_deleting_the_config_takes_the_row_back(local_root: Path) -> None:
    cleared = make_config(local_root, cron="0 2 * * *")
    deleted = make_config(local_root, cron="0 3 * * *")
    cleared.cron = ""
    cleared.save()
    assert periodic_row(cleared) is None
    SyncConfig.objects.filter(pk=deleted.pk).delete()
    assert not PeriodicTask.objects.exists()


def test_a_config_without_a_cron_has_no_row(local_root: Path) -> None:
    assert periodic_row(make_config(local_root, cron="")) is None


def test_a_save_that_changes_nothing_of_the_schedule_writes_nothing(local_root: Path) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    before, stamp = the_row(config), PeriodicTasks.last_change()
    config.bandwidth = "1M"
    config.save()
    after = the_row(config)
    assert after.date_changed == before.date_changed
    assert PeriodicTasks.last_change() == stamp


@pytest.mark.parametrize("edit", [{"cron": "0 3 * * *"}, {"timezone": "Asia/Tokyo"}])
def test_an_edited_schedule_counts_from_the_edit_and_wakes_beat(
    local_root: Path, edit: dict[str, str]
) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    PeriodicTask.objects.update(start_time=timezone.now() - timedelta(days=9))
    stamp, before = PeriodicTasks.last_change(), timezone.now()
    for name, value in edit.items():
        setattr(config, name, value)
    config.save()
    assert the_row(config).start_time >= before
    assert PeriodicTasks.last_change() != stamp


def test_enabling_again_counts_from_then_and_not_from_before(local_root: Path) -> None:
    config = make_config(local_root, cron="0 2 * * *", enable=False)
    PeriodicTask.objects.update(start_time=timezone.now() - timedelta(days=9))
    before = timezone.now()
    config.enable = True
    config.save()
    assert the_row(config).start_time >= before


def test_start_and_end_of_the_config_bound_the_row(local_root: Path) -> None:
    starts = timezone.now() + timedelta(days=1)
    config = make_config(
        local_root, cron="0 2 * * *", start_time=starts, end_time=starts + timedelta(days=1)
    )
    row = the_row(config)
    assert (row.start_time, row.expires) == (starts, starts + timedelta(days=1))
    config.start_time = None
    before = timezone.now()
    config.save()
    assert before <= the_row(config).start_time <= timezone.now()


def test_a_save_of_one_field_does_not_undo_in_the_row_what_was_saved_before(
    local_root: Path,
) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    stale = SyncConfig.objects.get(pk=config.pk)
    config.cron, config.enable = "0 3 * * *", False
    config.save()

    stale.remark = "noted"
    stale.save(update_fields=["remark"])

    row = the_row(config)
    assert (row.enabled, row.crontab.hour, row.description) == (False, "3", "noted")


def test_a_rolled_back_save_leaves_no_row(local_root: Path) -> None:
    from django.db import transaction

    with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012
        make_config(local_root, cron="0 2 * * *")
        raise RuntimeError
    assert not PeriodicTask.objects.exists()


def test_a_foreign_row_with_our_name_is_left_alone_and_the_save_refused(local_root: Path) -> None:
    config = make_config(local_root, cron="")
    interval = IntervalSchedule.objects.create(every=1, period="hours")
    foreign = PeriodicTask.objects.create(
        name=f"filesync.syncconfig:{config.pk}", task="somebody.elses.task", interval=interval
    )
    config.cron = "0 2 * * *"
    with pytest.raises(ScheduleConflict, match=r"somebody\.elses\.task"):
        config.save()
    foreign.refresh_from_db()
    assert foreign.crontab_id is None


def test_refresh_counts_what_it_created_updated_left_and_removed(local_root: Path) -> None:
    fresh, stale, same, gone = (
        make_config(local_root, cron=f"{minute} 2 * * *") for minute in range(4)
    )
    PeriodicTask.objects.filter(pk=the_row(fresh).pk).delete()
    SyncConfig.objects.filter(pk=stale.pk).update(cron="30 4 * * *")
    gone_row = the_row(gone)
    SyncConfig.objects.filter(pk=gone.pk)._raw_delete("default")
    foreign = make_foreign_rows()

    report = scheduler.refresh()
    assert (report.created, report.updated, report.unchanged, report.removed) == (1, 1, 1, 1)
    assert report.errors == []
    assert report.active_tasks == 3
    assert the_row(stale).crontab.hour == "4"
    assert the_row(same).enabled
    assert not PeriodicTask.objects.filter(pk=gone_row.pk).exists()
    assert PeriodicTask.objects.filter(pk__in=[row.pk for row in foreign]).count() == 3
    again = scheduler.refresh()
    assert (again.created, again.updated, again.unchanged, again.removed) == (0, 0, 3, 0)


def test_a_bad_config_is_reported_and_left_out_and_stops_no_other(local_root: Path) -> None:
    bad, zone, good = (make_config(local_root, cron=f"{m} 2 * * *") for m in range(3))
    SyncConfig.objects.filter(pk=bad.pk).update(cron="61 2 * * *")
    SyncConfig.objects.filter(pk=zone.pk).update(timezone="Mars/Olympus")
    SyncConfig.objects.filter(pk=good.pk).update(cron="9 9 * * *")
    report = scheduler.refresh()
    assert [(error.id, error.field) for error in report.errors] == [
        (bad.pk, "minute"),
        (zone.pk, "timezone"),
    ]
    assert "61 is out of range" in report.errors[0].error
    assert (report.updated, report.removed, report.active_tasks) == (1, 2, 1)
    assert periodic_row(bad) is None


def test_refresh_reports_a_name_that_a_foreign_row_holds(local_root: Path) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    PeriodicTask.objects.filter(pk=the_row(config).pk).update(task="somebody.elses.task")
    report = scheduler.refresh()
    [error] = report.errors
    assert (error.id, error.field) == (config.pk, "name")
    assert report.removed == 0
    assert PeriodicTask.objects.get().task == "somebody.elses.task"


def test_a_refresh_with_nothing_to_do_needs_no_query_per_config(local_root: Path) -> None:
    def queries(count: int) -> int:
        while SyncConfig.objects.count() < count:
            make_config(local_root, cron="0 2 * * *")
        with CaptureQueriesContext(
            connection,
        ) as captured:
            report = scheduler.refresh()
        assert report.unchanged == count
        return len(captured)

    assert queries(3) == queries(30)


def test_creating_many_rows_takes_a_constant_number_of_queries(local_root: Path) -> None:
    for minute in range(30):
        make_config(local_root, cron=f"{minute} 2 * * *")

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            scheduler.refresh()
        return len(captured)

    PeriodicTask.objects.all()._raw_delete("default")
    thirty = queries()
    assert PeriodicTask.objects.count() == 30
    SyncConfig.objects.filter(pk__gt=SyncConfig.objects.order_by("pk")[2].pk).delete()
    PeriodicTask.objects.all()._raw_delete("default")
    assert queries() == thirty


def test_clear_removes_ours_only_and_a_refresh_brings_them_back(local_root: Path) -> None:
    for minute in range(3):
        make_config(local_root, cron=f"{minute} 2 * * *")
    make_foreign_rows()
    stamp = PeriodicTasks.last_change()
    assert scheduler.clear() == 3
    assert PeriodicTask.objects.count() == 3
    assert PeriodicTasks.last_change() != stamp
    assert scheduler.refresh().created == 3


@pytest.mark.django_db(transaction=True)
def test_the_specifications_programmatic_use_works(local_root: Path) -> None:
    make_config(local_root, cron="0 2 * * *")
    PeriodicTask.objects.all()._raw_delete("default")
    report = asyncio.run(get_sync_scheduler().sync_all_tasks_from_db())
    assert report.created == 1
    assert get_sync_scheduler().sync_all_tasks().unchanged == 1
    answer = get_sync_scheduler().validate_cron_expression("0 2 * * *")
    assert answer["valid"] is True
    assert len(answer["next_runs"]) == 5  # type: ignore[arg-type]


def test_validation_names_the_field_of_an_invalid_cron() -> None:
    answer = scheduler.validate_cron_expression("0 25 * * *")
    assert answer["valid"] is False
    assert answer["field"] == "hour"
    assert "25" in str(answer["error"])
    assert scheduler.validate_cron_expression("0 2 * * *", "No/Where")["field"] == "timezone"


def test_the_commands_clear_and_refresh_and_say_what_they_did(
    local_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    call_command("clear_schedules")
    assert capsys.readouterr().out == "1 removed\n"
    assert periodic_row(config) is None
    call_command("refresh_schedules")
    assert capsys.readouterr().out.startswith("1 created, 0 updated")
    assert the_row(config).enabled
    call_command("refresh_schedules", "--json")
    assert json.loads(capsys.readouterr().out)["unchanged"] == 1
    SyncConfig.objects.update(cron="0 25 * * *")
    with pytest.raises(CommandError, match="hour: 25 is out of range"):
        call_command("refresh_schedules")
