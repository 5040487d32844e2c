"""The scheduler's routes: validate a cron, refresh and clear the schedules."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from filesync.models import SyncConfig
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_config, periodic_row

pytestmark = pytest.mark.django_db

ROUTES = "/api/v1/task/scheduler"
VALIDATE = f"{ROUTES}/validate-cron"


@pytest.mark.parametrize(
    ("cron", "normalised", "hour", "minute"),
    [
        ("0 2 * * *", "0 2 * * *", 2, 0),
        ("  0   2 * * * ", "0 2 * * *", 2, 0),
        ("30 6 * * mon-fri", "30 6 * * mon-fri", 6, 30),
    ],
)
def test_a_valid_cron_is_told_normalised_in_words_and_with_its_fire_times(
    cron: str, normalised: str, hour: int, minute: int
) -> None:
    answer = client_of("viewer").post(VALIDATE, {"cron": cron, "timezone": "Asia/Shanghai"})

    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {
        "valid",
        "cron",
        "timezone",
        "description",
        "next_runs",
        "next_run_in_seconds",
    }
    assert body["valid"] is True
    assert body["cron"].lower() == normalised
    assert body["timezone"] == "Asia/Shanghai"
    assert body["description"]
    runs = [datetime.fromisoformat(text) for text in body["next_runs"]]
    assert len(runs) == 5
    assert runs == sorted(set(runs))
    assert all((run.hour, run.minute) == (hour, minute) for run in runs)
    assert all(run.utcoffset() == timedelta(hours=8) for run in runs)
    wait_s = (runs[0] - timezone.now()).total_seconds()
    assert 0 <= body["next_run_in_seconds"] - wait_s < 60


def test_without_a_timezone_the_servers_own_is_used() -> None:
    body = client_of("viewer").post(VALIDATE, {"cron": "0 2 * * *"}).json()

    assert body["timezone"] == timezone.get_default_timezone_name()


@pytest.mark.parametrize("count", [1, 7, 100])
def test_count_fire_times_are_told(count: int) -> None:
    body = client_of("viewer").post(VALIDATE, {"cron": "* * * * *", "count": count}).json()

    assert len(body["next_runs"]) == count


def test_the_description_follows_the_language_of_the_request() -> None:
    client = client_of("viewer")

    english = client.post(VALIDATE, {"cron": "0 2 * * *"}, HTTP_ACCEPT_LANGUAGE="en").json()
    chinese = client.post(VALIDATE, {"cron": "0 2 * * *"}, HTTP_ACCEPT_LANGUAGE="zh-hans").json()

    assert english["description"].isascii()
    assert not chinese["description"].isascii()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cron": "60 * * * *"}, "minute"),
        ({"cron": "* 24 * * *"}, "hour"),
        ({"cron": "0 0 32 * *"}, "day_of_month"),
        ({"cron": "0 0 1 13 *"}, "month_of_year"),
        ({"cron": "0 0 * * 8"}, "day_of_week"),
        ({"cron": "0 0 30 2 *"}, "day_of_month"),
        ({"cron": "* * * *"}, "cron"),
        ({"cron": "0 0 2 * * *"}, "cron"),
        ({"cron": "every day"}, "cron"),
        ({"cron": " "}, "cron"),
        ({"cron": "@daily"}, "cron"),
        ({"cron": "0 2 * * *", "timezone": "Mars/Olympus"}, "timezone"),
        ({"cron": "0 2 * * *", "timezone": "../../etc/passwd"}, "timezone"),
    ],
)
def test_an_invalid_cron_is_answered_with_the_field_and_the_reason(
    body: dict[str, str], field: str
) -> None:
    answer = client_of("viewer").post(VALIDATE, body)

    assert answer.status_code == 200
    assert set(answer.json()) == {"valid", "field", "error"}
    assert (answer.json()["valid"], answer.json()["field"]) == (False, field)
    assert answer.json()["error"]
    chinese = client_of("viewer").post(VALIDATE, body, HTTP_ACCEPT_LANGUAGE="zh-hans").json()
    assert chinese["field"] == field
    assert re.search("[\u4e00-\u9fff]", chinese["error"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "cron"),
        ({"cron": None}, "cron"),
        ({"cron": "* * * * *", "count": 0}, "count"),
        ({"cron": "* * * * *", "count": 101}, "count"),
        ({"cron": "* * * * *", "count": "many"}, "count"),
        ({"cron": "* * * * *", "tz": "UTC"}, "tz"),
        ({"cron": "*" * 2000}, "cron"),
    ],
)
def test_a_question_that_is_no_question_is_400_with_the_field(
    body: dict[str, object], field: str
) -> None:
    answer = client_of("viewer").post(VALIDATE, body)

    assert answer.status_code == 400
    assert list(answer.json()) == [field]


def test_refresh_writes_what_is_missing_and_says_so(local_root: Path) -> None:
    kept = make_config(local_root, cron="0 2 * * *")
    lost = make_config(local_root, cron="0 3 * * *")
    make_config(local_root, cron="0 4 * * *", enable=False)
    PeriodicTask.objects.filter(name=f"filesync.syncconfig:{lost.pk}").delete()
    SyncConfig.objects.filter(pk=kept.pk).update(cron="5 5 * * *")

    answer = client_of("editor").post(f"{ROUTES}/refresh-tasks")

    assert answer.status_code == 200
    assert answer.json() == {
        "created": 1,
        "updated": 1,
        "unchanged": 1,
        "removed": 0,
        "errors": [],
        "active_tasks": 2,
    }
    row = periodic_row(kept)
    assert row is not None
    assert (row.crontab.minute, row.crontab.hour) == ("5", "5")


def test_refresh_reports_a_config_that_cannot_be_scheduled_and_goes_on(local_root: Path) -> None:
    good = make_config(local_root, cron="0 2 * * *")
    bad = make_config(local_root, cron="0 3 * * *")
    SyncConfig.objects.filter(pk=bad.pk).update(cron="99 * * * *")

    body = client_of("editor").post(f"{ROUTES}/refresh-tasks").json()

    assert [(error["id"], error["field"]) for error in body["errors"]] == [(bad.pk, "minute")]
    assert body["active_tasks"] == 1
    assert periodic_row(bad) is None
    assert periodic_row(good) is not None


def test_refresh_twice_changes_nothing_the_second_time(local_root: Path) -> None:
    make_config(local_root, cron="0 2 * * *")
    client = client_of("editor")
    client.post(f"{ROUTES}/refresh-tasks")

    body = client.post(f"{ROUTES}/refresh-tasks").json()

    assert (body["created"], body["updated"], body["unchanged"], body["removed"]) == (0, 0, 1, 0)


def test_clear_removes_our_rows_and_no_others(local_root: Path) -> None:
    configs = [make_config(local_root, cron=f"{minute} 2 * * *") for minute in range(3)]
    every = IntervalSchedule.objects.create(every=1, period="hours")
    crontab = CrontabSchedule.objects.create(minute="1", timezone=ZoneInfo("UTC"))
    foreign = [
        PeriodicTask.objects.create(name="a report", task="reports.send", interval=every),
        PeriodicTask.objects.create(
            name="filesync.syncconfig:999", task="someone.elses", crontab=crontab
        ),
        PeriodicTask.objects.create(
            name="nightly", task="filesync.tasks.sync_all_enabled_configs", crontab=crontab
        ),
    ]
    client = client_of("editor")

    first = client.delete(f"{ROUTES}/clear-tasks")
    second = client.delete(f"{ROUTES}/clear-tasks")

    assert (first.status_code, first.json()) == (200, {"removed": 3})
    assert (second.status_code, second.json()) == (200, {"removed": 0})
    left = set(PeriodicTask.objects.values_list("pk", flat=True))
    assert {row.pk for row in foreign} <= left
    assert all(periodic_row(config) is None for config in configs)
    assert SyncConfig.objects.count() == 3


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "refresh-tasks"),
        ("post", "clear-tasks"),
        ("get", "clear-tasks"),
        ("get", "validate-cron"),
        ("delete", "task-status"),
        ("get", "execute-all-enabled"),
        ("get", "execute-sync/1"),
        ("post", "task-result/x"),
    ],
)
def test_only_the_methods_of_the_specification_are_allowed(method: str, path: str) -> None:
    answer = client_of("superuser").generic(method.upper(), f"{ROUTES}/{path}")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
