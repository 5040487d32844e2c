"""RunTotal: counters over all runs there ever were, which outlive the runs themselves."""

from __future__ import annotations

from django.db import models

# Upper bounds in seconds; one more bucket counts what is above the last.
DURATION_BOUNDS_S = (1, 10, 60, 300, 1_800, 7_200, 43_200)
LAG_BOUNDS_S = (1, 2, 5, 15, 60, 300, 1_800)


def no_durations() -> list[int]:
    return [0] * (len(DURATION_BOUNDS_S) + 1)


def no_lags() -> list[int]:
    return [0] * (len(LAG_BOUNDS_S) + 1)


class RunTotal(models.Model):
    """What runs that ended in one state and failure class add up to; only the review writes it.

    `durations` and `lags` count runs per bucket: how long they took, and how long after its slot
    each started.
    """

    state = models.CharField(max_length=16)
    failure_class = models.CharField(max_length=32, blank=True, default="")
    runs = models.PositiveBigIntegerField(default=0)
    files = models.PositiveBigIntegerField(default=0)
    size_bytes = models.PositiveBigIntegerField(default=0)
    duration_s = models.FloatField(default=0)
    durations = models.JSONField(default=no_durations)
    lag_s = models.FloatField(default=0)
    lags = models.JSONField(default=no_lags)

    class Meta:
        verbose_name = "run total"
        verbose_name_plural = "run totals"
        constraints = [
            models.UniqueConstraint(
                fields=["state", "failure_class"], name="filesync_total_per_state_and_class"
            )
        ]

    def __str__(self) -> str:
        return f"{self.state} {self.failure_class}: {self.runs}"
