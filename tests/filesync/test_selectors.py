"""What pages and API read: the next fires, who lives, what is active, and what to warn of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from filesync import selectors
from filesync.models import SyncConfig, SyncRun
from filesync.selectors import BEAT_SILENT, WORKER_SILENT, ProcessHealth
from scheduler.models import Heartbeat
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_run, point_broker_at
from tests.filesync.factories import use_broker as use_broker
from tests.servers.process import free_port
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def hours(hour: int, *, day: int = 1) -> datetime:
    return datetime(2026, 3, day, hour, 0, tzinfo=UTC)


def test_the_soonest_fires_come_first_and_no_more_than_asked(local_root: Path) -> None:
    for hour in (20, 14, 18, 16):
        make_config(local_root, name=f"at {hour}", cron=f"0 {hour} * * *", timezone="UTC")

    found = selectors.next_runs(3, now=NOON)

    assert [(entry.name, entry.next_run) for entry in found] == [
        ("at 14", hours(14)),
        ("at 16", hours(16)),
        ("at 18", hours(18)),
    ]


def test_each_fire_says_whose_it_is_and_by_which_clock(local_root: Path) -> None:
    config = make_config(local_root, name="photos", cron="0 2 * * *", timezone="Asia/Shanghai")

    (entry,) = selectors.next_runs(10, now=NOON)

    assert (entry.config_id, entry.name) == (config.pk, "photos")
    assert (entry.cron, entry.timezone, entry.next_run) == (
        "0 2 * * *",
        "Asia/Shanghai",
        hours(18),
    )


def test_what_does_not_fire_is_left_out(local_root: Path) -> None:
    make_config(local_root, cron="0 14 * * *", enable=False)
    make_config(local_root, cron="")
    make_config(local_root, cron="0 14 * * *", timezone="UTC", end_time=hours(11))
    make_config(local_root, cron="0 14 * * *", timezone="UTC", end_time=hours(14))
    spoilt = make_config(local_root, cron="0 14 * * *")
    SyncConfig.objects.filter(pk=spoilt.pk).update(cron="99 * * * *")

    assert selectors.next_runs(10, now=NOON) == []


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        (hours(9), None),
        (hours(14), None),
        (hours(15), None),
        (hours(9, day=8), None),
        (None, hours(15)),
        (None, hours(14)),
        (hours(15), hours(9, day=8)),
    ],
)
def test_the_fires_are_those_that_the_config_tells_itself(
    local_root: Path, start: datetime | None, end: datetime | None
) -> None:
    config = make_config(
        local_root, cron="0 14 * * *", timezone="UTC", start_time=start, end_time=end
    )

    found = [entry.next_run for entry in selectors.next_runs(10, now=NOON)]

    slot = config.next_slot(now=NOON)
    assert found == ([] if slot is None else [slot])


def test_ten_thousand_configs_take_one_query(
    local_root: Path, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    storage = make_config(local_root).source_storage
    SyncConfig.objects.bulk_create(
        SyncConfig(
            name=f"bulk {number}",
            cron=f"{number % 60} {number % 24} * * *",
            source_storage=storage,
            destination_storage=storage,
        )
        for number in range(10_000)
    )

    with django_assert_num_queries(1):
        found = selectors.next_runs(10, now=NOON)

    assert len(found) == 10
    assert found == sorted(found, key=lambda entry: entry.next_run)


@pytest.mark.parametrize(
    ("role", "silent_after"),
    [(Heartbeat.Role.BEAT, BEAT_SILENT), (Heartbeat.Role.WORKER, WORKER_SILENT)],
)
def test_a_process_lives_as_long_as_it_gives_signs_of_it(
    role: Heartbeat.Role, silent_after: timedelta
) -> None:
    now = timezone.now()
    for name, seen_at in (
        ("alive", now - silent_after / 2),
        ("silent", now - silent_after - timedelta(seconds=1)),
    ):
        Heartbeat.objects.create(role=role, name=name, started_at=now, seen_at=seen_at, slots=4)
    other = Heartbeat.Role.WORKER if role == Heartbeat.Role.BEAT else Heartbeat.Role.BEAT
    Heartbeat.objects.create(role=other, name="other", started_at=now, seen_at=now)

    found = selectors.processes(role, silent_after)

    assert [(process.name, process.alive, process.slots) for process in found] == [
        ("alive", True, 4),
        ("silent", False, 4),
    ]


def test_active_runs_are_the_running_ones_and_then_those_that_wait(local_root: Path) -> None:
    waits = make_run(make_config(local_root))
    runs = make_run(make_config(local_root), state=SyncRun.State.RUNNING)
    waits_too = make_run(make_config(local_root))
    for state in SyncRun.TERMINAL:
        make_run(make_config(local_root), state=state)

    assert selectors.active_runs() == [runs, waits, waits_too]
    assert selectors.active_runs(1) == [runs]


def test_a_broker_that_answers_is_reachable(broker: RedisServer) -> None:
    assert selectors.broker_reachable() is True


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("broker")
def test_a_broker_that_is_down_is_not() -> None:
    point_broker_at(f"redis://127.0.0.1:{free_port()}/0")

    assert selectors.broker_reachable() is False


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("broker")
def test_a_broker_that_hangs_is_not() -> None:
    with RedisServer() as hanging:
        point_broker_at(hanging.url)
        hanging.pause()
        reachable = selectors.broker_reachable()
        hanging.resume()

    assert reachable is False


@pytest.mark.parametrize(
    ("beat", "worker", "broker", "words"),
    [
        (True, True, True, []),
        (False, True, True, ["beat"]),
        (True, False, True, ["worker"]),
        (True, True, False, ["broker"]),
        (False, False, False, ["beat", "worker", "broker"]),
    ],
)
def test_what_keeps_syncs_from_running_is_said(
    words: list[str], *, beat: bool, worker: bool, broker: bool
) -> None:
    def process(*, alive: bool) -> ProcessHealth:
        return ProcessHealth("p", timezone.now(), alive, leading=True, slots=1)

    said = selectors.warnings([process(alive=beat)], [process(alive=worker)], broker=broker)

    assert len(said) == len(words)
    assert all(word in line for word, line in zip(words, said, strict=True))
