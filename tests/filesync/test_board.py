"""The dashboard's health and numbers, in words that say what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries, SettingsWrapper

from filesync import board
from filesync.models import SyncRun
from scheduler.models import Heartbeat
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_run

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def heart(role: Heartbeat.Role, name: str, *, silent_s: float = 0, leading: bool = False) -> None:
    now = timezone.now()
    Heartbeat.objects.create(
        role=role,
        name=name,
        started_at=now,
        seen_at=now - timedelta(seconds=silent_s),
        slots=4,
        leading=leading,
    )


def vital(name: str, *, broker: bool | None = True) -> tuple[str, str]:
    (found,) = [entry for entry in board.vitals(broker=broker) if entry.name == name]
    return found.level, found.words


@pytest.mark.django_db
def test_workers_that_live_are_counted_with_their_places() -> None:
    heart(Heartbeat.Role.WORKER, "a")
    heart(Heartbeat.Role.WORKER, "b")
    heart(Heartbeat.Role.WORKER, "gone", silent_s=3600)

    assert vital("Workers") == ("good", "2 workers, 8 runs at once")


@pytest.mark.django_db
def test_no_worker_is_said_with_what_to_start() -> None:
    heart(Heartbeat.Role.WORKER, "gone", silent_s=3600)

    level, words = vital("Workers")

    assert level == "bad"
    assert "celery -A project worker" in words


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("beats", "level", "words"),
    [
        ([], "bad", "No beat is running"),
        ([("a", 3600, True)], "bad", "No beat is running"),
        ([("a", 0, False)], "warning", "No beat leads yet"),
        ([("a", 0, True)], "good", "leads, without a standby"),
        ([("a", 0, True), ("b", 0, False)], "good", "leads, 1 standby"),
    ],
)
def test_beat_is_said_with_its_standbys(
    beats: list[tuple[str, float, bool]], level: str, words: str
) -> None:
    for name, silent_s, leading in beats:
        heart(Heartbeat.Role.BEAT, name, silent_s=silent_s, leading=leading)

    found = vital("Beat")

    assert found[0] == level
    assert words in found[1]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("reachable", "level"), [(True, "good"), (False, "bad"), (None, "warning")]
)
def test_the_broker_is_good_bad_or_not_known_yet(reachable: bool | None, level: str) -> None:
    assert vital("Broker", broker=reachable)[0] == level


@pytest.mark.django_db
def test_numbers_count_from_midnight_of_the_servers_zone(
    local_root: Path, settings: SettingsWrapper, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"  # midnight is 15:00 UTC of the day before
    config = make_config(local_root)
    make_config(local_root, enable=False)
    for hours_ago, state, sent in ((20, "SUCCEEDED", 7), (1, "SUCCEEDED", 5), (2, "PARTIAL", 3)):
        run = make_run(
            config, state=SyncRun.State(state), finished_at=NOON - timedelta(hours=hours_ago)
        )
        SyncRun.objects.filter(pk=run.pk).update(bytes_transferred=sent)
    make_run(config, state=SyncRun.State.SUCCEEDED, finished_at=NOON - timedelta(hours=22))

    with django_assert_num_queries(4):
        found = board.numbers(now=NOON)

    assert (found.runs_today, found.failed_today, found.bytes_today) == (3, 1, 15)
    assert (found.configs_enabled, found.configs_total) == (1, 2)


@pytest.mark.django_db
def test_a_poll_counts_only_what_ended_since_the_last_minute(
    local_root: Path, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    config = make_config(local_root)
    ended = partial(make_run, config, state=SyncRun.State.SUCCEEDED)
    ended(finished_at=NOON - timedelta(hours=1))
    before = board.numbers(now=NOON)
    ended(finished_at=NOON - timedelta(seconds=30))
    make_run(config, state=SyncRun.State.SKIPPED, finished_at=NOON - timedelta(seconds=20))
    late = ended(finished_at=NOON - timedelta(minutes=5))
    make_config(local_root, enable=False)

    with django_assert_num_queries(2):
        polled = board.numbers(now=NOON + timedelta(seconds=10), polled=True)
    assert (before.runs_today, polled.runs_today) == (1, 2)
    assert (before.configs_total, polled.configs_total) == (1, 1)

    # A page counts all configs; a minute later the run whose end was stored late is there too.
    assert board.numbers(now=NOON).configs_total == 2
    assert late.finished_at is not None
    assert board.numbers(now=NOON + timedelta(minutes=1)).runs_today == 3


@pytest.mark.django_db
def test_the_oldest_wait_leaves_out_what_waits_for_its_next_attempt(local_root: Path) -> None:
    later = make_run(
        make_config(local_root), attempt=1, not_before=timezone.now() + timedelta(hours=1)
    )
    waiting = make_run(make_config(local_root))
    SyncRun.objects.filter(pk=later.pk).update(created_at=NOON)

    found = board.numbers()

    assert found.queued == 2
    assert found.oldest_wait == waiting.created_at


@pytest.mark.django_db
def test_days_without_runs_stand_in_the_list_too(local_root: Path) -> None:
    config = make_config(local_root)
    for days_ago, state in ((0, "SUCCEEDED"), (0, "FAILED"), (3, "SUCCEEDED"), (2, "SKIPPED")):
        make_run(config, state=SyncRun.State(state), finished_at=NOON - timedelta(days=days_ago))

    found = board.days(5, now=NOON)

    assert [(day.day.day, day.runs, day.failed) for day in found] == [
        (6, 0, 0),
        (7, 1, 0),
        (8, 0, 0),
        (9, 0, 0),
        (10, 2, 1),
    ]


@pytest.mark.django_db
def test_a_day_that_is_over_is_read_once_and_today_each_time(
    local_root: Path, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    config = make_config(local_root)
    before = board.days(14, now=NOON)
    make_run(config, state=SyncRun.State.SUCCEEDED, finished_at=NOON)

    with django_assert_num_queries(1):
        after = board.days(14, now=NOON)

    assert after[:-1] == before[:-1]
    assert (before[-1].runs, after[-1].runs) == (0, 1)


@pytest.mark.django_db
def test_the_latest_failures_are_of_every_failed_state(local_root: Path) -> None:
    config = make_config(local_root)
    states = ["FAILED", "SUCCEEDED", "LOST", "PARTIAL", "CANCELLED", "FAILED"]
    made = [make_run(config, state=SyncRun.State(state)) for state in states]

    found = board.failures(3)

    assert [run.pk for run in found] == [made[5].pk, made[3].pk, made[2].pk]
