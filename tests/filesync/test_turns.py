"""Whoever waits is rung after the transaction in which others left, and once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from django.db import connection, transaction

from filesync.models import SyncConfig, SyncRun
from filesync.services import doorbells
from filesync.services.finishing import cancel_run
from scheduler.models import Doorbell
from scheduler.publishing import BrokerAway
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    doorbell,
    make_config,
    make_run,
    make_storage,
    waiting_messages,
)
from tests.filesync.factories import use_broker as use_broker
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.django_db(transaction=True)


def queue_on_one_storage(root: Path, count: int) -> list[SyncRun]:
    storage = make_storage(root, max_concurrent_runs=2)
    configs = [
        make_config(root, source_storage=storage, source_path=f"s{number}")
        for number in range(count)
    ]
    return [make_run(config) for config in configs]


def test_those_that_wait_are_rung_after_the_commit(local_root: Path, broker: RedisServer) -> None:
    first, second, third = queue_on_one_storage(local_root, 3)

    with transaction.atomic():
        SyncConfig.objects.filter(runs=first).delete()
        assert waiting_messages(broker) == []

    assert sorted(map(str, waiting_messages(broker))) == sorted(
        str(doorbell(run)) for run in (second, third)
    )


def test_a_deletion_that_is_rolled_back_rings_nobody(local_root: Path, broker: RedisServer) -> None:
    first, second, third = queue_on_one_storage(local_root, 3)

    with transaction.atomic():
        SyncConfig.objects.filter(runs=first).delete()
        transaction.set_rollback(True)

    assert waiting_messages(broker) == []
    assert SyncRun.objects.filter(state="QUEUED", rung_at=None).count() == 3
    # And holds up nothing after it.
    cancel_run(second.pk)
    assert [task_id for task_id, _ in waiting_messages(broker)] == [
        str(run.task_id) for run in (first, third)
    ]


def test_configs_that_are_deleted_together_try_a_dead_broker_once(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *gone, _, last = queue_on_one_storage(local_root, 9)
    tries: list[tuple[bool, int]] = []

    def be_away(_app: object, bells: Sequence[Doorbell]) -> None:
        tries.append((connection.in_atomic_block, len(bells)))
        raise BrokerAway("it hangs, for seconds each time")

    monkeypatch.setattr(doorbells, "publish", be_away)
    SyncConfig.objects.filter(pk__in=[run.config_id for run in gone]).delete()

    assert tries == [(False, 2)]
    assert SyncRun.objects.filter(state="CANCELLED", reason="CONFIG_DELETED").count() == 7
    last.refresh_from_db()
    assert (last.state, last.rung_at) == ("QUEUED", None)
