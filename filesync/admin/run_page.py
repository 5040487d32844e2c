"""The page of one run: what it does or did, path by path, and why it ended as it did."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.core.paginator import Page, Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import reverse
from django.utils.formats import localize
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from filesync import amounts
from filesync.admin import words
from filesync.admin.attempts import attempt_rows
from filesync.admin.filters import COUNTED, CappedPaginator
from filesync.admin.live import run_document
from filesync.models import RunItem, SyncRun
from filesync.run_log import read_log
from filesync.texts import say

ITEMS_PER_PAGE = 50
# A spreadsheet takes a cell that begins so for a formula, and file names come from anywhere.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Row(NamedTuple):
    """One path of a run's table: what was done to it, or would be."""

    action: str
    path: str
    size_bytes: int | None
    error: str
    old_path: str


def run_context(run: SyncRun, request: HttpRequest) -> dict[str, Any]:
    """Return what the page of a run shows."""
    return {
        "run": run,
        "live": run_document(run) | {"ended": run.is_terminal},
        "live_url": reverse("admin:filesync_syncrun_live", args=[run.pk]),
        "csv_url": reverse("admin:filesync_syncrun_items_csv", args=[run.pk]),
        "took": amounts.duration(run.duration_s),
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
        (_("data transferred"), amounts.size(run.bytes_transferred)),
        (_("files deleted"), localize(run.files_deleted)),
        (_("files renamed"), localize(run.files_renamed)),
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
        # Plans of earlier versions do not say these two.
        (_("times to set"), run.plan.get("times_updated")),
        (_("folders to make"), run.plan.get("dirs_made")),
        (_("folders to remove"), run.plan.get("dirs_removed", 0)),
    ]
    left_off = run.plan.get("items_left_off", 0)
    return {
        "counts": [(name, localize(count)) for name, count in counts if count is not None],
        "to_send": amounts.size(run.plan.get("bytes_to_send", 0)),
        # Plans of earlier versions do not say it.
        "to_delete": amounts.size(run.plan["bytes_to_delete"])
        if run.plan.get("bytes_to_delete")
        else "",
        "to_rename": amounts.size(run.plan["bytes_renamed"])
        if run.plan.get("bytes_renamed")
        else "",
        "left_off": localize(left_off) if left_off and _shows_plan(run) else "",
    }


def _shows_plan(run: SyncRun) -> bool:
    """Whether its table is of what would be done: a run that did something tells that instead."""
    stopped = run.failure_class == "GUARD" and not (
        run.files_transferred or run.files_deleted or run.files_renamed
    )
    return bool(run.plan and run.plan.get("items")) and (run.dry_run or stopped)


def chosen_items(run: SyncRun, request: HttpRequest) -> QuerySet[RunItem, Any] | list[Row]:
    """Return the rows that the page's search and its choice of action let through.

    Of a run that did nothing those of its plan, after what is recorded of it, such as conflicts.
    """
    items = run.items.order_by("pk")
    action, query = request.GET.get("action"), request.GET.get("q", "").replace("\0", "")
    if action:
        items = items.filter(action=action)
    if query:
        items = items.filter(Q(path__icontains=query) | Q(old_path__icontains=query))
    rows = items.values_list(*Row._fields)
    if not _shows_plan(run):
        return rows
    assert run.plan is not None
    planned = (
        Row(item["action"], item["path"], item["size_bytes"], "", item.get("old_path", ""))
        for item in run.plan.get("items", [])
    )
    return [Row(*row) for row in rows[:COUNTED]] + [
        row for row in planned if action in (None, "", row.action) and _is_named(row, query)
    ]


def _is_named(row: Row, query: str) -> bool:
    wanted = query.casefold()
    return wanted in row.path.casefold() or wanted in row.old_path.casefold()


def _items(run: SyncRun, request: HttpRequest) -> dict[str, Any]:
    chosen = chosen_items(run, request)
    pages = Paginator if isinstance(chosen, list) else CappedPaginator
    paginator = pages(chosen, ITEMS_PER_PAGE)
    page: Page[Any] = paginator.get_page(request.GET.get("page"))
    rows = [
        {
            "action": words.action(row.action),
            "path": row.path,
            "old_path": row.old_path,
            "size": amounts.size(row.size_bytes),
            "error": say(row.error),
        }
        for row in map(Row._make, page)
    ]
    kept = request.GET.copy()
    kept.pop("page", None)
    return {
        "title": _("What it would do") if _shows_plan(run) else _("Items"),
        "page": page,
        "rows": rows,
        "count": paginator.count,
        "kept": kept.urlencode(),
    }


def items_csv(run: SyncRun, request: HttpRequest) -> StreamingHttpResponse:
    """Return the chosen items as CSV; a text that a spreadsheet would compute gets a quote."""
    items = chosen_items(run, request)
    rows = items if isinstance(items, list) else items.iterator(chunk_size=2000)

    def lines() -> Iterator[str]:
        writer = csv.writer(_Echo())
        # The mark tells a spreadsheet that it is UTF-8.
        yield "\ufeff" + writer.writerow(Row._fields)
        for row in map(Row._make, rows):
            safe = row._replace(
                path=_plain(row.path), error=_plain(row.error), old_path=_plain(row.old_path)
            )
            yield writer.writerow(safe)

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
