"""A worker's hold on a run: taken once, kept, and lost to whoever took it over."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.utils import timezone

from filesync.models import SyncRun
from filesync.services import leases
from filesync.services.leases import LEASE_S, LeaseLost, keep_lease
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    claim,
    lapse,
    make_config,
    make_run,
    make_storage,
    stored_status,
)
from tests.racing import race

pytestmark = pytest.mark.django_db

UNKNOWN = "11111111-2222-3333-4444-555555555555"


def claimed(run: SyncRun) -> bool:
    return leases.claim_run(str(run.task_id), worker="w") is not None


def test_a_claim_makes_the_run_running_with_a_lease_and_an_attempt(local_root: Path) -> None:
    run = make_run(make_config(local_root), message="old", failure_class="NETWORK", attempt=1)
    before = timezone.now()

    held = claim(run, worker="worker@host")

    run.refresh_from_db()
    assert (run.state, run.reason, run.attempt, run.worker) == ("RUNNING", "", 2, "worker@host")
    assert (run.message, run.failure_class, run.progress) == ("", "", {})
    assert run.lease_token == held.token
    assert run.lease_expires_at is not None
    assert run.started_at is not None
    expected = before + timedelta(seconds=LEASE_S)
    assert abs((run.lease_expires_at - expected).total_seconds()) < 30
    assert stored_status(run) == run.task_status == "STARTED"


@pytest.mark.parametrize("state", [SyncRun.State.RUNNING, *SyncRun.TERMINAL])
def test_only_a_queued_run_can_be_claimed(local_root: Path, state: SyncRun.State) -> None:
    run = make_run(make_config(local_root), state=state)

    assert not claimed(run)

    run.refresh_from_db()
    assert run.state == state


def test_an_unknown_task_cannot_be_claimed() -> None:
    assert leases.claim_run(UNKNOWN, worker="w") is None


def test_a_second_doorbell_finds_nothing_to_do(local_root: Path) -> None:
    run = make_run(make_config(local_root))

    assert claimed(run)
    assert not claimed(run)

    run.refresh_from_db()
    assert run.attempt == 1


def test_a_run_is_not_claimed_before_its_time(local_root: Path) -> None:
    later = timezone.now() + timedelta(minutes=5)
    run = make_run(make_config(local_root), not_before=later)
    assert not claimed(run)

    SyncRun.objects.filter(pk=run.pk).update(not_before=timezone.now() - timedelta(seconds=1))
    assert claimed(run)


def test_a_storage_takes_only_as_many_runs_as_it_allows(local_root: Path) -> None:
    storage = make_storage(local_root, max_concurrent_runs=2)
    runs = [
        make_run(make_config(local_root, source_storage=storage, source_path=f"s{number}"))
        for number in range(3)
    ]

    assert [claimed(run) for run in runs] == [True, True, False]
    runs[2].refresh_from_db()
    assert (runs[2].state, runs[2].attempt) == ("QUEUED", 0)

    SyncRun.objects.filter(pk=runs[0].pk).update(state=SyncRun.State.SUCCEEDED)
    assert claimed(runs[2])


@pytest.mark.parametrize("side", ["source_storage", "destination_storage"])
def test_the_limit_of_either_side_counts_whichever_side_uses_it(
    local_root: Path, side: str
) -> None:
    narrow = make_storage(local_root, max_concurrent_runs=1)
    wide = make_storage(local_root, max_concurrent_runs=10)
    running = make_config(local_root, source_storage=narrow, destination_storage=wide)
    waiting = make_config(local_root, source_storage=wide, destination_storage=wide)
    setattr(waiting, side, narrow)
    waiting.save()
    make_run(running, state=SyncRun.State.RUNNING)

    assert not claimed(make_run(waiting))


def test_another_storages_runs_do_not_count(local_root: Path) -> None:
    for _ in range(5):
        make_run(make_config(local_root), state=SyncRun.State.RUNNING)

    assert claimed(make_run(make_config(local_root)))


def test_keeping_the_lease_renews_it_and_writes_the_progress(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    held = claim(run)
    lapse(run)

    assert keep_lease(held, phase="TRANSFERRING", progress={"percent": 40.0}) is False

    run.refresh_from_db()
    assert (run.phase, run.progress) == ("TRANSFERRING", {"percent": 40.0})
    assert run.lease_expires_at is not None
    assert run.lease_expires_at > timezone.now() + timedelta(seconds=LEASE_S / 2)


def test_keeping_the_lease_tells_that_somebody_wants_to_cancel(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    held = claim(run)
    SyncRun.objects.filter(pk=run.pk).update(cancel_requested_at=timezone.now())

    assert keep_lease(held, phase="", progress={}) is True


def test_a_lease_that_another_worker_took_is_lost(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    silent = claim(run, worker="silent")
    SyncRun.objects.filter(pk=run.pk).update(
        state=SyncRun.State.QUEUED, lease_token=None, lease_expires_at=None
    )
    now_holding = claim(run, worker="other")

    with pytest.raises(LeaseLost):
        keep_lease(silent, phase="LISTING", progress={"percent": 99.0})

    run.refresh_from_db()
    assert (run.worker, run.lease_token) == ("other", now_holding.token)
    assert (run.phase, run.progress) == ("", {})


@pytest.mark.parametrize("state", [SyncRun.State.QUEUED, *SyncRun.TERMINAL])
def test_a_lease_of_a_run_that_is_not_running_any_more_is_lost(
    local_root: Path, state: SyncRun.State
) -> None:
    run = make_run(make_config(local_root))
    held = claim(run)
    SyncRun.objects.filter(pk=run.pk).update(state=state)

    with pytest.raises(LeaseLost):
        keep_lease(held, phase="", progress={})


@pytest.mark.django_db(transaction=True)
def test_of_ten_workers_that_claim_at_once_exactly_one_gets_the_run(local_root: Path) -> None:
    run = make_run(make_config(local_root))

    taken = claim_at_once([run] * 10)

    run.refresh_from_db()
    assert len(taken) == 1
    assert (run.state, run.attempt, run.lease_token) == ("RUNNING", 1, taken[0].token)


@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_at_once_stay_within_the_storages_limit(local_root: Path) -> None:
    storage = make_storage(local_root, max_concurrent_runs=3)
    runs = [
        make_run(make_config(local_root, source_storage=storage, source_path=f"s{number}"))
        for number in range(10)
    ]

    taken = claim_at_once(runs)

    assert len(taken) == 3
    assert SyncRun.objects.filter(state=SyncRun.State.RUNNING).count() == 3
    assert SyncRun.objects.filter(state=SyncRun.State.QUEUED).count() == 7


def claim_at_once(runs: list[SyncRun]) -> list[leases.Claim]:
    """Claim each run in a thread of its own, all at the same moment; return what was taken."""
    taken: list[leases.Claim] = []

    def take(run: SyncRun) -> None:
        held = leases.claim_run(str(run.task_id), worker=threading.current_thread().name)
        if held is not None:
            taken.append(held)

    assert race([partial(take, run) for run in runs]) == []
    return taken
