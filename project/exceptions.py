"""Domain errors become HTTP answers: `{"detail", "code"}`, field errors as DRF words them."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import TooManyFieldsSent, TooManyFilesSent
from django.db.models import ProtectedError
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException
from rest_framework.exceptions import NotFound as NoSuchPage
from rest_framework.exceptions import ValidationError as FieldErrors
from rest_framework.response import Response
from rest_framework.views import exception_handler

from filesync.errors import Conflict, FilesyncError, KeyReused, NotFound, RunActive, TooManyLooks
from filesync.texts import say
from scheduler.cron import InvalidCron
from scheduler.outages import DATABASE_AWAY, DATABASE_BACK_S
from scheduler.writing import ScheduleConflict

logger = logging.getLogger(__name__)

IN_USE_SHOWN = 20
LOOK_TAKES_S = 10


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the answer for an error that a view raised, None for one nobody foresaw."""
    if isinstance(error, ProtectedError):
        return _in_use(error)
    if isinstance(error, InvalidCron):
        field = "timezone" if error.field == "timezone" else "cron"
        return exception_handler(FieldErrors({field: [str(error)]}), context)
    if isinstance(error, FilesyncError | ScheduleConflict):
        told = say(error.message) if isinstance(error, FilesyncError) else str(error)
        body = {"detail": told, "code": error.code}
        if isinstance(error, RunActive) and error.task_id:
            body["task_id"] = error.task_id
        # Each of those that are looked at is done within this.
        again = {"Retry-After": str(LOOK_TAKES_S)} if isinstance(error, TooManyLooks) else None
        return Response(body, status=_status(error), headers=again)
    if isinstance(error, TooManyFieldsSent | TooManyFilesSent):
        too_many = _("the request has more fields or files than are taken")
        return Response({"detail": too_many, "code": "too_many_fields"}, status=400)
    if isinstance(error, DATABASE_AWAY):
        logger.error("the database does not answer: %s", error)
        return _database_away()
    if isinstance(error, Http404):
        # Django's own words name a class of Python, in English.
        error = NoSuchPage()
    response = exception_handler(error, context)
    if response is not None and not isinstance(error, FieldErrors):
        detail = response.data.get("detail") if isinstance(response.data, dict) else None
        code = getattr(detail, "code", None) or getattr(error, "default_code", "error")
        if isinstance(error, APIException) or detail is not None:
            response.data = {"detail": str(detail), "code": code}
    return response


def _status(error: Exception) -> int:
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, KeyReused):
        return 422
    if isinstance(error, TooManyLooks):
        return 429
    return 409 if isinstance(error, Conflict | ScheduleConflict) else 400


def _database_away() -> Response:
    detail = _("the database does not answer; nothing was done, try again")
    body = {"detail": detail, "code": "database_away"}
    return Response(body, status=503, headers={"Retry-After": str(DATABASE_BACK_S)})


def _in_use(error: ProtectedError) -> Response:
    users = sorted(str(item) for item in error.protected_objects)
    shown = ", ".join(users[:IN_USE_SHOWN]) + (" ..." if len(users) > IN_USE_SHOWN else "")
    detail = _("it is in use by %s; change or delete those first") % shown
    return Response({"detail": detail, "code": "in_use"}, status=409)
