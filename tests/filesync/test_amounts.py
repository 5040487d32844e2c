"""Sizes and durations in words, also in Chinese."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.translation import override

from filesync import amounts


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (200_000, "2 d"), (-3, "0 s")],
)
def test_a_span_is_told_in_its_largest_unit(seconds: int, words: str) -> None:
    assert amounts.roughly(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0.25, "0.2 s"),
        (9.9, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3_599, "59 min 59 s"),
        (7_500, "2 h 5 min"),
    ],
)
def test_a_duration_is_told_in_two_units(seconds: float | None, words: str) -> None:
    assert amounts.duration(seconds) == words


def test_units_are_the_readers() -> None:
    with override("zh-hans"):
        assert amounts.duration(7_500) == "2 小时 5 分"
        assert amounts.roughly(timedelta(hours=3)) == "3 小时"
    assert amounts.size(1_500) == "1.5\N{NO-BREAK SPACE}KB"
