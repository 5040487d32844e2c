"""Since when changes of a source may be at the destination unseen, by the runs of a config."""

from __future__ import annotations

import time

from django.db.models import Q

from filesync.models import SyncRun

_CHANCES = 3
# How far the clocks of a worker and of a source may be apart.
_CLOCK_TOLERANCE_S = 120
# Single files failed; after others nobody knows what was not looked at.
_OF_FILES = ["PERMISSION", "NOT_FOUND", "NAME_NOT_ALLOWED", "INTERNAL"]
_SENT = Q(state="SUCCEEDED") | Q(state="PARTIAL", guard="", failure_class__in=_OF_FILES)


def unsure_since_s(run: SyncRun) -> float | None:
    """Return the Unix time when the last run began that sent what had changed; None without one.

    A PARTIAL run sent all but what failed, which gets two more chances: where a file fails in each
    run, what changed since the first of them need not be sent again for ever. Where no run got so
    far, it is when the first one was asked for.
    """
    config = run.config
    assert config is not None
    others = config.runs.filter(dry_run=False, only_failed=False)
    others = others.exclude(trigger=SyncRun.Trigger.RESTORE)
    sent = others.exclude(pk=run.pk).filter(_SENT)
    latest = list(
        sent.order_by("-id").values_list("state", "attempt", "started_at", "created_at")[:_CHANCES]
    )
    if latest:
        succeeded = (one for one in latest if one[0] == SyncRun.State.SUCCEEDED)
        _, attempt, started_at, created_at = next(succeeded, latest[-1])
        # Of several attempts the start of the last one alone is known.
        began_at = started_at if attempt == 1 and started_at is not None else created_at
    else:
        tried = others.filter(~Q(pk=run.pk) & Q(attempt__gt=0) | Q(pk=run.pk, attempt__gt=1))
        first = tried.order_by("id").values_list("created_at", flat=True).first()
        if first is None:
            return None
        began_at = first
    # What was too young then had not been looked at.
    since_s = float(began_at.timestamp() - _CLOCK_TOLERANCE_S - (config.min_age_s or 0))
    return since_s if config.max_age_s is None else max(since_s, time.time() - config.max_age_s)
