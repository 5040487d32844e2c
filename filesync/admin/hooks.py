"""Hooks in the admin: made, renewed and ended; an address is shown once, when it is made."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.forms import BaseDialogForm

from filesync.admin.filters import CappedPaginator
from filesync.api.permissions import CHANGE_CONFIGS
from filesync.models import Hook

RENEW = {
    "form_class": BaseDialogForm,
    "form_submit_text": _("Make a new address"),
    "title": _("New address"),
    "description": _("Make a new address. The one before starts nothing from then on."),
}


@admin.register(Hook)
class HookAdmin(ModelAdmin):
    """Those who may change sync configs may make and end their hooks, as in the API."""

    list_display = ["config", "created_at", "last_used_at"]
    list_select_related = ["config"]
    list_per_page = 25
    paginator = CappedPaginator
    show_full_result_count = False
    search_fields = ["config__name"]
    autocomplete_fields = ["config"]
    actions_row = ["renew"]
    actions_detail = ["renew"]

    def get_fields(self, request: HttpRequest, obj: Hook | None = None) -> list[str]:
        return ["config"] if obj is None else ["config", "created_at", "last_used_at"]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._allowed(request)

    def has_view_permission(self, request: HttpRequest, obj: Hook | None = None) -> bool:
        return self._allowed(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._allowed(request)

    def has_delete_permission(self, request: HttpRequest, obj: Hook | None = None) -> bool:
        return self._allowed(request)

    def has_change_permission(self, request: HttpRequest, obj: Hook | None = None) -> bool:
        """Allow nobody: a hook is renewed or ended, and stays its config's."""
        return False

    def has_renew_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._allowed(request)

    def save_model(self, request: HttpRequest, obj: Hook, form: Any, change: bool) -> None:
        made, text = Hook.issue(obj.config)
        obj.pk = made.pk
        self._show(request, text)

    @action(
        description=_("New address"),
        permissions=["renew"],
        url_path="renew",
        icon="autorenew",
        dialog=RENEW,
    )
    def renew(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        known = Hook.objects.select_related("config")
        hook = known.filter(pk=object_id).first() if object_id.isdecimal() else None
        if hook is None:
            self.message_user(request, _("There is no such hook."), messages.WARNING)
        else:
            _made, text = Hook.issue(hook.config)
            self._show(request, text)
            self.log_change(request, hook, [{"changed": {"fields": ["token_hash"]}}])
        return HttpResponse(headers={"HX-Redirect": reverse("admin:filesync_hook_changelist")})

    def _show(self, request: HttpRequest, text: str) -> None:
        url = request.build_absolute_uri(reverse("hook", args=[text]))
        self.message_user(
            request,
            _("POST to %s to start the sync - copy the address now, it is not shown again") % url,
            messages.WARNING,
        )

    def _allowed(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(CHANGE_CONFIGS))
