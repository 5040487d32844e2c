"""What may be written, its one normal form, and what a refusal says."""

from __future__ import annotations

import pickle

import pytest
from django_celery_beat.models import CrontabSchedule

from scheduler.cron import InvalidCron, normalise, numeric_fields
from scheduler.cron_grammar import read_again

ACCEPTED = [
    ("0 2 * * *", "0 2 * * *"),
    ("*/30 * * * *", "*/30 * * * *"),
    ("0 9,18 * * 1-5", "0 9,18 * * 1-5"),
    ("0 0 1 * *", "0 0 1 * *"),
    ("  0\t02  *   * * ", "0 2 * * *"),
    ("007 0 01 012 00", "7 0 1 12 0"),
    ("0 9-9 * * *", "0 9 * * *"),
    ("5-5/3 * * * *", "5 * * * *"),
    ("10-20/30 * * * *", "10 * * * *"),
    ("10-20/10 * * * *", "10-20/10 * * * *"),
    ("10-20/1 */1 * * *", "10-20 * * * *"),
    ("*/59 */23 */30 */11 */6", "*/59 */23 */30 */11 */6"),
    ("0 0 * * 7", "0 0 * * 0"),
    ("0 0 * * 07", "0 0 * * 0"),
    ("0 0 * * 7-7", "0 0 * * 0"),
    ("0 0 * * 0,7", "0 0 * * 0"),
    ("0 0 * * 5-7", "0 0 * * 0,5-6"),
    ("0 0 * * 6-7", "0 0 * * 0,6"),
    ("0 0 * * 1-7", "0 0 * * 0-6"),
    ("0 0 1 * 0-7", "0 0 1 * 0-6"),
    ("0 0 * * 1-7/2", "0 0 * * 0,1,3,5"),
    ("0 0 * * 0-7/2", "0 0 * * 0,2,4,6"),
    ("0 0 * * 3,5-7", "0 0 * * 3,0,5-6"),
    ("0 0 * JAN-Mar MON-fri", "0 0 * jan-mar mon-fri"),
    ("0 0 * * sun-sat", "0 0 * * sun-sat"),
    ("0 0 * * sun-sun", "0 0 * * sun"),
    ("0 0 * * mon-tue/5", "0 0 * * mon"),
    ("0 0 * * mon-5", "0 0 * * 1-5"),
    ("0 0 * * fri-7", "0 0 * * 0,5-6"),
    ("0 0 * * mon-fri/2", "0 0 * * mon-fri/2"),
    ("1,1,2,1 * * * *", "1,2 * * * *"),
    ("30,0 * * * *", "30,0 * * * *"),
    ("*,5 * * * *", "*,5 * * * *"),
    ("0 0 5,* * 1", "0 0 5,* * 1"),
    ("0 0 30 2 1", "0 0 30 2 1"),
    ("0 0 31 1,2 *", "0 0 31 1,2 *"),
    ("0 0 29 2 *", "0 0 29 2 *"),
    ("0 0 29 2 */6", "0 0 29 2 */6"),
]


@pytest.mark.parametrize(("written", "normal"), ACCEPTED)
def test_every_spelling_has_one_normal_form(written: str, normal: str) -> None:
    assert normalise(written) == normal
    assert normalise(normal) == normal


FIELD_NAMES = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")

REFUSED = [
    ("", "cron", "empty; write minute hour day month weekday"),
    ("   ", "cron", "empty"),
    ("0 2 * *", "cron", "4 fields; exactly five"),
    ("0", "cron", "1 field; exactly five"),
    ("0 0 2 * * *", "cron", "six fields: seconds are not supported"),
    ("0 0 2 * * * 2026", "cron", "seven fields: seconds and years are not supported"),
    ("0 2 * * * * * *", "cron", "8 fields; exactly five"),
    ("1," * 46 + "1 * * * *", "cron", "101 characters; at most 100"),
    ("1 " * 200, "cron", "400 characters; at most 100"),
    ("0 2 * * *\n", "cron", "'\\n' is a control character"),
    ("0 2 * *\n*", "cron", "'\\n' is a control character"),
    ("0\r2 * * *", "cron", "'\\r' is a control character"),
    ("0 2 * * *\x00", "cron", "'\\x00' is a control character"),
    ("0 2\x1f* * *", "cron", "'\\x1f' is a control character"),
    ("@daily", "cron", "@daily: write 0 0 * * *"),
    ("@Weekly", "cron", "@weekly: write 0 0 * * 0"),
    ("@yearly", "cron", "@yearly: write 0 0 1 1 *"),
    ("@reboot", "cron", "not a time"),
    ("@every 5m", "cron", "'@every' is not known"),
    ("0\u30002\u3000*\u3000*\u3000*", "cron", "'\\u3000' is not an ASCII character"),
    ("0\u00a02 * * *", "cron", "'\\xa0' is not an ASCII character"),
    ("\u0665 * * * *", "minute", "'\\u0665' is not an ASCII character"),
    ("0 9\uff0c18 * * *", "hour", "'\\uff0c' is not an ASCII character"),
    ("0 0 * * \u0131", "day_of_week", "'\\u0131' is not an ASCII character"),
    ("60 * * * *", "minute", "60 is out of range 0-59"),
    ("0 24 * * *", "hour", "24 is out of range 0-23"),
    ("0 0 0 * *", "day_of_month", "0 is out of range 1-31"),
    ("0 0 32 * *", "day_of_month", "32 is out of range 1-31"),
    ("0 0 * 0 *", "month_of_year", "0 is out of range 1-12"),
    ("0 0 * 13 *", "month_of_year", "13 is out of range 1-12"),
    ("0 0 * * 8", "day_of_week", "8 is out of range 0-7"),
    ("0-60 * * * *", "minute", "60 is out of range 0-59"),
    ("-1 * * * *", "minute", "'-1' is not a number"),
    ("+1 * * * *", "minute", "'+1' is not a number"),
    ("1.5 * * * *", "minute", "'1.5' is not a number"),
    ("1_0 * * * *", "minute", "'1_0' is not a number"),
    ("0x1 * * * *", "minute", "'0x1' is not a number"),
    ("1- * * * *", "minute", "'1-' is not a number"),
    ("1-2-3 * * * *", "minute", "'1-2-3' is not a number"),
    ("** * * * *", "minute", "'**' is not a number"),
    ("*-5 * * * *", "minute", "'*-5' is not a number"),
    ("5/60 * * * *", "minute", "the step 60 is out of range 1-59"),
    ("5/15 * * * *", "minute", "a step follows * or a range; write 5-59/15"),
    ("*/0 * * * *", "minute", "the step 0 is out of range 1-59"),
    ("*/60 * * * *", "minute", "the step 60 is out of range 1-59"),
    ("5-5/60 * * * *", "minute", "the step 60 is out of range 1-59"),
    ("0 */24 * * *", "hour", "the step 24 is out of range 1-23"),
    ("0 0 */31 * *", "day_of_month", "the step 31 is out of range 1-30"),
    ("0 0 * */12 *", "month_of_year", "the step 12 is out of range 1-11"),
    ("0 0 * * */7", "day_of_week", "the step 7 is out of range 1-6"),
    ("*/ * * * *", "minute", "the step '' is not a number"),
    ("*/-5 * * * *", "minute", "the step '-5' is not a number"),
    ("*/5/5 * * * *", "minute", "the step '5/5' is not a number"),
    ("0 0 * */feb *", "month_of_year", "the step 'feb' is not a number"),
    ("1,,2 * * * *", "minute", "an item of the list is empty"),
    (",1 * * * *", "minute", "an item of the list is empty"),
    ("0 1, * * *", "hour", "an item of the list is empty"),
    ("0 22-2 * * *", "hour", "22-2 runs backwards; write 22-23,0-2"),
    ("0 0 * 11-2 *", "month_of_year", "11-2 runs backwards; write 11-12,1-2"),
    ("0 0 * * sat-mon", "day_of_week", "sat-mon runs backwards; write 6-6,0-1"),
    ("0 0 * * fri-sun", "day_of_week", "sunday is 0 here; write 5-7"),
    ("0 0 * * 7-1", "day_of_week", "7-1 runs backwards; write 0-1"),
    ("mon * * * *", "minute", "mon belongs in day_of_week"),
    ("0 0 * mon *", "month_of_year", "mon belongs in day_of_week"),
    ("0 0 * * jan", "day_of_week", "jan belongs in month_of_year"),
    ("0 0 * * monday", "day_of_week", "'monday' is not a number"),
    ("0 0 * january *", "month_of_year", "'january' is not a number"),
    ("0 0 * * mo", "day_of_week", "'mo' is not a number"),
    ("0 0 L * *", "day_of_month", "L (last) is not cron"),
    ("0 0 * * 5L", "day_of_week", "L (last) is not cron"),
    ("0 0 15W * *", "day_of_month", "W (nearest working day) is not cron"),
    ("0 0 LW * *", "day_of_month", "is not cron"),
    ("0 0 * * 5#2", "day_of_week", "# (nth weekday) is not cron"),
    ("0 0 * * wed#2", "day_of_week", "# (nth weekday) is not cron"),
    ("0 0 * * fri#2", "day_of_week", "# (nth weekday) is not cron"),
    ("0 0 ? * *", "day_of_month", "? is not cron; write *"),
    ("R * * * *", "minute", "R (random) is not cron"),
    ("R(1-5) * * * *", "minute", "R (random) is not cron"),
    ("H * * * *", "minute", "H (hashed) is not cron"),
    ("0~30 * * * *", "minute", "~ (random) is not cron"),
    ("0 0 30 2 *", "day_of_month", "never fires: day 30"),
    ("0 0 31 4,6,9,11 *", "day_of_month", "never fires: day 31"),
    ("0 0 30-31 2 */2", "day_of_month", "never fires: day 30"),
    ("0 0 31 feb *", "day_of_month", "never fires: day 31"),
]


@pytest.mark.parametrize(("written", "field", "reason"), REFUSED)
def test_a_refusal_names_the_field_and_the_reason(written: str, field: str, reason: str) -> None:
    with pytest.raises(InvalidCron) as refusal:
        normalise(written)
    assert refusal.value.field == field
    assert reason in refusal.value.reason
    assert str(refusal.value) == f"{field}: {refusal.value.reason}"
    assert str(refusal.value).isascii()


@pytest.mark.parametrize(
    "written", [row[0] for row in REFUSED if row[1] != "cron" and "write" in row[2]]
)
def test_what_a_refusal_says_to_write_is_accepted(written: str) -> None:
    with pytest.raises(InvalidCron) as refusal:
        normalise(written)
    said = refusal.value.reason.rpartition("write ")[2]
    position = FIELD_NAMES.index(refusal.value.field)
    fields = ["*"] * 5
    fields[position] = said.partition(";")[0]
    assert normalise(" ".join(fields))


def test_an_expression_that_grows_past_a_column_or_the_limit_is_refused() -> None:
    wide = ",".join(f"{first}-{last}" for first in range(6) for last in range(first + 1, 7))
    with pytest.raises(InvalidCron, match="day_of_week: 83 characters; at most 64"):
        normalise(f"0 0 * * {wide}")
    minutes = ",".join(str(minute) for minute in range(29)) + ",30-40,50-51"
    grows = f"{minutes} 0 1 1 1-7/2"
    assert len(grows) == 100
    with pytest.raises(InvalidCron, match="cron: 102 characters when written out; at most 100"):
        normalise(grows)
    assert normalise(f"{minutes} 0 1 1 1-6/2") == f"{minutes} 0 1 1 1-6/2"


def test_a_refusal_survives_the_way_to_another_process() -> None:
    copied = pickle.loads(pickle.dumps(InvalidCron("hour", "24 is out of range 0-23")))
    assert (copied.field, copied.reason) == ("hour", "24 is out of range 0-23")
    assert (copied.code, copied.retryable) == ("invalid_cron", False)


@pytest.mark.parametrize(
    ("text", "sets", "field"),
    [
        ("0 9-9 * * *", ((0,), (9,), tuple(range(1, 32)), tuple(range(1, 13)), ()), "hour"),
        ("0 9 1 jan bad", ((0,), (9,), (1,), (1,), ()), "cron"),
    ],
)
def test_what_croniter_reads_differently_is_refused(
    text: str, sets: tuple[tuple[int, ...], ...], field: str
) -> None:
    with pytest.raises(InvalidCron, match="read in two ways") as refusal:
        read_again(text, sets)
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        ("0 2 * * *", ("0", "2", "*", "*", "*")),
        ("*/5 0 1-7 JAN,dec mon-fri", ("*/5", "0", "1-7", "1,12", "1-5")),
        ("0 0 * mar-jun/2 6-7", ("0", "0", "*", "3-6/2", "0,6")),
    ],
)
def test_numeric_fields_fit_celery_beats_columns(written: str, fields: tuple[str, ...]) -> None:
    assert numeric_fields(written) == fields
    minute, hour, day, month, weekday = fields
    row = CrontabSchedule(
        minute=minute, hour=hour, day_of_month=day, month_of_year=month, day_of_week=weekday
    )
    row.clean_fields()


LONG = ",".join(str(minute) for minute in range(33))


@pytest.mark.parametrize(
    "expr",
    [
        f"{LONG} 1 * * *",
        "0 0-9,11,12,13,14,15,16,17,18,19,20,21,22,23,0-5,1-6,2-7,3-8 * * *",
        "0 0 1-2,2-3,3-4,4-5,5-6,6-7,7-8,8-9,9-10,10-11,11-12,12-13,13-14,14-15,15-16 * *",
        "0 0 * jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec *",
        "*,5 5,* */30 */11 */6",
    ],
)
def test_the_longest_fields_fit_celery_beats_columns(expr: str) -> None:
    minute, hour, day, month, weekday = numeric_fields(expr)
    CrontabSchedule(
        minute=minute, hour=hour, day_of_month=day, month_of_year=month, day_of_week=weekday
    ).clean_fields()
