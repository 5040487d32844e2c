"""The page of one run: what it does or did, path by path, and why it ended as it did."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from django.core.paginator import Page
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import reverse
from django.utils.formats import localize
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from filesync.admin import words
from filesync.admin.attempts import attempt_rows
from filesync.admin.filters import CappedPaginator
from filesync.admin.live import run_document
from filesync.models import RunItem, SyncRun
from filesync.run_log import read_log
from filesync.texts import say

ITEMS_PER_PAGE = 50
PLAN_ITEMS = 50
# A spreadsheet takes a cell that begins so for a formula, and file names come from anywhere.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def run_context(run: SyncRun, request: HttpRequest) -> dict[str, Any]:
    """Return what the page of a run shows."""
    return {
        "run": run,
        "live": run_document(run) | {"ended": run.is_terminal},
        "live_url": reverse("admin:filesync_syncrun_live", args=[run.pk]),
        "csv_url": reverse("admin:filesync_syncrun_items_csv", args=[run.pk]),
        "took": words.duration(run.duration_s),
        "facts": _facts(run),
        "counters": _counters(run),
        "failure": words.failure(run.failure_class),
        "guard": words.guard(run.guard),
        "advice": run.next_step,
        "attempts": attempt_rows(run),
        "plan": _plan(run),
        "items": _items(run, request),
        "actions": [(str(name), str(label)) for name, label in words.ACTIONS.items()],
        "chosen_action": request.GET.get("action", ""),
        "query": request.GET.get("q", ""),
        "log": log_document(run),
        "log_url": reverse("admin:filesync_syncrun_log", args=[run.pk]),
        "retries": list(run.retries.order_by("pk")[:20]),
    }


def log_document(run: SyncRun) -> dict[str, Any]:
    """Return the end of the run's log as text, or a note on why there is none to show."""
    log = read_log(run)
    if log.too_long:
        note = _("The log is too long to be shown on a page.")
    elif not log.found:
        note = _("There is no log yet: the run has not begun, or goes on elsewhere.")
    else:
        note = "" if log.lines else _("The log has no lines.")
    return {
        "found": log.found,
        "commands": "\n".join(log.commands),
        "lines": "\n".join(log.lines),
        "note": note,
        "ended": run.is_terminal,
    }


def _facts(run: SyncRun) -> list[tuple[str, str]]:
    """Return the run's circumstances, those that are set."""
    facts = [
        (_("trigger"), run.get_trigger_display()),
        (_("slot"), _moment(run.slot)),
        (_("requested by"), str(run.requested_by) if run.requested_by_id else ""),
        (_("created"), _moment(run.created_at)),
        (_("started"), _moment(run.started_at)),
        (_("finished"), _moment(run.finished_at)),
        (_("attempts"), _attempt_count(run)),
        (_("not before"), _moment(run.not_before) if run.state == run.State.QUEUED else ""),
        (_("workers lost"), str(run.crashes) if run.crashes else ""),
        (_("worker"), run.worker),
        (_("task id"), str(run.task_id)),
    ]
    return [(name, text) for name, text in facts if text]


def _attempt_count(run: SyncRun) -> str:
    if run.config is None or not run.attempt:
        return str(run.attempt or "")
    numbers = {"attempt": run.attempt, "most": run.config.max_attempts}
    return _("%(attempt)d of at most %(most)d") % numbers


def _moment(moment: Any) -> str:
    return str(localize(localtime(moment))) if moment is not None else ""


def _counters(run: SyncRun) -> list[tuple[str, str]]:
    return [
        (_("files transferred"), localize(run.files_transferred)),
        (_("data transferred"), words.size(run.bytes_transferred)),
        (_("files deleted"), localize(run.files_deleted)),
        (_("files checked"), localize(run.files_checked)),
        (_("files failed"), localize(run.files_failed)),
    ]


def _plan(run: SyncRun) -> dict[str, Any] | None:
    if not run.plan:
        return None
    counts = [
        (_("to add"), run.plan.get("adds", 0)),
        (_("to update"), run.plan.get("updates", 0)),
        (_("to delete"), run.plan.get("deletes", 0)),
        (_("to rename"), run.plan.get("renames", 0)),
        (_("folders to remove"), run.plan.get("dirs_removed", 0)),
    ]
    items = [
        (words.action(item["action"]), item["path"], words.size(item["size_bytes"]))
        for item in run.plan.get("items", [])[:PLAN_ITEMS]
    ]
    return {
        "counts": [(name, localize(count)) for name, count in counts],
        "to_send": words.size(run.plan.get("bytes_to_send", 0)),
        # Plans of earlier versions do not say it.
        "to_delete": words.size(run.plan["bytes_to_delete"])
        if run.plan.get("bytes_to_delete")
        else "",
        "items": items,
        # A finished run tells what it did; only one that changed nothing has no better list.
        "show_items": run.dry_run or run.failure_class == "GUARD",
    }


def chosen_items(run: SyncRun, request: HttpRequest) -> QuerySet[RunItem]:
    """Return the items that the page's search and its choice of action let through."""
    items = run.items.order_by("pk")
    if action := request.GET.get("action"):
        items = items.filter(action=action)
    if query := request.GET.get("q"):
        items = items.filter(path__icontains=query.replace("\0", ""))
    return items


def _items(run: SyncRun, request: HttpRequest) -> dict[str, Any]:
    paginator = CappedPaginator(chosen_items(run, request), ITEMS_PER_PAGE)
    page: Page[RunItem] = paginator.get_page(request.GET.get("page"))
    rows = [
        (words.action(item.action), item.path, words.size(item.size_bytes), say(item.error))
        for item in page
    ]
    kept = request.GET.copy()
    kept.pop("page", None)
    return {"page": page, "rows": rows, "count": paginator.count, "kept": kept.urlencode()}


def items_csv(run: SyncRun, request: HttpRequest) -> StreamingHttpResponse:
    """Return the chosen items as CSV; a text that a spreadsheet would compute gets a quote."""
    items = chosen_items(run, request).values_list("action", "path", "size_bytes", "error")

    def lines() -> Iterator[str]:
        writer = csv.writer(_Echo())
        # The mark tells a spreadsheet that it is UTF-8.
        yield "\ufeff" + writer.writerow(["action", "path", "size_bytes", "error"])
        for action, path, size_bytes, error in items.iterator(chunk_size=2000):
            yield writer.writerow([action, _plain(path), size_bytes, _plain(error)])

    name = f"run-{run.pk}-items.csv"
    return StreamingHttpResponse(
        lines(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


class _Echo:
    """A file whose `write` gives the text back, which csv.writer then returns."""

    def write(self, text: str) -> str:
        return text
