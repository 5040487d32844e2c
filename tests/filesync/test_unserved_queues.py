"""A queue in use that no living worker serves is told wherever people look, and to channels."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.core.cache import cache
from django.utils import timezone

from filesync import board, metrics, selectors, status
from filesync.models import Delivery, SyncConfig, SyncRun
from filesync.notifications.watch import watch
from project import doctor
from scheduler.models import Heartbeat
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_run, make_storage
from tests.filesync.factories import use_broker as use_broker
from tests.filesync.notifications.test_telling import hook as hook
from tests.filesync.notifications.test_telling import make_channel
from tests.servers.redis import RedisServer
from tests.servers.webhook import WebhookReceiver

pytestmark = pytest.mark.django_db


def serve(name: str, queues: str, *, seen_at: datetime | None = None) -> None:
    seen_at = seen_at or timezone.now()
    Heartbeat.objects.update_or_create(
        role=Heartbeat.Role.WORKER,
        name=name,
        defaults={"started_at": seen_at, "seen_at": seen_at, "slots": 4, "queues": queues},
    )


def make_sited(root: Path, *queues: str) -> list[SyncConfig]:
    storage = make_storage(root)
    configs = [make_config(root, source_storage=storage) for _ in queues]
    for config, queue in zip(configs, queues, strict=True):
        SyncConfig.objects.filter(pk=config.pk).update(queue=queue)
    return configs


LONG_AGO = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("workers", "unserved"),
    [
        (["celery"], ["berlin", "shanghai"]),
        (["celery,berlin", "shanghai"], []),
        (["shanghai,berlin"], ["celery"]),
        # Of no worker at all, and of one that does not say, nothing is said here.
        ([], []),
        (["celery", ""], []),
    ],
)
def test_the_queues_in_use_are_held_against_those_of_living_workers(
    local_root: Path, workers: list[str], unserved: list[str]
) -> None:
    _, disabled, waiting, _ = make_sited(local_root, "", "nobody-cares", "berlin", "shanghai")
    SyncConfig.objects.filter(pk__in=[disabled.pk, waiting.pk]).update(enable=False)
    make_run(waiting, queue="berlin")
    serve("gone", "berlin,shanghai", seen_at=timezone.now() - LONG_AGO)
    for number, queues in enumerate(workers):
        serve(str(number), queues)
    assert selectors.unserved_queues(selectors.processes().workers) == unserved


def in_status() -> bool:
    return any("No worker serves shanghai:" in line for line in status.read_status().warnings)


def on_the_dashboard() -> bool:
    (workers,) = (vital for vital in board.vitals(broker=True) if vital.name == "Workers")
    return workers.level == "bad" and "No worker serves shanghai:" in workers.words


def in_doctor() -> bool:
    found = [finding for finding in doctor.examine() if finding.what == "queues"]
    return bool(found) and "shanghai" in found[0].text and "-Q shanghai" in found[0].advice


def in_metrics() -> bool:
    return 'syncbeat_queue_workers{queue="shanghai"} 0.0' in metrics.exposition().decode()


@pytest.mark.parametrize("told", [in_status, on_the_dashboard, in_doctor, in_metrics])
def test_a_queue_that_nobody_serves_is_told(
    local_root: Path, broker: RedisServer, told: Callable[[], bool]
) -> None:
    make_sited(local_root, "shanghai")
    serve("here", "celery")
    assert told()
    serve("there", "shanghai")
    assert not told()


def test_a_queue_that_lost_its_worker_is_told_once_and_its_return_too(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["SILENT", "RECOVERED"])
    make_sited(local_root, "", "shanghai", "never-served")
    now = timezone.now()
    serve("there", "shanghai", seen_at=now)

    def watched(seconds: int, **also: str) -> list[str]:
        at = now + timedelta(seconds=seconds)
        for name, queues in ({"here": "celery"} | also).items():
            serve(name, queues, seen_at=at)
        watch(now=at)
        return list(Delivery.objects.order_by("pk").values_list("title", flat=True))

    assert watched(60) == []
    lost = "No worker serves the queue shanghai for 2 min 10 s: its runs wait"
    assert watched(130) == [lost]
    assert watched(140) == [lost]
    told = watched(150, another="shanghai")
    assert len(told) == 2
    assert told[1].startswith("The queue shanghai is served again, it was not since ")


def test_a_queue_that_nobody_ever_served_is_told_when_a_run_waits_there(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["SILENT"])
    (config,) = make_sited(local_root, "shanghai")
    run = make_run(config, queue="shanghai")
    now = timezone.now()
    serve("here", "celery", seen_at=now)
    watch(now=now)
    assert not Delivery.objects.exists()
    SyncRun.objects.filter(pk=run.pk).update(created_at=now - LONG_AGO)
    watch(now=now)
    assert Delivery.objects.get().title.startswith("No worker serves the queue shanghai for 5 min")


def test_a_queue_that_is_used_no_more_is_missed_no_more(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["SILENT", "RECOVERED"])
    (config,) = make_sited(local_root, "x" * 64)
    now = timezone.now()
    serve("there", "x" * 64, seen_at=now - LONG_AGO)
    serve("here", "celery", seen_at=now)
    watch(now=now)
    assert Delivery.objects.count() == 1
    SyncConfig.objects.filter(pk=config.pk).update(queue="")
    cache.clear()
    watch(now=now)
    SyncConfig.objects.filter(pk=config.pk).update(queue="x" * 64)
    cache.clear()
    watch(now=now)
    assert Delivery.objects.count() == 2
