"""Middleware that bounds what a caller may send: how large a body, and how many wrong passwords."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Callable
from io import BytesIO
from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from gunicorn.http.errors import ParseException

from filesync.api.throttles import address
from filesync.rates import RateLimit
from project.slow_callers import in_time

HOOK_PATH = "/api/v1/hooks/"
# The events of GitHub have 25 MB at most.
MOST_THROWN_AWAY = 32 * 1024 * 1024
PIECE = 64 * 1024
# It was queued, or its config is busy or disabled.
HOOK_WAS_THERE = (202, 409)
# So many people behind one address may mistype as often as one name allows.
NAMES_OF_ADDRESS = 5


class BodyLimitMiddleware:
    """Read each body here, in bounded time; refuse one that is larger than any that is taken.

    What is sent to a hook is nobody's: the event of another system, which may be of any size. It
    is thrown away once there is such a hook, for a connection that is closed on who still sends
    takes the answer with it.
    Django's own limit is not asked where DRF reads the stream itself, nor for the files of a form,
    which it writes to the disk before it asks who sent them. Both take a body without a length
    for none: one in chunks is read here, or a dry run would be one in earnest.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        source = request.META.get("gunicorn.socket")
        if request.path.startswith(HOOK_PATH):
            body = _body_of(request)
            _give_body(request, b"")
            response = self.get_response(request)
            if response.status_code in HOOK_WAS_THERE:
                with in_time(source):
                    _throw_away(body)
            return response
        with in_time(source) as reading:
            refusal = _read_body(request)
        if refusal is not None and reading is not None and reading.is_cut:
            refusal = _refused(408, "too_slow", _("the body did not come in time"))
        return refusal or self.get_response(request)


def _read_body(request: HttpRequest) -> HttpResponse | None:
    """Put the whole body into the request; return the answer where that cannot be done."""
    limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    text = request.META.get("CONTENT_LENGTH") or "0"
    length = int(text) if text.isdigit() else 0
    chunked = _is_chunked(request)
    if chunked and not request.META.get("wsgi.input_terminated"):
        detail = _("this server takes no body without a length")
        return _refused(411, "length_required", detail)
    if not chunked and length > limit:
        detail = _("the body has %(length)s bytes; at most %(limit)d are taken") % {
            "length": length,
            "limit": limit,
        }
        return _refused(413, "too_large", detail)
    if not chunked and not length:
        return None
    try:
        body = _body_of(request).read(limit + 1)
    except (OSError, ParseException):
        return _refused(400, "parse_error", _("the body ended before its last chunk"))
    if len(body) > limit:
        detail = _("the body has more than the %d bytes that are taken") % limit
        return _refused(413, "too_large", detail)
    if not chunked and len(body) < length:
        return _refused(400, "parse_error", _("the body ended before its last byte"))
    _give_body(request, body)
    return None


def _is_chunked(request: HttpRequest) -> bool:
    return "HTTP_TRANSFER_ENCODING" in request.META


def _body_of(request: HttpRequest) -> Any:
    """Return what the body can be read from; that of a body in chunks ends only with gunicorn."""
    terminated = request.META.get("wsgi.input_terminated")
    if _is_chunked(request) and terminated:
        return request.META["wsgi.input"]
    return request._stream


def _throw_away(body: Any) -> None:
    """Take a body in, up to what other systems send, and keep none of it."""
    left = MOST_THROWN_AWAY
    with contextlib.suppress(OSError, ParseException):
        while left > 0 and (piece := body.read(min(PIECE, left))):
            left -= len(piece)


def _give_body(request: HttpRequest, body: bytes) -> None:
    request.META["CONTENT_LENGTH"] = str(len(body))
    request._stream = BytesIO(body)


def _refused(status: int, code: str, detail: str) -> HttpResponse:
    return JsonResponse({"detail": detail, "code": code}, status=status)


class SignInLimitMiddleware:
    """Refuse passwords for a while where too many were wrong: of a name from an address, or of all.

    A password costs a hash also where its name is unknown. A right one is refused too then: an
    answer that differs would tell it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method == "POST" and request.path in _login_paths():
            limits = _limits(request, request.POST.get("username", ""))
            wait_s = max(limit.wait_s(key) or 0 for limit, key in limits)
            if wait_s:
                text = _("Too many wrong passwords. Try again in %d seconds.") % wait_s
                answer = HttpResponse(text, status=429, content_type="text/plain; charset=utf-8")
                answer["Retry-After"] = str(wait_s)
                return answer
        return self.get_response(request)


def count_failure(
    credentials: dict[str, object], request: HttpRequest | None = None, **_: object
) -> None:
    if request is not None:
        for limit, key in _limits(request, str(credentials.get("username", ""))):
            limit.count(key)


user_login_failed.connect(count_failure, dispatch_uid="project.sign_in_failed")


def _limits(request: HttpRequest, username: str) -> tuple[tuple[RateLimit, str], ...]:
    """Return what bounds the wrong passwords of a name and of its address, each with its key."""
    per_name: int = settings.FILESYNC_SIGN_INS_PER_MINUTE
    who = address(request)
    return (
        (RateLimit("password", per_name), f"{who} {_normal(username)}"),
        (RateLimit("password-address", NAMES_OF_ADDRESS * per_name), who),
    )


def _normal(username: str) -> str:
    """Give one form for all spellings that Django's sign-in form makes one name of, and cases."""
    return unicodedata.normalize("NFKC", username.strip()).strip().casefold()


def _login_paths() -> tuple[str, str]:
    return reverse("admin:login"), reverse("rest_framework:login")
