"""A leak is seen through noise and a warm-up is not taken for one."""

from __future__ import annotations

import pytest

from tests.benchmarks.steady import percentiles, trend

MINUTES = [number / 2 for number in range(60)]
NOISE = [(-1.0) ** number for number in range(60)]


def test_a_leak_grows() -> None:
    leak = [100 + 0.5 * minute + noise for minute, noise in zip(MINUTES, NOISE, strict=True)]
    found = trend(MINUTES, leak)
    assert found.grows(at_least=4.0)
    assert found.per_hour == pytest.approx(30, rel=0.1)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([100 + noise for noise in NOISE], id="noise"),
        pytest.param([min(100.0, 50 + 5 * minute) for minute in MINUTES], id="warm-up"),
        pytest.param([100 - minute for minute in MINUTES], id="shrinking"),
        pytest.param([1_000 + minute for minute in MINUTES], id="under 5 % of much"),
        pytest.param([10 + 0.1 * minute for minute in MINUTES], id="less than counts"),
    ],
)
def test_what_is_flat_does_not_grow(values: list[float]) -> None:
    assert not trend(MINUTES, values).grows(at_least=4.0)


def test_few_samples_are_no_trend() -> None:
    with pytest.raises(ValueError, match="four"):
        trend([0.0, 1.0, 2.0], [1.0, 1.0, 1.0])


def test_percentiles_are_those_of_the_times() -> None:
    assert percentiles([float(number) for number in range(101)]) == (
        "p50 50.0 s, p99 99.0 s, at most 100.0 s"
    )
    assert percentiles([1.0]) == "-"
