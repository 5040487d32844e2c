"""The clock of the rate limits, stopped: a test that a minute's end runs through counts anew."""

from __future__ import annotations

import pytest

from filesync import rates


class Clock:
    """Stands in for `time` in `filesync.rates`."""

    now_s = 1_800_000_000.0

    def time(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the limits' clock at the begin of a minute."""
    clock = Clock()
    monkeypatch.setattr(rates, "time", clock)
    return clock
