"""Middleware of the whole site: probes go first, and what a page may load and run."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from project import probes


class HealthMiddleware:
    """Answer probes first: they speak plain HTTP, to whatever address they have.

    `/health/live` says that this web process serves, `/health/ready` that database, migrations
    and broker are well, `/metrics` is for Prometheus. No host, session or TLS check applies.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return probes.answer(request) or self.get_response(request)


API_PATHS = "/api"
SHARED = (
    "default-src 'self'",
    "img-src 'self' data:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
)
# Alpine, on which the admin's theme stands, is here its build that compiles nothing at run time.
POLICY = "; ".join(SHARED)
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
