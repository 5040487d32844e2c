"""What probes and Prometheus are answered; `project.middleware` lets them pass every check."""

from __future__ import annotations

import ipaddress
import secrets

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

LIVE_PATH = "/health/live"
READY_PATH = "/health/ready"
METRICS_PATH = "/metrics"


def answer(request: HttpRequest) -> HttpResponse | None:
    """Answer a probe; None where the request is none."""
    if request.path == LIVE_PATH:
        return HttpResponse("ok\n", content_type="text/plain")
    if request.path == READY_PATH:
        return _ready()
    if request.path == METRICS_PATH:
        return _metrics(request)
    return None


def _ready() -> HttpResponse:
    # The settings name the middleware, so that models cannot be imported with it.
    from filesync.health import OK, readiness

    parts = readiness()
    ready = all(word == OK for word in parts.values())
    return JsonResponse({"ready": ready, **parts}, status=200 if ready else 503)


def _metrics(request: HttpRequest) -> HttpResponse:
    from filesync.metrics import CONTENT_TYPE, exposition

    if not (settings.METRICS_TOKEN or settings.METRICS_NETWORKS):
        return HttpResponse(
            "metrics are off: set SYNCBEAT_METRICS_TOKEN or SYNCBEAT_METRICS_NETWORKS\n",
            status=404,
            content_type="text/plain",
        )
    if not may_read_metrics(request):
        return HttpResponse(
            "not for you: send the token as Authorization: Bearer, or ask from an allowed "
            "address\n",
            status=403,
            content_type="text/plain",
        )
    return HttpResponse(exposition(), content_type=CONTENT_TYPE)


def may_read_metrics(request: HttpRequest) -> bool:
    """Whether the request bears the token, or comes straight from an allowed network."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    token = str(settings.METRICS_TOKEN)
    if token and secrets.compare_digest(given.encode(), token.encode()):
        return True
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return any(
        address.version == network.version and address in network
        for network in settings.METRICS_NETWORKS
    )
