"""The resources: storages, sync configs, runs; what they take, refuse, show, and how lists work."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from pytest_django.fixtures import DjangoAssertNumQueries
from rest_framework.test import APIClient

from filesync.models import RuleSet, RunItem, Storage, SyncConfig, SyncRun
from filesync.services.rules import use_rule_sets
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    browser_of,
    client_of,
    make_config,
    make_run,
    make_storage,
    periodic_row,
)

pytestmark = pytest.mark.django_db

CONFIGS = "/api/v1/sync/configs"
STORAGES = "/api/v1/sync/storages"
RUNS = "/api/v1/sync/runs"
CANARY = "canary-7f3a"


def config_body(storage: Storage, **changes: object) -> dict[str, object]:
    body: dict[str, object] = {
        "name": "photos",
        "cron": "0 2 * * *",
        "timezone": "Asia/Shanghai",
        "source_storage": storage.pk,
        "source_path": "source",
        "destination_storage": storage.pk,
        "destination_path": "destination",
    }
    return body | changes


# Sync configs ------------------------------------------------------------------------------------


def test_a_posted_config_is_stored_and_scheduled(local_root: Path) -> None:
    body = config_body(make_storage(local_root), cron=" 0  2 * * * ", remark="every night")

    answer = client_of("editor").post(CONFIGS, body)

    assert answer.status_code == 201
    config = SyncConfig.objects.get()
    assert answer.json()["id"] == config.pk
    assert answer.json()["cron"] == "0 2 * * *"
    assert answer.json()["next_run"].endswith("T02:00:00+08:00")
    row = periodic_row(config)
    assert row is not None
    assert (row.task, row.kwargs, row.enabled) == (
        "filesync.tasks.sync_file_task",
        f'{{"config_id": {config.pk}}}',
        True,
    )
    assert (row.crontab.minute, row.crontab.hour, str(row.crontab.timezone)) == (
        "0",
        "2",
        "Asia/Shanghai",
    )
    assert row.description == "every night"


def test_a_patched_cron_moves_the_schedule(local_root: Path) -> None:
    config = make_config(local_root, cron="0 2 * * *")

    answer = client_of("editor").patch(f"{CONFIGS}/{config.pk}", {"cron": "30 4 * * *"})

    assert answer.status_code == 200
    row = periodic_row(config)
    assert row is not None
    assert (row.crontab.minute, row.crontab.hour) == ("30", "4")
    assert PeriodicTask.objects.filter(name=row.name).count() == 1


def test_a_put_config_is_replaced(local_root: Path) -> None:
    config = make_config(local_root, cron="0 2 * * *", remark="old")
    body = config_body(config.source_storage, name=config.name, cron="0 5 * * *", remark="new")

    answer = client_of("editor").put(f"{CONFIGS}/{config.pk}", body)

    assert answer.status_code == 200
    config.refresh_from_db()
    assert (config.cron, config.remark) == ("0 5 * * *", "new")


def test_disabling_switches_the_schedule_off_and_enabling_on_again(local_root: Path) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    client = client_of("editor")

    client.patch(f"{CONFIGS}/{config.pk}", {"enable": False})
    assert not PeriodicTask.objects.filter(
        name=f"filesync.syncconfig:{config.pk}", enabled=True
    ).exists()

    client.patch(f"{CONFIGS}/{config.pk}", {"enable": True})
    row = periodic_row(config)
    assert row is not None
    assert row.enabled


def test_clearing_the_cron_or_deleting_the_config_removes_the_schedule(local_root: Path) -> None:
    cleared = make_config(local_root, cron="0 2 * * *")
    deleted = make_config(local_root, cron="0 2 * * *")
    client = client_of("editor")

    assert client.patch(f"{CONFIGS}/{cleared.pk}", {"cron": ""}).status_code == 200
    assert client.delete(f"{CONFIGS}/{deleted.pk}").status_code == 204

    assert periodic_row(cleared) is None
    assert not PeriodicTask.objects.filter(name=f"filesync.syncconfig:{deleted.pk}").exists()
    assert not SyncConfig.objects.filter(pk=deleted.pk).exists()


def test_deleting_a_config_cancels_what_it_has_queued_and_keeps_its_history(
    local_root: Path,
) -> None:
    config = make_config(local_root)
    old = make_run(config, state=SyncRun.State.SUCCEEDED)
    queued = make_run(config)

    client_of("editor").delete(f"{CONFIGS}/{config.pk}")

    old.refresh_from_db()
    queued.refresh_from_db()
    assert (old.state, old.config_name) == ("SUCCEEDED", config.name)
    assert (queued.state, queued.reason) == ("CANCELLED", "CONFIG_DELETED")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "0 2 * *"}, "cron"),
        ({"cron": "x" * 101}, "cron"),
        ({"timezone": "Nowhere/Town"}, "timezone"),
        ({"method": "MIRROR"}, "method"),
        ({"compare": "MTIME"}, "compare"),
        ({"name": ""}, "name"),
        ({"filters": "*.jpg"}, "filters"),
        ({"filters": "- [a-"}, "filters"),
        ({"bandwidth": "fast"}, "bandwidth"),
        ({"transfers": 0}, "transfers"),
        ({"transfers": 65}, "transfers"),
        ({"bandwidth": "08:00,512K 23:00"}, "bandwidth"),
        ({"renames": "IMG_"}, "renames"),
        ({"min_size_bytes": 2, "max_size_bytes": 1}, "min_size_bytes"),
        ({"max_age_s": -1}, "max_age_s"),
        ({"checkers": 0}, "checkers"),
        ({"calls_per_s": 1001}, "calls_per_s"),
        ({"calls_per_s": True}, "calls_per_s"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_files": "many"}, "max_files"),
        ({"max_shrink_percent": 101}, "max_shrink_percent"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_delete_percent": 101}, "max_delete_percent"),
        ({"max_runtime_s": 0}, "max_runtime_s"),
        ({"jitter_s": -1}, "jitter_s"),
        ({"misfire_policy": "ALWAYS"}, "misfire_policy"),
        ({"source_path": "../etc"}, "source_path"),
        ({"destination_path": "a:b"}, "destination_path"),
        ({"source_storage": 999999}, "source_storage"),
        (
            {"start_time": "2026-01-02T00:00:00Z", "end_time": "2026-01-01T00:00:00Z"},
            "end_time",
        ),
        ({"name": 5}, "name"),
        ({"enable": "yes"}, "enable"),
        ({"enable": 1}, "enable"),
        ({"transfers": "4"}, "transfers"),
        ({"transfers": True}, "transfers"),
        ({"source_storage": "1"}, "source_storage"),
        ({"enabled": True}, "enabled"),
        ({"crom": "0 2 * * *"}, "crom"),
    ],
)
def test_what_a_config_cannot_be_is_400_and_names_the_field(
    local_root: Path, changes: dict[str, object], field: str
) -> None:
    body = config_body(make_storage(local_root), **changes)

    answer = client_of("editor").post(CONFIGS, body)

    assert answer.status_code == 400
    assert list(answer.json()) == [field]
    assert not SyncConfig.objects.exists()


@pytest.mark.parametrize("name", ["name", "source_storage", "destination_storage"])
def test_a_config_without_a_required_field_is_400(local_root: Path, name: str) -> None:
    body = config_body(make_storage(local_root))
    del body[name]

    answer = client_of("editor").post(CONFIGS, body)

    assert (answer.status_code, list(answer.json())) == (400, [name])


@pytest.mark.parametrize(
    ("source", "destination"), [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("", "a"), ("a", "./a/")]
)
def test_source_and_destination_that_overlap_are_refused(
    local_root: Path, source: str, destination: str
) -> None:
    body = config_body(make_storage(local_root), source_path=source, destination_path=destination)

    answer = client_of("editor").post(CONFIGS, body)

    assert answer.status_code == 400
    assert "overlap" in str(answer.json())


def test_a_patch_is_checked_together_with_what_is_stored(local_root: Path) -> None:
    config = make_config(local_root, source_path="a", destination_path="b")

    answer = client_of("editor").patch(f"{CONFIGS}/{config.pk}", {"destination_path": "a/sub"})

    assert answer.status_code == 400
    config.refresh_from_db()
    assert config.destination_path == "b"


def test_two_configs_of_one_name_are_refused(local_root: Path) -> None:
    config = make_config(local_root, name="photos")

    answer = client_of("editor").post(CONFIGS, config_body(config.source_storage))

    assert (answer.status_code, list(answer.json())) == (400, ["name"])


def test_a_schedule_that_cannot_be_written_leaves_the_config_as_it_was(local_root: Path) -> None:
    config = make_config(local_root)
    every = IntervalSchedule.objects.create(every=1, period="hours")
    PeriodicTask.objects.create(
        name=f"filesync.syncconfig:{config.pk}", task="someone.elses", interval=every
    )

    answer = client_of("editor").patch(f"{CONFIGS}/{config.pk}", {"cron": "0 2 * * *"})

    assert (answer.status_code, answer.json()["code"]) == (409, "schedule_conflict")
    config.refresh_from_db()
    assert config.cron == ""


def test_a_config_whose_cron_was_spoilt_past_the_model_does_not_break_the_list(
    local_root: Path,
) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    SyncConfig.objects.filter(pk=config.pk).update(cron="99 * * * *")

    answer = client_of("viewer").get(CONFIGS)

    assert answer.status_code == 200
    assert [entry["next_run"] for entry in answer.json()["results"]] == [None]


# Storages ----------------------------------------------------------------------------------------


def webdav_body(**changes: object) -> dict[str, object]:
    body: dict[str, object] = {
        "name": "disk",
        "backend": "webdav",
        "options": {"url": "https://dav.example.org", "user": "kim"},
        "secrets": {"pass": CANARY},
    }
    return body | changes


def test_secrets_go_in_and_never_come_out() -> None:
    client = client_of("superuser")

    made = client.post(STORAGES, webdav_body())
    pk = made.json()["id"]
    answers = [
        made,
        client.get(STORAGES),
        client.get(f"{STORAGES}/{pk}"),
        client.put(f"{STORAGES}/{pk}", webdav_body(remark="x")),
        client.patch(f"{STORAGES}/{pk}", {"secrets": {"pass": CANARY}}),
        client.options(f"{STORAGES}/{pk}"),
        client.get(f"{STORAGES}?search={CANARY}"),
    ]
    pages = browser_of("superuser")
    answers += [pages.get(STORAGES), pages.get(f"{STORAGES}/{pk}")]

    assert Storage.objects.get().secrets == {"pass": CANARY}
    assert made.json()["secrets_set"] == ["pass"]
    for answer in answers:
        assert answer.status_code < 300
        shown = answer.content.decode().replace(f"search={CANARY}", "")
        assert CANARY not in shown


@pytest.mark.parametrize(
    "secrets",
    [{"pass": CANARY, "nonsense": CANARY}, {"headers": f"{CANARY}\nb"}, {"pass": [CANARY]}],
)
def test_a_refused_secret_is_not_repeated_in_the_answer(secrets: dict[str, object]) -> None:
    answer = client_of("superuser").post(STORAGES, webdav_body(secrets=secrets))

    assert answer.status_code == 400
    assert CANARY not in answer.content.decode()


def test_secrets_that_are_not_named_stay_and_an_empty_one_goes() -> None:
    client = client_of("superuser")
    body = webdav_body(secrets={"pass": "one", "bearer_token": "two"})
    pk = client.post(STORAGES, body).json()["id"]

    client.patch(f"{STORAGES}/{pk}", {"remark": "changed"})
    assert Storage.objects.get().secrets == {"pass": "one", "bearer_token": "two"}

    client.patch(f"{STORAGES}/{pk}", {"secrets": {"pass": "three"}})
    assert Storage.objects.get().secrets == {"pass": "three", "bearer_token": "two"}

    client.patch(f"{STORAGES}/{pk}", {"secrets": {"bearer_token": ""}})
    assert Storage.objects.get().secrets == {"pass": "three"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"backend": "carrier-pigeon"}, "backend"),
        ({"options": {"url": "https://x", "pass": "p"}}, "options"),
        ({"options": {"url": "https://x", "colour": "red"}}, "options"),
        ({"options": {"bearer_token_command": "id"}}, "options"),
        ({"options": "url=x"}, "options"),
        ({"secrets": {"colour": "red"}}, "options"),
        ({"root": "../up"}, "root"),
        ({"max_concurrent_runs": 0}, "max_concurrent_runs"),
        ({"max_concurrent_runs": 65}, "max_concurrent_runs"),
        ({"password": "p"}, "password"),
        ({"name": ""}, "name"),
    ],
)
def test_what_a_storage_cannot_be_is_400_and_names_the_field(
    changes: dict[str, object], field: str
) -> None:
    answer = client_of("superuser").post(STORAGES, webdav_body(**changes))

    assert (answer.status_code, list(answer.json())) == (400, [field])
    assert not Storage.objects.exists()


@pytest.mark.parametrize("root", ["/etc", "relative", "", "{root}/../other"])
def test_a_local_root_outside_the_allowed_ones_is_refused(local_root: Path, root: str) -> None:
    body = {"name": "disk", "backend": "local", "root": root.format(root=local_root)}

    answer = client_of("superuser").post(STORAGES, body)

    assert (answer.status_code, list(answer.json())) == (400, ["root"])


def test_a_storage_in_use_is_not_deleted_and_the_answer_names_the_configs(
    local_root: Path,
) -> None:
    config = make_config(local_root, name="photos")
    client = client_of("superuser")

    refused = client.delete(f"{STORAGES}/{config.source_storage_id}")
    config.delete()
    done = client.delete(f"{STORAGES}/{config.source_storage_id}")

    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert "photos" in refused.json()["detail"]
    assert done.status_code == 204


# Runs --------------------------------------------------------------------------------------------


def test_items_of_a_run_are_told_failed_ones_first(local_root: Path) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.PARTIAL)
    other = make_run(make_config(local_root), state=SyncRun.State.PARTIAL)
    RunItem.objects.create(run=run, action="ADDED", path="a.txt", size_bytes=3)
    RunItem.objects.create(run=run, action="FAILED", path="b.txt", error="no right")
    RunItem.objects.create(run=other, action="ADDED", path="c.txt")

    answer = client_of("viewer").get(f"{RUNS}/{run.pk}/items")

    assert [(item["action"], item["path"]) for item in answer.json()] == [
        ("FAILED", "b.txt"),
        ("ADDED", "a.txt"),
    ]
    assert answer.json()[0]["error"] == "no right"


def test_items_are_read_on_from_the_last_one(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filesync.api.run_views.MOST_ITEMS", 2)
    run = make_run(make_config(local_root), state=SyncRun.State.PARTIAL)
    other = make_run(make_config(local_root), state=SyncRun.State.PARTIAL)
    RunItem.objects.create(run=other, action="ADDED", path="none of it")
    for path in ("a", "b FAILED", "c", "d FAILED", "e FAILED", "f"):
        action = "FAILED" if "FAILED" in path else "ADDED"
        RunItem.objects.create(run=run, action=action, path=path)
    client = client_of("viewer")

    pages, query = [], ""
    while page := client.get(f"{RUNS}/{run.pk}/items{query}").json():
        pages.append([item["path"][0] for item in page])
        query = f"?after={page[-1]['id']}"

    assert pages == [["b", "d"], ["e", "a"], ["c", "f"]]


@pytest.mark.parametrize(("after", "status"), [("0", 400), ("x", 400), ("{other}", 404)])
def test_items_are_not_read_on_from_what_is_none_of_them(
    local_root: Path, after: str, status: int
) -> None:
    run, other = make_run(make_config(local_root)), make_run(make_config(local_root))
    stray = RunItem.objects.create(run=other, action="ADDED", path="a")

    answer = client_of("viewer").get(f"{RUNS}/{run.pk}/items?after={after.format(other=stray.pk)}")

    assert answer.status_code == status


def test_a_queued_run_is_cancelled_at_once(local_root: Path) -> None:
    run = make_run(make_config(local_root))

    answer = client_of("operator").post(f"{RUNS}/{run.pk}/cancel")

    assert answer.status_code == 202
    assert (answer.json()["state"], answer.json()["status"]) == ("CANCELLED", "REVOKED")


def test_a_running_run_is_asked_to_stop(local_root: Path) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.RUNNING)

    answer = client_of("operator").post(f"{RUNS}/{run.pk}/cancel")

    assert (answer.status_code, answer.json()["state"]) == (202, "RUNNING")
    assert answer.json()["cancel_requested_at"] is not None


@pytest.mark.parametrize("state", SyncRun.TERMINAL)
def test_a_run_that_has_ended_cannot_be_cancelled(local_root: Path, state: SyncRun.State) -> None:
    run = make_run(make_config(local_root), state=state)

    answer = client_of("operator").post(f"{RUNS}/{run.pk}/cancel")

    assert (answer.status_code, answer.json()["code"]) == (409, "run_finished")
    run.refresh_from_db()
    assert run.state == state


@pytest.mark.parametrize("path", ["", "/items"])
def test_an_unknown_run_is_404(path: str) -> None:
    answer = client_of("viewer").get(f"{RUNS}/999999{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_runs_are_written_by_nobody(local_root: Path, method: str) -> None:
    run = make_run(make_config(local_root))
    url = RUNS if method == "post" else f"{RUNS}/{run.pk}"

    answer = client_of("superuser").generic(method.upper(), url)

    assert answer.status_code == 405


# Lists -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["alpha", "beta", "gamma"]),
        ("enable=false", ["beta"]),
        ("method=FULL", ["gamma"]),
        ("search=ALPH", ["alpha"]),
        ("search=nightly", ["beta"]),
        ("ordering=-name", ["gamma", "beta", "alpha"]),
        ("ordering=created_at", ["beta", "gamma", "alpha"]),
        ("enable=true&method=FULL", ["gamma"]),
        ("search=delta", []),
    ],
)
def test_configs_are_filtered_searched_and_ordered(
    local_root: Path, query: str, names: list[str]
) -> None:
    make_config(local_root, name="beta", enable=False, remark="the nightly one")
    make_config(local_root, name="gamma", method=SyncConfig.Method.FULL)
    make_config(local_root, name="alpha")

    body = client_of("viewer").get(f"{CONFIGS}?{query}").json()

    assert [entry["name"] for entry in body["results"]] == names
    assert body["count"] == len(names)


def test_configs_are_found_by_their_storages(local_root: Path) -> None:
    config = make_config(local_root)
    make_config(local_root)

    for side in ("source_storage", "destination_storage"):
        body = client_of("viewer").get(f"{CONFIGS}?{side}={config.source_storage_id}").json()
        assert [entry["id"] for entry in body["results"]] == [config.pk]


def test_storages_are_filtered_and_searched(local_root: Path) -> None:
    make_storage(local_root, name="disk")
    make_storage(local_root, name="cloud", backend="webdav", options={"url": "https://x"})
    client = client_of("viewer")

    by_backend = client.get(f"{STORAGES}?backend=webdav").json()
    by_name = client.get(f"{STORAGES}?search=dis").json()

    assert [entry["name"] for entry in by_backend["results"]] == ["cloud"]
    assert [entry["name"] for entry in by_name["results"]] == ["disk"]


def test_runs_are_filtered_searched_and_newest_first(local_root: Path) -> None:
    config = make_config(local_root, name="photos", remark="the nightly one")
    old = make_run(config, state=SyncRun.State.FAILED, message="login refused", dry_run=True)
    new = make_run(config, state=SyncRun.State.SUCCEEDED, trigger=SyncRun.Trigger.CRON)
    make_run(make_config(local_root, name="music"))
    SyncRun.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=3))
    since = (timezone.now() - timedelta(days=1)).isoformat().replace("+", "%2B")
    client = client_of("viewer")

    def found(query: str) -> list[int]:
        return [entry["id"] for entry in client.get(f"{RUNS}?{query}").json()["results"]]

    assert found(f"config={config.pk}") == [new.pk, old.pk]
    assert found("state=FAILED") == [old.pk]
    assert found("trigger=CRON") == [new.pk]
    assert found("dry_run=true") == [old.pk]
    assert found("search=PHOT") == [new.pk, old.pk]
    assert found("search=nightly") == [new.pk, old.pk]
    assert found(f"search={old.pk}") == [old.pk]
    assert found("search=refused") == []
    assert found(f"config={config.pk}&since={since}") == [new.pk]
    # An offset that ISO 8601 knows and PostgreSQL does not.
    assert found("since=2968-05-12T10:44:05%2B22:21") == []
    assert found(f"config={config.pk}&ordering=id") == [old.pk, new.pk]


@pytest.mark.parametrize(
    ("url", "field"),
    [
        (f"{RUNS}?state=DONE", "state"),
        (f"{RUNS}?config=mine", "config"),
        (f"{RUNS}?since=yesterday", "since"),
        (f"{CONFIGS}?method=MIRROR", "method"),
        (f"{STORAGES}?backend=netdisk", "backend"),
        ("/api/v1/notifications/channels?scheme=pigeon", "scheme"),
        ("/api/v1/notifications/messages?event=DOOM", "event"),
    ],
)
def test_a_filter_that_cannot_match_is_400_and_names_the_field(url: str, field: str) -> None:
    answer = client_of("viewer").get(url)

    assert (answer.status_code, list(answer.json())) == (400, [field])


def test_counted_lists_come_in_numbered_pages(local_root: Path) -> None:
    for number in range(51):
        make_storage(local_root, name=f"disk {number:02}")
    client = client_of("viewer")

    first = client.get(STORAGES).json()
    second = client.get(first["next"]).json()
    beyond = client.get(f"{STORAGES}?page=3")
    large = client.get(f"{STORAGES}?page_size=500").json()

    assert (first["count"], len(first["results"]), first["previous"]) == (51, 50, None)
    assert (len(second["results"]), second["next"]) == (1, None)
    names = [entry["name"] for entry in first["results"] + second["results"]]
    assert len(set(names)) == 51
    assert (beyond.status_code, beyond.json()["code"]) == (404, "not_found")
    assert len(large["results"]) == 51


def test_runs_are_walked_by_cursor_and_what_comes_meanwhile_moves_nothing(
    local_root: Path,
) -> None:
    config = make_config(local_root)
    runs = [make_run(config, state=SyncRun.State.SUCCEEDED).pk for _ in range(7)]
    client = client_of("viewer")

    page = client.get(f"{RUNS}?page_size=3").json()
    seen = [entry["id"] for entry in page["results"]]
    make_run(config, state=SyncRun.State.SUCCEEDED)
    while page["next"]:
        page = client.get(page["next"]).json()
        seen += [entry["id"] for entry in page["results"]]
    back = client.get(page["previous"]).json()

    assert seen == sorted(runs, reverse=True)
    assert [entry["id"] for entry in back["results"]] == seen[3:6]
    assert "count" not in page


def test_runs_are_found_between_two_times(local_root: Path) -> None:
    config = make_config(local_root)
    now = timezone.now()
    ages = (300, 50, 3, 0)
    runs = {hours: make_run(config, state=SyncRun.State.SUCCEEDED).pk for hours in ages}
    for hours, pk in runs.items():
        queued = now - timedelta(hours=hours)
        SyncRun.objects.filter(pk=pk).update(created_at=queued)
    client = client_of("viewer")

    def found(**bounds: int) -> list[int]:
        moments = {name: (now - timedelta(hours=hours)) for name, hours in bounds.items()}
        answer = client.get(RUNS, {name: moment.isoformat() for name, moment in moments.items()})
        return [entry["id"] for entry in answer.json()["results"]]

    assert found(since=3) == [runs[0], runs[3]]
    assert found(until=3) == [runs[50], runs[300]]
    assert found(since=100, until=2) == [runs[3], runs[50]]
    assert found(since=2, until=1) == []
    assert found(until=400) == []
    assert found(since=-1) == []


# What a page of a long history is asked for, and the index that PostgreSQL then reads.
READ_BY_INDEX: list[tuple[dict[str, str], str]] = [
    ({}, "filesync_syncrun_pkey"),
    ({"config": "{config}"}, "filesync_run_history"),
    ({"state": "FAILED"}, "filesync_run_by_state"),
    ({"trigger": "MANUAL"}, "filesync_run_by_trigger"),
    ({"since": "2026-01-05T00:00:00Z", "until": "2026-01-06T00:00:00Z"}, "run_by_time"),
    ({"state": "FAILED", "until": "2026-01-06T00:00:00Z"}, "filesync_run_by_state"),
    ({"dry_run": "true"}, "filesync_run_dry"),
    ({"dry_run": "false"}, "filesync_syncrun_pkey"),
    ({"search": "rare sync"}, "filesync_syncrun_config_id"),
    (
        {"config": "{config}", "state": "FAILED", "since": "2026-01-05T00:00:00Z"},
        "filesync_run_",
    ),
]


@pytest.mark.only_on("postgres")
def test_a_page_of_a_long_history_is_read_by_index_and_not_sorted(local_root: Path) -> None:
    """All in one test: to make the history takes far longer than to ask for its pages."""
    config, other = make_config(local_root), make_config(local_root)
    rare = make_config(local_root, name="a rare sync")
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    history = [
        SyncRun(
            config=config if number % 20 == 0 else rare if number % 1_000 == 7 else other,
            dry_run=number % 1_000 == 3,
            state="FAILED" if number % 100 == 0 else "SUCCEEDED",
            trigger="MANUAL" if number % 500 == 0 else "CRON",
            slot=begin + timedelta(minutes=number),
        )
        for number in range(20_000)
    ]
    SyncRun.objects.bulk_create(history, batch_size=2_000)
    SyncRun.objects.update(created_at=F("slot"))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE filesync_syncrun")
    client = client_of("viewer")
    # A part of the history that is found by an index may be sorted: what lies between two times,
    # and what belongs to one sync.
    parts = ({"since", "until"}, {"config", "state"}, {"search"})

    for query, index in READ_BY_INDEX:
        filled = {name: value.format(config=config.pk) for name, value in query.items()}
        plan = plan_of_page(client, filled)
        assert index in plan, (query, plan)
        assert "Seq Scan" not in plan, (query, plan)
        assert "Sort" not in plan or any(part <= query.keys() for part in parts), (query, plan)


def plan_of_page(client: APIClient, query: dict[str, str]) -> str:
    """Ask for a page of runs; returns how PostgreSQL reads it."""
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(RUNS, query)
    assert answer.status_code == 200, query
    page = next(entry["sql"] for entry in asked if "LIMIT 51" in entry["sql"])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {page}")
        return "\n".join(line for (line,) in cursor.fetchall())


@pytest.mark.parametrize("url", [CONFIGS, STORAGES, RUNS])
def test_a_row_of_a_list_says_what_it_says_alone(local_root: Path, url: str) -> None:
    config = make_config(local_root, cron="0 2 * * *", start_time=timezone.now())
    use_rule_sets(config, [RuleSet.objects.create(name="junk", filters="- *.tmp")])
    make_run(config, state=SyncRun.State.PARTIAL, started_at=timezone.now())
    client = client_of("superuser")

    (row, *_) = client.get(url).json()["results"]
    alone = client.get(f"{url}/{row['id']}").json()

    # Warnings and channels are looked for where a config is read alone.
    left_out = {"warnings": None, "channels": None} if url == CONFIGS else {}
    assert row == alone | left_out


@pytest.mark.parametrize("ordering", ["", "&ordering=name", "&ordering=-created_at"])
def test_pages_from_either_end_hold_each_row_once_and_in_order(
    local_root: Path, ordering: str
) -> None:
    made = [make_config(local_root, name=f"{number:02}").pk for number in range(11)]
    client = client_of("viewer")

    pages = [
        [
            row["id"]
            for row in client.get(f"{CONFIGS}?page_size=3&page={page}{ordering}").json()["results"]
        ]
        for page in range(1, 5)
    ]

    assert [len(page) for page in pages] == [3, 3, 3, 2]
    assert [pk for page in pages for pk in page] == (made[::-1] if "-" in ordering else made)


def test_the_last_page_of_a_long_list_is_read_from_its_end(local_root: Path) -> None:
    for number in range(5):
        make_config(local_root, name=f"{number}")

    with CaptureQueriesContext(connection) as asked:
        answer = client_of("viewer").get(f"{CONFIGS}?page_size=1&page=5")

    assert [row["name"] for row in answer.json()["results"]] == ["4"]
    assert not any("OFFSET" in entry["sql"] for entry in asked)


@pytest.mark.parametrize("field", ["created_at", "updated_at"])
@pytest.mark.parametrize(("sign", "page"), [("", 1), ("-", 1), ("", 40)])
def test_configs_in_an_order_of_time_are_read_by_index_and_not_sorted(
    local_root: Path, field: str, sign: str, page: int
) -> None:
    storage = make_storage(local_root)
    SyncConfig.objects.bulk_create(
        SyncConfig(name=f"{number}", source_storage=storage, destination_storage=storage)
        for number in range(2_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")

    with CaptureQueriesContext(connection) as asked:
        answer = client_of("viewer").get(f"{CONFIGS}?ordering={sign}{field}&page={page}")
    listed = next(entry["sql"] for entry in asked if "LIMIT 50" in entry["sql"])
    how = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{how} {listed}")
        plan = "\n".join(str(line[-1]) for line in cursor.fetchall())

    assert len(answer.json()["results"]) == 50
    assert f"filesync_config_{field.removesuffix('_at')}" in plan, plan
    assert not any(word in plan for word in ("Sort", "TEMP B-TREE")), plan
    assert "OFFSET" not in listed


@pytest.mark.parametrize("sign", ["", "-"])
def test_configs_made_at_the_same_moment_stand_on_one_page_each(
    local_root: Path, sign: str
) -> None:
    made = [make_config(local_root).pk for _ in range(7)]
    SyncConfig.objects.update(created_at=timezone.now())
    client, seen = client_of("viewer"), []

    for page in range(1, 5):
        address = f"{CONFIGS}?ordering={sign}created_at&page_size=2&page={page}"
        seen += [row["id"] for row in client.get(address).json()["results"]]

    assert seen == (made[::-1] if sign else made)


@pytest.mark.parametrize(
    "url",
    [
        CONFIGS,
        f"{CONFIGS}?enable=true",
        STORAGES,
        RUNS,
        f"{RUNS}?state=SUCCEEDED",
        f"{RUNS}?since=2020-01-01T00:00:00Z&until=2099-01-01T00:00:00Z",
    ],
)
def test_a_list_takes_the_same_number_of_queries_however_long_it_is(
    local_root: Path, django_assert_num_queries: DjangoAssertNumQueries, url: str
) -> None:
    client = client_of("superuser")
    client.get(url)  # notes the use of the token, once
    make_run(make_config(local_root, cron="0 2 * * *"), state=SyncRun.State.SUCCEEDED)
    # The token with its user, the page, its count where it is counted, the uses of rule sets.
    queries = {RUNS: 2, CONFIGS: 4}.get(url.partition("?")[0], 3)
    with django_assert_num_queries(queries):
        assert len(client.get(url).json()["results"]) == 1
    for _ in range(19):
        make_run(make_config(local_root, cron="0 2 * * *"), state=SyncRun.State.SUCCEEDED)

    with django_assert_num_queries(queries):
        assert len(client.get(url).json()["results"]) == 20


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("stat=FAILED", "stat"),
        ("state=", "state"),
        ("config=1.5", "config"),
        ("config=0", "config"),
        ("config=99999999999999999999", "config"),
        ("ordering=message", "ordering"),
        ("page_size=many", "page_size"),
        ("page_size=0", "page_size"),
        ("page=2", "page"),
        ("search=" + "a" * 201, "search"),
        ("since=" + "1" * 1001, "since"),
        ("dry_run=perhaps", "dry_run"),
        ("state=FAILED&state=LOST", "state"),
        ("search=a%00b", "search"),
    ],
)
def test_a_parameter_that_a_list_cannot_use_is_400_and_named(query: str, name: str) -> None:
    answer = client_of("viewer").get(f"{RUNS}?{query}")

    assert (answer.status_code, list(answer.json())) == (400, [name])


@pytest.mark.parametrize(
    "cursor",
    ["made-up", *(b64encode(text).decode() for text in (b"p=abc", b"p=", b"p=1.5", b"p=%00"))],
)
def test_a_cursor_that_was_made_up_is_404(cursor: str) -> None:
    answer = client_of("viewer").get(RUNS, {"cursor": cursor})

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_filter_form_of_a_page_may_leave_fields_empty(local_root: Path) -> None:
    make_run(make_config(local_root), state=SyncRun.State.FAILED)

    answer = browser_of("viewer").get(f"{RUNS}?state=FAILED&config=&since=&trigger=")

    assert answer.status_code == 200
    assert b"Field filters" in answer.content


# Bulk --------------------------------------------------------------------------------------------


def test_many_configs_are_disabled_and_enabled_with_their_schedules(local_root: Path) -> None:
    on = [make_config(local_root, cron="0 2 * * *") for _ in range(2)]
    off = make_config(local_root, cron="0 2 * * *", enable=False)
    client = client_of("editor")
    ids = [on[1].pk, on[0].pk, off.pk, 999_999]

    answer = client.post(f"{CONFIGS}/bulk", {"ids": ids, "enabled": False})

    assert answer.status_code == 200
    assert answer.json() == {
        "changed": [on[0].pk, on[1].pk],
        "unchanged": [off.pk],
        "missing": [999_999],
    }
    assert not PeriodicTask.objects.filter(name__startswith="filesync", enabled=True).exists()

    assert client.post(f"{CONFIGS}/bulk", {"ids": ids, "enabled": True}).status_code == 200
    rows = [periodic_row(config) for config in (*on, off)]
    assert all(row is not None and row.enabled for row in rows)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"ids": [], "enabled": True}, "ids"),
        ({"ids": [0], "enabled": True}, "ids"),
        ({"ids": ["x"], "enabled": True}, "ids"),
        ({"ids": list(range(1, 1_002)), "enabled": True}, "ids"),
        ({"enabled": True}, "ids"),
        ({"ids": [1]}, "enabled"),
        ({"ids": [1], "enabled": True, "enable": True}, "enable"),
    ],
)
def test_a_bulk_that_is_not_understood_changes_nothing(body: dict[str, object], field: str) -> None:
    answer = client_of("editor").post(f"{CONFIGS}/bulk", body)

    assert (answer.status_code, list(answer.json())) == (400, [field])


def test_a_bulk_that_fails_for_one_config_changes_none(local_root: Path) -> None:
    first = make_config(local_root, cron="0 2 * * *", enable=False)
    second = make_config(local_root, cron="0 2 * * *", enable=False)
    PeriodicTask.objects.filter(name=f"filesync.syncconfig:{second.pk}").update(task="someone")

    answer = client_of("editor").post(
        f"{CONFIGS}/bulk", {"ids": [first.pk, second.pk], "enabled": True}
    )

    assert (answer.status_code, answer.json()["code"]) == (409, "schedule_conflict")
    first.refresh_from_db()
    assert not first.enable


# Pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["configs", "configs/{config}", "storages", "storages/{storage}", "runs", "runs/{run}"]
)
@pytest.mark.parametrize("role", ["viewer", "superuser"])
def test_every_resource_has_a_page_for_the_browser(local_root: Path, path: str, role: str) -> None:
    run = make_run(make_config(local_root, cron="0 2 * * *"), state=SyncRun.State.SUCCEEDED)
    assert run.config is not None
    url = path.format(run=run.pk, config=run.config_id, storage=run.config.source_storage_id)

    answer = browser_of(role).get(f"/api/v1/sync/{url}")

    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/html")
    assert b"</html>" in answer.content


def test_a_config_can_be_posted_from_the_form_of_the_page(local_root: Path) -> None:
    storage = make_storage(local_root)
    browser = browser_of("superuser")
    form = {key: str(value) for key, value in config_body(storage).items()}

    answer = browser.post(CONFIGS, form | {"csrfmiddlewaretoken": "x"}, format="multipart")

    assert answer.status_code == 201
    assert SyncConfig.objects.get().name == "photos"


def test_the_page_of_a_run_offers_its_items_and_cancel(local_root: Path) -> None:
    run = make_run(make_config(local_root))

    for action in ("items", "cancel"):
        answer = browser_of("superuser").get(f"{RUNS}/{run.pk}/{action}")
        assert answer.status_code in (200, 405)
        assert b"</html>" in answer.content


def test_a_run_that_ended_can_be_run_again_and_the_new_run_names_it(local_root: Path) -> None:
    old = make_run(make_config(local_root), state=SyncRun.State.FAILED, dry_run=True)

    answer = client_of("operator").post(f"/api/v1/sync/runs/{old.pk}/retry")

    assert answer.status_code == 202
    new = SyncRun.objects.get(pk=answer.json()["id"])
    assert (new.retry_of_id, new.trigger, new.state, new.dry_run) == (
        old.pk,
        "RETRY",
        "QUEUED",
        True,
    )


def test_the_next_step_is_told_in_the_readers_language_and_whether_it_is_tried_again(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filesync.models.run.gettext", str.upper)
    config = make_config(local_root)
    failed = make_run(config, state=SyncRun.State.FAILED, advice="free space", retryable=False)
    fine = make_run(config, state=SyncRun.State.SUCCEEDED)
    client = client_of("viewer")

    answers = [client.get(f"{RUNS}/{run.pk}").json() for run in (failed, fine)]

    assert [(answer["advice"], answer["retryable"]) for answer in answers] == [
        ("FREE SPACE", False),
        ("", None),
    ]


def test_only_the_failed_files_of_a_run_are_sent_again(local_root: Path) -> None:
    config = make_config(local_root)
    ended = make_run(config, state=SyncRun.State.PARTIAL)
    whole = make_run(config, state=SyncRun.State.SUCCEEDED)
    for action, path in (("ADDED", "a"), ("FAILED", "b"), ("FAILED", "")):
        RunItem.objects.create(run=ended, action=action, path=path)
    client = client_of("operator")

    answer = client.post(f"{RUNS}/{ended.pk}/retry", {"only_failed": True})

    assert answer.status_code == 202
    assert (answer.json()["retry_of"], answer.json()["only_failed"]) == (ended.pk, True)
    refused = client.post(f"{RUNS}/{whole.pk}/retry", {"only_failed": True})
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_failed")
    unknown = client.post(f"{RUNS}/{whole.pk}/retry", {"failed_only": True})
    assert (unknown.status_code, list(unknown.json())) == (400, ["failed_only"])


def test_a_run_is_not_run_again_while_its_config_has_an_active_one(local_root: Path) -> None:
    config = make_config(local_root)
    old = make_run(config, state=SyncRun.State.FAILED)
    active = make_run(config)

    answer = client_of("operator").post(f"/api/v1/sync/runs/{old.pk}/retry")

    assert answer.status_code == 409
    assert answer.json()["task_id"] == str(active.task_id)


def test_a_run_of_a_deleted_config_cannot_be_run_again(local_root: Path) -> None:
    config = make_config(local_root)
    old = make_run(config, state=SyncRun.State.FAILED)
    config.delete()

    answer = client_of("operator").post(f"/api/v1/sync/runs/{old.pk}/retry")

    assert answer.status_code == 404
    assert "deleted" in answer.json()["detail"]
