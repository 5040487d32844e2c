"""What the forms of pages hold: lists and objects as lines or choices, and nothing to no avail.

To JSON they are the plain fields of DRF, whose own forms only say that they cannot.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.fields import empty

LINES = {"template": "filesync/api_lines.html"}


class LinesField(serializers.ListField):
    """A list; in a form each line is one of its values."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(style=LINES, **kwargs)

    def get_value(self, dictionary: Any) -> Any:
        if not isinstance(dictionary, QueryDict):
            return super().get_value(dictionary)
        text = _typed(self, dictionary)
        return empty if text is None else [line for line in text.splitlines() if line.strip()]


class PairsField(serializers.DictField):
    """An object of texts; in a form each line is `name = value`."""

    default_error_messages = {"no_pair": _("Each line is a name, an equals sign and a value.")}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(style=LINES, **kwargs)

    def get_value(self, dictionary: Any) -> Any:
        if not isinstance(dictionary, QueryDict):
            return super().get_value(dictionary)
        text = _typed(self, dictionary)
        return empty if text is None else _Lines(text.splitlines())

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, _Lines):
            pairs = [line.partition("=") for line in data if line.strip()]
            if any(not name.strip() or not sign for name, sign, _value in pairs):
                self.fail("no_pair")
            data = {name.strip(): value.strip() for name, _sign, value in pairs}
        return super().to_internal_value(data)


class _Lines(list[str]):
    """What was typed into the form, shown again where it is refused."""


def _typed(field: serializers.Field[Any, Any, Any, Any], form: QueryDict) -> str | None:
    """Return a field's text; a file that is sent in its place is none."""
    text: object = form.get(str(field.field_name))
    return text if isinstance(text, str) else None


class ChoicesField(serializers.ListField):
    """A list of choices; in a form they are selected."""

    def __init__(self, *, child: serializers.ChoiceField, **kwargs: Any) -> None:
        super().__init__(child=child, style={"base_template": "select_multiple.html"}, **kwargs)

    def iter_options(self) -> Iterator[Any]:
        """Yield what the form's select offers."""
        return self.child.iter_options()  # type: ignore[no-any-return,attr-defined]


class Withholding:
    """Leaves fields out of the forms of a page; a body may name them. Mix in before a Serializer.

    It must be made with the view's context, as `view.get_serializer` does.
    """

    @cached_property
    def withheld(self) -> Collection[str]:
        """The fields that would be refused, whatever is put into them."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        """Yield what an HTML form shows."""
        for bound in super().__iter__():  # type: ignore[misc]
            if bound.name not in self.withheld:
                yield bound

    def get_initial(self) -> dict[str, Any]:
        """Return what a form of raw data begins with."""
        values: dict[str, Any] = super().get_initial()  # type: ignore[misc]
        return {name: value for name, value in values.items() if name not in self.withheld}
