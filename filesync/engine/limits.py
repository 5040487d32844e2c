"""Bring a run's limits and those of its storages together: the tighter one counts; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from filesync.engine.errors import LimitRefused
from filesync.engine.filters import validate_limits
from filesync.engine.request import Limits
from filesync.engine.texts import Text

Number = TypeVar("Number", int, float)
_FACTORS = {
    "B": 1,
    "": 1 << 10,
    "K": 1 << 10,
    "M": 1 << 20,
    "G": 1 << 30,
    "T": 1 << 40,
    "P": 1 << 50,
}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([BKMGTP]?)")


@dataclass(frozen=True, slots=True)
class StorageLimits:
    """How hard one run may use a storage; `bandwidth` is one rate and no timetable."""

    transfers: int | None = None
    calls_per_s: float | None = None
    bandwidth: str | None = None


def validate_storage_limits(limits: StorageLimits) -> None:
    """Raise LimitRefused for a limit that is out of range or not in rclone's syntax."""
    validate_limits(tightened(Limits(), [replace(limits, bandwidth=None)]))
    if limits.bandwidth is not None:
        validate_limits(Limits(bandwidth=limits.bandwidth))
        if "," in limits.bandwidth:
            raise LimitRefused(
                Text(
                    "bandwidth {bandwidth!r} must be one rate like '4M'; a timetable "
                    "belongs to a sync",
                    bandwidth=limits.bandwidth,
                ),
                field="bandwidth",
            )


def tightened(limits: Limits, storages: Iterable[StorageLimits]) -> Limits:
    """Give the limits of a run, none looser than those of its storages."""
    for storage in storages:
        limits = replace(
            limits,
            transfers=_least(limits.transfers, storage.transfers),
            calls_per_s=_least(limits.calls_per_s, storage.calls_per_s),
            bandwidth=_slower_timetable(limits.bandwidth, storage.bandwidth),
        )
    return limits


def _least(one: Number | None, other: Number | None) -> Number | None:
    given = [value for value in (one, other) if value is not None]
    return min(given, default=None)


def _slower_timetable(timetable: str | None, cap: str | None) -> str | None:
    if timetable is None or cap is None:
        return timetable or cap
    slots = (slot.rpartition(",") for slot in timetable.split(" "))
    return " ".join(f"{start}{comma}{_slower(rate, cap)}" for start, comma, rate in slots)


def _slower(one: str, other: str) -> str:
    """Give the slower rate of each direction: "2M", or "2M:512K" for up and down."""
    (one_up, one_down), (other_up, other_down) = _directions(one), _directions(other)
    up = min(one_up, other_up, key=_bytes_per_s)
    down = min(one_down, other_down, key=_bytes_per_s)
    return up if up == down else f"{up}:{down}"


def _directions(rate: str) -> tuple[str, str]:
    up, colon, down = rate.partition(":")
    return up, down if colon else up


def _bytes_per_s(rate: str) -> float:
    number = _NUMBER.fullmatch(rate)
    if number is None and rate != "off":
        return float("-inf")  # wins, so that the validation meets it
    # "off" is no limit; so is 0, in rclone's words.
    if number is None or float(number[1]) == 0:
        return float("inf")
    return float(number[1]) * _FACTORS[number[2]]
