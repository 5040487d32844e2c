"""What will run: starts, clashes by a storage's limit, clock changes, and the spread proposed."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import DjangoAssertNumQueries

from filesync import day_ahead
from filesync.clashes import Clash, clashes, spread
from filesync.day_ahead import Planned
from filesync.models import SyncConfig, SyncRun
from scheduler import cron
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_run, make_storage

NOW = datetime(2026, 3, 1, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def plan(
    number: int,
    expr: str,
    *,
    usual_s: float = 60,
    storages: tuple[int, ...] = (1,),
    zone: str = "UTC",
) -> Planned:
    starts = minutes(expr, zone, NOW, NOW + DAY)
    return Planned(number, f"sync {number}", expr, zone, storages, usual_s, starts)


def minutes(expr: str, zone: str, after: datetime, until: datetime) -> tuple[int, ...]:
    slots = cron.slots_between(expr, zone, after=after, until=until)
    return tuple(int(slot.timestamp()) // 60 for slot in slots)


def minute(moment: datetime) -> int:
    return int(moment.timestamp()) // 60


def at(hour: int, minute: int) -> datetime:
    return NOW.replace(hour=hour, minute=minute)


@pytest.mark.parametrize(
    ("plans", "limit", "expected"),
    [
        pytest.param([plan(1, "0 2 * * *"), plan(2, "0 2 * * *")], 2, [], id="as many as allowed"),
        pytest.param(
            [plan(1, "0 2 * * *", usual_s=600), plan(2, "5 2 * * *", usual_s=600)],
            1,
            [Clash(1, at(2, 5), at(2, 10), 2, 1, (1, 2))],
            id="the second begins before the first ends",
        ),
        pytest.param(
            [plan(1, "0 2 * * *", usual_s=300), plan(2, "5 2 * * *")],
            1,
            [],
            id="one ends as one starts",
        ),
        pytest.param(
            [plan(number, "0 2 * * *", usual_s=60 * number) for number in (1, 2, 3)],
            1,
            [Clash(1, at(2, 0), at(2, 2), 3, 1, (1, 2, 3))],
            id="until no more than the limit are left",
        ),
        pytest.param(
            [plan(1, "0 2 * * *", storages=(1, 2)), plan(2, "0 2 * * *", storages=(2, 3))],
            1,
            [Clash(2, at(2, 0), at(2, 1), 2, 1, (1, 2))],
            id="only on the storage that both use",
        ),
    ],
)
def test_a_clash_is_when_more_runs_want_a_storage_than_it_allows(
    plans: list[Planned], limit: int, expected: list[Clash]
) -> None:
    assert clashes(plans, dict.fromkeys((1, 2, 3), limit)) == expected


def test_what_follows_without_a_gap_is_one_clash_and_a_config_never_clashes_with_itself() -> None:
    often = [plan(number, "*/5 2 * * *", usual_s=300) for number in (1, 2)]
    itself = plan(3, "* 4 * * *", usual_s=600)

    assert clashes([*often, itself], {1: 1}) == [Clash(1, at(2, 0), at(3, 0), 2, 1, (1, 2))]


def test_clashes_of_one_storage_leave_out_those_of_the_others() -> None:
    plans = [plan(number, "0 2 * * *", storages=(1, 2)) for number in (1, 2)]

    found = clashes(plans, {1: 1, 2: 1}, only=2)

    assert [clash.storage_id for clash in found] == [2]


def test_clashes_are_looked_for_until_a_moment_and_the_earliest_are_kept() -> None:
    plans = [plan(number, "0 2,4,6 * * *") for number in (1, 2)]

    def hours(until: datetime | None, at_most: int) -> list[int]:
        found = clashes(plans, {1: 1}, until=until, at_most=at_most)
        return [clash.starts.hour for clash in found]

    assert hours(None, 20) == [2, 4, 6]
    assert hours(at(4, 0), 20) == [2, 4]
    assert hours(None, 1) == [2]


def test_what_goes_on_into_a_day_clashes_in_it_and_what_ended_before_does_not() -> None:
    long = [plan(number, "0 2 * * *", usual_s=3600 * number) for number in (1, 2, 3)]

    def told(since: datetime) -> list[tuple[datetime, datetime]]:
        found = clashes(long, {1: 1}, since=since, until=since + DAY)
        return [(clash.starts, clash.ends) for clash in found]

    assert told(at(2, 0)) == told(at(3, 59)) == [(at(2, 0), at(4, 0))]
    assert told(at(4, 0)) == []


@pytest.mark.parametrize("hour", [0, 1, 3, 12])
def test_the_clashes_of_a_part_of_the_time_are_those_of_all_of_it(hour: int) -> None:
    chance = random.Random(hour)
    crons = ["*/7 1-3 * * *", "0 * * * *", "*/20 * * * *", "5,6,9 3 * * *"]
    # None lasts until its next start: where such a one begins depends on the start before.
    plans = [
        plan(number, chance.choice(crons), usual_s=chance.choice([60, 119]), storages=(1, 2))
        for number in range(12)
    ]
    since, until = at(hour, 30), at(hour + 4, 0)
    whole = clashes(plans, {1: 2, 2: 3}, at_most=10_000)
    assert clashes(plans, {1: 2, 2: 3}, since=since, until=until, at_most=10_000) == [
        clash for clash in whole if clash.ends > since and clash.starts <= until
    ]


@pytest.mark.parametrize("seed", range(5))
def test_clashes_are_those_that_counting_minute_by_minute_finds(seed: int) -> None:
    chance = random.Random(seed)
    crons = ["*/7 1-3 * * *", "0 * * * *", "30 2 * * *", "*/20 * * * *", "5,6,9 3 * * *"]
    plans = [
        plan(
            number,
            chance.choice(crons),
            usual_s=chance.choice([0.4, 59, 60, 61, 400, 2000]),
            storages=tuple(sorted(chance.sample([1, 2, 3], 2))),
        )
        for number in range(12)
    ]
    limits = {1: 2, 2: 3, 3: 4}

    found = clashes(plans, limits, at_most=10_000)

    told = {(clash.storage_id, moment) for clash in found for moment in minutes_of(clash)}
    assert told == {
        (storage_id, NOW + timedelta(minutes=minute))
        for storage_id, limit in limits.items()
        for minute in range(2 * 24 * 60)
        if len(running_in(plans, storage_id, minute)) > limit
    }
    for clash in found:
        most = [
            names
            for moment in minutes_of(clash)
            if len(names := running_in(plans, clash.storage_id, (moment - NOW) // MINUTE))
            == clash.runs
        ]
        assert set(clash.config_ids) == most[0]


def minutes_of(clash: Clash) -> list[datetime]:
    return [clash.starts + step * MINUTE for step in range((clash.ends - clash.starts) // MINUTE)]


def running_in(plans: list[Planned], storage_id: int, after_min: int) -> set[int]:
    """Return the configs of which a run goes on so many minutes after NOW."""
    at_minute = minute(NOW) + after_min
    found = set()
    for entry in plans:
        ends = 0
        for start in entry.starts:
            if start >= ends and storage_id in entry.storages:
                ends = start + math.ceil(entry.usual_s / 60)
                if start <= at_minute < ends:
                    found.add(entry.config_id)
    return found


def test_starts_are_counted_in_their_span_of_time() -> None:
    plans = [plan(1, "0,20 2 * * *"), plan(2, "14 2 * * *"), plan(3, "59 23 * * *")]

    counts = day_ahead.histogram(plans, NOW, timedelta(minutes=15), 96)

    assert {number: count for number, count in enumerate(counts) if count} == {8: 2, 9: 1, 95: 1}


def test_spreading_ends_the_clashes_and_keeps_hours_and_days() -> None:
    plans = [plan(number, "0 2 * * 0", usual_s=300) for number in range(1, 7)]
    clashing = clashes(plans, {1: 1})
    assert clashing

    moves = spread(plans, clashing, at_most=100)

    moved = {move.config_id: move.new_cron for move in moves}
    assert len(moved) == 5
    assert all(text.endswith(" 2 * * 0") for text in moved.values())
    after = [plan(p.config_id, moved.get(p.config_id, p.cron), usual_s=300) for p in plans]
    assert clashes(after, {1: 1}) == []


@pytest.mark.parametrize("expr", ["*/5 * * * *", "0,30 * * * *", "0-5 2 * * *"])
def test_a_cron_with_more_than_one_minute_is_never_moved(expr: str) -> None:
    plans = [plan(1, expr, usual_s=600), plan(2, expr, usual_s=600)]
    clashing = clashes(plans, {1: 1})
    assert clashing

    assert spread(plans, clashing, at_most=100) == []


@pytest.mark.parametrize(
    ("zone", "now", "shift_s", "local"),
    [
        ("Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC), 3600, "03-29 03:00"),
        ("Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC), -3600, "10-25 02:00"),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 0, tzinfo=UTC), -1800, "04-05 01:30"),
    ],
)
def test_a_night_in_which_the_clocks_jump_is_told_with_what_fires_near_it(
    zone: str, now: datetime, shift_s: int, local: str
) -> None:
    starts = minutes("30 2 * * *", zone, now, now + 2 * DAY)
    near = Planned(1, "near", "30 2 * * *", zone, (1,), 60, starts)
    noon = minute(now + timedelta(hours=30))
    far = Planned(2, "far", "0 12 * * *", zone, (1,), 60, (noon,))

    (change,) = day_ahead.clock_changes([near, far], now, now + 2 * DAY)

    assert (change.timezone, change.shift_s, change.names) == (zone, shift_s, ("near",))
    # The hour that is looked at may lie half an hour before a jump of half an hour.
    assert abs(
        change.at.replace(tzinfo=None) - datetime.fromisoformat(f"2026-{local}")
    ) <= timedelta(minutes=30)


def test_a_week_without_a_change_tells_none() -> None:
    assert day_ahead.clock_changes([plan(1, "0 2 * * *")], NOW, NOW + 7 * DAY) == []


# From the database --------------------------------------------------------------------------------


@pytest.mark.django_db
def test_planned_takes_what_fires_with_the_time_of_its_last_good_run(
    local_root: Path, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    storage = make_storage(local_root)
    other = make_storage(local_root)
    config = make_config(
        local_root, name="a", cron="0 2 * * *", timezone="UTC", source_storage=storage
    )
    SyncConfig.objects.filter(pk=config.pk).update(destination_storage=other)
    make_config(local_root, name="off", cron="0 2 * * *", enable=False)
    make_config(local_root, name="by hand")
    make_config(local_root, name="over", cron="0 2 * * *", timezone="UTC", end_time=at(1, 0))
    make_config(local_root, name="unknown", cron="0 3 * * *", timezone="UTC")
    broken = make_config(local_root, name="broken", cron="0 2 * * *")
    SyncConfig.objects.filter(pk=broken.pk).update(cron="nonsense")
    for state, took_s in (("SUCCEEDED", 90), ("SUCCEEDED", 45), ("FAILED", 1)):
        make_run(
            config,
            state=SyncRun.State(state),
            started_at=NOW,
            finished_at=NOW + timedelta(seconds=took_s),
        )

    with django_assert_num_queries(2):
        plans = day_ahead.planned(NOW, NOW + DAY)
    # The durations are remembered.
    with django_assert_num_queries(1):
        assert day_ahead.planned(NOW, NOW + DAY) == plans

    assert [(p.name, p.usual_s, p.starts) for p in plans] == [
        ("a", 45.0, (minute(at(2, 0)),)),
        ("unknown", day_ahead.UNKNOWN_S, (minute(at(3, 0)),)),
    ]
    assert plans[0].storages == (storage.pk, other.pk)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("took_s", "usual_s"),
    [
        pytest.param([28_800], 28_800, id="all that is known"),
        pytest.param([28_800, 60], 60, id="a first copy of eight hours, and one more"),
        pytest.param([28_800, 60, 90], 90, id="the one in the middle"),
        pytest.param([1, 1, 1, 1, 50, 40.5, 3600, 60, 70], 60, id="of the latest five"),
    ],
)
def test_a_run_usually_takes_the_median_of_the_latest(
    local_root: Path, took_s: list[float], usual_s: float
) -> None:
    config = make_config(local_root, cron="0 2 * * *", timezone="UTC")
    for seconds in took_s:
        make_run(
            config,
            state=SyncRun.State.SUCCEEDED,
            started_at=NOW,
            finished_at=NOW + timedelta(seconds=seconds),
        )

    (planned,) = day_ahead.planned(NOW, NOW + DAY)

    assert planned.usual_s == usual_s


@pytest.mark.django_db
def test_an_undoing_and_a_retry_of_few_files_do_not_say_how_long_it_takes(
    local_root: Path,
) -> None:
    config = make_config(local_root, cron="0 2 * * *", timezone="UTC")
    for seconds, trigger, only_failed in (
        (600, SyncRun.Trigger.CRON, False),
        (1, SyncRun.Trigger.RETRY, True),
        (1, SyncRun.Trigger.RESTORE, False),
        (1, SyncRun.Trigger.RESTORE, False),
    ):
        make_run(
            config,
            state=SyncRun.State.SUCCEEDED,
            started_at=NOW,
            finished_at=NOW + timedelta(seconds=seconds),
            trigger=trigger,
            only_failed=only_failed,
        )

    (planned,) = day_ahead.planned(NOW, NOW + DAY)

    assert planned.usual_s == 600


@pytest.mark.django_db
def test_a_config_is_called_by_its_remark(local_root: Path) -> None:
    make_config(local_root, name="a", remark="Photos", cron="0 2 * * *")
    make_config(local_root, name="b", cron="0 2 * * *")

    assert [entry.name for entry in day_ahead.planned(NOW, NOW + DAY)] == ["Photos", "b"]


@pytest.mark.only_on("postgres")
@pytest.mark.django_db
def test_durations_are_read_from_their_index(local_root: Path) -> None:
    storage = make_storage(local_root)
    configs = SyncConfig.objects.bulk_create(
        SyncConfig(
            name=f"{number}",
            cron="0 2 * * *",
            timezone="UTC",
            source_storage=storage,
            destination_storage=storage,
        )
        for number in range(500)
    )
    SyncRun.objects.bulk_create(
        SyncRun(
            config=configs[number % 500],
            # A walk along all runs of a config passes nine that failed.
            state=SyncRun.State.SUCCEEDED if number < 500 else SyncRun.State.FAILED,
            started_at=NOW,
            finished_at=NOW + timedelta(seconds=number),
        )
        for number in range(5_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE filesync_syncrun")

    with CaptureQueriesContext(connection) as asked:
        plans = day_ahead.planned(NOW, NOW + DAY)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {asked[0]['sql']}")
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "filesync_run_telling" in plan, plan
    assert sorted(entry.usual_s for entry in plans) == [float(n) for n in range(500)]
