"""What a run keeps of each attempt that has ended; pure.

A list in the run's own row: it is read with the run alone and goes with it, and the update that
ends an attempt writes it, without a query of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from filesync.models import SyncRun
from filesync.texts import text_document

# A run that is handed on again and again (a worker per deployment) keeps the latest.
MOST_KEPT = 50
MESSAGE_CHARS = 500

Attempt = dict[str, object]


def with_ended_attempt(run: SyncRun, outcome: Mapping[str, object], now: datetime) -> list[Attempt]:
    """Return the run's attempts with the one that ends now.

    `run` is the row before its change and `outcome` what is written to it; `now` is by the clock
    that `started_at` is by, the database's.
    """
    ended: Attempt = {
        "number": run.attempt,
        "worker": run.worker,
        "started_at": run.started_at.isoformat() if run.started_at else None,
        "ended_at": now.isoformat(),
        "state": str(outcome["state"]),
        "reason": str(outcome.get("reason", "")),
        "failure_class": str(outcome.get("failure_class", "")),
        "message": _shortened(outcome.get("message", "")),
    }
    return [*run.attempts, ended][-MOST_KEPT:]


def _shortened(message: object) -> object:
    """Return what is kept of a message; one that is too long loses its end, and its template."""
    text = message if isinstance(message, str) else ""
    return text_document(text if len(text) <= MESSAGE_CHARS else text[:MESSAGE_CHARS])
