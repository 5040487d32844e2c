"""Pages for what goes wrong: plain words in the reader's language, made without the database."""

from __future__ import annotations

import sys

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from scheduler.outages import DATABASE_AWAY, DATABASE_BACK_S


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(400, _("This cannot be read"), _("Go back and send it again, or begin anew."))


def not_permitted(request: HttpRequest, exception: Exception) -> HttpResponse:
    text = _("Your account may not see or do this. Somebody who manages accounts can permit it.")
    return _page(403, _("Not permitted"), text)


def form_refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form without the token of its session, as Django's check of forms asks for it."""
    text = _(
        "The form is not of this session, for example because you signed in anew since. Nothing "
        "was done: go back, load the page again and send it once more. Where it happens each time, "
        "let the browser keep cookies of this site."
    )
    return _page(403, _("The form was refused"), text)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    text = _("There is nothing at this address. What was here may have been deleted.")
    return _page(404, _("Not found"), text)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer what nobody caught; Django calls it while that is being handled."""
    if isinstance(sys.exc_info()[1], DATABASE_AWAY):
        return _database_away()
    text = _(
        "Something went wrong that nobody foresaw. The log of the web process says what. If you "
        "were saving something, look first whether it was saved."
    )
    return _page(500, _("An error of the server"), text)


def _database_away() -> HttpResponse:
    text = _(
        "Without it nothing can be shown and nothing saved. Check that the database runs and can "
        "be reached from here, then try again. If you were saving something, look first whether "
        "it was saved."
    )
    answer = _page(503, _("The database does not answer"), text)
    answer["Retry-After"] = str(DATABASE_BACK_S)
    return answer


def _page(status: int, title: str, text: str) -> HttpResponse:
    # Without the request: what a context processor adds may ask the database for the reader.
    html = render_to_string("project/error.html", {"title": title, "text": text})
    return HttpResponse(html, status=status)
