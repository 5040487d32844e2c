"""Middleware of the whole site: the health probe, and what a page may load and run."""

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


API_PATHS = "/api"
SHARED = (
    "default-src 'self'",
    "img-src 'self' data:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
)
# Alpine, on which the admin's theme stands, compiles the expressions of its attributes with
# `new Function`; its build without that does not know the arrow functions in the theme's own
# templates. Inline scripts stay forbidden: a name that became markup could still run nothing.
POLICY = "; ".join((*SHARED, "script-src 'self' 'unsafe-eval'"))
# The browsable API and its documentation style themselves inline; Redoc searches in a worker.
API_POLICY = "; ".join((*SHARED, "style-src 'self' 'unsafe-inline'", "worker-src 'self' blob:"))


class ContentSecurityPolicyMiddleware:
    """Forbid browsers any other host, and scripts and styles that stand in a page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        policy = API_POLICY if request.path.startswith(API_PATHS) else POLICY
        response.headers.setdefault("Content-Security-Policy", policy)
        return response
