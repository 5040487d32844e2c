"""Texts of the engine and the services in the reader's language, and how a row keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext

from filesync.engine import Text

Document = dict[str, Any]


def say(text: str) -> str:
    """Return a text in the language that is active; one without a template stays as it is."""
    if not isinstance(text, Text):
        return text
    params = {name: say(one) if isinstance(one, str) else one for name, one in text.params.items()}
    return gettext(text.template).format(**params)


def storable(text: str) -> str:
    """Return a plain text as every database takes it.

    Names of files may hold bytes that are no UTF-8 (lone surrogates in Python), and what a server
    answers may hold NUL, which PostgreSQL refuses: an outcome must not be lost for that.
    """
    return text.replace("\0", "\ufffd").encode("utf-8", errors="replace").decode()


def text_document(text: str) -> str | Document:
    """Return the JSON that keeps a text with its template."""
    if not isinstance(text, Text):
        return storable(text)
    params: Mapping[str, Any] = {
        name: text_document(one) if isinstance(one, str) else one
        for name, one in text.params.items()
    }
    return {"text": text.template, "with": params}


def read_text(document: str | Document) -> str:
    """Return the text that `text_document` was given."""
    if isinstance(document, str):
        return document
    params = {
        name: read_text(one) if isinstance(one, str | dict) else one
        for name, one in document["with"].items()
    }
    return Text(document["text"], **params)
