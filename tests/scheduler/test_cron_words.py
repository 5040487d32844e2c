"""What an expression is called, in both languages."""

from __future__ import annotations

import random

import pytest

from scheduler.cron import normalise
from scheduler.cron_words import CHINESE_WEEKDAYS, ENGLISH_MONTHS, ENGLISH_WEEKDAYS, describe
from tests.scheduler.cron_oracle import meaning, random_expression

WORDS = [
    ("0 2 * * *", "At 02:00 every day", "每天 02:00"),
    ("*/30 * * * *", "Every 30 minutes", "每 30 分钟"),
    ("0 9,18 * * 1-5", "At 09:00 and 18:00, Monday to Friday", "周一至周五 09:00 和 18:00"),
    ("0 0 1 * *", "At 00:00 on day 1 of the month", "每月 1 日 00:00"),
    ("* * * * *", "Every minute", "每分钟"),
    ("*,5 * * * *", "Every minute", "每分钟"),
    ("0-59 * * * *", "Every minute", "每分钟"),
    (
        "*/7 * * * *",
        "Every 7 minutes from minute 0 of each hour",
        "每小时从第 0 分钟起每 7 分钟",
    ),
    ("0 * * * *", "Every hour at minute 0", "每小时第 0 分钟"),
    ("5,10-20 * * * *", "Every hour at minutes 5 and 10 to 20", "每小时第 5、10 至 20 分钟"),
    (
        "1-59/2 * * * *",
        "Every hour at minutes 1 to 59 in steps of 2",
        "每小时第 1 至 59 分钟（步长 2）",
    ),
    ("0 */2 * * *", "Every 2 hours", "每 2 小时"),
    ("15 */2 * * *", "Every 2 hours at minute 15", "每 2 小时的第 15 分钟"),
    ("15 */5 * * *", "Every 5 hours from 00:15 each day", "自每日 00:15 起每 5 小时"),
    (
        "* */2 * * *",
        "Every minute, in hours 00 to 22 in steps of 2",
        "00 至 22 时（步长 2）内每分钟",
    ),
    ("* 2 * * *", "Every minute from 02:00 to 02:59 every day", "每天 02:00 至 02:59 每分钟"),
    ("30 9-17 * * *", "Every hour from 09:30 to 17:30 every day", "每天 09:30 至 17:30 每小时"),
    (
        "*/15 9-17 * * mon-fri",
        "Every 15 minutes from 09:00 to 17:59, Monday to Friday",
        "周一至周五 09:00 至 17:59 每 15 分钟",
    ),
    (
        "*/7 9-17 * * *",
        "Every 7 minutes from minute 0 of each hour, from 09:00 to 17:59 every day",
        "每天 09:00 至 17:59 每小时从第 0 分钟起每 7 分钟",
    ),
    (
        "0,15,30 9-17 * * *",
        "At minutes 0, 15 and 30, from 09:00 to 17:59 every day",
        "每天 09:00 至 17:59 每小时第 0、15、30 分钟",
    ),
    (
        "0 1,3,5,7,9,11,13 * * *",
        "At minute 0, in hours 01, 03, 05, 07, 09, 11 and 13 every day",
        "每天 01、03、05、07、09、11、13 时内每小时第 0 分钟",
    ),
    (
        "0 3-23/4 * * *",
        "At 03:00, 07:00, 11:00, 15:00, 19:00 and 23:00 every day",
        "每天 03:00、07:00、11:00、15:00、19:00 和 23:00",
    ),
    ("0 8 * * sat,sun", "At 08:00, Saturday and Sunday", "周六、周日 08:00"),
    ("0 0 * * 0,5-6", "At 00:00, Friday to Sunday", "周五至周日 00:00"),
    ("0 0 * * 0-6", "At 00:00 every day", "每天 00:00"),
    ("*/10 * * * 6", "Every 10 minutes, Saturday", "周六，每 10 分钟"),
    ("*/15 * 1 * *", "Every 15 minutes on day 1 of the month", "每月 1 日，每 15 分钟"),
    (
        "0 0 */10 * *",
        "At 00:00 on days 1, 11, 21 and 31 of the month",
        "每月 1 日、11 日、21 日、31 日 00:00",
    ),
    (
        "0 0 */2 * *",
        "At 00:00 on days 1 to 31 of the month in steps of 2",
        "每月 1 日至 31 日（步长 2） 00:00",
    ),
    ("0 0 29 2 *", "At 00:00 on day 29 of February", "2 月 29 日 00:00"),
    ("0 0 1 jan,jul *", "At 00:00 on day 1 of January and July", "1 月、7 月的 1 日 00:00"),
    ("0 0 * 6-8 *", "At 00:00 every day from June to August", "6 月至 8 月每天 00:00"),
    ("*/10 * * 3 *", "Every 10 minutes in March", "3 月，每 10 分钟"),
    ("0 0 * 3 1", "At 00:00, Monday, in March", "3 月的周一 00:00"),
    # Both day fields restricted: one is enough, unless one starts with a star.
    (
        "0 0 1,15 * 1",
        "At 00:00 on days 1 and 15 of the month or on Monday",
        "每月 1 日、15 日或周一 00:00",
    ),
    (
        "0 0 1 1 1",
        "At 00:00 on day 1 of the month or on Monday, in January",
        "1 月的 1 日或周一 00:00",
    ),
    (
        "0 0 */10 * 1",
        "At 00:00 on days 1, 11, 21 and 31 of the month, and only if it is Monday",
        "每月 1 日、11 日、21 日、31 日且逢周一 00:00",
    ),
    (
        "0 0 1-7 * */3",
        "At 00:00 on days 1 to 7 of the month, and only if it is Wednesday, Saturday or Sunday",
        "每月 1 日至 7 日且逢周三、周六、周日 00:00",
    ),
    ("0 0 1 * 0-6", "At 00:00 every day", "每天 00:00"),
    ("0 0 1-31 * 1", "At 00:00 every day", "每天 00:00"),
]


@pytest.mark.parametrize(("expr", "english", "chinese"), WORDS)
def test_says_it_in_english_and_in_chinese(expr: str, english: str, chinese: str) -> None:
    assert describe(expr) == english
    assert describe(expr, "zh-hans") == chinese


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "Every minute"),
        ("en-gb", "Every minute"),
        ("fr", "Every minute"),
        ("", "Every minute"),
        ("zh-hant", "Every minute"),
        ("zh", "每分钟"),
        ("zh-cn", "每分钟"),
        ("zh-hans", "每分钟"),
        ("zh-Hans", "每分钟"),
        ("zh_CN", "每分钟"),
    ],
)
def test_an_unknown_language_gets_english(language: str, words: str) -> None:
    assert describe("* * * * *", language) == words


Said = tuple[frozenset[int], frozenset[int], frozenset[int], frozenset[tuple[int, int]]]


def said(expr: str) -> Said:
    """Return minutes, hours, months and the (day, weekday) pairs on which it fires."""
    sets = meaning(expr)
    days = frozenset(
        (day, weekday)
        for day in range(1, 32)
        for weekday in range(7)
        if sets.matches(min(sets.minutes), min(sets.hours), day, min(sets.months), weekday)
    )
    return sets.minutes, sets.hours, sets.months, days


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_the_same_words_never_stand_for_two_meanings(language: str) -> None:
    dice = random.Random("words")
    meanings: dict[str, tuple[Said, str]] = {}
    for _ in range(4_000):
        expr = normalise(random_expression(dice))
        words, ours = describe(expr, language), said(expr)
        known, other = meanings.setdefault(words, (ours, expr))
        assert known == ours, (words, expr, other)
    assert len(meanings) > 2_000


def test_every_listed_piece_shows_up() -> None:
    dice = random.Random("pieces")
    for _ in range(500):
        minute = dice.randrange(1, 60)
        hours = sorted(dice.sample(range(0, 24, 2), dice.randint(2, 6)))
        days = sorted(dice.sample(range(1, 32, 2), dice.randint(1, 5)))
        months = sorted(dice.sample(range(1, 13, 2), dice.randint(1, 4)))
        weekdays = sorted(dice.sample([1, 3, 5, 7], dice.randint(1, 3)))
        lists = [",".join(map(str, numbers)) for numbers in (hours, days, months, weekdays)]
        expr = normalise(f"{minute} {' '.join(lists)}")
        english, chinese = describe(expr), describe(expr, "zh")
        for hour in hours:
            assert f"{hour:02d}:{minute:02d}" in english, expr
            assert f"{hour:02d}:{minute:02d}" in chinese, expr
        for day in days:
            assert str(day) in english.partition(" on day")[2].replace(",", "").split(), expr
            assert f"{day} 日" in chinese, expr
        for month in months:
            assert ENGLISH_MONTHS[month - 1] in english, expr
            assert f"{month} 月" in chinese, expr
        for weekday in weekdays:
            assert ENGLISH_WEEKDAYS[weekday - 1] in english, expr
            assert CHINESE_WEEKDAYS[weekday - 1] in chinese, expr
        assert " or on " in english
        assert "或" in chinese
