"""Attempts of a run: each is noted by the update that ends it, and shown on the run's page."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from filesync import engine
from filesync.models import SyncRun
from filesync.services import attempts, sweeping
from filesync.services.finishing import cancel_run, finish_run, requeue_run
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, lapse, make_config, make_run, make_user
from tests.filesync.factories import use_broker as use_broker

pytestmark = pytest.mark.django_db

SUCCEEDED = engine.SyncResult(engine.Outcome.SUCCEEDED)
NETWORK = engine.SyncResult(
    engine.Outcome.FAILED,
    failure=engine.Failure.of(engine.FailureClass.NETWORK, "no route to host"),
)


def due_again(run: SyncRun) -> SyncRun:
    SyncRun.objects.filter(pk=run.pk).update(not_before=None)
    run.refresh_from_db()
    return run


def test_each_attempt_is_noted_with_its_worker_its_time_and_its_end(local_root: Path) -> None:
    run = make_run(make_config(local_root, max_attempts=3))
    before = timezone.now()

    finish_run(claim(run, worker="one@here"), NETWORK)
    requeue_run(claim(due_again(run), worker="two@here"), SyncRun.Reason.WORKER_STOPPED)
    claim(due_again(run), worker="three@here")
    lapse(run)
    sweeping.sweep()
    finish_run(claim(due_again(run), worker="four@here"), SUCCEEDED)

    run.refresh_from_db()
    told = [
        (one["number"], one["worker"], one["state"], one["reason"], one["failure_class"])
        for one in run.attempts
    ]
    assert told == [
        (1, "one@here", "QUEUED", "RETRY", "NETWORK"),
        (2, "two@here", "QUEUED", "WORKER_STOPPED", ""),
        (2, "three@here", "QUEUED", "LEASE_LOST", ""),
        (3, "four@here", "SUCCEEDED", "", ""),
    ]
    assert run.attempts[0]["message"] == "no route to host"
    margin = timedelta(seconds=5)
    for one in run.attempts:
        started = datetime.fromisoformat(one["started_at"])
        ended = datetime.fromisoformat(one["ended_at"])
        assert before - margin < started <= ended < timezone.now() + margin


def test_what_never_ran_has_no_attempt(local_root: Path) -> None:
    run = make_run(make_config(local_root))

    cancel_run(run.pk)

    run.refresh_from_db()
    assert (run.state, run.attempts) == ("CANCELLED", [])


def test_noting_an_attempt_costs_no_query_of_its_own(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    held = claim(run)

    with CaptureQueriesContext(
        connection,
    ) as seen:
        finish_run(held, SUCCEEDED)

    about_runs = [query["sql"] for query in seen if '"attempts" = ' in query["sql"]]
    assert len(about_runs) == 1
    assert '"state" = ' in about_runs[0]


def test_a_run_that_is_handed_on_without_end_keeps_the_latest(local_root: Path) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.RUNNING, attempt=7)
    run.attempts = [{"number": number} for number in range(attempts.MOST_KEPT)]

    kept = attempts.with_ended_attempt(
        run, {"state": "QUEUED", "message": "x" * 9000}, timezone.now()
    )

    assert len(kept) == attempts.MOST_KEPT
    assert kept[0]["number"] == 1
    assert kept[-1]["number"] == 7
    assert len(str(kept[-1]["message"])) == attempts.MESSAGE_CHARS


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["Attempts", "goes on", "Network: no route to host", "The worker went silent"]),
        ("zh-hans", ["尝试", "继续", "网络: no route to host", "worker 失去联系"]),
    ],
)
def test_the_page_lists_the_attempts(local_root: Path, language: str, words: list[str]) -> None:
    run = make_run(make_config(local_root))
    finish_run(claim(run, worker="<b>one</b>@here"), NETWORK)
    claim(due_again(run), worker="two@here")
    lapse(run)
    sweeping.sweep()
    claim(due_again(run), worker="three@here")
    client = Client(headers={"accept-language": language})
    client.force_login(make_user("viewer"))

    page = client.get(f"/admin/filesync/syncrun/{run.pk}/change/").content.decode()

    for text in (*words, "&lt;b&gt;one&lt;/b&gt;@here", "two@here", "three@here"):
        assert text in page
    assert "<b>one" not in page


def test_the_api_tells_the_attempts_in_the_readers_language(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    words = engine.Text("exit code {exit_code}", exit_code=3)
    failure = engine.Failure.of(engine.FailureClass.INTERNAL, words, retryable=False)
    finish_run(
        claim(run, worker="one@here"), engine.SyncResult(engine.Outcome.FAILED, failure=failure)
    )
    client = Client(headers={"accept-language": "zh-hans"})
    client.force_login(make_user("viewer"))

    one = client.get(f"/api/v1/sync/runs/{run.pk}").json()
    [row] = client.get("/api/v1/sync/runs").json()["results"]

    [attempt] = one["attempts"]
    assert row["attempts"] == [attempt]
    assert attempt["message"] == "退出码 3"
    told = [attempt[name] for name in ("number", "worker", "state", "reason", "failure_class")]
    assert told == [1, "one@here", "FAILED", "", "INTERNAL"]


@pytest.mark.parametrize(
    ("language", "late", "words"),
    [
        ("en", "NOT_STARTED", "It has not started in time"),
        ("zh-hans", "TOO_LONG", "用时远超平常"),
    ],
)
def test_a_late_run_says_so_on_its_page_and_in_the_list(
    local_root: Path, language: str, late: str, words: str
) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.RUNNING)
    client = Client(headers={"accept-language": language})
    client.force_login(make_user("viewer"))
    pages = [f"/admin/filesync/syncrun/{run.pk}/change/", "/admin/filesync/syncrun/"]
    assert [words in client.get(page).content.decode() for page in pages] == [False, False]

    SyncRun.objects.filter(pk=run.pk).update(late=late)

    assert [words in client.get(page).content.decode() for page in pages] == [True, True]
    live = client.get(f"/admin/filesync/syncrun/{run.pk}/live/").json()
    assert live["late"] == words
