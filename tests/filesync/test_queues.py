"""Configs with a queue of their own: only its workers hear of their runs and take them."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import current_app
from django.core.exceptions import ValidationError
from django.utils import timezone

from filesync.models import Storage, SyncConfig
from filesync.services import doorbells, queueing, slot_runs
from filesync.services.leases import answer_doorbell
from scheduler.models import DueSlot
from scheduler.publishing import publish
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_storage
from tests.filesync.factories import use_broker as use_broker
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


@pytest.mark.parametrize("queue", ["two words", "-Q", "a,b", "/", "x\n"])
def test_a_queue_that_is_no_plain_name_is_refused(local_root: Path, queue: str) -> None:
    with pytest.raises(ValidationError, match="queue"):
        make_sited(local_root, queue, make_storage(local_root), "sited")
