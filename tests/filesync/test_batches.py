"""Many configs queued together: one run each, told for each, whatever the database does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from filesync.models import SyncConfig, SyncRun
from filesync.services import batches
from filesync.services.batches import Wish
from filesync.services.slot_runs import queue_slots
from scheduler.bulk import insert_rows
from scheduler.models import DueSlot
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    close_connections,
    doorbell,
    make_config,
    make_run,
    make_storage,
    make_user,
    waiting_messages,
)
from tests.filesync.factories import use_broker as use_broker
from tests.racing import race
from tests.scheduler.test_lock_order import PATIENCE_S, wait_until_waiting
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.django_db

MANUAL = Wish(SyncRun.Trigger.MANUAL)


def test_a_batch_queues_every_enabled_config_and_says_why_it_left_one_out(
    local_root: Path,
) -> None:
    idle = make_config(local_root, name="a")
    busy = make_config(local_root, name="b")
    make_config(local_root, name="c", enable=False)
    active = make_run(busy, state=SyncRun.State.RUNNING)
    user = make_user("operator")

    first, second = batches.queue_all_enabled(user=user, dry_run=True)

    run = SyncRun.objects.get(config=idle)
    assert (first.config_id, first.config_name, first.code, first.run) == (
        idle.pk,
        "a",
        "queued",
        run,
    )
    assert (run.state, run.trigger, run.config_name, run.requested_by, run.dry_run) == (
        "QUEUED",
        "BATCH",
        "a",
        user,
        True,
    )
    assert (second.config_id, second.code, second.run) == (busy.pk, "run_active", None)
    assert "b has a run that is running already" in second.detail
    assert str(active.task_id) in second.detail


def test_each_run_of_a_batch_is_made_as_a_single_one_is(local_root: Path) -> None:
    config = make_config(local_root)
    SyncConfig.objects.update(queue="nas")

    (outcome,) = batches.queue_many([(config.pk, config.name)], MANUAL)

    made, plain = SyncRun.objects.get(), SyncRun()
    own = {"id", "task_id", "created_at", "config", "config_name", "queue"}
    names = [field.name for field in SyncRun._meta.concrete_fields if field.name not in own]
    assert outcome.run == made
    assert (made.config, made.config_name, made.queue) == (config, config.name, "nas")
    assert {name: getattr(made, name) for name in names} == {
        name: getattr(plain, name) for name in names
    }
    assert abs((timezone.now() - made.created_at).total_seconds()) < 60


def test_what_is_disabled_or_gone_by_then_is_told(local_root: Path) -> None:
    off = make_config(local_root, enable=False)

    outcomes = batches.queue_many([(999_999, "gone"), (off.pk, off.name)], MANUAL)

    assert [(outcome.config_name, outcome.code) for outcome in outcomes] == [
        ("gone", "not_found"),
        (off.name, "config_disabled"),
    ]
    assert not SyncRun.objects.exists()


def test_a_batch_of_dry_runs_plans_what_is_disabled_by_then(local_root: Path) -> None:
    off, busy = make_config(local_root, enable=False), make_config(local_root, enable=False)
    make_run(busy)
    wish = batches.Wish(SyncRun.Trigger.BATCH, dry_run=True)

    outcomes = batches.queue_many([(off.pk, off.name), (busy.pk, busy.name)], wish)

    assert [outcome.code for outcome in outcomes] == ["queued", "run_active"]
    assert SyncRun.objects.get(config=off).dry_run


def test_a_batch_rings_for_all_of_its_runs(
    local_root: Path,
    broker: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    monkeypatch.setattr("scheduler.bulk.CHUNK", 2)
    for letter in "abcde":
        make_config(local_root, name=letter)

    with django_capture_on_commit_callbacks(execute=True):
        outcomes = batches.queue_all_enabled()

    runs = SyncRun.objects.order_by("pk")
    assert [outcome.run for outcome in outcomes] == list(runs)
    assert sorted(waiting_messages(broker), key=str) == sorted(map(doorbell, runs), key=str)
    assert all(run.rung_at is not None for run in runs)


@pytest.mark.django_db(transaction=True)
def test_a_batch_whose_bells_find_no_database_is_queued(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(local_root)

    def refuse(_: object) -> None:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr(batches, "ring", refuse)

    assert [outcome.run for outcome in batches.queue_all_enabled()] == [
        SyncRun.objects.get(config=config)
    ]


@pytest.mark.django_db(transaction=True)
def test_a_batch_at_which_the_database_goes_away_says_what_it_has_queued(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcde":
        make_config(local_root, name=name)
    monkeypatch.setattr("scheduler.bulk.CHUNK", 2)
    inserted: list[int] = []

    def insert_once(*args: object, **how: object) -> None:
        if inserted:
            raise OperationalError("the connection is closed")
        inserted.append(1)
        insert_rows(*args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(batches, "insert_rows", insert_once)

    outcomes = batches.queue_all_enabled()

    assert [outcome.run for outcome in outcomes] == [*SyncRun.objects.order_by("pk"), *[None] * 3]
    assert [outcome.code for outcome in outcomes] == ["queued"] * 2 + ["database_away"] * 3
    assert [outcome.detail for outcome in outcomes[2:]] == [
        "the database stopped answering: look at the runs of c",
        "the database stopped answering: look at the runs of d",
        "the database stopped answering: e is not queued",
    ]


def test_a_batch_takes_the_same_number_of_queries_however_many_it_queues(local_root: Path) -> None:
    counted = []
    for configs in (1, 30):
        SyncRun.objects.all().delete()
        chosen = [(config.pk, config.name) for config in map(make_config, [local_root] * configs)]
        with CaptureQueriesContext(connection) as asked:
            batches.queue_many(chosen, MANUAL)
        # SQLite takes the rows of one statement one by one.
        counted.append(sum("INSERT" not in entry["sql"] for entry in asked))

    assert counted[0] == counted[1]


@pytest.mark.django_db(transaction=True)
def test_of_batches_at_once_each_config_gets_one_run(local_root: Path) -> None:
    storage = make_storage(local_root)
    configs = [make_config(local_root, source_storage=storage) for _ in range(20)]
    chosen = [(config.pk, config.name) for config in configs]

    errors = race([lambda: batches.queue_many(chosen, MANUAL)] * 4)

    assert errors == []
    assert sorted(SyncRun.objects.values_list("config_id", flat=True)) == [pk for pk, _ in chosen]


@pytest.mark.only_on("postgres")
@pytest.mark.django_db(transaction=True)
def test_a_batch_and_beat_never_wait_for_each_other_in_a_circle(local_root: Path) -> None:
    """A run in the middle is held until both wait, and beat is told of its slots backwards."""
    storage = make_storage(local_root)
    configs = [make_config(local_root, source_storage=storage) for _ in range(9)]
    slot = timezone.now()
    troubles: list[str] = []

    def fire() -> None:
        with transaction.atomic():
            queue_slots([DueSlot(config.pk, slot) for config in reversed(configs)])

    def queue() -> None:
        outcomes = batches.queue_all_enabled()
        troubles.extend(one.detail for one in outcomes if one.code == "database_away")

    def act(action: Callable[[], None]) -> None:
        try:
            action()
        except OperationalError as error:
            troubles.append(str(error))
        finally:
            close_connections()

    threads = [threading.Thread(target=act, args=[one]) for one in (fire, queue)]
    with transaction.atomic():
        make_run(configs[4])
        for number, thread in enumerate(threads, start=1):
            thread.start()
            wait_until_waiting(number)
        transaction.set_rollback(True)
    for thread in threads:
        thread.join(PATIENCE_S)

    assert troubles == []
    active = SyncRun.objects.filter(state=SyncRun.State.QUEUED)
    assert sorted(active.values_list("config_id", flat=True)) == [config.pk for config in configs]
