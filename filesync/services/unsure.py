"""Since when changes of a source may be at the destination unseen, by the runs of a config."""

from __future__ import annotations

import time

from filesync.models import SyncConfig, SyncRun

_CHANCES = 3
# How far the clocks of a worker and of a source may be apart.
_CLOCK_TOLERANCE_S = 120
_SENT = [SyncRun.State.SUCCEEDED, SyncRun.State.PARTIAL]


def unsure_since_s(config: SyncConfig) -> float | None:
    """Return the Unix time when the last run began that sent what had changed; None without one.

    A PARTIAL run sent all but what failed, which gets two more chances: where a file fails in each
    run, what changed since the first of them need not be sent again for ever.
    """
    runs = config.runs.filter(state__in=_SENT, dry_run=False, only_failed=False)
    runs = runs.exclude(trigger=SyncRun.Trigger.RESTORE)
    latest = list(
        runs.order_by("-id").values_list("state", "attempt", "started_at", "created_at")[:_CHANCES]
    )
    if not latest:
        return None
    succeeded = (run for run in latest if run[0] == SyncRun.State.SUCCEEDED)
    _, attempt, started_at, created_at = next(succeeded, latest[-1])
    # Of several attempts the start of the last one alone is known.
    began_at = started_at if attempt == 1 and started_at is not None else created_at
    since_s = float(began_at.timestamp() - _CLOCK_TOLERANCE_S)
    return since_s if config.max_age_s is None else max(since_s, time.time() - config.max_age_s)
