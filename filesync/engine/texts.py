"""Sentences for people that whoever shows them can say in another language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Param = str | int | float
"""What stands in a text; a str may be a Text of its own."""


class Text(str):
    """An English sentence that remembers its template and what stands in it.

    To everyone who does not ask it is the finished str. Templates are marked for translators by
    standing here as a literal; they are in the notation of `str.format`.
    """

    template: str
    params: Mapping[str, Param]

    def __new__(cls, template: str, /, **params: Param) -> Text:
        text = super().__new__(cls, template.format(**params))
        text.template, text.params = template, params
        return text

    def __getnewargs_ex__(self) -> tuple[Any, ...]:
        """Let copies and pickles be made of the template, not of the finished sentence."""
        return (self.template,), dict(self.params)
