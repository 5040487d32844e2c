"""The tighter of a sync's and its storages' limits counts."""

from __future__ import annotations

import pytest

from filesync.engine import (
    LimitRefused,
    Limits,
    StorageLimits,
    tightened,
    validate_limits,
    validate_storage_limits,
)


@pytest.mark.parametrize(
    ("own", "storages", "result"),
    [
        (Limits(), [StorageLimits()], Limits()),
        (Limits(transfers=4), [StorageLimits(transfers=2)], Limits(transfers=2)),
        (Limits(transfers=1), [StorageLimits(transfers=2)], Limits(transfers=1)),
        (Limits(), [StorageLimits(transfers=8), StorageLimits(transfers=3)], Limits(transfers=3)),
        (Limits(), [StorageLimits(calls_per_s=2.5)], Limits(calls_per_s=2.5)),
        (Limits(bandwidth="2M"), [StorageLimits()], Limits(bandwidth="2M")),
        (Limits(), [StorageLimits(bandwidth="2M")], Limits(bandwidth="2M")),
        (Limits(bandwidth="2M"), [StorageLimits(bandwidth="512K")], Limits(bandwidth="512K")),
        (Limits(bandwidth="512"), [StorageLimits(bandwidth="1M")], Limits(bandwidth="512")),
        (Limits(bandwidth="off"), [StorageLimits(bandwidth="1M")], Limits(bandwidth="1M")),
        (Limits(bandwidth="0"), [StorageLimits(bandwidth="1M")], Limits(bandwidth="1M")),
        (Limits(bandwidth="1M:8M"), [StorageLimits(bandwidth="4M")], Limits(bandwidth="1M:4M")),
        (
            Limits(bandwidth="1.5M"),
            [StorageLimits(bandwidth="off:1M")],
            Limits(bandwidth="1.5M:1M"),
        ),
        (
            Limits(bandwidth="08:00,512K Mon-23:00,off"),
            [StorageLimits(bandwidth="2M")],
            Limits(bandwidth="08:00,512K Mon-23:00,2M"),
        ),
    ],
)
def test_the_tighter_limit_counts(
    own: Limits, storages: list[StorageLimits], result: Limits
) -> None:
    assert tightened(own, storages) == result
    validate_limits(result)


@pytest.mark.parametrize("bandwidth", ["fast", "1M --rc", "08:00,fast"])
def test_a_limit_that_is_none_is_not_hidden_by_that_of_a_storage(bandwidth: str) -> None:
    with pytest.raises(LimitRefused):
        validate_limits(tightened(Limits(bandwidth=bandwidth), [StorageLimits(bandwidth="1M")]))


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        (StorageLimits(transfers=0), "transfers"),
        (StorageLimits(calls_per_s=0), "calls_per_s"),
        (StorageLimits(bandwidth="fast"), "bandwidth"),
        (StorageLimits(bandwidth="08:00,512K"), "bandwidth"),
    ],
)
def test_a_storage_limit_that_cannot_be_is_refused(limits: StorageLimits, field: str) -> None:
    with pytest.raises(LimitRefused) as refusal:
        validate_storage_limits(limits)
    assert refusal.value.field == field
