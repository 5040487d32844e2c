"""How wishes and slots become runs: once each, with their reason, whatever the broker does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from celery import current_app
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from filesync.errors import ConfigDisabled, NotFound, RunActive
from filesync.models import SyncConfig, SyncRun
from filesync.services import doorbells, queueing, slot_runs
from scheduler.clock import from_now
from scheduler.models import Doorbell, DueSlot
from scheduler.publishing import BrokerAway, publish
from tests.filesync.factories import (
    SLOT,
    doorbell,
    make_config,
    make_run,
    make_user,
    point_broker_at,
    waiting_messages,
)
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import use_broker as use_broker
from tests.racing import race
from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from tests.servers.silent import SilentServer

EARLIER = tuple(SLOT - timedelta(hours=hours) for hours in (3, 2, 1))


@pytest.fixture
def dead_broker() -> Iterator[None]:
    before = current_app.conf.broker_url
    point_broker_at(f"redis://127.0.0.1:{free_port()}/0")
    yield
    point_broker_at(before)


# One wish ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_queued_run_holds_what_was_wished(local_root: Path) -> None:
    config, user = make_config(local_root), make_user("operator")
    task_id = str(uuid.uuid4())

    run = queueing.queue_run(
        config.pk,
        trigger=SyncRun.Trigger.BATCH,
        user=user,
        dry_run=True,
        force=True,
        task_id=task_id,
    )

    stored = SyncRun.objects.get(pk=run.pk)
    assert (stored.config, stored.config_name, stored.requested_by) == (config, config.name, user)
    assert (stored.state, stored.trigger, stored.attempt) == ("QUEUED", "BATCH", 0)
    assert (stored.dry_run, stored.force, str(stored.task_id)) == (True, True, task_id)


@pytest.mark.django_db
def test_an_unknown_config_is_not_found() -> None:
    with pytest.raises(NotFound, match="999999"):
        queueing.queue_run(999999)


@pytest.mark.django_db
def test_a_disabled_config_is_refused_unless_forced(local_root: Path) -> None:
    config = make_config(local_root, enable=False)

    with pytest.raises(ConfigDisabled, match=config.name) as refused:
        queueing.queue_run(config.pk)

    assert "also past the guards on deletions" in str(refused.value)

    assert queueing.queue_run(config.pk, force=True).force


@pytest.mark.django_db
def test_a_disabled_config_may_be_planned(local_root: Path) -> None:
    config = make_config(local_root, enable=False)

    run = queueing.queue_run(config.pk, dry_run=True)
    SyncRun.objects.update(state=SyncRun.State.SUCCEEDED)
    again = queueing.retry_run(run.pk)

    assert [(one.dry_run, one.force) for one in (run, again)] == [(True, False)] * 2


@pytest.mark.django_db
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("state", SyncRun.ACTIVE)
def test_an_active_config_is_refused_even_with_force(
    local_root: Path, state: SyncRun.State, *, force: bool
) -> None:
    active = make_run(make_config(local_root), state=state)
    assert active.config_id is not None

    with pytest.raises(RunActive) as refused:
        queueing.queue_run(active.config_id, force=force)

    assert refused.value.task_id == str(active.task_id)
    assert str(active.task_id) in str(refused.value)
    assert SyncRun.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("state", SyncRun.TERMINAL)
def test_a_config_whose_run_has_ended_is_queued_again(
    local_root: Path, state: SyncRun.State
) -> None:
    config = make_config(local_root)
    make_run(config, state=state)

    assert queueing.queue_run(config.pk).state == "QUEUED"


@pytest.mark.django_db
def test_a_refusal_leaves_the_callers_transaction_usable(local_root: Path) -> None:
    config = make_config(local_root)
    with transaction.atomic():
        queueing.queue_run(config.pk)
        with pytest.raises(RunActive):
            queueing.queue_run(config.pk)
        SyncConfig.objects.filter(pk=config.pk).update(remark="still works")

    config.refresh_from_db()
    assert config.remark == "still works"


@pytest.mark.django_db(transaction=True)
def test_of_twenty_that_queue_one_config_at_once_exactly_one_succeeds(local_root: Path) -> None:
    config = make_config(local_root)
    queued: list[SyncRun] = []

    def wish() -> None:
        queued.append(queueing.queue_run(config.pk, ring_bell=False))

    refused = race([wish] * 20)

    assert len(queued) == 1
    assert [type(error) for error in refused] == [RunActive] * 19
    assert SyncRun.objects.count() == 1
    assert {error.task_id for error in refused if isinstance(error, RunActive)} == {
        str(queued[0].task_id)
    }


# Slots -------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_slot_becomes_a_queued_run_and_a_doorbell(local_root: Path) -> None:
    config = make_config(local_root)

    (bell,) = slot_runs.queue_slots([DueSlot(config.pk, SLOT)])

    run = SyncRun.objects.get()
    assert (run.state, run.reason, run.trigger, run.slot) == ("QUEUED", "", "CRON", SLOT)
    assert (run.config_name, run.finished_at) == (config.name, None)
    assert (bell.task, bell.task_id) == ("filesync.tasks.sync_file_task", str(run.task_id))
    assert (bell.task_id, bell.kwargs) == doorbell(run)
    assert run.rung_at is not None


@pytest.mark.django_db
@pytest.mark.parametrize("state", SyncRun.ACTIVE)
def test_a_slot_of_an_active_config_is_skipped_with_the_reason(
    local_root: Path, state: SyncRun.State
) -> None:
    config = make_config(local_root)
    make_run(config, state=state)

    assert slot_runs.queue_slots([DueSlot(config.pk, SLOT)]) == []

    run = SyncRun.objects.get(slot=SLOT)
    assert (run.state, run.reason, run.rung_at) == ("SKIPPED", "OVERLAP", None)
    assert run.finished_at is not None


@pytest.mark.django_db
def test_slots_that_nobody_fired_are_missed_and_the_latest_is_caught_up(local_root: Path) -> None:
    config = make_config(local_root)

    bells = slot_runs.queue_slots([DueSlot(config.pk, SLOT, EARLIER)])

    runs = list(SyncRun.objects.order_by("slot"))
    assert [(run.slot, run.state, run.reason) for run in runs[:3]] == [
        (slot, "MISSED", "MISFIRE") for slot in EARLIER
    ]
    assert all(run.finished_at is not None for run in runs[:3])
    assert (runs[3].slot, runs[3].state, runs[3].trigger) == (SLOT, "QUEUED", "CATCH_UP")
    assert [bell.task_id for bell in bells] == [str(runs[3].task_id)]


@pytest.mark.django_db
def test_where_the_policy_lets_no_slot_run_all_are_missed(local_root: Path) -> None:
    config = make_config(local_root)

    assert slot_runs.queue_slots([DueSlot(config.pk, None, EARLIER)]) == []

    assert [run.state for run in SyncRun.objects.all()] == ["MISSED"] * 3


@pytest.mark.django_db
def test_the_same_slot_twice_is_one_row(local_root: Path) -> None:
    config = make_config(local_root)
    due = [DueSlot(config.pk, SLOT, EARLIER)]

    slot_runs.queue_slots(due)
    slot_runs.queue_slots(due)

    assert SyncRun.objects.count() == 4
    assert SyncRun.objects.filter(slot=SLOT).count() == 1
    assert SyncRun.objects.filter(state=SyncRun.State.SKIPPED).count() == 0


@pytest.mark.django_db
def test_a_slot_that_has_run_already_rings_nobody(local_root: Path) -> None:
    config = make_config(local_root)
    slot_runs.queue_slots([DueSlot(config.pk, SLOT)])
    SyncRun.objects.update(state=SyncRun.State.SUCCEEDED)

    assert slot_runs.queue_slots([DueSlot(config.pk, SLOT)]) == []

    assert [run.state for run in SyncRun.objects.all()] == ["SUCCEEDED"]


@pytest.mark.django_db
def test_a_slot_of_a_config_that_was_deleted_is_dropped_and_the_others_fire(
    local_root: Path,
) -> None:
    gone, config = make_config(local_root), make_config(local_root)
    gone_id = gone.pk
    gone.delete()

    bells = slot_runs.queue_slots([DueSlot(gone_id, SLOT, EARLIER), DueSlot(config.pk, SLOT)])

    assert [bell.kwargs["config_id"] for bell in bells] == [config.pk]
    assert [run.config_id for run in SyncRun.objects.all()] == [config.pk]


@pytest.mark.django_db
def test_one_busy_config_does_not_hold_up_the_others_of_its_slot(local_root: Path) -> None:
    configs = [make_config(local_root) for _ in range(5)]
    make_run(configs[2], state=SyncRun.State.RUNNING)

    bells = slot_runs.queue_slots([DueSlot(config.pk, SLOT) for config in configs])

    assert len(bells) == 4
    states = SyncRun.objects.filter(slot=SLOT).order_by("config").values_list("state", flat=True)
    assert list(states) == ["QUEUED", "QUEUED", "SKIPPED", "QUEUED", "QUEUED"]


@pytest.mark.django_db
def test_a_thousand_slots_take_no_statement_each(local_root: Path) -> None:
    storage = make_config(local_root).source_storage
    SyncConfig.objects.bulk_create(
        SyncConfig(name=f"bulk {number}", source_storage=storage, destination_storage=storage)
        for number in range(1000)
    )
    ids = SyncConfig.objects.filter(name__startswith="bulk").values_list("pk", flat=True)
    due = [DueSlot(pk, SLOT) for pk in ids]

    # SQLite takes some 30 rows an insert, PostgreSQL all.
    with CaptureQueriesContext(connection) as statements:
        bells = slot_runs.queue_slots(due)

    assert len(statements) < 50
    assert len(bells) == SyncRun.objects.filter(state="QUEUED").count() == 1000


@pytest.mark.django_db(transaction=True)
def test_two_beats_with_the_same_slot_make_one_run(local_root: Path) -> None:
    config = make_config(local_root)
    bells: list[str] = []

    def fire() -> None:
        with transaction.atomic():
            fired = slot_runs.queue_slots([DueSlot(config.pk, SLOT)])
        bells.extend(bell.task_id for bell in fired)

    assert race([fire] * 8) == []
    assert [(run.state, run.slot) for run in SyncRun.objects.all()] == [("QUEUED", SLOT)]
    # A doorbell too many does no harm: they all name the one run.
    assert set(bells) == {str(SyncRun.objects.get().task_id)}


# The doorbell ------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_doorbell_rings_only_after_the_commit(local_root: Path, broker: RedisServer) -> None:
    config = make_config(local_root)

    with transaction.atomic():
        run = queueing.queue_run(config.pk)
        assert waiting_messages(broker) == []

    assert waiting_messages(broker) == [doorbell(run)]
    run.refresh_from_db()
    assert run.rung_at is not None


@pytest.mark.django_db
@pytest.mark.parametrize("off", [timedelta(hours=2), -timedelta(hours=2)])
def test_when_a_bell_rang_is_told_by_the_clock_of_the_database(
    local_root: Path, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    wrong = timezone.now() + off
    monkeypatch.setattr(timezone, "now", lambda: wrong)
    asked = queueing.queue_run(make_config(local_root).pk)
    queueing.queue_run(make_config(local_root).pk, ring_bell=False)
    fired, busy = make_config(local_root), make_config(local_root)
    make_run(busy, state=SyncRun.State.RUNNING)
    slot_runs.queue_slots([DueSlot(fired.pk, SLOT, EARLIER), DueSlot(busy.pk, SLOT)])

    just_now = SyncRun.objects.filter(rung_at__gt=from_now(-60), rung_at__lt=from_now(60))
    assert set(just_now.values_list("pk", "config")) == {
        (asked.pk, asked.config_id),
        (SyncRun.objects.get(config=fired, state="QUEUED").pk, fired.pk),
    }
    assert SyncRun.objects.filter(rung_at=None).count() == 3 + len(EARLIER)
    assert asked.rung_at == just_now.get(pk=asked.pk).rung_at


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("broker")
def test_a_doorbell_that_is_heard_at_once_does_not_count_as_on_its_way(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hear_at_once(app: object, doorbells: Sequence[Doorbell]) -> dict[str, str]:
        # What a worker does that cannot start the run.
        heard = [bell.task_id for bell in doorbells]
        SyncRun.objects.filter(task_id__in=heard).update(rung_at=None)
        return {}

    monkeypatch.setattr(doorbells, "publish", hear_at_once)
    asked = queueing.queue_run(make_config(local_root).pk)
    waiting = queueing.queue_run(make_config(local_root).pk, ring_bell=False)
    doorbells.ring([waiting])

    assert SyncRun.objects.filter(pk__in=[asked.pk, waiting.pk], rung_at=None).count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_wish_rings_nobody(local_root: Path, broker: RedisServer) -> None:
    config = make_config(local_root)

    with transaction.atomic():
        queueing.queue_run(config.pk)
        transaction.set_rollback(True)

    assert waiting_messages(broker) == []
    assert not SyncRun.objects.exists()


@pytest.mark.django_db
def test_a_caller_that_is_the_worker_itself_rings_nobody(
    local_root: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    config = make_config(local_root)

    with django_capture_on_commit_callbacks() as callbacks:
        queueing.queue_run(config.pk, ring_bell=False)

    assert callbacks == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(30)
@pytest.mark.usefixtures("dead_broker")
def test_a_broker_that_is_down_is_no_error_and_the_run_waits(local_root: Path) -> None:
    config = make_config(local_root)

    run = queueing.queue_run(config.pk)

    run.refresh_from_db()
    assert (run.state, run.rung_at) == ("QUEUED", None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(30)
@pytest.mark.usefixtures("broker")
def test_a_broker_that_stops_answering_is_no_error_and_the_run_waits(local_root: Path) -> None:
    with RedisServer() as hanging:
        point_broker_at(hanging.url)
        warm = queueing.queue_run(make_config(local_root).pk)
        hanging.pause()
        run = queueing.queue_run(make_config(local_root).pk)
        hanging.resume()

    warm.refresh_from_db()
    run.refresh_from_db()
    assert warm.rung_at is not None
    assert (run.state, run.rung_at) == ("QUEUED", None)


SILENT = ["redis://127.0.0.1:{port}/0", "amqp://guest:guest@127.0.0.1:{port}//"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(30)
@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("address", SILENT, ids=["redis", "rabbitmq"])
def test_a_broker_that_takes_the_connection_and_says_nothing_is_no_error_either(
    local_root: Path, address: str
) -> None:
    with SilentServer() as silent:
        point_broker_at(address.format(port=silent.port))
        run = queueing.queue_run(make_config(local_root).pk)

    assert silent.connections > 0
    run.refresh_from_db()
    assert (run.state, run.rung_at) == ("QUEUED", None)


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("broker")
def test_of_many_that_call_a_silent_broker_only_a_few_wait_for_it() -> None:
    bells = [Doorbell("filesync.tasks.sync_file_task", str(uuid.uuid4()), {}) for _ in range(60)]
    with SilentServer() as silent, ThreadPoolExecutor(len(bells)) as pool:
        point_broker_at(SILENT[0].format(port=silent.port))
        sent = list(pool.map(is_taken, bells))

    assert sent == [False] * len(bells)
    assert silent.connections < len(bells)


def is_taken(bell: Doorbell) -> bool:
    try:
        publish(current_app, [bell])
    except BrokerAway:
        return False
    return True


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(30)
@pytest.mark.usefixtures("dead_broker")
def test_ring_stops_at_the_first_that_a_dead_broker_refuses(local_root: Path) -> None:
    runs = [make_run(make_config(local_root)) for _ in range(20)]

    assert doorbells.ring(runs) == 0

    assert SyncRun.objects.filter(state="QUEUED", rung_at=None).count() == 20


@pytest.mark.django_db
def test_ring_notes_only_what_is_still_queued(local_root: Path, broker: RedisServer) -> None:
    waiting = make_run(make_config(local_root))
    started = make_run(make_config(local_root), state=SyncRun.State.RUNNING)

    assert doorbells.ring([waiting, started]) == 2

    waiting.refresh_from_db()
    started.refresh_from_db()
    assert len(waiting_messages(broker)) == 2
    assert waiting.rung_at is not None
    assert started.rung_at is None
