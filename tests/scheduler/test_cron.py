"""The timezones and the daylight-saving rule, case by case."""

from __future__ import annotations

import operator
import pickle
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest

from scheduler.cron import (
    CronSchedule,
    InvalidCron,
    describe,
    iter_slots,
    load_timezone,
    next_slots,
    previous_slot,
    schedule,
    slots_between,
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT+5"])
def test_an_iana_name_is_a_timezone(name: str) -> None:
    assert load_timezone(name).key == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("Mars/Olympus", "'Mars/Olympus' is not an IANA timezone"),
        ("europe/berlin", "did you mean Europe/Berlin"),
        (" Europe/Berlin", "is not an IANA timezone"),
        ("Europe", "is not an IANA timezone"),
        ("Europe/", "is not an IANA timezone"),
        ("Europe/../Europe/Berlin", "is not an IANA timezone"),
        ("../../etc/passwd", "is not an IANA timezone"),
        ("/etc/localtime", "is not an IANA timezone"),
        ("/usr/share/zoneinfo/Europe/Berlin", "is not an IANA timezone"),
        ("localtime", "is not an IANA timezone"),
        ("Factory", "is not an IANA timezone"),
        ("posixrules", "is not an IANA timezone"),
        ("right/UTC", "is not an IANA timezone"),
        ("UTC\x00", "'UTC\\x00' is not an IANA timezone"),
        ("UTC\n", "'UTC\\n' is not an IANA timezone"),
        ("Europe/B\u00e9rlin", "'Europe/B\\xe9rlin' is not an IANA timezone"),
        ("+08:00", "is not an IANA timezone"),
        ("A" * 10_000, "A...' is not an IANA timezone"),
    ],
)
def test_anything_else_is_no_timezone(name: str, reason: str) -> None:
    with pytest.raises(InvalidCron) as refusal:
        load_timezone(name)
    assert refusal.value.field == "timezone"
    assert reason in refusal.value.reason
    assert len(refusal.value.reason) < 120


# Zone, expression, after, the slots that follow; all in UTC.
CLOCKS = [
    # New York: 02:00 EST is 03:00 EDT at 2025-03-09 07:00; 02:00 EDT is 01:00 EST at 11-02 06:00.
    (
        "America/New_York",
        "30 2 * * *",
        "2025-03-08 00:00",
        ["2025-03-08 07:30", "2025-03-09 07:00", "2025-03-10 06:30"],
    ),
    (
        "America/New_York",
        "15,45 2 * * *",
        "2025-03-09 00:00",
        ["2025-03-09 07:00", "2025-03-10 06:15", "2025-03-10 06:45"],
    ),
    (
        "America/New_York",
        "0 2,3 * * *",
        "2025-03-09 00:00",
        ["2025-03-09 07:00", "2025-03-10 06:00", "2025-03-10 07:00"],
    ),
    (
        "America/New_York",
        "*/30 * * * *",
        "2025-03-09 06:00",
        ["2025-03-09 06:30", "2025-03-09 07:00", "2025-03-09 07:30"],
    ),
    (
        "America/New_York",
        "0 */2 * * *",
        "2025-03-09 05:00",
        ["2025-03-09 08:00", "2025-03-09 10:00"],
    ),
    (
        "America/New_York",
        "30 * * * *",
        "2025-03-09 06:00",
        ["2025-03-09 06:30", "2025-03-09 07:30"],
    ),
    (
        "America/New_York",
        "*/20 2 * * *",
        "2025-03-09 05:00",
        ["2025-03-10 06:00", "2025-03-10 06:20"],
    ),
    (
        "America/New_York",
        "30 1 * * *",
        "2025-11-01 00:00",
        ["2025-11-01 05:30", "2025-11-02 05:30", "2025-11-03 06:30"],
    ),
    (
        "America/New_York",
        "0 1,2 * * *",
        "2025-11-02 04:00",
        ["2025-11-02 05:00", "2025-11-02 07:00", "2025-11-03 06:00"],
    ),
    (
        "America/New_York",
        "*/30 1 * * *",
        "2025-11-02 04:00",
        [
            "2025-11-02 05:00",
            "2025-11-02 05:30",
            "2025-11-02 06:00",
            "2025-11-02 06:30",
            "2025-11-03 06:00",
        ],
    ),
    # The repeated hour is over for a fixed job once its first pass is.
    ("America/New_York", "30 1 * * *", "2025-11-02 06:10", ["2025-11-03 06:30"]),
    # Every minute, but written as a range: a fixed job, silent in the second pass.
    (
        "America/New_York",
        "0-59 1-2 * * *",
        "2025-11-02 05:58",
        ["2025-11-02 05:59", "2025-11-02 07:00"],
    ),
    # Berlin: 02:00 CET is 03:00 CEST at 2025-03-30 01:00; 03:00 CEST is 02:00 CET at 10-26 01:00.
    (
        "Europe/Berlin",
        "30 2 * * *",
        "2025-03-29 00:00",
        ["2025-03-29 01:30", "2025-03-30 01:00", "2025-03-31 00:30"],
    ),
    (
        "Europe/Berlin",
        "*/20 2-3 * * *",
        "2025-03-30 00:00",
        ["2025-03-30 01:00", "2025-03-30 01:20", "2025-03-30 01:40", "2025-03-31 00:00"],
    ),
    (
        "Europe/Berlin",
        "30 2 * * *",
        "2025-10-25 00:00",
        ["2025-10-25 00:30", "2025-10-26 00:30", "2025-10-27 01:30"],
    ),
    (
        "Europe/Berlin",
        "*/30 2 * * *",
        "2025-10-25 12:00",
        [
            "2025-10-26 00:00",
            "2025-10-26 00:30",
            "2025-10-26 01:00",
            "2025-10-26 01:30",
            "2025-10-27 01:00",
        ],
    ),
    # Lord Howe: 02:00 is 02:30 at 2025-10-04 15:30; 02:00 is 01:30 at 2025-04-05 15:00.
    (
        "Australia/Lord_Howe",
        "15 2 * * *",
        "2025-10-03 12:00",
        ["2025-10-03 15:45", "2025-10-04 15:30", "2025-10-05 15:15"],
    ),
    (
        "Australia/Lord_Howe",
        "*/15 * * * *",
        "2025-10-04 15:00",
        ["2025-10-04 15:15", "2025-10-04 15:30", "2025-10-04 15:45", "2025-10-04 16:00"],
    ),
    (
        "Australia/Lord_Howe",
        "0 * * * *",
        "2025-10-04 14:30",
        ["2025-10-04 16:00", "2025-10-04 17:00"],
    ),
    (
        "Australia/Lord_Howe",
        "45 1 * * *",
        "2025-04-04 12:00",
        ["2025-04-04 14:45", "2025-04-05 14:45", "2025-04-06 15:15"],
    ),
    (
        "Australia/Lord_Howe",
        "30 * * * *",
        "2025-04-05 14:00",
        ["2025-04-05 14:30", "2025-04-05 15:00", "2025-04-05 16:00"],
    ),
    (
        "Australia/Lord_Howe",
        "0 */3 * * *",
        "2025-04-05 14:00",
        ["2025-04-05 16:30", "2025-04-05 19:30"],
    ),
    # Shanghai and UTC: no change on the days the others have one.
    ("Asia/Shanghai", "30 2 * * *", "2025-03-29 00:00", ["2025-03-29 18:30", "2025-03-30 18:30"]),
    ("Asia/Shanghai", "*/30 2 * * *", "2025-10-25 18:00", ["2025-10-25 18:30", "2025-10-26 18:00"]),
    ("UTC", "30 1 * * *", "2025-11-02 00:00", ["2025-11-02 01:30", "2025-11-03 01:30"]),
    ("UTC", "*/30 1 * * *", "2025-10-26 01:00", ["2025-10-26 01:30", "2025-10-27 01:00"]),
    # A midnight that does not exist: Sao Paulo, 2018-11-04 03:00.
    (
        "America/Sao_Paulo",
        "0 0 * * *",
        "2018-11-03 00:00",
        ["2018-11-03 03:00", "2018-11-04 03:00", "2018-11-05 02:00"],
    ),
    (
        "America/Sao_Paulo",
        "0 */2 4 11 *",
        "2018-11-04 00:00",
        ["2018-11-04 04:00", "2018-11-04 06:00"],
    ),
    (
        "America/Havana",
        "*/30 0 9 3 *",
        "2025-03-08 00:00",
        ["2026-03-09 04:00", "2026-03-09 04:30"],
    ),
    # At 00:01 back to 23:01 of the day before: St. John's, 2006-10-29 02:31.
    (
        "America/St_Johns",
        "30 23 * * *",
        "2006-10-28 12:00",
        ["2006-10-29 02:00", "2006-10-30 03:00"],
    ),
    # 30 December 2011 does not exist in Apia; the date line passes at 10:00.
    (
        "Pacific/Apia",
        "0 2 * * *",
        "2011-12-29 00:00",
        ["2011-12-29 12:00", "2011-12-30 10:00", "2011-12-30 12:00"],
    ),
    # A repeated hour across the UTC new year: Niamey, 68 minutes back at 1911-12-31 23:51:32.
    ("Africa/Niamey", "30 23 * * *", "1912-01-01 00:00", ["1912-01-02 00:30"]),
]


@pytest.mark.parametrize(("zone", "expr", "after", "slots"), CLOCKS)
def test_slots_follow_debian_crons_rule_when_clocks_change(
    zone: str, expr: str, after: str, slots: list[str]
) -> None:
    expected = [utc(slot) for slot in slots]
    assert next_slots(expr, zone, after=utc(after), count=len(slots)) == expected
    assert slots_between(expr, zone, after=utc(after), until=expected[-1]) == expected
    for earlier, later in pairwise(expected):
        just_before = later - timedelta(seconds=1)
        assert previous_slot(expr, zone, at=just_before) == earlier
    assert previous_slot(expr, zone, at=expected[-1]) == expected[-1]


@pytest.mark.parametrize(
    ("expr", "after", "slots"),
    [
        ("0 2 * * *", "2026-01-01 02:00", ["2026-01-02 02:00", "2026-01-03 02:00"]),
        ("*/30 * * * *", "2026-01-01 00:00", ["2026-01-01 00:30", "2026-01-01 01:00"]),
        (
            "0 9,18 * * 1-5",
            "2026-01-02 09:00",  # a Friday
            ["2026-01-02 18:00", "2026-01-05 09:00", "2026-01-05 18:00"],
        ),
        ("0 0 1 * *", "2026-01-01 00:00", ["2026-02-01 00:00", "2026-03-01 00:00"]),
        ("0 0 31 * *", "2026-01-31 00:00", ["2026-03-31 00:00", "2026-05-31 00:00"]),
        ("0 0 29 2 *", "2096-03-01 00:00", ["2104-02-29 00:00", "2108-02-29 00:00"]),
        ("0 0 29 2 */6", "2088-03-01 00:00", ["2116-02-29 00:00"]),
        # Both day fields restricted: one is enough.
        ("0 0 13 * 5", "2026-02-06 00:00", ["2026-02-13 00:00", "2026-02-20 00:00"]),
        ("0 0 30 2 1", "2026-02-16 00:00", ["2026-02-23 00:00", "2027-02-01 00:00"]),
        # One of them starts with a star: both must match.
        ("0 0 */2 * 1", "2026-02-02 00:00", ["2026-02-09 00:00", "2026-02-23 00:00"]),
        ("0 0 13 * */5", "2026-02-13 00:00", ["2026-03-13 00:00", "2026-09-13 00:00"]),
        # 0-7 is every weekday and yet no star: "or", so every day.
        ("0 0 13 * 0-7", "2026-02-13 00:00", ["2026-02-14 00:00", "2026-02-15 00:00"]),
    ],
)
def test_slots_on_ordinary_days(expr: str, after: str, slots: list[str]) -> None:
    assert next_slots(expr, "UTC", after=utc(after), count=len(slots)) == [utc(s) for s in slots]


@pytest.mark.parametrize("microsecond", [0, 1, 999_999])
def test_a_slot_is_strictly_later_than_after_and_at_or_before_at(microsecond: int) -> None:
    moment = utc("2026-01-01 02:00").replace(microsecond=microsecond)
    assert next_slots("* * * * *", "UTC", after=moment, count=1) == [utc("2026-01-01 02:01")]
    assert previous_slot("* * * * *", "UTC", at=moment) == utc("2026-01-01 02:00")
    just_before = utc("2026-01-01 02:00") - timedelta(microseconds=1)
    assert next_slots("* * * * *", "UTC", after=just_before, count=1) == [utc("2026-01-01 02:00")]
    assert previous_slot("* * * * *", "UTC", at=just_before) == utc("2026-01-01 01:59")


def test_a_start_in_the_second_of_two_repeated_hours_is_not_answered_with_the_past() -> None:
    second_pass = datetime(2025, 11, 2, 1, 10, tzinfo=ZoneInfo("America/New_York"), fold=1)
    assert next_slots("*/20 * * * *", "America/New_York", after=second_pass, count=1) == [
        utc("2025-11-02 06:20")
    ]


def test_slots_are_in_utc_whatever_zone_the_question_is_in() -> None:
    asked = datetime(2026, 1, 1, 8, 0, tzinfo=timezone(timedelta(hours=8)))
    slot = CronSchedule("0 1 * * *", "UTC").next_after(asked)
    before = CronSchedule("0 1 * * *", "UTC").previous_at(asked)
    assert (slot.isoformat(), slot.tzinfo) == ("2026-01-01T01:00:00+00:00", UTC)
    assert before is not None
    assert (before.isoformat(), before.tzinfo) == ("2025-12-31T01:00:00+00:00", UTC)


def test_a_naive_time_is_refused() -> None:
    naive = utc("2026-01-01 00:00").replace(tzinfo=None)
    with pytest.raises(ValueError, match="has no timezone"):
        CronSchedule("* * * * *", "UTC").next_after(naive)
    with pytest.raises(ValueError, match="has no timezone"):
        previous_slot("* * * * *", "UTC", at=naive)


def test_the_ends_of_the_calendar_are_said_and_not_overrun() -> None:
    with pytest.raises(InvalidCron, match="does not fire in UTC by 9998"):
        next_slots("0 0 29 2 *", "UTC", after=utc("9997-01-01 00:00"), count=1)
    assert previous_slot("0 0 29 2 *", "UTC", at=utc("0003-01-01 00:00")) is None


@pytest.mark.parametrize(
    ("zone", "begin"),
    [
        ("UTC", datetime(2026, 12, 30, 23, 30, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 3, 28, 20, 0, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 24, 20, 0, 30, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2025, 4, 5, 10, 0, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2025, 10, 4, 10, 0, tzinfo=UTC)),
        ("America/Sao_Paulo", datetime(2018, 11, 3, 20, 0, tzinfo=UTC)),
        ("Pacific/Apia", datetime(2011, 12, 29, 20, 0, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize(
    "expr",
    ["* * * * *", "*/7 1-3 * * *", "0 */2 * * *", "30 2 * * *", "0,30 0-3 1-7 * 0", "0 0 30 12 *"],
)
def test_slots_between_are_those_of_a_walk_from_slot_to_slot(
    zone: str, begin: datetime, expr: str
) -> None:
    for hours in (1, 12, 60):
        end = begin + timedelta(hours=hours)
        walk = iter_slots(expr, zone, after=begin)
        walked = list(takewhile(partial(operator.ge, end), walk))

        assert slots_between(expr, zone, after=begin, until=end) == walked


def test_slots_between_excludes_after_and_includes_until() -> None:
    begin, end = utc("2026-01-01 00:00"), utc("2026-01-01 00:30")

    whole = [utc(f"2026-01-01 00:{minute}") for minute in (10, 20, 30)]
    assert slots_between("*/10 * * * *", "UTC", after=begin, until=end) == whole


def test_iter_slots_goes_on_and_refuses_before_the_first_slot() -> None:
    slots = iter_slots("0 0 1 1 *", "UTC", after=utc("2026-01-01 00:00"))
    assert [slot.year for slot in islice(slots, 40)] == list(range(2027, 2067))
    with pytest.raises(InvalidCron, match="minute: 60"):
        iter_slots("60 * * * *", "UTC", after=utc("2026-01-01 00:00"))
    with pytest.raises(InvalidCron, match="timezone: 'Mars'"):
        iter_slots("0 * * * *", "Mars", after=utc("2026-01-01 00:00"))


def test_schedules_that_say_the_same_are_one_schedule() -> None:
    ours, spelled = CronSchedule("0 2 * * 0", "UTC"), CronSchedule("00  02 * * 7", "UTC")
    assert (spelled.expr, spelled.timezone) == ("0 2 * * 0", "UTC")
    assert len({ours, spelled, CronSchedule("0 2 * * 0", "Europe/Berlin")}) == 2
    assert schedule("0 2 * * 0", "UTC") is schedule("0 2 * * 0", "UTC")
    copied = pickle.loads(pickle.dumps(ours))
    assert copied == ours
    assert copied.next_after(utc("2026-01-01 00:00")) == utc("2026-01-04 02:00")


def test_describe_normalises_first_and_refuses_what_is_no_cron() -> None:
    assert describe("00 02 * * *") == "At 02:00 every day"
    assert describe("0 9,18 * * MON-FRI", "zh-hans") == "周一至周五 09:00 和 18:00"
    with pytest.raises(InvalidCron, match="minute: 60"):
        describe("60 * * * *")
