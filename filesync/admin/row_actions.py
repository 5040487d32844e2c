"""Actions on one row by a button: what their addresses may hold, and where they lead."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action
from unfold.forms import BaseDialogForm

from filesync.selectors import is_id

RUN_DIALOG = {"form_class": BaseDialogForm, "form_submit_text": _("Run")}

Act = Callable[Concatenate[Any, HttpRequest, ...], HttpResponse]


def row_action(**options: Any) -> Callable[[Act], Act]:
    """Make an action on one row, as unfold's `action`, which passes on any text as the id."""

    def decorate(act: Act) -> Act:
        stock = action(**options)(act)

        @wraps(stock)
        def found(model_admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
            if not is_id(object_id):
                raise Http404
            answer: HttpResponse = stock(model_admin, request, object_id=object_id)
            return answer

        return found

    return decorate


def go(url: str) -> HttpResponse:
    """Send the browser to `url` from a dialog, whose form is posted by htmx."""
    return HttpResponse(headers={"HX-Redirect": url})
