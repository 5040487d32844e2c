"""Form fields made from rclone's description of an option; no backend is known here by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from filesync import engine
from filesync.engine.value_types import choices_of, fits

OPTION_PREFIX = "option_"
SECRET_PREFIX = "secret_"  # noqa: S105 - how fields are called

# What most people look for, in their words; the rest is called as rclone calls it.
WORDS = {
    "url": _("address"),
    "host": _("server"),
    "port": _("port"),
    "user": _("user name"),
    "username": _("user name"),
    "pass": _("password"),
    "password": _("password"),
    "vendor": _("vendor"),
    "provider": _("provider"),
    "region": _("region"),
    "endpoint": _("endpoint"),
    "access_key_id": _("access key"),
    "secret_access_key": _("secret key"),
    "token": _("token"),
    "key_pem": _("private key"),
    "encoding": _("encoding of names"),
    "description": _("description"),
    "encryption_password": _("encryption password"),
    "encryption_salt": _("encryption salt"),
}
MISFIT = {
    "int": _("This is not a whole number."),
    "float64": _("This is not a number."),
    "Duration": _("This is not a duration; write 30s, 5m or 1h30m."),
    "SizeSuffix": _("This is not a size; write 64Ki, 5Mi or off."),
    "bool": _("This is neither true nor false."),
    "Tristate": _("This is neither true nor false."),
}
TRUTH = {"true": _("yes"), "false": _("no")}


def label_of(name: str) -> str:
    word = WORDS.get(name)
    return f"{word} ({name})" if word else name


def counts_for(condition: str, provider: str) -> bool:
    """Whether something counts with a value of the option "provider"; see OptionInfo."""
    if not condition or not provider:
        return True
    names = condition.removeprefix("!").split(",")
    return (provider in names) != condition.startswith("!")


def help_of(option: engine.OptionInfo) -> SafeString:
    """Give rclone's help: its first paragraph, which is translated, and the rest folded."""
    first, _gap, rest = option.help.strip().partition("\n\n")
    first = gettext(first) if first else ""
    if not rest.strip():
        return format_html("{}", first)
    return format_html(
        '{}<details class="sb-more"><summary>{}</summary><div class="sb-help">{}</div></details>',
        first,
        _("More"),
        rest.strip(),
    )


class OptionInput(UnfoldAdminTextInputWidget):
    """A line of text with rclone's examples to choose from, marked with their providers."""

    def __init__(self, option: engine.OptionInfo, attrs: dict[str, Any]) -> None:
        super().__init__(attrs=attrs)
        self.examples = option.examples

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        listed = f"{name}_examples"
        given = {**(attrs or {}), "list": listed} if self.examples else attrs
        field: SafeString = super().render(name, value, given, renderer)
        if not self.examples:
            return field
        options = format_html_join(
            "",
            '<option value="{}" data-provider="{}">{}</option>',
            ((one.value, one.provider, one.help.split("\n")[0]) for one in self.examples),
        )
        return format_html('{}<datalist id="{}">{}</datalist>', field, listed, options)


class OptionField(forms.CharField):
    """One plain option; empty means that rclone's default holds."""

    def __init__(self, option: engine.OptionInfo, stored: str) -> None:
        self.option = option
        attrs: dict[str, Any] = {"autocomplete": "off"}
        if option.provider:
            attrs["data-provider"] = option.provider
        self.values = self._values()
        widget: forms.Widget
        if self.values:
            unset = str(_("default"))
            if option.default:
                unset = f"{unset}: {TRUTH.get(option.default, option.default)}"
            choices = {"": unset} | self.values
            # What is stored stays, whatever rclone offers today.
            choices.setdefault(stored, stored)
            widget = UnfoldAdminSelectWidget(attrs=attrs, choices=list(choices.items()))
        else:
            if option.default:
                attrs["placeholder"] = option.default
            if option.type == "int":
                attrs["inputmode"] = "numeric"
            widget = OptionInput(option, attrs)
        self.stored = stored
        super().__init__(
            label=label_of(option.name),
            # Which provider is chosen is not known here; the form looks again.
            required=option.required and not option.provider,
            help_text=help_of(option),
            initial=stored,
            max_length=4096,
            strip=False,
            widget=widget,
        )

    def _values(self) -> dict[str, str]:
        few = choices_of(self.option.type)
        if few:
            return {value: str(TRUTH.get(value, value)) for value in few}
        if not self.option.exclusive:
            return {}
        return {one.value: one.help.split("\n")[0] or one.value for one in self.option.examples}

    def to_python(self, value: Any) -> str:
        text = super().to_python(value) or ""
        return text if text == self.stored else text.strip()

    def validate(self, value: Any) -> None:
        super().validate(value)
        if not value or value == self.stored:
            return
        if not fits(self.option.type, value):
            raise forms.ValidationError(MISFIT[self.option.type], code="invalid")
        if self.values and value not in self.values:
            raise forms.ValidationError(_("This is none of the values."), code="invalid_choice")


class SecretWidget(forms.Widget):
    """Says whether a secret is set; takes another one or clears it, and never shows any."""

    def __init__(self, *, is_set: bool, multiline: bool, attrs: dict[str, Any]) -> None:
        super().__init__(attrs)
        self.is_set = is_set
        kind = UnfoldAdminTextareaWidget if multiline else UnfoldAdminPasswordWidget
        self.entry: forms.Widget = kind(attrs={**attrs, "autocomplete": "new-password"})

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        entry = self.entry.render(name, "", attrs, renderer)
        state = format_html(
            '<span class="sb-badge {}" data-secret-state>{}</span>',
            "sb-good" if self.is_set else "sb-idle",
            _("set") if self.is_set else _("not set"),
        )
        clear = SafeString("")
        if self.is_set:
            box = UnfoldBooleanWidget().render(
                clear_name(name), False, {"id": f"id_{clear_name(name)}"}, renderer
            )
            clear = format_html(
                '<label for="id_{}" class="sb-clear">{} {}</label>',
                clear_name(name),
                box,
                _("clear"),
            )
        gone = SafeString("")
        if value and value[0]:
            gone = format_html(
                '<p class="sb-small sb-bad-text">{}</p>',
                _("What you entered is not sent back: enter it once more."),
            )
        return format_html('<div class="sb-secret">{}{}{}{}</div>', entry, state, clear, gone)

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        return (data.get(name) or "", clear_name(name) in data)

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        return name not in data and clear_name(name) not in data


def clear_name(name: str) -> str:
    return f"clear_{name}"


class SecretField(forms.Field):
    """One secret: None leaves it as it is, an empty text clears it."""

    def __init__(
        self, name: str, *, is_set: bool, required: bool, help_text: str, provider: str
    ) -> None:
        attrs = {"data-provider": provider} if provider else {}
        self.is_set = is_set
        self.is_multiline = engine.is_multiline(name)
        super().__init__(
            label=label_of(name),
            required=required,
            help_text=help_text,
            widget=SecretWidget(is_set=is_set, multiline=self.is_multiline, attrs=attrs),
        )

    def clean(self, value: Any) -> str | None:
        text, clears = value
        text = text.strip() if self.is_multiline else text
        if text and clears:
            raise forms.ValidationError(
                _("Either enter a new one or clear the old one, not both."), code="contradiction"
            )
        if self.required and not text and (clears or not self.is_set):
            raise forms.ValidationError(self.error_messages["required"], code="required")
        if len(text) > 65_536:
            raise forms.ValidationError(_("This is too long."), code="max_length")
        return text or ("" if clears else None)

    def has_changed(self, initial: Any, data: Any) -> bool:
        text, clears = data or ("", False)
        return bool(text) or clears
