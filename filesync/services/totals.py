"""Adds ended runs to the counters that metrics show; called under the review's lock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from filesync.models import RunTotal, SyncRun
from filesync.models.run_total import DURATION_BOUNDS_S, LAG_BOUNDS_S


def add_runs(runs: Iterable[SyncRun]) -> None:
    """Add runs that ended; each must be given once."""
    totals: dict[tuple[str, str], RunTotal] = {}
    for run in runs:
        key = (run.state, run.failure_class)
        if key not in totals:
            totals[key] = RunTotal.objects.get_or_create(state=key[0], failure_class=key[1])[0]
        _add(totals[key], run)
    for total in totals.values():
        total.save()


def add_missed(count: int) -> None:
    """Add slots that nobody fired."""
    total, _ = RunTotal.objects.get_or_create(state=SyncRun.State.MISSED, failure_class="")
    total.runs += count
    total.save()


def _add(total: RunTotal, run: SyncRun) -> None:
    total.runs += 1
    total.files += run.files_transferred
    total.size_bytes += run.bytes_transferred
    if run.duration_s is not None:
        total.duration_s += run.duration_s
        total.durations[bisect_left(DURATION_BOUNDS_S, run.duration_s)] += 1
    if run.started_at is not None and run.slot is not None and run.attempt <= 1:
        # A later attempt overwrites when the first one started.
        lag_s = max(0.0, (run.started_at - run.slot).total_seconds())
        total.lag_s += lag_s
        total.lags[bisect_left(LAG_BOUNDS_S, lag_s)] += 1
