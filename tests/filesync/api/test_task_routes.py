"""The task routes of file sync: execute, execute all, result, status, their pages, the schema."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from celery import current_app
from celery.app.control import Control
from django.core.management import call_command
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from filesync import engine
from filesync.models import SyncRun
from filesync.services.finishing import finish_run
from scheduler.models import Heartbeat
from tests.filesync.factories import (
    SLOT,
    browser_of,
    claim,
    client_of,
    make_config,
    make_run,
)
from tests.filesync.factories import allow_local_root as allow_local_root

pytestmark = pytest.mark.django_db

TASK = "/api/v1/task/scheduler"
UNKNOWN_TASK = "11111111-2222-3333-4444-555555555555"


def test_execute_answers_202_with_the_id_of_the_run_it_queued(local_root: Path) -> None:
    config = make_config(local_root)

    answer = client_of("operator").post(f"{TASK}/execute-sync/{config.pk}")

    run = SyncRun.objects.get()
    assert answer.status_code == 202
    assert answer.json() == {
        "task_id": str(run.task_id),
        "config_id": config.pk,
        "status": "PENDING",
    }
    assert (run.state, run.trigger, run.dry_run, run.force) == ("QUEUED", "MANUAL", False, False)
    assert run.requested_by is not None
    assert run.requested_by.username.startswith("operator")


def test_execute_takes_dry_run(local_root: Path) -> None:
    config = make_config(local_root)

    answer = client_of("operator").post(f"{TASK}/execute-sync/{config.pk}", {"dry_run": True})

    assert answer.status_code == 202
    assert SyncRun.objects.get().dry_run


@pytest.mark.parametrize("config_id", ["999999", "0", "9" * 18])
def test_execute_of_an_unknown_config_is_404(config_id: str) -> None:
    answer = client_of("operator").post(f"{TASK}/execute-sync/{config_id}")

    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
    assert config_id in answer.json()["detail"]


@pytest.mark.parametrize("state", SyncRun.ACTIVE)
def test_execute_of_an_active_config_is_409_with_the_active_task_id(
    local_root: Path, state: SyncRun.State
) -> None:
    active = make_run(make_config(local_root), state=state)

    answer = client_of("operator").post(f"{TASK}/execute-sync/{active.config_id}")

    assert answer.status_code == 409
    assert answer.json()["code"] == "run_active"
    assert answer.json()["task_id"] == str(active.task_id)
    assert SyncRun.objects.count() == 1


def test_execute_of_a_disabled_config_is_409_unless_forced(local_root: Path) -> None:
    config = make_config(local_root, enable=False)
    client = client_of("superuser")

    refused = client.post(f"{TASK}/execute-sync/{config.pk}")
    forced = client.post(f"{TASK}/execute-sync/{config.pk}", {"force": True})

    assert (refused.status_code, refused.json()["code"]) == (409, "config_disabled")
    assert config.name in refused.json()["detail"]
    assert "also past the guards on deletions" in refused.json()["detail"]
    assert forced.status_code == 202
    assert SyncRun.objects.get().force


def test_whoever_may_run_syncs_may_plan_a_disabled_one(local_root: Path) -> None:
    config = make_config(local_root, enable=False)

    answer = client_of("operator").post(f"{TASK}/execute-sync/{config.pk}", {"dry_run": True})

    assert answer.status_code == 202, answer.json()
    run = SyncRun.objects.get()
    assert (run.dry_run, run.force) == (True, False)


def test_force_needs_a_permission_of_its_own(local_root: Path) -> None:
    config = make_config(local_root)

    answer = client_of("operator").post(f"{TASK}/execute-sync/{config.pk}", {"force": True})

    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert not SyncRun.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [({"dry-run": True}, "dry-run"), ({"dry_run": "perhaps"}, "dry_run"), ({"x": 1}, "x")],
)
def test_execute_refuses_what_it_does_not_understand(
    local_root: Path, body: dict[str, object], field: str
) -> None:
    config = make_config(local_root)

    answer = client_of("operator").post(f"{TASK}/execute-sync/{config.pk}", body)

    assert answer.status_code == 400
    assert list(answer.json()) == [field]
    assert not SyncRun.objects.exists()


def test_malformed_json_is_400_with_a_code(local_root: Path) -> None:
    config = make_config(local_root)

    answer = client_of("operator").post(
        f"{TASK}/execute-sync/{config.pk}", "{", content_type="application/json"
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "parse_error")


def test_execute_all_says_for_each_enabled_config_whether_it_was_queued(local_root: Path) -> None:
    idle = make_config(local_root, name="a idle")
    busy = make_config(local_root, name="b busy", source_path="x", destination_path="y")
    make_config(local_root, name="c disabled", enable=False)
    make_run(busy)

    answer = client_of("operator").post(f"{TASK}/execute-all-enabled")

    assert answer.status_code == 202
    body = answer.json()
    assert (body["queued"], body["total"]) == (1, 2)
    queued, refused = body["results"]
    made = SyncRun.objects.get(config=idle)
    assert queued == {
        "config_id": idle.pk,
        "name": "a idle",
        "task_id": str(made.task_id),
        "status": "queued",
        "detail": "",
    }
    assert made.trigger == "BATCH"
    assert (refused["config_id"], refused["task_id"]) == (busy.pk, None)
    assert refused["status"] == "run_active"
    assert "b busy" in refused["detail"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_execute_all_takes_dry_run(local_root: Path, *, dry_run: bool) -> None:
    make_config(local_root)

    answer = client_of("operator").post(f"{TASK}/execute-all-enabled", {"dry_run": dry_run})

    assert (answer.status_code, answer.json()["queued"]) == (202, 1)
    assert SyncRun.objects.get().dry_run is dry_run


def test_execute_all_refuses_what_it_does_not_understand(local_root: Path) -> None:
    make_config(local_root)

    answer = client_of("operator").post(f"{TASK}/execute-all-enabled", {"force": True})

    assert (answer.status_code, list(answer.json())) == (400, ["force"])
    assert not SyncRun.objects.exists()


def test_execute_all_without_configs_queues_nothing() -> None:
    answer = client_of("operator").post(f"{TASK}/execute-all-enabled")

    assert (answer.status_code, answer.json()) == (202, {"queued": 0, "total": 0, "results": []})


@pytest.mark.parametrize("task_id", [UNKNOWN_TASK, "no-uuid", "1"])
def test_result_of_an_unknown_task_is_404(task_id: str) -> None:
    answer = client_of("viewer").get(f"{TASK}/task-result/{task_id}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("state", "attempt", "status", "ready", "successful", "failed"),
    [
        ("QUEUED", 0, "PENDING", False, False, False),
        ("QUEUED", 1, "RETRY", False, False, False),
        ("RUNNING", 1, "STARTED", False, False, False),
        ("SUCCEEDED", 1, "SUCCESS", True, True, False),
        ("PARTIAL", 1, "FAILURE", True, False, True),
        ("FAILED", 1, "FAILURE", True, False, True),
        ("LOST", 3, "FAILURE", True, False, True),
        ("CANCELLED", 1, "REVOKED", True, False, False),
        ("SKIPPED", 0, "IGNORED", True, False, False),
        ("MISSED", 0, "IGNORED", True, False, False),
    ],
)
def test_result_speaks_celerys_words_beside_the_runs_own_state(
    local_root: Path,
    state: str,
    attempt: int,
    status: str,
    *,
    ready: bool,
    successful: bool,
    failed: bool,
) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State(state), attempt=attempt)

    body = client_of("viewer").get(f"{TASK}/task-result/{run.task_id}").json()

    assert body["task_id"] == str(run.task_id)
    assert body["status"] == body["run"]["status"] == status
    assert body["run"]["state"] == state
    assert (body["ready"], body["successful"], body["failed"]) == (ready, successful, failed)


def test_result_of_a_finished_run_holds_its_summary(local_root: Path) -> None:
    held = claim(make_run(make_config(local_root)))
    totals = engine.Totals(files_transferred=3, bytes_transferred=42)
    run = finish_run(held, engine.SyncResult(engine.Outcome.SUCCEEDED, totals))
    assert run is not None

    body = client_of("viewer").get(f"{TASK}/task-result/{run.task_id}").json()

    assert body["error"] is None
    assert body["result"]["run_id"] == body["run"]["id"] == run.pk
    assert (body["result"]["files_transferred"], body["result"]["bytes_transferred"]) == (3, 42)


@pytest.mark.parametrize("spell", [str.upper, lambda task_id: task_id.replace("-", "")])
def test_the_result_is_found_however_the_id_is_spelt(
    local_root: Path, spell: Callable[[str], str]
) -> None:
    held = claim(make_run(make_config(local_root)))
    run = finish_run(held, engine.SyncResult(engine.Outcome.SUCCEEDED, engine.Totals()))
    assert run is not None
    client = client_of("viewer")

    usual, other = (
        client.get(f"{TASK}/task-result/{task_id}").json()
        for task_id in (str(run.task_id), spell(str(run.task_id)))
    )

    assert usual["result"] is not None
    assert other == usual


def test_a_failed_run_is_no_http_error_and_says_why_and_what_to_do(local_root: Path) -> None:
    held = claim(make_run(make_config(local_root)))
    failure = engine.Failure.of(engine.FailureClass.AUTH, "login refused for user kim")
    run = finish_run(held, engine.SyncResult(engine.Outcome.FAILED, failure=failure))
    assert run is not None

    answer = client_of("viewer").get(f"{TASK}/task-result/{run.task_id}")

    assert answer.status_code == 200
    body = answer.json()
    assert body["result"] is None
    assert body["error"].startswith("AUTH: login refused for user kim")
    assert failure.advice in body["error"]
    assert body["run"]["failure_class"] == "AUTH"


def test_result_of_a_running_run_shows_its_progress(local_root: Path) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.RUNNING, progress={"percent": 12.5})

    body = client_of("viewer").get(f"{TASK}/task-result/{run.task_id}").json()

    assert body["progress"] == {"percent": 12.5}


@pytest.mark.parametrize(
    ("status", "ready"), [("SUCCESS", True), ("FAILURE", True), ("REVOKED", True), ("RETRY", False)]
)
def test_result_tells_of_tasks_that_are_no_run_too(status: str, *, ready: bool) -> None:
    result: object = {"requeued": 0} if status == "SUCCESS" else ValueError("no")
    current_app.backend.store_result("some-task", result, status)

    body = client_of("viewer").get(f"{TASK}/task-result/some-task").json()

    assert (body["status"], body["ready"], body["run"]) == (status, ready, None)
    assert (body["result"] == {"requeued": 0}) is (status == "SUCCESS")
    assert (body["error"] is not None) is (status == "FAILURE")


def test_status_shows_what_runs_what_waits_and_what_fires_next(local_root: Path) -> None:
    storage = make_config(local_root, name="hourly", cron="0 * * * *").source_storage
    make_config(local_root, name="off", cron="0 * * * *", enable=False, source_storage=storage)
    running = make_run(make_config(local_root), state=SyncRun.State.RUNNING)
    queued = make_run(make_config(local_root))
    make_run(make_config(local_root), state=SyncRun.State.SUCCEEDED)
    now = timezone.now()
    Heartbeat.objects.create(role="beat", name="beat@a", started_at=now, seen_at=now, leading=True)
    Heartbeat.objects.create(
        role="worker", name="worker@a", started_at=now, seen_at=now - timedelta(hours=1), slots=4
    )

    answer = client_of("viewer").get(f"{TASK}/task-status")

    assert answer.status_code == 200
    body = answer.json()
    assert body["beat"]["running"] is True
    assert [(beat["name"], beat["leading"]) for beat in body["beat"]["processes"]] == [
        ("beat@a", True)
    ]
    assert [(worker["name"], worker["alive"]) for worker in body["workers"]] == [
        ("worker@a", False)
    ]
    assert [entry["name"] for entry in body["scheduled"]] == ["hourly"]
    assert [run["id"] for run in body["running"]] == [running.pk]
    assert [run["id"] for run in body["queued"]] == [queued.pk]
    assert body["queue_depth"] == 1
    assert body["broker"] == {"reachable": False}
    assert any("worker" in warning for warning in body["warnings"])
    assert not any("beat" in warning for warning in body["warnings"])


def test_status_names_the_next_ten_slots_and_the_progress_of_what_runs(local_root: Path) -> None:
    storage = make_config(local_root, cron="5 * * * *").source_storage
    for number in range(10):
        make_config(local_root, cron=f"{number} {number} * * *", source_storage=storage)
    progress: dict[str, object] = {"percent": 12.5}
    run = make_run(make_config(local_root), state=SyncRun.State.RUNNING, progress=progress)

    body = client_of("viewer").get(f"{TASK}/task-status").json()

    slots = [datetime.fromisoformat(entry["next_run"]) for entry in body["scheduled"]]
    assert (len(slots), body["scheduled_count"]) == (10, 11)
    assert slots == sorted(slots)
    assert [(one["id"], one["progress"]) for one in body["running"]] == [(run.pk, progress)]


def test_status_asks_no_worker_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's own way costs its whole timeout, and a busy worker may not answer at all."""

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("a worker was asked")

    monkeypatch.setattr(Control, "inspect", asked)
    monkeypatch.setattr(Control, "broadcast", asked)

    assert client_of("viewer").get(f"{TASK}/task-status").status_code == 200


def test_status_takes_the_same_number_of_queries_however_much_runs(
    local_root: Path,
    django_assert_num_queries: DjangoAssertNumQueries,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    client = client_of("viewer")
    client.get(f"{TASK}/task-status")  # notes the use of the token, once
    for number in range(3):
        make_run(make_config(local_root, cron=f"{number} * * * *"))
    with django_assert_max_num_queries(16) as few:
        client.get(f"{TASK}/task-status")
    for number in range(20):
        make_run(make_config(local_root, cron=f"{number} 2 * * *"))

    with django_assert_num_queries(len(few)):
        client.get(f"{TASK}/task-status")


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/api/v1/", "get"),
        (f"{TASK}/task-status", "get"),
        (f"{TASK}/task-result/{{task_id}}", "get"),
        (f"{TASK}/execute-sync/{{config_id}}", "get"),
        (f"{TASK}/execute-sync/{{config_id}}", "post"),
        (f"{TASK}/execute-all-enabled", "get"),
        (f"{TASK}/execute-all-enabled", "post"),
        (f"{TASK}/refresh-tasks", "get"),
        (f"{TASK}/refresh-tasks", "post"),
        (f"{TASK}/clear-tasks", "get"),
        (f"{TASK}/clear-tasks", "delete"),
        (f"{TASK}/validate-cron", "get"),
        (f"{TASK}/validate-cron", "post"),
    ],
)
def test_every_route_has_a_page_for_the_browser(local_root: Path, path: str, method: str) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.SUCCEEDED)
    url = path.format(task_id=run.task_id, config_id=run.config_id)

    answer = browser_of("superuser").generic(method.upper(), url)

    assert answer.status_code < 500
    assert answer["Content-Type"].startswith("text/html")
    assert b"</html>" in answer.content


def test_the_schema_is_complete_and_without_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")

    schema = capsys.readouterr().out
    for path in (
        f"{TASK}/refresh-tasks:",
        f"{TASK}/task-status:",
        f"{TASK}/validate-cron:",
        f"{TASK}/clear-tasks:",
        f"{TASK}/execute-sync/{{config_id}}:",
        f"{TASK}/execute-all-enabled:",
        f"{TASK}/task-result/{{task_id}}:",
        "/api/v1/sync/configs:",
        "/api/v1/sync/storages/{id}:",
        "/api/v1/sync/runs/{id}/items:",
        "/api/v1/sync/runs/{id}/cancel:",
    ):
        assert f"  {path}" in schema


def test_task_ids_of_slots_answer_too(local_root: Path) -> None:
    run = make_run(make_config(local_root), slot=SLOT, task_id=uuid.uuid5(uuid.NAMESPACE_DNS, "s"))

    answer = client_of("viewer").get(f"{TASK}/task-result/{run.task_id}")

    assert answer.json()["run"]["slot"] == "2026-03-01T02:00:00Z"
