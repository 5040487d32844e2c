"""Why an expression or a timezone is refused: InvalidCron, and the language it says so in.

Plain Python: gettext is handed in, once, by whoever has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

FieldName = Literal[
    "minute", "hour", "day_of_month", "month_of_year", "day_of_week", "cron", "timezone"
]

_translations: list[Callable[[str], str]] = []


def translate_with(translate: Callable[[str], str]) -> None:
    """Say reasons in the language that `translate` knows of; in English until this is called."""
    _translations[:] = [translate]


def gettext(text: str) -> str:
    """Return a reason in the reader's language."""
    return _translations[0](text) if _translations else text


def gettext_noop(text: str) -> str:
    """Mark a text for translation."""
    return text


class InvalidCron(ValueError):
    """Refuse an expression or a timezone: the field, and the reason in the reader's language."""

    code = "invalid_cron"
    retryable = False

    def __init__(self, field: FieldName, reason: str) -> None:
        super().__init__(field, reason)
        self.field: FieldName = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"
