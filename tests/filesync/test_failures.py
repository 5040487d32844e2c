"""Sending only the files that failed in a run, by API and command line, and what is refused."""

from __future__ import annotations

import json
import shutil
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from filesync.models import RunItem, SyncConfig, SyncRun
from filesync.services.execution import execute
from filesync.services.queueing import queue_run
from filesync.services.requests import sync_request
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    browser_of,
    claim,
    client_of,
    make_config,
    make_run,
    make_user,
)

pytestmark = pytest.mark.django_db

EXECUTE = "/api/v1/task/scheduler/execute-sync"


def failed_run(config: SyncConfig, *paths: str, failed: int | None = None) -> SyncRun:
    """Save a run in which these files failed; `failed` is what its counter says."""
    run = make_run(config, state=SyncRun.State.PARTIAL)
    for path in paths:
        RunItem.objects.create(run=run, action="FAILED", path=path, error="no right")
    SyncRun.objects.filter(pk=run.pk).update(files_failed=len(paths) if failed is None else failed)
    return run


def test_execute_sends_only_the_failed_files_of_a_run(local_root: Path) -> None:
    config = make_config(local_root)
    before = failed_run(config, "b")

    answer = client_of("operator").post(
        f"{EXECUTE}/{config.pk}", {"only_failed_of": before.pk, "dry_run": True}
    )

    assert answer.status_code == 202
    run = SyncRun.objects.get(task_id=answer.json()["task_id"])
    assert (run.only_failed, run.retry_of, run.trigger) == (True, before, "RETRY")
    assert run.dry_run


def test_the_command_sends_only_the_failed_files_of_a_run(local_root: Path) -> None:
    for name in ("failed.txt", "new since.txt"):
        (local_root / "source" / name).parent.mkdir(exist_ok=True)
        (local_root / "source" / name).write_text("x")
    config = make_config(local_root, method=SyncConfig.Method.FULL)
    before = failed_run(config, "failed.txt")
    out = StringIO()

    call_command("run_sync", config.pk, only_failed_of=before.pk, json=True, stdout=out)

    assert json.loads(out.getvalue())["files_transferred"] == 1
    assert [path.name for path in (local_root / "destination").iterdir()] == ["failed.txt"]


@pytest.mark.parametrize(
    ("kind", "status", "code", "words"),
    [
        ("unknown", 404, "not_found", "there is no run"),
        ("another", 409, "another_config", "name a run of"),
        ("deleted", 409, "another_config", "(deleted)"),
        ("active", 409, "run_active", "not known yet"),
        ("none failed", 409, "nothing_failed", "as a whole"),
        ("no file", 409, "nothing_failed", "as a whole"),
        ("undone", 409, "nothing_failed", "undo that one again"),
        ("forgotten", 409, "failures_forgotten", "3 files failed in run"),
        ("folder", 409, "failures_forgotten", "the folder sub/hidden/ could not be listed"),
    ],
)
def test_a_run_whose_failed_files_cannot_be_sent_is_refused_with_the_reason(
    local_root: Path, kind: str, status: int, code: str, words: str
) -> None:
    config = make_config(local_root)
    named = {
        "unknown": lambda: SyncRun(pk=999_999),
        "another": lambda: failed_run(make_config(local_root), "a"),
        "deleted": lambda: failed_run(make_config(local_root), "a"),
        "active": lambda: make_run(config, state=SyncRun.State.RUNNING),
        "none failed": lambda: make_run(config, state=SyncRun.State.SUCCEEDED),
        "no file": lambda: failed_run(config, ""),
        "undone": lambda: make_run(
            config, state=SyncRun.State.PARTIAL, trigger=SyncRun.Trigger.RESTORE
        ),
        "forgotten": lambda: failed_run(config, "a", failed=3),
        "folder": lambda: failed_run(config, "a", "sub/hidden/"),
    }[kind]()
    if kind == "deleted":
        SyncConfig.objects.exclude(pk=config.pk).delete()
    runs = SyncRun.objects.count()

    answer = client_of("operator").post(
        f"{EXECUTE}/{config.pk}", {"only_failed_of": named.pk}, format="json"
    )

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.json()
    assert words in answer.json()["detail"]
    assert SyncRun.objects.count() == runs
    with pytest.raises(CommandError) as refused:
        call_command("run_sync", config.pk, only_failed_of=named.pk)
    assert words in str(refused.value)


def test_a_run_of_a_deleted_config_is_refused_in_chinese_alone(local_root: Path) -> None:
    config, before = make_config(local_root), failed_run(make_config(local_root), "a")
    SyncConfig.objects.exclude(pk=config.pk).delete()

    answer = client_of("operator").post(
        f"{EXECUTE}/{config.pk}", {"only_failed_of": before.pk}, headers={"Accept-Language": "zh"}
    )

    assert f"属于 {before.config_name}（已删除）" in answer.json()["detail"]


def test_a_run_of_limited_files_knows_which_failed_lately(local_root: Path) -> None:
    config = make_config(local_root, max_files=2)
    failed_run(config, "long ago")
    for number in range(9):
        failed_run(config, f"{number}")
    failed_run(config, "")
    make_run(config, state=SyncRun.State.SUCCEEDED, dry_run=True)
    run = make_run(config)
    held = claim(run)

    assert sync_request(run, held).failed_before == set("012345678")
    SyncConfig.objects.filter(pk=config.pk).update(max_files=None)
    assert sync_request(SyncRun.objects.get(pk=run.pk), held).failed_before == set()


MENDABLE = [
    ("failed", True),
    ("some without a name", True),
    ("none failed", False),
    ("no file", False),
    ("forgotten", False),
    ("folder", False),
    ("deleted", False),
    ("undone", False),
    ("active", False),
]


def run_that(kind: str, root: Path) -> SyncRun:
    """Save a run whose failed files can be sent again, or cannot for the reason that it names."""
    config = make_config(root)
    paths = {
        "none failed": [],
        "no file": [""],
        "some without a name": ["a", ""],
        "folder": ["a", "sub/hidden/"],
    }.get(kind, ["a"])
    run = failed_run(config, *paths, failed=3 if kind == "forgotten" else None)
    if kind == "deleted":
        config.delete()
    if kind == "undone":
        SyncRun.objects.update(trigger=SyncRun.Trigger.RESTORE)
    if kind == "active":
        SyncRun.objects.update(state=SyncRun.State.QUEUED)
    return run


@pytest.mark.parametrize(("kind", "offered"), MENDABLE)
def test_the_page_of_a_run_offers_it_only_where_it_is_possible(
    local_root: Path, kind: str, *, offered: bool
) -> None:
    run = run_that(kind, local_root)
    client = Client()
    client.force_login(make_user("operator"))
    button = reverse("admin:filesync_syncrun_retry_failed_now", args=[run.pk])

    page = client.get(reverse("admin:filesync_syncrun_change", args=[run.pk]))

    assert (button in page.content.decode()) is offered
    assert ("Send the failed files again" in page.content.decode()) is offered
    again = reverse("admin:filesync_syncrun_retry_now", args=[run.pk])
    whole = kind not in ("deleted", "undone", "active")
    assert (again in page.content.decode()) is whole
    # Whoever asks for it all the same is refused, and nothing is queued.
    runs = SyncRun.objects.count()
    assert client.get(button).status_code == (200 if offered else 403)
    assert client.post(button, {"_form_submitted": "True"}).status_code == (200 if offered else 403)
    assert SyncRun.objects.count() - runs == (1 if offered else 0)


@pytest.mark.parametrize(("kind", "offered"), MENDABLE)
def test_the_page_of_the_api_offers_it_only_where_it_is_possible(
    local_root: Path, kind: str, *, offered: bool
) -> None:
    run = run_that(kind, local_root)

    page = browser_of("operator").get(f"/api/v1/sync/runs/{run.pk}/retry").content.decode()

    assert "post-object-form" in page
    assert ('name="only_failed"' in page) is offered
    assert ("&quot;only_failed&quot;" in page) is offered


@pytest.mark.parametrize("pk", ["999999", "abc", "9" * 30])
def test_the_page_of_a_run_that_is_not_there_offers_nothing(pk: str) -> None:
    page = browser_of("operator").get(f"/api/v1/sync/runs/{pk}/retry")

    assert page.status_code == 200
    assert "only_failed" not in page.content.decode()


def test_a_body_that_names_it_needlessly_is_answered_as_before(local_root: Path) -> None:
    run = run_that("none failed", local_root)
    route = f"/api/v1/sync/runs/{run.pk}/retry"
    client = client_of("operator")

    refused = client.post(route, {"only_failed": True})
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_failed")
    assert client.post(route, {"only_failed": False}).status_code == 202


@pytest.mark.parametrize("value", ["x", 0, -1, 2**63, 1.5, True, [1]])
def test_what_is_no_id_of_a_run_is_named(local_root: Path, value: object) -> None:
    answer = client_of("operator").post(
        f"{EXECUTE}/{make_config(local_root).pk}", {"only_failed_of": value}, format="json"
    )

    assert (answer.status_code, list(answer.json())) == (400, ["only_failed_of"])


def test_a_key_counts_for_one_run_whose_failed_files_are_sent(local_root: Path) -> None:
    config = make_config(local_root)
    first, second = failed_run(config, "a"), failed_run(config, "b")
    client = client_of("operator")

    answers = [
        client.post(
            f"{EXECUTE}/{config.pk}", {"only_failed_of": run.pk}, HTTP_IDEMPOTENCY_KEY="mend-1"
        )
        for run in (first, first, second)
    ]

    assert [answer.status_code for answer in answers] == [202, 202, 422]
    assert answers[0].json() == answers[1].json()


def test_the_failed_files_of_a_run_that_are_not_all_recorded_are_not_run_again(
    local_root: Path,
) -> None:
    before = failed_run(make_config(local_root), "a", failed=3)

    answer = client_of("operator").post(
        f"/api/v1/sync/runs/{before.pk}/retry", {"only_failed": True}
    )

    assert (answer.status_code, answer.json()["code"]) == (409, "failures_forgotten")


def test_a_file_that_a_rename_rule_named_anew_is_sent_again(local_root: Path) -> None:
    (local_root / "source").mkdir()
    (local_root / "source" / "IMG_1.jpg").write_text("one")
    (local_root / "source" / "2").write_text("two")
    in_the_way = local_root / "destination" / "1.jpg" / "in-the-way"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("x")
    config = make_config(local_root, renames="^IMG_ =>")
    before = make_run(config)
    execute(claim(before))
    shutil.rmtree(in_the_way.parent)
    again = queue_run(config.pk, only_failed_of=before.pk)
    execute(claim(again))

    again.refresh_from_db()
    assert (again.state, again.files_transferred) == (SyncRun.State.SUCCEEDED, 1)
    assert (local_root / "destination" / "1.jpg").read_text() == "one"
