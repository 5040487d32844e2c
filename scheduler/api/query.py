"""What the query of an address may hold, and a body of which nothing is wanted.

Nothing unknown, empty or too long passes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from scheduler.api.strict import StrictSerializer

LONGEST_VALUE = 1_024
# Each word of a search is a condition of its own, and SQLite refuses a thousand of them.
LONGEST_SEARCH = 200


class StrictQuery:
    """Refuse what a write does not ask for; mix it in before a view.

    Parameters in its address, of which it has none, and fields where it takes no body: where the
    view's serializer is the plain one, and in a deletion. `clear-tasks?config=5`, or a body that
    says so, would clear all. What a read may be asked for, its view or its filters know.
    """

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        if request.method in SAFE_METHODS:
            return
        check_parameters(request, {"format"})
        takes_none = getattr(self, "serializer_class", None) is Serializer
        if takes_none or request.method == "DELETE":
            StrictSerializer(data=request.data).is_valid(raise_exception=True)


def check_parameters(
    request: Request, known: set[str], *, may_be_empty: Collection[str] = ()
) -> None:
    """Refuse parameters of the query that are unknown, said twice, empty, or too long.

    `may_be_empty` names those of which an empty one is as good as none.

    Raises:
        ValidationError: it names each of them.
    """
    errors: dict[str, list[ErrorDetail]] = {}
    for name, values in request.query_params.lists():
        wrong = _wrong(
            name, [str(value) for value in values], known, may_be_empty=name in may_be_empty
        )
        if wrong is not None:
            errors[name] = [wrong]
    if errors:
        raise ValidationError(errors)


def _wrong(
    name: str, values: list[str], known: set[str], *, may_be_empty: bool
) -> ErrorDetail | None:
    longest = LONGEST_SEARCH if name == "search" else LONGEST_VALUE
    if name not in known:
        return ErrorDetail(_("There is no such parameter."), "unknown")
    if len(values) > 1:
        return ErrorDetail(_("This is given more than once."), "repeated")
    value = values[0]
    if not value:
        return None if may_be_empty else ErrorDetail(_("This may not be empty."), "blank")
    if len(value) > longest:
        return ErrorDetail(_("This has more than %d characters.") % longest, "max_length")
    if "\x00" in value:
        return ErrorDetail(_("Null characters are not allowed."), "null_characters")
    if name in ("page", "page_size") and not _is_count(value):
        return ErrorDetail(_("This is not a whole number from 1."), "invalid")
    return None


def _is_count(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 10 and int(value) > 0
