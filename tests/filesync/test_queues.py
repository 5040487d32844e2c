"""Configs with a queue of their own: only its workers hear of their runs and take them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import current_app
from django.core.exceptions import ValidationError
from django.utils import timezone

from filesync.models import Storage, SyncConfig, SyncRun
from filesync.services import doorbells, queueing, slot_runs
from filesync.services.leases import answer_doorbell
from filesync.services.sweeping import sweep
from scheduler.beat import CronDatabaseScheduler
from scheduler.models import DueSlot
from scheduler.publishing import publish
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_config, make_storage, point_broker_at
from tests.filesync.factories import use_broker as use_broker
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.django_db


def make_sited(root: Path, queue: str, storage: Storage, name: str) -> SyncConfig:
    config = make_config(root, source_storage=storage, name=name)
    config.queue = queue
    config.full_clean(exclude=["source_path", "destination_path"])
    config.save()
    return config


def lengths(broker: RedisServer) -> dict[str, int]:
    client = broker.client()
    return {queue: client.llen(queue) for queue in ("celery", "shanghai", "berlin")}


def test_runs_are_rung_on_their_own_queue(local_root: Path, broker: RedisServer) -> None:
    storage = make_storage(local_root)
    runs = [
        queueing.queue_run(
            make_sited(local_root, queue, storage, f"{queue} {number}").pk, ring_bell=False
        )
        for queue in ("", "shanghai", "berlin")
        for number in range(3)
    ]
    doorbells.ring(runs)
    assert lengths(broker) == {"celery": 3, "shanghai": 3, "berlin": 3}


def test_slots_are_rung_on_their_own_queue(local_root: Path, broker: RedisServer) -> None:
    storage = make_storage(local_root)
    now = timezone.now()
    due = [
        DueSlot(make_sited(local_root, queue, storage, f"{queue} {number}").pk, now)
        for number in range(2)
        for queue in ("", "shanghai")
    ]
    doorbells = slot_runs.queue_slots(due)
    assert sorted(bell.queue for bell in doorbells) == ["", "", "shanghai", "shanghai"]
    publish(current_app, doorbells)
    assert lengths(broker) == {"celery": 2, "shanghai": 2, "berlin": 0}


def test_a_worker_does_not_take_the_run_of_another_queue_whose_turn_it_is(
    local_root: Path, broker: RedisServer
) -> None:
    storage = make_storage(local_root, max_concurrent_runs=1)
    older, newer, newest = (
        queueing.queue_run(make_sited(local_root, queue, storage, name).pk, ring_bell=False)
        for queue, name in (("shanghai", "older"), ("", "newer"), ("shanghai", "newest"))
    )
    assert answer_doorbell(str(newer.task_id), worker="here") is None
    assert lengths(broker)["shanghai"] == 1
    claim = answer_doorbell(str(newest.task_id), worker="in shanghai")
    assert claim is not None
    assert claim.run_id == older.pk


KEPT = [
    "amq.evil",
    "AMQ.x",
    "unacked",
    "unacked_index",
    "celeryev",
    "celeryev.a",
    "a.celery.pidbox",
]


@pytest.mark.parametrize("queue", KEPT)
def test_a_queue_that_the_broker_keeps_for_itself_is_refused(local_root: Path, queue: str) -> None:
    with pytest.raises(ValidationError, match="keeps this name"):
        make_sited(local_root, queue, make_storage(local_root), "sited")


def test_the_api_refuses_a_queue_that_the_broker_keeps(local_root: Path) -> None:
    config = make_config(local_root)
    path = f"/api/v1/sync/configs/{config.pk}"
    answer = client_of("editor").patch(path, {"queue": "unacked"}, format="json")
    assert answer.status_code == 400
    assert "keeps this name" in str(answer.json()["queue"])


def queued_on(root: Path, *queues: str) -> list[SyncRun]:
    """Queue a run on each queue, also on those of rows that were saved before they were refused."""
    runs: list[SyncRun] = []
    for queue in queues:
        config = make_config(root, source_storage=make_storage(root))
        SyncConfig.objects.filter(pk=config.pk).update(queue=queue)
        runs.append(queueing.queue_run(config.pk, ring_bell=False))
    return runs


@pytest.mark.parametrize("queue", ["unacked", "wrong"])
def test_on_redis_a_refused_queue_keeps_no_other_from_being_rung(
    local_root: Path, broker: RedisServer, queue: str
) -> None:
    broker.client().hset("wrong", "a", "b")
    runs = queued_on(local_root, "", queue, queue, "shanghai", "")

    assert doorbells.ring(runs) == 3

    assert lengths(broker) == {"celery": 2, "shanghai": 1, "berlin": 0}
    assert not broker.client().exists("unacked")
    rung = SyncRun.objects.order_by("pk").values_list("rung_at", flat=True)
    assert [at is not None for at in rung] == [True, False, False, True, True]


@pytest.fixture(name="rabbit")
def use_rabbitmq(rabbitmq_server: RabbitmqServer) -> Iterator[RabbitmqServer]:
    before = current_app.conf.broker_url
    point_broker_at(rabbitmq_server.url)
    yield rabbitmq_server
    point_broker_at(before)


def test_on_rabbitmq_a_refused_queue_keeps_no_other_from_being_rung(
    local_root: Path, rabbit: RabbitmqServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.publishing.is_usable", lambda _: True)
    runs = queued_on(local_root, "amq.evil", "hanoi", "amq.evil", "hanoi")

    assert doorbells.ring(runs) == 2
    assert doorbells.ring(runs[1:2]) == 1

    expected = [str(run.task_id) for run in (runs[1], runs[3], runs[1])]
    assert rabbit.waiting_task_ids("hanoi") == expected
    rung = SyncRun.objects.order_by("pk").values_list("rung_at", flat=True)
    assert [at is not None for at in rung] == [False, True, False, True]


def test_the_mark_of_being_rung_goes_whatever_came_in_between(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish_nothing(*_: object) -> dict[str, str]:
        raise ZeroDivisionError

    monkeypatch.setattr(doorbells, "publish", publish_nothing)
    with pytest.raises(ZeroDivisionError):
        doorbells.ring(queued_on(local_root, ""))
    assert SyncRun.objects.get().rung_at is None


def test_runs_of_a_refused_queue_leave_the_sweep_its_room_for_others(
    local_root: Path, broker: RedisServer
) -> None:
    queued_on(local_root, *["unacked"] * 20, "")
    assert sweep().rung == 1
    assert lengths(broker)["celery"] == 1


def test_beat_goes_on_where_a_queue_is_refused(
    local_root: Path, broker: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    bells = [
        doorbells.doorbell(run.pk, run.task_id, run.config_id, run.queue)
        for run in queued_on(local_root, "unacked", "")
    ]
    beat = CronDatabaseScheduler(app=current_app, lazy=True)
    beat._publish(bells)
    beat._publish(bells[:1])
    assert lengths(broker)["celery"] == 1
    assert caplog.text.count("beat cannot reach queue unacked") == 1


@pytest.mark.parametrize("queue", ["two words", "-Q", "a,b", "/", "x\n"])
def test_a_queue_that_is_no_plain_name_is_refused(local_root: Path, queue: str) -> None:
    with pytest.raises(ValidationError, match="queue"):
        make_sited(local_root, queue, make_storage(local_root), "sited")
