"""How the page of a run tells its attempts, in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from filesync import amounts
from filesync.admin import words
from filesync.models import SyncRun
from filesync.texts import read_text, say


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt in ready words; `why` has a text a line."""

    number: int
    started: str
    took: str
    worker: str
    badge: SafeString
    why: list[str]


def attempt_rows(run: SyncRun) -> list[AttemptRow]:
    """Return the attempts of a run that have ended, oldest first, and the one that goes on."""
    rows = [_ended(attempt) for attempt in run.attempts]
    if run.state == SyncRun.State.RUNNING:
        rows.append(
            AttemptRow(
                number=run.attempt,
                started=_moment(run.started_at),
                took="",
                worker=run.worker,
                badge=words.badge(run.state),
                why=[],
            )
        )
    return rows


def _ended(attempt: Mapping[str, Any]) -> AttemptRow:
    started = datetime.fromisoformat(attempt["started_at"]) if attempt["started_at"] else None
    ended = datetime.fromisoformat(attempt["ended_at"])
    reason = SyncRun.Reason(attempt["reason"]).label if attempt["reason"] else ""
    told = [words.failure(attempt["failure_class"]), say(read_text(attempt["message"]))]
    message = ": ".join(filter(None, told))
    return AttemptRow(
        number=int(attempt["number"]),
        started=_moment(started),
        took=amounts.duration((ended - started).total_seconds() if started else None),
        worker=attempt["worker"],
        badge=_badge(attempt["state"]),
        why=[text for text in (message, str(reason)) if text],
    )


def _badge(state: str) -> SafeString:
    """Return how an attempt ended; one whose run went on was no end of the run."""
    if state != SyncRun.State.QUEUED:
        return words.badge(state)
    return format_html('<span class="sb-badge sb-warning">{}</span>', _("goes on"))


def _moment(moment: datetime | None) -> str:
    return str(localize(localtime(moment))) if moment is not None else ""
