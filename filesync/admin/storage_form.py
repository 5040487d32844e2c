"""The form of a storage: its own fields, and one per option of its backend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from filesync import engine
from filesync.admin.storage_fields import (
    OPTION_PREFIX,
    SECRET_PREFIX,
    OptionField,
    SecretField,
    counts_for,
    help_of,
    label_of,
)
from filesync.models import Storage
from filesync.models.storage import ENCRYPTION_PASSWORD, ENCRYPTION_SALT
from filesync.services.logins import SecretsNeeded, merged_secrets

# As presets.toml has them, which no translator's tool reads; a test compares.
HINTS = (
    gettext_noop(
        "The pace is kept low by itself: the netdisks behind it ban clients that are too fast."
    ),
    gettext_noop("Make an app password in the personal security settings."),
    gettext_noop("Install the package WebDAV Server on the NAS and switch on HTTPS."),
    gettext_noop(
        "Make an app password in the account's security settings; "
        "free accounts are limited in calls."
    ),
    gettext_noop(
        "Run `rclone authorize drive` on a computer with a browser and paste what it prints."
    ),
    gettext_noop(
        "Run `rclone authorize onedrive` on a computer with a browser and paste what it prints."
    ),
    gettext_noop(
        "Run `rclone authorize dropbox` on a computer with a browser and paste what it prints."
    ),
)
# Those of which Chinese readers know another name; the rest are names everywhere.
TITLES = (
    gettext_noop("AList / OpenList (Baidu, Quark, 115, Aliyun Drive ...)"),
    gettext_noop("Synology NAS (WebDAV Server)"),
    gettext_noop("Synology or other NAS (SMB)"),
    gettext_noop("Jianguoyun / Nutstore"),
    gettext_noop("Aliyun OSS"),
    gettext_noop("Tencent COS"),
    gettext_noop("Huawei OBS"),
    gettext_noop("Qiniu Kodo"),
)
ENCRYPTION_SECRETS = (ENCRYPTION_PASSWORD, ENCRYPTION_SALT)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the form is for: a backend, and the preset that the person began with, if any."""

    backend: engine.Backend
    preset: engine.Preset | None = None

    @property
    def options(self) -> dict[str, engine.OptionInfo]:
        """The options by name; rclone lists some once per provider, and one field serves all."""
        found: dict[str, engine.OptionInfo] = {}
        for option in self.backend.options:
            first = found.get(option.name)
            found[option.name] = replace(first, provider="") if first else option
        return found


def offered() -> Mapping[str, engine.Backend]:
    """Give the backends that rclone offers; raises RcloneUnusable."""
    return engine.catalogue(engine.find_rclone(settings.FILESYNC_RCLONE_BINARY or None))


def preset_named(name: str) -> engine.Preset | None:
    return next((preset for preset in engine.PRESETS if preset.name == name), None)


class StorageForm(forms.ModelForm):  # type: ignore[type-arg]
    """Plain options are shown; secrets go in and never come out.

    What the form has no field for stays as it is: an option that rclone no longer offers, and a
    secret that nobody enters anew.
    """

    choice: Choice | None = None
    first: Mapping[str, str] = {}
    """What a new storage begins with."""

    class Meta:
        model = Storage
        fields = [
            "name",
            "backend",
            "root",
            "encryption",
            "encrypt_folder_names",
            "max_concurrent_runs",
            "transfers",
            "calls_per_s",
            "bandwidth",
            "remark",
        ]
        widgets = {"backend": forms.HiddenInput}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # As it is stored: the instance changes while the form is cleaned.
        self.stored = Storage.objects.filter(pk=self.instance.pk).first() or Storage()
        set_names = self.stored.secret_names() or []
        for name in ENCRYPTION_SECRETS:
            self._add_secret(name, set_names)
        if self.choice is None:
            return
        self.initial["backend"] = self.choice.backend.name
        known = {**self.first, **{name: str(v) for name, v in self.stored.options.items()}}
        for option in self.choice.options.values():
            if option.secret:
                self._add_secret(option.name, set_names, option)
            else:
                field = OptionField(option, known.get(option.name, ""))
                self.fields[OPTION_PREFIX + option.name] = field

    def _add_secret(
        self, name: str, set_names: Iterable[str], option: engine.OptionInfo | None = None
    ) -> None:
        self.fields[SECRET_PREFIX + name] = SecretField(
            name,
            is_set=name in set_names,
            required=option is not None and option.required and not option.provider,
            help_text=help_of(option) if option else "",
            provider=option.provider if option else "",
        )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if self.choice is None:
            self._refuse_blind(cleaned)
            return cleaned
        options = self._options(cleaned)
        self._require(cleaned, options.get("provider", ""))
        given = {
            name.removeprefix(SECRET_PREFIX): value
            for name, value in cleaned.items()
            if name.startswith(SECRET_PREFIX) and value is not None
        }
        if self.stored.backend != self.choice.backend.name:
            # What the new backend does not know goes with the old one.
            stale = set(self.stored.secret_names() or []) - set(self.choice.options)
            given |= dict.fromkeys(stale - set(ENCRYPTION_SECRETS), "")
        self.instance.options = options
        try:
            secrets = merged_secrets(
                self.stored, given, backend=self.choice.backend.name, options=options
            )
        except SecretsNeeded as error:
            self._ask_again(error)
            secrets = given
        # Encrypted anew only where they change: a secret that cannot be read stays what it is.
        if given:
            self.instance.secrets = secrets
        return cleaned

    def _refuse_blind(self, cleaned: Mapping[str, Any]) -> None:
        """Without a backend's options nothing can say where secrets would go: keep them as is."""
        secrets = [name for name in cleaned if name.startswith(SECRET_PREFIX)]
        changed = cleaned.get("backend") != self.stored.backend
        if changed or any(cleaned[name] is not None for name in secrets):
            message = _("This rclone does not offer the backend; its options cannot be checked.")
            self.add_error("backend", ValidationError(message, code="unknown_backend"))

    def problems(self, but: Iterable[str] = ()) -> list[str]:
        """Say what keeps a draft from being tested; it needs no name of its own."""
        return [
            f"{self.fields[name].label}: {text}" if name in self.fields else str(text)
            for name, texts in self.errors.items()
            if name not in ("name", *but)
            for text in texts
        ]

    def _options(self, cleaned: Mapping[str, Any]) -> dict[str, str]:
        """Give the options to store; those of another backend do not come along."""
        assert self.choice is not None
        options: dict[str, str] = {}
        if self.stored.backend == self.choice.backend.name:
            options = dict(self.stored.options)
        for name in self.choice.options:
            if OPTION_PREFIX + name not in cleaned:
                continue
            options.pop(name, None)
            if cleaned[OPTION_PREFIX + name]:
                options[name] = cleaned[OPTION_PREFIX + name]
        return options

    def _require(self, cleaned: Mapping[str, Any], provider: str) -> None:
        """Ask for what only some providers need."""
        assert self.choice is not None
        for option in self.choice.backend.options:
            field_name = (SECRET_PREFIX if option.secret else OPTION_PREFIX) + option.name
            asked = option.required and option.provider and provider
            if not asked or not counts_for(option.provider, provider):
                continue
            field = self.fields[field_name]
            kept = isinstance(field, SecretField) and field.is_set
            value = cleaned.get(field_name)
            if field_name in cleaned and not value and not (kept and value is None):
                self.add_error(
                    field_name, ValidationError(field.error_messages["required"], code="required")
                )

    def _ask_again(self, error: SecretsNeeded) -> None:
        changed = ", ".join(label_of(name) for name in error.changed)
        for name in error.names:
            field_name: str | None = SECRET_PREFIX + name
            message = _(
                "Enter it again or clear it: %(changed)s changed, and a stored secret goes to "
                "the place it was entered for only."
            )
            self.add_error(
                field_name if field_name in self.fields else None,
                ValidationError(message, code=error.code, params={"changed": changed}),
            )

    def _update_errors(self, errors: ValidationError) -> None:
        """Put what is wrong with an option to its field."""
        for error in getattr(errors, "error_dict", {}).pop("options", []):
            names = (
                prefix + getattr(error, "option", "") for prefix in (OPTION_PREFIX, SECRET_PREFIX)
            )
            place = next((name for name in names if name in self.fields), None)
            self.add_error(place, error)
        if not hasattr(errors, "error_dict") or errors.error_dict:
            super()._update_errors(errors)  # type: ignore[misc]


def form_for(choice: Choice | None) -> type[StorageForm]:
    """Give the form of a backend; without one only the storage's own fields."""
    if choice is None:
        return StorageForm
    first = dict(choice.preset.options) if choice.preset else {}
    return type("StorageForm", (StorageForm,), {"choice": choice, "first": first})


def option_fieldsets(choice: Choice | None, stored: Mapping[str, Any]) -> list[Any]:
    """Give the fieldsets of a backend's options: what is needed, and the rest folded."""
    if choice is None:
        return []
    asked = list(choice.preset.ask) if choice.preset else []
    shown: list[str] = []
    folded: list[str] = []
    ranked = sorted(choice.options.values(), key=lambda option: _rank(option, asked))
    for option in ranked:
        field = (SECRET_PREFIX if option.secret else OPTION_PREFIX) + option.name
        unfold = not option.advanced or option.name in stored or option.name in asked
        (shown if unfold else folded).append(field)
    fieldsets: list[Any] = []
    if shown:
        hint = gettext(choice.preset.hint) if choice.preset and choice.preset.hint else ""
        described = {"fields": shown, "description": format_html("{}", hint)}
        fieldsets.append((choice.backend.description, described))
    if folded:
        fieldsets.append((_("Advanced options"), {"fields": folded, "classes": ["collapse"]}))
    return fieldsets


def _rank(option: engine.OptionInfo, asked: list[str]) -> tuple[int, int]:
    """Sort what the preset asks first, then what is required; rclone's order after that."""
    if option.name in asked:
        return 0, asked.index(option.name)
    if option.name == "provider":
        return 1, 0
    return (1 if option.required else 2), 1
