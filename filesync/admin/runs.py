"""Runs in the admin: read-only, with Cancel."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm

from filesync.api.permissions import RUN
from filesync.errors import FilesyncError
from filesync.models import RunItem, SyncRun
from filesync.services.finishing import cancel_run
from filesync.services.queueing import retry_run

STATE_COLOURS = {
    "SUCCEEDED": "success",
    "RUNNING": "info",
    "QUEUED": "info",
    "PARTIAL": "warning",
    "SKIPPED": "warning",
    "MISSED": "warning",
    "FAILED": "danger",
    "LOST": "danger",
}


class ReadOnlyAdmin(ModelAdmin):
    """Rows that only services write."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        "config_name",
        "state_badge",
        "trigger",
        "started_at",
        "took",
        "files_transferred",
        "bytes_transferred",
        "failure_class",
    ]
    list_display_links = ["id", "config_name"]
    list_filter = ["state", "trigger"]
    search_fields = ["config_name", "message"]
    list_per_page = 25
    show_full_result_count = False
    actions_detail = ["cancel_now", "retry_now"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("config_name", "state", "reason"),
                    ("trigger", "slot", "requested_by"),
                    ("dry_run", "force", "attempt"),
                    ("started_at", "finished_at", "took"),
                ]
            },
        ),
        (
            _("Outcome"),
            {
                "fields": [
                    ("files_transferred", "bytes_transferred", "files_deleted"),
                    ("files_checked", "files_failed"),
                    ("failure_class", "guard"),
                    "message",
                    "advice",
                    "items_link",
                ]
            },
        ),
        (_("Progress"), {"fields": ["phase", "progress", "plan"]}),
        (_("Technical"), {"fields": ["task_id", "worker", "created_at", "rung_at", "not_before"]}),
    ]
    readonly_fields = ["took", "items_link"]

    @display(description=_("state"), ordering="state", label=STATE_COLOURS)
    def state_badge(self, run: SyncRun) -> tuple[str, str]:
        return run.state, run.get_state_display()

    @admin.display(description=_("took"))
    def took(self, run: SyncRun) -> str:
        return "-" if run.duration_s is None else f"{run.duration_s:.1f} s"

    @admin.display(description=_("items"))
    def items_link(self, run: SyncRun) -> str:
        url = reverse("admin:filesync_runitem_changelist")
        return format_html('<a href="{}?run__id__exact={}">{}</a>', url, run.pk, _("Show"))

    @action(
        description=_("Cancel"),
        permissions=["run"],
        url_path="cancel",
        icon="cancel",
        dialog={
            "title": _("Cancel this run"),
            "description": _("What was copied stays; the rest is not copied."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Cancel the run"),
        },
    )
    def cancel_now(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        try:
            run = cancel_run(int(object_id))
            self.message_user(request, _("Run %d is being cancelled") % run.pk)
        except FilesyncError as error:
            self.message_user(request, str(error), messages.WARNING)
        url = reverse("admin:filesync_syncrun_change", args=[object_id])
        return HttpResponse(headers={"HX-Redirect": url})

    @action(
        description=_("Run again"),
        permissions=["retry"],
        url_path="retry",
        icon="replay",
        dialog={
            "title": _("Run again"),
            "description": _("Queue a new run of the same sync."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Run again"),
        },
    )
    def retry_now(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        run_id = int(object_id)
        try:
            run_id = retry_run(run_id, user=request.user).pk
            self.message_user(request, _("Run %d is queued") % run_id)
        except FilesyncError as error:
            self.message_user(request, str(error), messages.WARNING)
        url = reverse("admin:filesync_syncrun_change", args=[run_id])
        return HttpResponse(headers={"HX-Redirect": url})

    def has_retry_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Allow Run again to those who may run syncs, once a run has ended."""
        if not request.user.has_perm(RUN):
            return False
        if object_id is None:
            return True
        ended = SyncRun.objects.filter(pk=object_id, state__in=SyncRun.TERMINAL)
        return ended.filter(config__isnull=False).exists()

    def has_run_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Allow Cancel to those who may run syncs, while there is something to cancel."""
        if not request.user.has_perm(RUN):
            return False
        if object_id is None:
            return True
        return SyncRun.objects.filter(pk=object_id, state__in=SyncRun.ACTIVE).exists()


@admin.register(RunItem)
class RunItemAdmin(ReadOnlyAdmin):
    list_display = ["path", "action", "size_bytes", "error"]
    list_filter = ["action"]
    search_fields = ["path"]
    list_per_page = 100
    show_full_result_count = False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow the link of a run to its items; a filter would list every run there is."""
        return lookup == "run__id__exact" or bool(super().lookup_allowed(lookup, value, request))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Keep it out of the menu: it is reached from its run."""
        return False
