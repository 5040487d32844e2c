"""What the API's pages are called and say of themselves, in the reader's language.

In English that is the name of a view and its docstring; `tests.messages` collects both.
"""

from __future__ import annotations

from django.utils.translation import gettext
from rest_framework.utils.formatting import markup_description
from rest_framework.views import APIView, get_view_description, get_view_name


def page_name(view: APIView) -> str:
    return gettext(get_view_name(view))


def page_description(view: APIView, html: bool = False) -> str:
    text = get_view_description(view)
    # To gettext the empty text is the head of its catalogue.
    said = gettext(text) if text else ""
    return markup_description(said) if html else said
