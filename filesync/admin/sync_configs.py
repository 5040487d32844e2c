"""Sync configs in the admin: form with a schedule preview, run buttons, bulk actions."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.forms import BaseDialogForm

from filesync.api.permissions import FORCE, RUN
from filesync.errors import FilesyncError
from filesync.models import SyncConfig, SyncRun
from filesync.services import queueing
from scheduler import cron

DIALOG = {
    "form_class": BaseDialogForm,
    "form_submit_text": _("Run"),
}


@admin.register(SyncConfig)
class SyncConfigAdmin(ModelAdmin):
    list_display = ["title", "route", "enable", "schedule", "next_run", "last_run"]
    list_display_links = ["title"]
    list_filter = ["enable", "method"]
    list_select_related = ["source_storage", "destination_storage"]
    list_per_page = 25
    search_fields = ["name", "remark"]
    actions = ["enable_selected", "disable_selected", "run_selected"]
    actions_detail = ["run_now", "dry_run_now", "force_now"]
    actions_list = ["run_all_enabled"]
    readonly_fields = ["schedule_preview"]
    fieldsets = [
        (None, {"fields": ["name", "remark", "enable"]}),
        (
            _("Source & target"),
            {
                "fields": [
                    ("source_storage", "source_path"),
                    ("destination_storage", "destination_path"),
                    ("method", "compare"),
                ]
            },
        ),
        (
            _("Schedule"),
            {
                "fields": [
                    ("cron", "timezone"),
                    "schedule_preview",
                    ("start_time", "end_time"),
                    ("misfire_policy", "misfire_grace_s", "jitter_s"),
                ]
            },
        ),
        (_("Rules"), {"fields": ["filters"]}),
        (
            _("Limits & safety"),
            {
                "fields": [
                    ("max_delete_files", "max_delete_percent"),
                    ("bandwidth", "transfers"),
                    ("max_runtime_s", "stall_timeout_s"),
                    ("max_attempts", "retry_delay_s"),
                ]
            },
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[SyncConfig]:
        latest = SyncRun.objects.filter(config=OuterRef("pk")).order_by("-id")
        configs: QuerySet[SyncConfig] = super().get_queryset(request)
        return configs.annotate(
            last_run_id=Subquery(latest.values("pk")[:1]),
            last_state=Subquery(latest.values("state")[:1]),
        )

    @admin.display(description=_("sync"), ordering="name")
    def title(self, config: SyncConfig) -> str:
        return config.remark or config.name

    @admin.display(description=_("route"))
    def route(self, config: SyncConfig) -> str:
        return config.route()

    @admin.display(description=_("schedule"))
    def schedule(self, config: SyncConfig) -> str:
        if not config.cron:
            return str(_("only by hand"))
        return _words(config)

    @admin.display(description=_("next run"))
    def next_run(self, config: SyncConfig) -> str:
        slot = config.next_slot()
        return f"{slot:%Y-%m-%d %H:%M %Z}" if slot else "-"

    @admin.display(description=_("last run"))
    def last_run(self, config: SyncConfig) -> str:
        run_id, state = getattr(config, "last_run_id", None), getattr(config, "last_state", "")
        if run_id is None:
            return "-"
        url = reverse("admin:filesync_syncrun_change", args=[run_id])
        return format_html('<a href="{}">{}</a>', url, SyncRun.State(state).label)

    @admin.display(description=_("next fires"))
    def schedule_preview(self, config: SyncConfig) -> str:
        slot = config.next_slot() if config.pk else None
        if slot is None:
            return "-"
        slots = cron.next_slots(config.cron, config.timezone, after=slot, count=4)
        fires = [slot, *(later.astimezone(slot.tzinfo) for later in slots)]
        times = ", ".join(f"{fire:%Y-%m-%d %H:%M %Z}" for fire in fires)
        return f"{_words(config)}: {times}"

    @action(
        description=_("Run now"),
        permissions=["run"],
        url_path="run",
        icon="play_arrow",
        dialog={**DIALOG, "title": _("Run now"), "description": _("Queue a run of this sync.")},
    )
    def run_now(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._queue(request, int(object_id), dry_run=False)

    @action(
        description=_("Dry run"),
        permissions=["run"],
        url_path="dry-run",
        icon="visibility",
        dialog={
            **DIALOG,
            "title": _("Dry run"),
            "description": _("Plan a run and show what it would change. Nothing is changed."),
        },
    )
    def dry_run_now(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._queue(request, int(object_id), dry_run=True)

    @action(
        description=_("Run with force"),
        permissions=["force"],
        url_path="force",
        icon="warning",
        dialog={
            **DIALOG,
            "title": _("Run once with force"),
            "description": _(
                "Run this sync once although a guard on the number of deletions would stop it, or "
                "although it is disabled. A missing or unreadable source stops it all the same."
            ),
        },
    )
    def force_now(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._queue(request, int(object_id), dry_run=False, force=True)

    @action(
        description=_("Run all enabled"),
        permissions=["run"],
        url_path="run-all",
        icon="playlist_play",
        dialog={
            **DIALOG,
            "title": _("Run all enabled"),
            "description": _("Queue a run of every enabled sync config."),
        },
    )
    def run_all_enabled(self, request: HttpRequest, form: Any) -> HttpResponse:
        outcomes = queueing.queue_all_enabled(user=request.user)
        queued = sum(1 for outcome in outcomes if outcome.run)
        self.message_user(
            request,
            _("%(queued)d of %(total)d enabled syncs queued")
            % {"queued": queued, "total": len(outcomes)},
        )
        return _go(reverse("admin:filesync_syncrun_changelist"))

    @admin.action(description=_("Enable"), permissions=["change"])
    def enable_selected(self, request: HttpRequest, configs: QuerySet[SyncConfig]) -> None:
        self._switch(request, configs, enable=True)

    @admin.action(description=_("Disable"), permissions=["change"])
    def disable_selected(self, request: HttpRequest, configs: QuerySet[SyncConfig]) -> None:
        self._switch(request, configs, enable=False)

    @admin.action(description=_("Run"), permissions=["run"])
    def run_selected(self, request: HttpRequest, configs: QuerySet[SyncConfig]) -> None:
        chosen = list(configs.values_list("pk", "name"))
        outcomes = queueing.queue_many(chosen, trigger=SyncRun.Trigger.MANUAL, user=request.user)
        for outcome in outcomes:
            if outcome.run is None:
                self.message_user(request, outcome.detail, messages.WARNING)
        queued = sum(1 for outcome in outcomes if outcome.run)
        self.message_user(request, _("%d runs queued") % queued)

    def has_run_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perm(RUN))

    def _switch(self, request: HttpRequest, configs: QuerySet[SyncConfig], *, enable: bool) -> None:
        for config in configs:
            config.enable = enable
            config.save(update_fields=["enable", "updated_at"])
        self.message_user(request, _("%d sync configs changed") % len(configs))

    def has_force_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perms([RUN, FORCE]))

    def _queue(
        self, request: HttpRequest, config_id: int, *, dry_run: bool, force: bool = False
    ) -> HttpResponse:
        try:
            run = queueing.queue_run(config_id, user=request.user, dry_run=dry_run, force=force)
        except FilesyncError as error:
            self.message_user(request, str(error), messages.WARNING)
            return _go(reverse("admin:filesync_syncconfig_change", args=[config_id]))
        self.message_user(request, _("Run %d is queued") % run.pk)
        return _go(reverse("admin:filesync_syncrun_change", args=[run.pk]))


def _words(config: SyncConfig) -> str:
    try:
        return cron.describe(config.cron, get_language() or "en")
    except cron.InvalidCron as error:
        return str(error)


def _go(url: str) -> HttpResponse:
    """Send the browser to `url` from a dialog, whose form is posted by htmx."""
    return HttpResponse(headers={"HX-Redirect": url})
