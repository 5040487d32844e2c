"""Storages in the admin: only superusers change them, and secrets are never shown."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextareaWidget

from filesync import engine
from filesync.api.permissions import RUN
from filesync.errors import StorageRefused
from filesync.models import Storage
from filesync.services import storages

KEY_VALUE_HELP = _("One a line: name = value")


class KeyValueField(forms.Field):
    """A dict of strings, edited as `name = value` lines; a pasted key or token may be longer."""

    widget = UnfoldAdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return "\n".join(f"{name} = {text}" for name, text in sorted(value.items()))
        return value

    def to_python(self, value: Any) -> dict[str, str]:
        pairs: dict[str, str] = {}
        lines = enumerate(str(value or "").splitlines(), start=1)
        for number, line in lines:
            if not line.strip():
                continue
            name, equals, text = line.partition("=")
            if not equals:
                raise forms.ValidationError(
                    _("Line %(number)d has no '='; write name = value"),
                    params={"number": number},
                )
            text = text.strip()
            while _goes_on(text) and (more := next(lines, None)) is not None:
                text = f"{text}\n{more[1]}"
            pairs[name.strip()] = text
        return pairs

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.to_python(data) != (initial or {})


def _goes_on(text: str) -> bool:
    """Return whether a value continues on the next line: a PEM block, a JSON object."""
    if text.startswith("-----BEGIN"):
        return "-----END" not in text
    if not text.startswith("{"):
        return False
    try:
        json.loads(text)
    except ValueError:
        return True
    except RecursionError:
        return False
    return False


class StorageForm(forms.ModelForm):  # type: ignore[type-arg]
    """Secrets go in by name and never come out."""

    options = KeyValueField(label=_("options"), required=False, help_text=KEY_VALUE_HELP)
    new_secrets = KeyValueField(
        label=_("secrets"),
        required=False,
        help_text=_(
            "One a line: name = value. Only those that change; an empty value removes one. "
            "Stored secrets are never shown."
        ),
    )

    class Meta:
        model = Storage
        fields = [
            "name",
            "backend",
            "root",
            "options",
            "encryption",
            "encrypt_folder_names",
            "max_concurrent_runs",
            "transfers",
            "calls_per_s",
            "bandwidth",
            "remark",
        ]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        kept = self.instance.secrets if self.instance.secret_names() else {}
        merged = kept | (cleaned.get("new_secrets") or {})
        if self.instance.secret_names() is None and not merged:
            return cleaned
        self.instance.secrets = {name: value for name, value in merged.items() if value}
        return cleaned


@admin.register(Storage)
class StorageAdmin(ModelAdmin):
    form = StorageForm
    list_display = ["name", "backend", "root", "connection", "max_concurrent_runs", "remark"]
    search_fields = ["name", "remark"]
    list_filter = ["backend"]
    list_per_page = 25
    readonly_fields = ["secrets_set", "connection", "last_check", "known_options"]
    actions_detail = ["test_now", "browse_now"]
    fieldsets = [
        (None, {"fields": ["name", "backend", "root", "options", "new_secrets", "secrets_set"]}),
        (_("Connection"), {"fields": ["connection", "last_check"]}),
        (_("Encryption"), {"fields": [("encryption", "encrypt_folder_names")]}),
        (
            _("Limits"),
            {"fields": [("max_concurrent_runs", "transfers"), ("calls_per_s", "bandwidth")]},
        ),
        (None, {"fields": ["remark"]}),
        (
            _("What can be set"),
            {"fields": ["known_options"], "classes": ["collapse"]},
        ),
    ]

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
            return "failed", storage.last_check_class
        return "ok", str(_("works"))

    @admin.display(description=_("last test"))
    def last_check(self, storage: Storage) -> str:
        if storage.last_check_at is None:
            return "-"
        said = storage.last_check_message or str(_("works"))
        advice = ""
        if storage.last_check_class in list(engine.FailureClass):
            advice = gettext(engine.FailureClass(storage.last_check_class).advice)
        when = f"{storage.last_check_at:%Y-%m-%d %H:%M:%S} UTC"
        return format_html("{}: {}<br>{}<br>{}", when, said, advice, storage.paused_reason)

    @admin.display(description=_("options and secrets of the backend"))
    def known_options(self, storage: Storage) -> str:
        try:
            offered = engine.catalogue(engine.find_rclone(settings.FILESYNC_RCLONE_BINARY or None))
        except engine.RcloneUnusable as error:
            return str(error)
        backend = offered.get(storage.backend)
        if backend is None:
            presets = ((preset.title, preset.backend, _lines(preset)) for preset in engine.PRESETS)
            names = ", ".join(offered)
            listed = format_html_join("", "<li><b>{}</b>: {} ({})</li>", presets)
            return format_html("<p>{}</p><ul>{}</ul>", names, listed)
        rows = (
            (option.name, _("secret") if option.secret else "", option.help.split("\n")[0])
            for option in backend.options
        )
        listed = format_html_join("", "<li><b>{}</b> {} {}</li>", rows)
        return format_html("<p>{}</p><ul>{}</ul>", backend.description, listed)

    @action(
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
            self.message_user(request, str(error), messages.ERROR)
        else:
            if result.failure is not None:
                said = f"{result.failure.message} {gettext(result.failure.advice)}"
                self.message_user(request, said, messages.ERROR)
            else:
                works = _("The connection works: %(entries)d entries in %(duration).1f s")
                said = works % {"entries": result.entries, "duration": result.duration_s}
                self.message_user(request, said, messages.SUCCESS)
        url = reverse("admin:filesync_storage_change", args=[storage.pk])
        return HttpResponse(headers={"HX-Redirect": url})

    @action(description=_("Browse"), permissions=["run"], url_path="browse", icon="folder_open")
    def browse_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        storage = get_object_or_404(Storage, pk=object_id)
        path, number = request.GET.get("path", ""), request.GET.get("page", "1")
        wanted = max(1, int(number)) if number.isascii() and number.isdigit() else 1
        storage_url = reverse("admin:filesync_storage_change", args=[storage.pk])
        try:
            page = storages.browse(storage, path, wanted)
        except StorageRefused as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(storage_url)
        failure = page.listing.failure
        context = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "title": storage.name,
            "storage": storage,
            "storage_url": storage_url,
            "page": page,
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


def _lines(preset: engine.Preset) -> str:
    given = [f"{name} = {value}" for name, value in preset.options.items()]
    return ", ".join([*given, *(name for name in preset.ask if name not in preset.options)])


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
