"""The sweep: what a crash left behind is made true again, once, and nothing else is touched."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from filesync.models import Storage, SyncRun
from filesync.services import journal
from filesync.services.finishing import cancel_run, finish_run
from filesync.services.sweeping import MAX_CRASHES, RING_PER_SLOT, SweepReport, sweep
from scheduler.models import Heartbeat
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    claim,
    doorbell,
    lapse,
    make_config,
    make_run,
    make_storage,
    stored_status,
    waiting_messages,
)
from tests.filesync.factories import use_broker as use_broker
from tests.filesync.test_finishing import SUCCEEDED
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.django_db

NOTHING = SweepReport(requeued=0, lost=0, cancelled=0, rung=0, told=0)


@pytest.mark.usefixtures("broker")
def test_a_run_whose_worker_went_silent_is_queued_again(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    silent = claim(run)
    lapse(run)

    report = sweep()

    run.refresh_from_db()
    assert report.requeued == 1
    assert (run.state, run.reason, run.attempt) == ("QUEUED", "LEASE_LOST", 1)
    assert (run.lease_token, run.lease_expires_at) == (None, None)
    assert stored_status(run) == run.task_status == "RETRY"
    assert finish_run(silent, SUCCEEDED) is None


def test_a_run_that_was_queued_again_is_rung_by_the_same_sweep(
    local_root: Path, broker: RedisServer
) -> None:
    run = make_run(make_config(local_root))
    claim(run)
    lapse(run)

    assert sweep().rung == 1

    assert waiting_messages(broker) == [doorbell(run)]


@pytest.mark.usefixtures("broker")
def test_a_lease_that_still_counts_is_left_alone(local_root: Path) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.RUNNING)

    assert sweep() == NOTHING

    run.refresh_from_db()
    assert run.state == "RUNNING"


@pytest.mark.usefixtures("broker")
def test_a_run_that_kills_its_workers_is_given_up_as_lost(local_root: Path) -> None:
    run = make_run(make_config(local_root, max_attempts=20))
    for crash in range(1, MAX_CRASHES):
        claim(run)
        lapse(run)
        assert sweep().requeued == 1, crash
    claim(run)
    lapse(run)

    report = sweep()

    run.refresh_from_db()
    assert (report.requeued, report.lost) == (0, 1)
    assert (run.state, run.reason, run.attempt) == ("LOST", "LEASE_LOST", 3)
    assert run.finished_at is not None
    assert run.message
    assert run.advice
    assert stored_status(run) == run.task_status == "FAILURE"


@pytest.mark.usefixtures("broker")
def test_a_silent_run_that_somebody_cancelled_is_cancelled(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    claim(run)
    cancel_run(run.pk)
    lapse(run)

    report = sweep()

    run.refresh_from_db()
    assert (report.cancelled, report.requeued) == (1, 0)
    assert (run.state, run.reason, stored_status(run)) == (
        "CANCELLED",
        "CANCELLED_BY_USER",
        "REVOKED",
    )


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("crashes", [0, MAX_CRASHES - 1])
def test_a_cancel_that_comes_while_a_sweep_is_at_it_ends_the_run(
    local_root: Path, monkeypatch: pytest.MonkeyPatch, crashes: int
) -> None:
    run = make_run(make_config(local_root))
    SyncRun.objects.filter(pk=run.pk).update(crashes=crashes)
    claim(run)
    lapse(run)

    def cancel_meanwhile() -> int:
        # Between what the sweep has read and what it writes.
        cancel_run(run.pk)
        return 0

    monkeypatch.setattr(journal, "replay", cancel_meanwhile)
    report = sweep()

    run.refresh_from_db()
    assert (report.cancelled, report.requeued, report.lost) == (1, 0, 0)
    assert (run.state, run.reason, stored_status(run)) == (
        "CANCELLED",
        "CANCELLED_BY_USER",
        "REVOKED",
    )


@pytest.mark.usefixtures("broker")
def test_a_run_that_was_queued_again_after_its_cancel_is_cancelled(local_root: Path) -> None:
    storage = make_storage(local_root)
    Storage.objects.filter(pk=storage.pk).update(paused_at=timezone.now(), paused_reason="x")
    config = make_config(local_root, source_storage=storage)
    run = make_run(config, cancel_requested_at=timezone.now())

    assert sweep().cancelled == 1

    run.refresh_from_db()
    assert (run.state, run.reason) == ("CANCELLED", "CANCELLED_BY_USER")


@pytest.mark.usefixtures("broker")
def test_sweeping_again_changes_nothing(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    claim(run)
    lapse(run)
    sweep()

    assert sweep() == NOTHING


def test_one_sweep_is_enough_for_many(local_root: Path, broker: RedisServer) -> None:
    storage = make_storage(local_root, max_concurrent_runs=64)
    for number in range(30):
        config = make_config(local_root, source_storage=storage, source_path=f"s{number}")
        lapse(make_run(config, state=SyncRun.State.RUNNING))
    live_worker(slots=30)

    report = sweep()

    assert (report.requeued, report.rung, len(waiting_messages(broker))) == (30, 30, 30)


# Ringing -----------------------------------------------------------------------------------------

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("rung_ago", "not_before_in", "rings"),
    [
        (None, None, True),
        (2 * MINUTE, None, True),
        (timedelta(seconds=10), None, False),
        (None, MINUTE, False),
        (2 * MINUTE, MINUTE, False),
        (2 * MINUTE, -MINUTE, True),
        (timedelta(seconds=10), -timedelta(seconds=5), True),
        (timedelta(seconds=10), -MINUTE, False),
    ],
)
def test_a_waiting_run_is_rung_when_its_time_has_come_and_its_message_may_be_lost(
    local_root: Path,
    broker: RedisServer,
    rung_ago: timedelta | None,
    not_before_in: timedelta | None,
    *,
    rings: bool,
) -> None:
    now = timezone.now()
    run = make_run(
        make_config(local_root),
        rung_at=None if rung_ago is None else now - rung_ago,
        not_before=None if not_before_in is None else now + not_before_in,
    )

    report = sweep()

    assert report.rung == int(rings)
    assert [task_id for task_id, _ in waiting_messages(broker)] == [str(run.task_id)] * rings


def test_only_queued_runs_are_rung(local_root: Path, broker: RedisServer) -> None:
    for state in (SyncRun.State.RUNNING, *SyncRun.TERMINAL):
        make_run(make_config(local_root), state=state)

    assert sweep().rung == 0
    assert waiting_messages(broker) == []


def test_without_a_broker_the_sweep_goes_on(local_root: Path) -> None:
    make_run(make_config(local_root))
    stale = make_run(make_config(local_root))
    claim(stale)
    lapse(stale)

    report = sweep()

    assert (report.requeued, report.rung) == (1, 0)


# History -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("broker")
def test_the_command_sweeps_once_and_says_what_it_did(
    local_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(make_config(local_root))
    claim(run)
    lapse(run)

    call_command("sweep_runs")

    run.refresh_from_db()
    assert run.state == "QUEUED"
    assert "requeued" in capsys.readouterr().out


def live_worker(*, slots: int, name: str = "w", queues: str = "") -> None:
    now = timezone.now()
    Heartbeat.objects.update_or_create(
        role="worker",
        name=name,
        defaults={"started_at": now, "seen_at": now, "slots": slots, "queues": queues},
    )


def test_no_more_is_rung_than_free_workers_could_take_up(
    local_root: Path, broker: RedisServer
) -> None:
    storage = make_storage(local_root, max_concurrent_runs=64)
    runs = [
        make_run(make_config(local_root, source_storage=storage, source_path=f"s{number}"))
        for number in range(20)
    ]
    live_worker(slots=3)
    for run in runs[:2]:
        claim(run, worker="w")

    assert sweep().rung == 4
    assert sweep().rung == 4
    rung = [task_id for task_id, _ in waiting_messages(broker)]
    assert rung == [str(run.task_id) for run in runs[2:10]]
    claim(runs[2], worker="w")
    assert sweep().rung == 0


def queued_for(root: Path, queue: str, count: int) -> list[SyncRun]:
    """Queue runs of a queue, each with a storage of its own."""
    return [make_run(make_config(root), queue=queue) for _ in range(count)]


def messages_of(broker: RedisServer, queue: str) -> int:
    length: int = broker.client().llen(queue)
    return length


def test_a_queue_without_a_worker_keeps_no_other_queue_from_being_rung(
    local_root: Path, broker: RedisServer
) -> None:
    queued_for(local_root, "site-b", 60)
    queued_for(local_root, "", 2)
    live_worker(slots=1, queues="celery")

    assert sweep().rung == 2

    assert (messages_of(broker, "site-b"), messages_of(broker, "celery")) == (0, 2)
    # Its worker comes.
    live_worker(slots=2, name="there", queues="site-b")
    assert sweep().rung == messages_of(broker, "site-b") == 2 * RING_PER_SLOT


def test_a_queue_whose_workers_are_busy_takes_no_calls_from_another(
    local_root: Path, broker: RedisServer
) -> None:
    busy, *_ = queued_for(local_root, "site-b", 30)
    queued_for(local_root, "", 2)
    live_worker(slots=1, name="there", queues="site-b")
    live_worker(slots=1, name="here", queues="celery")
    claim(busy, worker="there")

    assert sweep().rung == 2

    assert messages_of(broker, "celery") == 2


def test_a_sweep_asks_little_however_many_wait_for_nobody(
    local_root: Path, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    queued_for(local_root, "site-b", 30)
    live_worker(slots=4, queues="celery")

    with django_assert_max_num_queries(6):
        sweep()


@pytest.mark.usefixtures("broker")
def test_a_queued_run_whose_config_is_gone_is_cancelled_with_that_reason(
    local_root: Path,
) -> None:
    run = make_run(make_config(local_root))
    SyncRun.objects.update(config=None)

    assert sweep().cancelled == 1

    run.refresh_from_db()
    assert (run.state, run.reason) == ("CANCELLED", "CONFIG_DELETED")


@pytest.mark.usefixtures("broker")
def test_attempts_that_failed_by_themselves_do_not_count_as_lost_workers(
    local_root: Path,
) -> None:
    run = make_run(make_config(local_root, max_attempts=20), attempt=7)
    claim(run)
    lapse(run)

    sweep()

    run.refresh_from_db()
    assert (run.state, run.crashes) == ("QUEUED", 1)
