"""How runs end: once, in one state, which the celery result repeats; and how they go on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from celery.result import AsyncResult
from django.utils import timezone

from filesync import engine
from filesync.errors import NotFound, RunFinished, SyncFailed
from filesync.models import SyncRun
from filesync.services import finishing
from filesync.services.finishing import cancel_run, finish_run, requeue_run, retry_delay_s
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    claim,
    make_config,
    make_run,
    make_storage,
    stored_status,
    waiting_messages,
)
from tests.filesync.factories import use_broker as use_broker
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.django_db

SUCCEEDED = engine.SyncResult(
    engine.Outcome.SUCCEEDED,
    engine.Totals(
        files_transferred=3,
        bytes_transferred=42,
        files_deleted=1,
        files_renamed=2,
        files_checked=7,
        files_failed=0,
    ),
)
CANCELLED = engine.SyncResult(engine.Outcome.CANCELLED)


def failed(
    failure_class: engine.FailureClass, outcome: engine.Outcome = engine.Outcome.FAILED
) -> engine.SyncResult:
    failure = engine.Failure.of(failure_class, f"it was {failure_class}")
    return engine.SyncResult(outcome, engine.Totals(files_failed=2), failure)


NETWORK = failed(engine.FailureClass.NETWORK)


@pytest.mark.parametrize(
    ("result", "state", "status"),
    [
        (SUCCEEDED, "SUCCEEDED", "SUCCESS"),
        (failed(engine.FailureClass.AUTH, engine.Outcome.PARTIAL), "PARTIAL", "FAILURE"),
        (failed(engine.FailureClass.AUTH), "FAILED", "FAILURE"),
        (CANCELLED, "CANCELLED", "REVOKED"),
    ],
)
def test_a_run_ends_as_the_engine_says_and_celery_says_the_same(
    local_root: Path, result: engine.SyncResult, state: str, status: str
) -> None:
    run = make_run(make_config(local_root))

    ended = finish_run(claim(run), result)

    assert ended is not None
    run.refresh_from_db()
    assert run.state == ended.state == state
    assert run.finished_at is not None
    assert (run.lease_token, run.lease_expires_at, run.phase) == (None, None, "")
    assert stored_status(run) == run.task_status == status
    assert AsyncResult(str(run.task_id)).status == status


def test_the_counters_are_the_engines(local_root: Path) -> None:
    run = make_run(make_config(local_root))

    finish_run(claim(run), SUCCEEDED)

    run.refresh_from_db()
    assert (run.files_transferred, run.bytes_transferred, run.files_deleted) == (3, 42, 1)
    assert (run.files_checked, run.files_failed, run.files_renamed) == (7, 0, 2)
    result: dict[str, object] = AsyncResult(str(run.task_id)).get(timeout=5)
    assert (result["run_id"], result["state"], result["bytes_transferred"]) == (
        run.pk,
        "SUCCEEDED",
        42,
    )


def test_a_failure_says_what_it_was_and_what_to_do(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    failure = engine.Failure.of(engine.FailureClass.GUARD, "12 of 13 would go", guard="max_delete")

    finish_run(claim(run), engine.SyncResult(engine.Outcome.FAILED, failure=failure))

    run.refresh_from_db()
    assert (run.failure_class, run.guard, run.message) == ("GUARD", "max_delete", failure.message)
    assert run.advice == failure.advice != ""
    with pytest.raises(SyncFailed, match="GUARD: 12 of 13 would go"):
        AsyncResult(str(run.task_id)).get(timeout=5)


@pytest.mark.parametrize("second", [SUCCEEDED, NETWORK, CANCELLED])
def test_a_run_ends_only_once(local_root: Path, second: engine.SyncResult) -> None:
    run = make_run(make_config(local_root))
    held = claim(run)
    finish_run(held, failed(engine.FailureClass.AUTH))
    run.refresh_from_db()
    finished_at = run.finished_at

    assert finish_run(held, second) is None

    run.refresh_from_db()
    assert (run.state, run.finished_at, stored_status(run)) == ("FAILED", finished_at, "FAILURE")


def test_a_worker_that_lost_its_lease_cannot_end_the_run(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    silent = claim(run)
    SyncRun.objects.filter(pk=run.pk).update(
        state=SyncRun.State.QUEUED, lease_token=None, lease_expires_at=None
    )
    holding = claim(run)

    assert finish_run(silent, SUCCEEDED) is None
    run.refresh_from_db()
    assert (run.state, run.lease_token) == ("RUNNING", holding.token)

    assert finish_run(holding, SUCCEEDED) is not None


# Another attempt ---------------------------------------------------------------------------------


def test_a_failure_that_may_pass_is_tried_again_later(local_root: Path) -> None:
    run = make_run(make_config(local_root, retry_delay_s=100, max_attempts=3))
    before = timezone.now()

    finish_run(claim(run), NETWORK)

    run.refresh_from_db()
    assert (run.state, run.reason, run.attempt) == ("QUEUED", "RETRY", 1)
    assert (run.finished_at, run.lease_token) == (None, None)
    assert run.failure_class == "NETWORK"
    assert run.not_before is not None
    # A tenth of jitter, and what the test itself takes.
    assert timedelta(seconds=85) < run.not_before - before < timedelta(seconds=140)
    assert stored_status(run) == run.task_status == "RETRY"


def test_the_last_attempt_ends_the_run(local_root: Path) -> None:
    run = make_run(make_config(local_root, retry_delay_s=0, max_attempts=2))

    finish_run(claim(run), NETWORK)
    finish_run(claim(run), NETWORK)

    run.refresh_from_db()
    assert (run.state, run.attempt, run.failure_class) == ("FAILED", 2, "NETWORK")
    assert stored_status(run) == "FAILURE"


def test_a_later_success_forgets_the_earlier_failure(local_root: Path) -> None:
    run = make_run(make_config(local_root, retry_delay_s=0))
    finish_run(claim(run), NETWORK)

    finish_run(claim(run), SUCCEEDED)

    run.refresh_from_db()
    assert (run.state, run.message, run.failure_class, run.advice) == ("SUCCEEDED", "", "", "")
    assert stored_status(run) == "SUCCESS"


@pytest.mark.parametrize("failure_class", list(engine.FailureClass))
def test_only_what_may_pass_by_itself_is_tried_again(
    local_root: Path, failure_class: engine.FailureClass
) -> None:
    run = make_run(make_config(local_root))

    finish_run(claim(run), failed(failure_class))

    run.refresh_from_db()
    passes = failure_class in ("NETWORK", "RATE_LIMITED", "TIMEOUT")
    assert run.state == ("QUEUED" if passes else "FAILED")


@pytest.mark.parametrize(
    ("attempt", "delay_s", "expected_s"),
    [(1, 60, 60), (2, 60, 120), (3, 60, 240), (7, 60, 3600), (19, 60, 3600), (1, 86_400, 3600)],
)
def test_the_wait_doubles_up_to_an_hour(
    local_root: Path, attempt: int, delay_s: int, expected_s: int
) -> None:
    config = make_config(local_root, retry_delay_s=delay_s, max_attempts=20)
    run = make_run(config, attempt=attempt)

    waits = [retry_delay_s(run, NETWORK) for _ in range(50)]

    assert all(wait is not None and 0.9 <= wait / expected_s <= 1.1 for wait in waits)
    assert len(set(waits)) > 1


def test_a_run_that_somebody_cancelled_is_not_tried_again(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    held = claim(run)
    cancel_run(run.pk)

    finish_run(held, NETWORK)

    run.refresh_from_db()
    assert run.is_terminal


# Back into the queue -----------------------------------------------------------------------------


def test_a_stopped_workers_run_goes_back_without_counting_the_attempt(local_root: Path) -> None:
    run = make_run(make_config(local_root))

    assert requeue_run(claim(run), SyncRun.Reason.WORKER_STOPPED)

    run.refresh_from_db()
    assert (run.state, run.reason, run.attempt) == ("QUEUED", "WORKER_STOPPED", 0)
    assert (run.lease_token, run.lease_expires_at, run.rung_at) == (None, None, None)
    assert stored_status(run) == run.task_status == "PENDING"
    assert claim(run)


def test_a_requeued_second_attempt_still_reads_as_a_retry(local_root: Path) -> None:
    run = make_run(make_config(local_root, retry_delay_s=0))
    finish_run(claim(run), NETWORK)

    requeue_run(claim(run), SyncRun.Reason.WORKER_STOPPED)

    run.refresh_from_db()
    assert (run.attempt, run.task_status, stored_status(run)) == (1, "RETRY", "RETRY")


def test_a_run_that_is_not_held_any_more_is_not_requeued(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    held = claim(run)
    finish_run(held, SUCCEEDED)

    assert not requeue_run(held, SyncRun.Reason.WORKER_STOPPED)

    run.refresh_from_db()
    assert run.state == "SUCCEEDED"


def test_a_run_that_somebody_cancelled_does_not_go_back_into_the_queue(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    held = claim(run)
    cancel_run(run.pk)

    requeue_run(held, SyncRun.Reason.WORKER_STOPPED)

    run.refresh_from_db()
    assert (run.state, stored_status(run)) == ("CANCELLED", "REVOKED")


# Cancelling --------------------------------------------------------------------------------------


def test_a_queued_run_is_cancelled_at_once(local_root: Path) -> None:
    run = make_run(make_config(local_root))

    cancelled = cancel_run(run.pk)

    run.refresh_from_db()
    assert run.state == cancelled.state == "CANCELLED"
    assert run.reason == "CANCELLED_BY_USER"
    assert run.finished_at is not None
    assert run.cancel_requested_at is not None
    assert stored_status(run) == "REVOKED"


def test_a_running_run_is_flagged_and_its_worker_ends_it(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    held = claim(run)

    asked = cancel_run(run.pk)

    assert (asked.state, stored_status(run)) == ("RUNNING", "STARTED")
    assert asked.cancel_requested_at is not None
    finish_run(held, CANCELLED)
    run.refresh_from_db()
    assert (run.state, run.reason) == ("CANCELLED", "CANCELLED_BY_USER")
    assert stored_status(run) == "REVOKED"


def test_a_run_that_waits_for_its_next_attempt_is_cancelled_at_once(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    finish_run(claim(run), NETWORK)

    cancel_run(run.pk)

    run.refresh_from_db()
    assert (run.state, stored_status(run)) == ("CANCELLED", "REVOKED")


@pytest.mark.parametrize("state", SyncRun.TERMINAL)
def test_a_run_that_has_ended_is_not_cancelled(local_root: Path, state: SyncRun.State) -> None:
    run = make_run(make_config(local_root), state=state)

    with pytest.raises(RunFinished, match=state):
        cancel_run(run.pk)

    run.refresh_from_db()
    assert (run.state, run.cancel_requested_at) == (state, None)


def test_a_run_that_does_not_exist_is_not_found() -> None:
    with pytest.raises(NotFound):
        cancel_run(999999)


def test_a_cancelled_run_is_never_claimed(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    cancel_run(run.pk)

    with pytest.raises(AssertionError, match="not claimed"):
        claim(run)


def test_deleting_the_config_ends_a_running_run_with_that_reason(local_root: Path) -> None:
    config = make_config(local_root)
    run = make_run(config)
    held = claim(run)

    config.delete()
    run.refresh_from_db()
    assert (run.state, run.config) == ("RUNNING", None)
    assert run.cancel_requested_at is not None

    finish_run(held, CANCELLED)
    run.refresh_from_db()
    assert (run.state, run.reason) == ("CANCELLED", "CONFIG_DELETED")


def test_the_result_row_says_the_state_through_a_whole_life(local_root: Path) -> None:
    run = make_run(make_config(local_root, retry_delay_s=0))
    told = []

    def note() -> None:
        run.refresh_from_db()
        told.append((run.state, run.task_status, stored_status(run)))

    requeue_run(claim(run), SyncRun.Reason.WORKER_STOPPED)
    note()
    held = claim(run)
    note()
    finish_run(held, NETWORK)
    note()
    held = claim(run)
    note()
    finish_run(held, SUCCEEDED)
    note()

    assert told == [
        ("QUEUED", "PENDING", "PENDING"),
        ("RUNNING", "STARTED", "STARTED"),
        ("QUEUED", "RETRY", "RETRY"),
        ("RUNNING", "STARTED", "STARTED"),
        ("SUCCEEDED", "SUCCESS", "SUCCESS"),
    ]


def test_a_change_whose_condition_fits_nothing_changes_nothing(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    held = claim(run)
    finish_run(held, SUCCEEDED)

    assert finishing.change_run(held.held(), state=SyncRun.State.FAILED) is None

    run.refresh_from_db()
    assert (run.state, stored_status(run)) == ("SUCCEEDED", "SUCCESS")


@pytest.mark.django_db(transaction=True)
def test_a_run_that_ends_rings_those_that_wait_for_its_storages_oldest_first(
    local_root: Path, broker: RedisServer
) -> None:
    busy, other = make_storage(local_root / "busy"), make_storage(local_root / "other")
    ended = make_run(make_config(local_root, source_storage=busy))
    elsewhere = make_run(make_config(local_root, source_storage=other))
    waiting = [
        make_run(make_config(local_root, source_storage=busy, destination_path=f"d{number}"))
        for number in range(6)
    ]
    finish_run(claim(ended), SUCCEEDED)

    rung = [task_id for task_id, _ in waiting_messages(broker)]
    assert rung == [str(run.task_id) for run in waiting[:2]]
    assert str(elsewhere.task_id) not in rung
