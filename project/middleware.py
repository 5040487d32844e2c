"""Middleware of the whole site: the health probe, which must pass before any other check."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

LIVE_PATH = "/health/live"


class HealthMiddleware:
    """Answer `/health/live` first: a probe speaks plain HTTP, to whatever address it has.

    It says that this web process serves, and nothing else; no host, session or TLS check applies.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == LIVE_PATH:
            return HttpResponse("ok\n", content_type="text/plain")
        return self.get_response(request)
