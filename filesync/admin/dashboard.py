"""The first page of the admin: what is, what runs, what comes next, what failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.cache import cache
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from filesync import amounts, board, upcoming
from filesync.admin import words
from filesync.admin.live import dashboard_document
from filesync.api.permissions import RUN, VIEW_RUNS
from filesync.models import Storage, SyncConfig, SyncRun
from filesync.services.demo import demo_folders, make_demo, make_tree
from scheduler import cron

# The charts' past days hardly change, and a million runs take a while to count.
CHARTS_KEPT_S = 60
# To find the next slots of 10,000 configs takes a quarter of a second; few are read afresh.
UPCOMING = 8
CHART_HEIGHT = 100
COLUMN = 20


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of a chart, in the units of its SVG; `failed_height` is the red part at its foot."""

    x: int
    y: float
    height: float
    failed_y: float
    failed_height: float
    label: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the first visit."""

    title: str
    text: str
    url: str
    done: bool


def add_dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the index page what those may see who may see runs."""
    if not request.user.has_perm(VIEW_RUNS):
        return context
    context["steps"] = _steps()
    context["may_demo"] = _may_demo(request, context["steps"])
    context["live"] = dashboard_document(polled=False)
    context["live_url"] = reverse("admin:dashboard_live")
    context["may_run"] = request.user.has_perm(RUN)
    context["charts"] = _charts()
    context["upcoming"] = _upcoming()
    context["failures"] = _failures()
    return context


def live(request: HttpRequest) -> HttpResponse:
    """Answer the dashboard's poll."""
    if not request.user.has_perm(VIEW_RUNS):
        return JsonResponse({}, status=403)
    return JsonResponse(dashboard_document(polled=True), headers={"Cache-Control": "no-store"})


def demo(request: HttpRequest) -> HttpResponse:
    """Make the demo's files, storages and sync, and go to the sync; POST only."""
    if request.method != "POST" or not _may_demo(request, _steps()):
        raise PermissionDenied
    source, destination = demo_folders()
    try:
        make_tree(source)
        destination.mkdir(parents=True, exist_ok=True)
        config = make_demo(source, destination)
    except (OSError, ValidationError) as error:
        reason = "; ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        messages.error(request, _("The demo was not made: %s") % reason)
        return HttpResponse(headers={"HX-Redirect": reverse("admin:index")})
    text = _("The demo copies %(source)s to %(destination)s every minute; delete it when seen.")
    messages.success(request, text % {"source": source, "destination": destination})
    url = reverse("admin:filesync_syncconfig_change", args=[config.pk])
    return HttpResponse(headers={"HX-Redirect": url})


def _may_demo(request: HttpRequest, steps: list[Step]) -> bool:
    """Allow it to superusers, as other changes of storages, at the first visit."""
    return bool(steps) and bool(getattr(request.user, "is_superuser", False))


def urls() -> list[URLPattern]:
    return [
        path("live/", admin.site.admin_view(live), name="dashboard_live"),
        path("demo/", admin.site.admin_view(demo), name="dashboard_demo"),
    ]


def _steps() -> list[Step]:
    """Return the first visit's steps, none once a run has ended."""
    if SyncRun.objects.filter(state__in=SyncRun.TERMINAL).exists():
        return []
    return [
        Step(
            _("Add a storage"),
            _("Where files live: a folder of this machine, WebDAV, S3, SFTP ..."),
            reverse("admin:filesync_storage_add"),
            Storage.objects.exists(),
        ),
        Step(
            _("Add a sync config"),
            _("What is kept in step with what, and when."),
            reverse("admin:filesync_syncconfig_add"),
            SyncConfig.objects.exists(),
        ),
        Step(
            _("Run it"),
            _("Start with a dry run: it says what would change, and changes nothing."),
            reverse("admin:filesync_syncconfig_changelist"),
            SyncRun.objects.exists(),
        ),
    ]


def _charts() -> list[dict[str, Any]]:
    days: list[board.Day] = cache.get_or_set("filesync.days", board.days, CHARTS_KEPT_S)  # type: ignore[assignment]
    most_runs = max(day.runs for day in days)
    most_bytes = max(day.bytes_transferred for day in days)
    runs = [
        _bar(number, day, day.runs, most_runs, _runs_label(day), failed=day.failed)
        for number, day in enumerate(days)
    ]
    sent = [
        _bar(number, day, day.bytes_transferred, most_bytes, amounts.size(day.bytes_transferred))
        for number, day in enumerate(days)
    ]
    width = COLUMN * len(days)
    ends = [date_format(day.day, "SHORT_DATE_FORMAT") for day in (days[0], days[-1])]
    return [
        {"title": _("Runs per day"), "bars": runs, "width": width, "most": most_runs, "ends": ends},
        {
            "title": _("Data per day"),
            "bars": sent,
            "width": width,
            "most": amounts.size(most_bytes),
            "ends": ends,
        },
    ]


def _runs_label(day: board.Day) -> str:
    return _("%(runs)d runs, %(failed)d failed") % {"runs": day.runs, "failed": day.failed}


def _bar(number: int, day: board.Day, value: int, most: int, label: str, *, failed: int = 0) -> Bar:
    scale = CHART_HEIGHT / (most or 1)
    height, red = round(value * scale, 1), round(failed * scale, 1)
    when = date_format(day.day, "SHORT_DATE_FORMAT")
    return Bar(
        x=number * COLUMN + 3,
        y=CHART_HEIGHT - height,
        height=height,
        failed_y=CHART_HEIGHT - red,
        failed_height=red,
        label=f"{when}: {label}",
    )


def _upcoming() -> list[dict[str, Any]]:
    now = timezone.now()
    return [
        {
            "name": entry.name,
            "url": reverse("admin:filesync_syncconfig_change", args=[entry.config_id]),
            "at": words.clock(entry.next_run.astimezone(cron.load_timezone(entry.timezone))),
            "until": words.until(entry.next_run, now=now),
        }
        for entry in upcoming.next_runs(UPCOMING, now=now)
    ]


def _failures() -> list[dict[str, Any]]:
    return [
        {
            "name": (run.config and run.config.remark) or run.config_name,
            "badge": words.badge(run.state),
            "when": words.ago(run.finished_at),
            "failure": words.failure(run.failure_class),
            "message": run.explanation,
            "advice": run.next_step,
            "url": reverse("admin:filesync_syncrun_change", args=[run.pk]),
            "retry_url": reverse("admin:filesync_syncrun_retry_now", args=[run.pk])
            if run.config_id
            else "",
        }
        for run in board.failures()
    ]
