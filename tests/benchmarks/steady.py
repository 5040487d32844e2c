"""When a series of samples counts as growing, and what a list of times says."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

MINUTES_PER_HOUR = 60
# Less than this over the measured time is noise of the allocator or of what is open just now.
SHARE_THAT_GROWS = 0.05


@dataclass(frozen=True, slots=True)
class Trend:
    """The regression line through the second half of a series."""

    mean: float
    rise: float
    per_hour: float

    def grows(self, *, at_least: float) -> bool:
        """Whether the line rises by more than `at_least`, and by more than 5 % of the mean."""
        return self.rise > max(at_least, SHARE_THAT_GROWS * self.mean)


def trend(minutes: Sequence[float], values: Sequence[float]) -> Trend:
    """Fit a line to the later half of the samples: the first half may warm up.

    Raises:
        ValueError: there are fewer than four samples.
    """
    if len(values) < 4:
        raise ValueError("a trend needs four samples")
    half = len(values) // 2
    later, seen = minutes[half:], values[half:]
    slope, _ = statistics.linear_regression(later, seen)
    return Trend(
        mean=statistics.fmean(seen),
        rise=slope * (later[-1] - later[0]),
        per_hour=slope * MINUTES_PER_HOUR,
    )


def percentiles(times_s: Sequence[float]) -> str:
    """Return "p50 A s, p99 B s, at most C s" of at least two times, "-" of fewer."""
    if len(times_s) < 2:
        return "-"
    cuts = statistics.quantiles(times_s, n=100, method="inclusive")
    return f"p50 {cuts[49]:.1f} s, p99 {cuts[98]:.1f} s, at most {max(times_s):.1f} s"
