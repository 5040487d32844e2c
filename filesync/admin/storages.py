"""Storages in the admin: only superusers change them, and secrets are never shown."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.forms import BaseDialogForm

from filesync import engine
from filesync.admin import words
from filesync.admin.row_actions import row_action
from filesync.admin.storage_drafts import StorageFormAdmin, choice_of, says_it_works
from filesync.admin.storage_fields import SECRET_PREFIX
from filesync.admin.storage_form import ENCRYPTION_SECRETS, option_fieldsets
from filesync.api.permissions import RUN
from filesync.errors import StorageRefused
from filesync.models import Storage
from filesync.services import storages
from filesync.texts import say


@admin.register(Storage)
class StorageAdmin(StorageFormAdmin):
    list_display = ["name", "backend", "root", "connection", "max_concurrent_runs", "remark"]
    search_fields = ["name", "remark"]
    list_filter = ["backend"]
    list_per_page = 25
    readonly_fields = ["kind", "options_set", "secrets_set", "connection", "last_check"]
    actions_detail = ["test_now", "browse_now"]

    def get_fieldsets(self, request: HttpRequest, obj: Storage | None = None) -> Any:
        changes = self.has_change_permission(request, obj)
        own = (None, {"fields": ["name", "kind", *(["backend"] if changes else []), "root"]})
        secrets = [SECRET_PREFIX + name for name in ENCRYPTION_SECRETS] if changes else []
        shown: list[Any] = [(None, {"fields": ["options_set", "secrets_set"]})]
        if changes:
            shown = option_fieldsets(choice_of(request, obj), obj.options if obj else {})
        tested = [(_("Connection"), {"fields": ["connection", "last_check"]})] if obj else []
        return [
            own,
            *shown,
            *tested,
            (_("Encryption"), {"fields": [("encryption", "encrypt_folder_names"), *secrets]}),
            (
                _("Limits"),
                {"fields": [("max_concurrent_runs", "transfers"), ("calls_per_s", "bandwidth")]},
            ),
            (None, {"fields": ["remark"]}),
        ]

    @admin.display(description=_("type"))
    def kind(self, storage: Storage) -> str:
        return storage.backend

    @admin.display(description=_("options"))
    def options_set(self, storage: Storage) -> str:
        pairs = sorted(storage.options.items())
        return format_html_join("", "<div>{} = {}</div>", pairs) or "-"

    @admin.display(description=_("secrets that are set"))
    def secrets_set(self, storage: Storage) -> str:
        names = storage.secret_names()
        if names is None:
            return str(_("unreadable: no configured key opens them; enter them again"))
        return ", ".join(names) or "-"

    @display(
        description=_("connection"),
        label={"ok": "success", "paused": "danger", "failed": "warning", "untested": "info"},
    )
    def connection(self, storage: Storage) -> tuple[str, str]:
        if storage.paused_at is not None:
            return "paused", str(_("paused"))
        if storage.last_check_at is None:
            return "untested", str(_("not tested"))
        if storage.last_check_class:
            return "failed", words.failure(storage.last_check_class)
        return "ok", str(_("works"))

    @admin.display(description=_("last test"))
    def last_check(self, storage: Storage) -> str:
        if storage.last_check_at is None:
            return "-"
        said = say(storage.last_check_message) or str(_("works"))
        advice = ""
        if storage.last_check_class in list(engine.FailureClass):
            advice = gettext(engine.FailureClass(storage.last_check_class).advice)
        when = words.clock(timezone.localtime(storage.last_check_at))
        return format_html("{}: {}<br>{}<br>{}", when, said, advice, say(storage.paused_reason))

    @row_action(
        description=_("Test"),
        permissions=["run"],
        url_path="test",
        icon="network_check",
        dialog={
            "form_class": BaseDialogForm,
            "form_submit_text": _("Test"),
            "title": _("Test the connection"),
            "description": _(
                "List the root path, for ten seconds at most. Runs that wait because the storage "
                "is paused go on when it works."
            ),
        },
    )
    def test_now(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        storage = get_object_or_404(Storage, pk=object_id)
        try:
            result = storages.check_storage(storage)
        except StorageRefused as error:
            self.message_user(request, say(error.message), messages.ERROR)
        else:
            if result.failure is not None:
                said = f"{say(result.failure.message)} {gettext(result.failure.advice)}"
                self.message_user(request, said, messages.ERROR)
            else:
                self.message_user(request, says_it_works(result), messages.SUCCESS)
        url = reverse("admin:filesync_storage_change", args=[storage.pk])
        return HttpResponse(headers={"HX-Redirect": url})

    @row_action(description=_("Browse"), permissions=["run"], url_path="browse", icon="folder_open")
    def browse_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        storage = get_object_or_404(Storage, pk=object_id)
        path, number = request.GET.get("path", ""), request.GET.get("page", "1")
        wanted = max(1, int(number)) if number.isascii() and number.isdigit() else 1
        storage_url = reverse("admin:filesync_storage_change", args=[storage.pk])
        try:
            page = storages.browse(storage, path, wanted)
        except StorageRefused as error:
            self.message_user(request, say(error.message), messages.ERROR)
            return HttpResponseRedirect(storage_url)
        failure = page.listing.failure
        context = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "title": storage.name,
            "storage": storage,
            "storage_url": storage_url,
            "page": page,
            "failed": say(failure.message) if failure is not None else "",
            "advice": gettext(failure.advice) if failure is not None else "",
            "crumbs": _crumbs(page.path),
            "table": _table(page),
            "previous_link": _link(page.path, wanted - 1) if wanted > 1 else "",
            "next_link": _link(page.path, wanted + 1) if wanted < page.pages else "",
        }
        return TemplateResponse(request, "admin/filesync/storage/browse.html", context)

    def has_run_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perm(RUN))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Storage | None = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Storage | None = None) -> bool:
        return bool(request.user.is_superuser)


def _link(path: str, page: int = 1) -> str:
    return "?" + urlencode({"path": path, "page": page})


def _crumbs(path: str) -> list[dict[str, str]]:
    names = path.split("/") if path else []
    crumbs = [{"name": "/", "link": _link("")}]
    for depth, name in enumerate(names, start=1):
        crumbs.append({"name": name, "link": _link("/".join(names[:depth]))})
    return crumbs


def _table(page: storages.Page) -> dict[str, object]:
    rows: list[list[str]] = []
    for entry in page.listing.entries:
        name = entry.name
        if entry.is_dir:
            inside = f"{page.path}/{name}".lstrip("/")
            name = format_html('<a class="underline" href="{}">{}/</a>', _link(inside), name)
        size = "" if entry.is_dir or entry.size_bytes < 0 else filesizeformat(entry.size_bytes)
        rows.append([name, size, entry.modified_at])
    return {"headers": [_("name"), _("size"), _("changed")], "rows": rows}
