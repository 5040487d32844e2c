"""Storages in the admin: only superusers change them, and secrets are never shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextareaWidget

from filesync.models import Storage

KEY_VALUE_HELP = _("One a line: name = value")


class KeyValueField(forms.Field):
    """A dict of strings, edited as `name = value` lines."""

    widget = UnfoldAdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return "\n".join(f"{name} = {text}" for name, text in sorted(value.items()))
        return value

    def to_python(self, value: Any) -> dict[str, str]:
        pairs: dict[str, str] = {}
        for number, line in enumerate(str(value or "").splitlines(), start=1):
            if not line.strip():
                continue
            name, equals, text = line.partition("=")
            if not equals:
                raise forms.ValidationError(
                    _("Line %(number)d has no '='; write name = value"),
                    params={"number": number},
                )
            pairs[name.strip()] = text.strip()
        return pairs

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.to_python(data) != (initial or {})


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
        fields = ["name", "backend", "root", "options", "max_concurrent_runs", "remark"]

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
    list_display = ["name", "backend", "root", "max_concurrent_runs", "remark"]
    search_fields = ["name", "remark"]
    list_filter = ["backend"]
    list_per_page = 25
    readonly_fields = ["secrets_set"]
    fields = [
        "name",
        "backend",
        "root",
        "options",
        "new_secrets",
        "secrets_set",
        "max_concurrent_runs",
        "remark",
    ]

    @admin.display(description=_("secrets that are set"))
    def secrets_set(self, storage: Storage) -> str:
        names = storage.secret_names()
        if names is None:
            return str(_("unreadable: no configured key opens them; enter them again"))
        return ", ".join(names) or "-"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Storage | None = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Storage | None = None) -> bool:
        return bool(request.user.is_superuser)
