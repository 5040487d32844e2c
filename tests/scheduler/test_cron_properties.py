"""Random expressions against the minute-walking oracle and three cron libraries."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import pytest
from celery.schedules import crontab_parser
from croniter import croniter
from cronsim import CronSim

from scheduler.cron import (
    CronSchedule,
    next_slots,
    normalise,
    numeric_fields,
    previous_slot,
    slots_between,
)
from tests.scheduler.cron_oracle import (
    HIGHS,
    LOWS,
    Window,
    fires,
    meaning,
    random_expression,
    walk,
)

# Zone, first UTC day, days: every kind of clock change there has been, and days without one.
WINDOWS = [
    ("UTC", "2024-12-30", 4),
    ("UTC", "2024-02-12", 25),
    ("Asia/Shanghai", "2025-06-01", 3),
    ("America/New_York", "2025-03-08", 3),
    ("America/New_York", "2025-11-01", 3),
    ("Europe/Berlin", "2025-03-29", 3),
    ("Europe/Berlin", "2025-10-25", 3),
    ("Australia/Lord_Howe", "2025-10-03", 3),  # half an hour forward
    ("Australia/Lord_Howe", "2025-04-04", 3),  # half an hour back
    ("Antarctica/Troll", "2025-03-29", 2),  # two hours forward
    ("Antarctica/Troll", "2025-10-25", 2),  # two hours back
    ("America/Sao_Paulo", "2018-11-03", 3),  # midnight does not exist
    ("America/Sao_Paulo", "2018-02-17", 3),  # 23:00 twice
    ("America/Havana", "2025-03-08", 3),  # midnight does not exist
    ("America/Havana", "2025-11-01", 3),  # 00:00 twice
    ("Africa/Cairo", "2024-04-25", 3),
    ("Africa/Cairo", "2024-10-30", 3),
    ("America/St_Johns", "2006-10-28", 3),  # at 00:01 back to yesterday's 23:01
    ("America/St_Johns", "2006-04-01", 3),
    ("Pacific/Apia", "2011-12-28", 4),  # 30 December does not exist
    ("Asia/Kathmandu", "1985-12-30", 3),  # a quarter of an hour, at new year
    ("Pacific/Kosrae", "1998-12-30", 3),  # an hour back, 12 hours before the UTC year ends
    ("Asia/Dhaka", "2009-12-30", 3),  # an hour back, 7 hours before the UTC year ends
    ("Africa/Sao_Tome", "2018-12-31", 2),  # an hour back, an hour into the UTC year
    ("Africa/Casablanca", "2026-02-14", 2),  # an hour back for Ramadan
    ("America/Boa_Vista", "2000-10-07", 9),  # summer time for one week: forward, then back
    ("Africa/Niamey", "1959-12-31", 2),  # an hour forward with the first second of the UTC year
    ("America/Inuvik", "1952-12-31", 2),  # eight hours back with the first second of the UTC year
]
EXPRESSIONS_PER_WINDOW = 100

walked = lru_cache(maxsize=None)(walk)


@pytest.mark.parametrize(("zone", "begin", "days"), WINDOWS)
def test_every_slot_is_the_one_debian_cron_would_take(zone: str, begin: str, days: int) -> None:
    dice = random.Random(f"{zone} {begin}")
    window = walked(zone, begin, days)
    seen = 0
    for _ in range(EXPRESSIONS_PER_WINDOW):
        expr = random_expression(dice)
        expected = fires(meaning(expr), window)
        got = slots_between(expr, zone, after=window.begin, until=window.end)
        assert got == expected, expr
        seen += len(expected)
        _check_from_anywhere(dice, expr, window, expected)
    assert seen > 1_000


def _check_from_anywhere(
    dice: random.Random, expr: str, window: Window, expected: list[datetime]
) -> None:
    length_s = int((window.end - window.begin).total_seconds())
    for _ in range(8):
        # Whole minutes as often as not: there "strictly later" and "at or before" differ.
        offset_s = dice.randrange(length_s)
        moment = window.begin + timedelta(seconds=offset_s - offset_s % dice.choice([1, 60]))
        later = [slot for slot in expected if slot > moment]
        following = next_slots(expr, window.zone, after=moment, count=min(len(later), 3) + 1)
        assert following[: len(later)] == later[: len(following)], (expr, moment)
        assert len(later) >= len(following) or following[len(later)] > window.end, (expr, moment)
        earlier = [slot for slot in expected if slot <= moment]
        before = previous_slot(expr, window.zone, at=moment)
        if earlier:
            assert before == earlier[-1], (expr, moment)
        else:
            assert before is None or before <= window.begin, (expr, moment)


def test_previous_slot_returns_to_where_next_slot_left() -> None:
    dice = random.Random("there and back")
    for _ in range(1_500):
        expr, (zone, begin, _) = random_expression(dice), dice.choice(WINDOWS)
        schedule = CronSchedule(expr, zone)
        slot = schedule.next_after(datetime.fromisoformat(begin).replace(tzinfo=UTC))
        following = schedule.next_after(slot)
        just_before = following - timedelta(microseconds=1)
        assert schedule.previous_at(slot) == slot, expr
        assert schedule.previous_at(just_before) == slot, expr
        assert schedule.next_after(just_before) == following, expr


def test_normalising_changes_no_meaning_and_is_settled_after_once() -> None:
    dice = random.Random("normal")
    for _ in range(3_000):
        expr = random_expression(dice)
        normal = normalise(expr)
        assert meaning(normal) == meaning(expr), (expr, normal)
        assert normalise(normal) == normal, expr
        assert "7" not in normal.split(" ")[4].replace("/7", ""), expr


def test_the_numeric_fields_mean_the_same_to_celery() -> None:
    dice = random.Random("celery")
    for _ in range(1_000):
        expr = random_expression(dice)
        said = meaning(expr)
        minute, hour, day, month, weekday = numeric_fields(expr)
        assert meaning(" ".join(numeric_fields(expr))) == said, expr
        assert crontab_parser(60).parse(minute) == said.minutes, expr
        assert crontab_parser(24).parse(hour) == said.hours, expr
        assert crontab_parser(31, 1).parse(day) == said.days, expr
        assert crontab_parser(12, 1).parse(month) == said.months, expr
        assert crontab_parser(7).parse(weekday) == said.weekdays, expr


def test_croniter_expands_the_normal_form_to_the_same_numbers() -> None:
    dice = random.Random("croniter")
    for _ in range(1_000):
        normal = normalise(random_expression(dice))
        said = meaning(normal)
        expanded, nth = croniter.expand(normal)
        ours = [said.minutes, said.hours, said.days, said.months, said.weekdays]
        assert not nth
        for index, (numbers, theirs) in enumerate(zip(ours, expanded, strict=True)):
            full = frozenset(range(LOWS[index], min(HIGHS[index], 6 if index == 4 else 99) + 1))
            assert numbers == (full if "*" in theirs else frozenset(theirs)), normal


def test_cronsim_finds_the_same_slots_where_clocks_do_not_change() -> None:
    dice = random.Random("cronsim")
    start = datetime(2024, 1, 31, 23, 59, tzinfo=UTC)
    for _ in range(1_500):
        normal = normalise(random_expression(dice))
        theirs = CronSim(normal, start)
        expected = [next(theirs) for _ in range(6)]
        assert next_slots(normal, "UTC", after=start, count=6) == expected, normal
