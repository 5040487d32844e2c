"""Sync configs in the admin: form with a schedule preview, list, buttons of one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.forms import BaseDialogForm

from filesync.admin import words
from filesync.admin.ahead import ahead
from filesync.admin.config_channels import ToldChannels
from filesync.admin.config_form import TABS, SyncConfigForm
from filesync.admin.filters import CappedPaginator
from filesync.admin.live import config_document
from filesync.admin.many_configs import ManyConfigs
from filesync.admin.row_actions import RUN_DIALOG, go, row_action
from filesync.admin.rule_sets import RuleSetUseInline
from filesync.api.permissions import FORCE, RUN
from filesync.errors import FilesyncError
from filesync.models import SyncConfig
from filesync.selectors import is_id
from filesync.services import queueing
from filesync.services.configs import duplicate_config
from filesync.services.warnings import warnings_of
from filesync.texts import say


@admin.register(SyncConfig)
class SyncConfigAdmin(ToldChannels, ManyConfigs):
    form = SyncConfigForm
    list_display = ["title", "switch", "schedule", "next_run", "last_run"]
    list_display_links = None
    list_filter = ["enable", "method"]
    list_select_related = ["source_storage", "destination_storage"]
    list_per_page = 25
    list_before_template = "filesync/config_list_live.html"
    paginator = CappedPaginator
    search_fields = ["name", "remark"]
    show_full_result_count = False
    autocomplete_fields = ["source_storage", "destination_storage"]
    actions_detail = ["run_now", "dry_run_now", "force_now"]
    actions_row = ["run_now", "dry_run_now", "duplicate", "show_runs"]
    readonly_fields = ["ping_url_is_set", "channels_of_every_sync"]
    inlines = [RuleSetUseInline]
    fieldsets = TABS

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("ahead/", view(ahead), name="filesync_syncconfig_ahead"),
            path("live/", view(self.live), name="filesync_syncconfig_live"),
            path("<int:config_id>/switch/", view(self.flip), name="filesync_syncconfig_switch"),
        ]
        stock: list[URLPattern] = super().get_urls()
        return own + stock

    def save_model(self, request: HttpRequest, obj: SyncConfig, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for text in warnings_of(obj, changed=form.changed_data if change else ()):
            self.message_user(request, text, messages.WARNING)

    @admin.display(description=_("ping URL is set"), boolean=True)
    def ping_url_is_set(self, config: SyncConfig) -> bool:
        return bool(config.encrypted_ping_url)

    @admin.display(description=_("sync"), ordering="name")
    def title(self, config: SyncConfig) -> SafeString:
        return format_html(
            '<a class="sb-strong sb-break" href="{}">{}</a>'
            '<span class="sb-route sb-small sb-subtle">{}</span>',
            reverse("admin:filesync_syncconfig_change", args=[config.pk]),
            config.remark or config.name,
            config.route(),
        )

    @admin.display(description=_("enabled"), ordering="enable")
    def switch(self, config: SyncConfig) -> SafeString:
        """Return a switch that posts; a script sends it with the page's CSRF token."""
        return format_html(
            '<button type="button" role="switch" class="sb-switch" aria-checked="{}"'
            ' aria-label="{}" data-post="{}" data-body="enable={}"></button>',
            "true" if config.enable else "false",
            _("%s is enabled") % config.name,
            reverse("admin:filesync_syncconfig_switch", args=[config.pk]),
            "false" if config.enable else "true",
        )

    @admin.display(description=_("schedule"))
    def schedule(self, config: SyncConfig) -> str:
        return words.schedule(config)

    @admin.display(description=_("next run"))
    def next_run(self, config: SyncConfig) -> str:
        return words.clock(config.next_slot())

    @admin.display(description=_("last run"))
    def last_run(self, config: SyncConfig) -> SafeString:
        """Return a place that the poll fills; the list's own script fills it first."""
        html: SafeString = render_to_string("filesync/config_last_run.html", {"config": config})
        return html

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        answer: HttpResponse = super().changelist_view(request, extra_context)
        context = answer.context_data if isinstance(answer, TemplateResponse) else None
        if context and "cl" in context:
            ids = [config.pk for config in context["cl"].result_list]
            asked = ",".join(map(str, ids))
            context["live_url"] = f"{reverse('admin:filesync_syncconfig_live')}?ids={asked}"
            context["live"] = config_document(ids)
        return answer

    def live(self, request: HttpRequest) -> HttpResponse:
        """Answer the poll of the list: the latest run of each config that it asks for."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = [int(text) for text in request.GET.get("ids", "").split(",") if is_id(text)]
        documents = config_document(asked[: self.list_max_show_all])
        return JsonResponse(documents, headers={"Cache-Control": "no-store"})

    def flip(self, request: HttpRequest, config_id: int) -> HttpResponse:
        """Turn a config on or off, whichever is posted, whatever it was; POST only."""
        if request.method != "POST" or not self.has_change_permission(request):
            raise PermissionDenied
        config = SyncConfig.objects.filter(pk=config_id).first()
        if config is None:
            return JsonResponse({"error": str(_("There is no such sync config."))}, status=404)
        enable = {"true": True, "false": False}.get(request.POST.get("enable", ""))
        if enable is None:
            return HttpResponse(status=400)
        # A page that is older than a colleague's click must not undo it.
        if config.enable != enable:
            self.switch_many(request, [config_id], enable=enable)
        return go(reverse("admin:filesync_syncconfig_changelist"))

    @row_action(
        description=_("Run now"),
        permissions=["run"],
        url_path="run",
        icon="play_arrow",
        dialog={**RUN_DIALOG, "title": _("Run now"), "description": _("Queue a run of this sync.")},
    )
    def run_now(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._queue(request, int(object_id), dry_run=False)

    @row_action(
        description=_("Dry run"),
        permissions=["run"],
        url_path="dry-run",
        icon="visibility",
        dialog={
            **RUN_DIALOG,
            "title": _("Dry run"),
            "description": _("Plan a run and show what it would change. Nothing is changed."),
        },
    )
    def dry_run_now(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._queue(request, int(object_id), dry_run=True)

    @row_action(
        description=_("Run with force"),
        permissions=["force"],
        url_path="force",
        icon="warning",
        dialog={
            **RUN_DIALOG,
            "title": _("Run once with force"),
            "description": _(
                "Run this sync once past the guards on deletions, also where it is disabled. "
                "A missing or unreadable source stops it all the same."
            ),
        },
    )
    def force_now(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._queue(request, int(object_id), dry_run=False, force=True)

    @row_action(
        description=_("Duplicate"),
        permissions=["add"],
        url_path="duplicate",
        icon="content_copy",
        dialog={
            "form_class": BaseDialogForm,
            "form_submit_text": _("Duplicate"),
            "title": _("Duplicate"),
            "description": _("Make a copy of this sync. It is disabled until you enable it."),
        },
    )
    def duplicate(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        try:
            copy = duplicate_config(int(object_id))
        except FilesyncError as error:
            self.message_user(request, say(error.message), messages.WARNING)
            return go(reverse("admin:filesync_syncconfig_changelist"))
        self.message_user(request, _("%s was made: give it a name, then enable it") % copy.name)
        return go(reverse("admin:filesync_syncconfig_change", args=[copy.pk]))

    @row_action(description=_("History"), permissions=["view"], url_path="runs", icon="history")
    def show_runs(self, request: HttpRequest, object_id: str) -> HttpResponse:
        runs = reverse("admin:filesync_syncrun_changelist")
        return HttpResponseRedirect(f"{runs}?config__id__exact={int(object_id)}")

    def has_force_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perms([RUN, FORCE]))

    def _queue(
        self, request: HttpRequest, config_id: int, *, dry_run: bool, force: bool = False
    ) -> HttpResponse:
        try:
            run = queueing.queue_run(config_id, user=request.user, dry_run=dry_run, force=force)
        except FilesyncError as error:
            self.message_user(request, say(error.message), messages.WARNING)
            return go(reverse("admin:filesync_syncconfig_change", args=[config_id]))
        self.message_user(request, _("Run %d is queued") % run.pk)
        return go(reverse("admin:filesync_syncrun_change", args=[run.pk]))
