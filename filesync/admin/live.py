"""What the pages poll every two seconds: ready words and numbers, so that the script has none."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db.models import OuterRef, Subquery
from django.urls import get_script_prefix, reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from filesync import amounts, board, selectors
from filesync.admin import words
from filesync.models import SyncConfig, SyncRun

Document = dict[str, Any]
# The few columns of a run of which `run_document` is made.
COLUMNS = (
    "config",
    "config_name",
    "state",
    "late",
    "started_at",
    "finished_at",
    "cancel_requested_at",
    "phase",
    "progress",
)


def run_document(run: SyncRun, *, now: datetime | None = None) -> Document:
    """Return one run as the pages show it; `percent` is None while unknown."""
    now = now or timezone.now()
    progress: Document = run.progress
    running = run.state == SyncRun.State.RUNNING
    ended_s = run.duration_s
    since_s = (now - run.started_at).total_seconds() if running and run.started_at else None
    url, cancel_url = _urls(run.pk, prefix=get_script_prefix())
    return {
        "id": run.pk,
        "name": run.config_name,
        "url": url,
        "cancel_url": cancel_url,
        "state": run.state,
        "state_label": words.state(run.state),
        "badge_class": f"sb-badge sb-{words.tone(run.state)}",
        "late": run.get_late_display(),
        "active": not run.is_terminal,
        "running": running,
        "cancelling": running and run.cancel_requested_at is not None,
        "phase": words.phase(run.phase) or (_("Starting") if running else ""),
        "percent": progress.get("percent"),
        "percent_words": _percent(progress),
        "amount": _amount(progress),
        "speed": words.speed(progress.get("speed_bytes_per_s")),
        "eta": _eta(progress.get("eta_s")),
        "took": amounts.duration(ended_s if ended_s is not None else since_s),
        "in_flight": [_flying(file) for file in progress.get("in_flight", [])],
        "checks": str(progress.get("checks_done", 0)),
        "deletes": str(progress.get("deletes", 0)),
        "errors": str(progress.get("errors", 0)),
    }


@lru_cache(maxsize=1_000)
def _urls(run_id: int, *, prefix: str) -> tuple[str, str]:
    """Return where a run is shown and where it is cancelled, below the prefix of the site."""
    return (
        reverse("admin:filesync_syncrun_change", args=[run_id]),
        reverse("admin:filesync_syncrun_cancel_now", args=[run_id]),
    )


def _percent(progress: Document) -> str:
    return "" if progress.get("percent") is None else f"{progress['percent']:.0f} %"


def _amount(progress: Document) -> str:
    if not progress.get("files_total"):
        return ""
    if not progress["bytes_total"]:
        return _("%(files)d of %(all)d files") % {
            "files": progress["files_done"],
            "all": progress["files_total"],
        }
    return _("%(done)s of %(total)s, %(files)d of %(all)d files") % {
        "done": amounts.size(progress["bytes_done"]),
        "total": amounts.size(progress["bytes_total"]),
        "files": progress["files_done"],
        "all": progress["files_total"],
    }


def _eta(eta_s: float | None) -> str:
    return _("%s left") % amounts.duration(eta_s) if eta_s is not None else ""


def _flying(file: Document) -> Document:
    known = file["size_bytes"] > 0
    return {
        "name": file["name"],
        "size": amounts.size(file["size_bytes"]) if known else "",
        "percent": round(100 * file["bytes_done"] / file["size_bytes"]) if known else None,
    }


def config_document(config_ids: Iterable[int]) -> Document:
    """Return the latest run of each config, as the list of configs shows it."""
    newest = SyncRun.objects.filter(config=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    asked = SyncConfig.objects.filter(pk__in=list(config_ids))
    latest = asked.annotate(latest=Subquery(newest)).values_list("latest", flat=True)
    now = timezone.now()
    scopes = {}
    for run in SyncRun.objects.filter(pk__in=list(latest)).only(*COLUMNS):
        told = run_document(run, now=now)
        told["when"] = "" if told["active"] else words.ago(run.finished_at, now=now)
        scopes[f"config-{run.config_id}"] = told
    return {"scopes": scopes}


def dashboard_document(*, polled: bool) -> Document:
    """Return what changes on the dashboard while one looks at it."""
    numbers = board.numbers(polled=polled)
    broker = selectors.broker_reachable_lately(wait_s=selectors.PAGE_WAITS_S)
    return {
        "vitals": [
            {"name": vital.name, "words": vital.words, "class": f"sb-vital sb-{vital.level}"}
            for vital in board.vitals(broker=broker)
        ],
        "runs_today": str(numbers.runs_today),
        "failed_today": str(numbers.failed_today),
        "failed_class": "sb-value sb-bad-text" if numbers.failed_today else "sb-value",
        "bytes_today": amounts.size(numbers.bytes_today),
        "configs": f"{numbers.configs_enabled} / {numbers.configs_total}",
        "queued": str(numbers.queued),
        "oldest_wait": _wait(numbers.oldest_wait),
        "wait_class": _wait_class(numbers.oldest_wait),
        "nothing_runs": not (runs := [run_document(run) for run in board.running().only(*COLUMNS)]),
        "runs": runs,
        "strip": [_tick(run) for run in board.last_runs()],
    }


def _wait(oldest: datetime | None) -> str:
    return _("nothing waits") if oldest is None else words.ago(oldest)


def _wait_class(oldest: datetime | None) -> str:
    late = oldest is not None and timezone.now() - oldest > board.WAITS_LONG
    return "sb-value sb-bad-text" if late else "sb-value"


def _tick(run: board.StripRun) -> Document:
    return _tick_words(
        run.pk,
        run.state,
        run.config_name,
        run.took_s,
        language=get_language(),
        prefix=get_script_prefix(),
    )


@lru_cache(maxsize=1_000)
def _tick_words(
    run_id: int, state: str, name: str, took_s: float | None, *, language: str, prefix: str
) -> Document:
    """Put a run of the strip into words; 59 of its 60 were there at the poll before."""
    label = f"{name}: {words.state(state)}"
    if took_s is not None:
        label = f"{label}, {amounts.duration(took_s)}"
    return {
        "class": f"sb-tick sb-{words.tone(state)}",
        "url": _urls(run_id, prefix=prefix)[0],
        "label": label,
    }
