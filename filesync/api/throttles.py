"""What the API allows only so often: wrong tokens, starting runs, calling hooks and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext as _
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle

from filesync.rates import RateLimit

if TYPE_CHECKING:
    # DRF's views import this module by the settings, before they are complete themselves.
    from rest_framework.views import APIView

HOOK_CALLS = RateLimit("hook", 60)
# Each takes up to five seconds of CPU: one account keeps no more than one core busy.
RULE_TRIES = RateLimit("try-rules", 12)
TOKENS_MADE = RateLimit("make-token", 12)


def address(request: Request | HttpRequest) -> str:
    """Return the caller's address; behind HTTPS the one that the proxy in front names.

    X-Forwarded-For is believed from that proxy only, so that a caller cannot choose its address.
    """
    remote = str(request.META.get("REMOTE_ADDR", ""))
    if not api_settings.NUM_PROXIES:
        return remote
    named = str(request.META.get("HTTP_X_FORWARDED_FOR", "")).split(",")
    return named[-min(len(named), api_settings.NUM_PROXIES)].strip() or remote


def refuse_guessing(request: Request) -> None:
    """Count a token that opened nothing.

    Raises:
        Throttled: this address has sent too many of them; one that is valid is always let in.
    """
    wait_s = RateLimit("token", settings.FILESYNC_SIGN_INS_PER_MINUTE).count(address(request))
    if wait_s is not None:
        raise Throttled(wait_s, _("too many wrong tokens came from this address."))


class ExecuteThrottle(BaseThrottle):
    """Bounds how often one account starts runs; a loop gone wild does not fill the queue."""

    def __init__(self) -> None:
        self.wait_s: int | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        if request.method != "POST":
            return True
        self.wait_s = self.limit().count(f"user {request.user.pk}")
        return self.wait_s is None

    def limit(self) -> RateLimit:
        return RateLimit("execute", settings.FILESYNC_EXECUTES_PER_MINUTE)

    def wait(self) -> float | None:
        return self.wait_s


class HookThrottle(ExecuteThrottle):
    """Bounds the calls of one hook, and an address that tries many."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        secret = str(view.kwargs.get("token", ""))
        guesses = RateLimit("hook-address", settings.FILESYNC_EXECUTES_PER_MINUTE)
        self.wait_s = HOOK_CALLS.count(secret) or guesses.count(address(request))
        return self.wait_s is None


class MakeTokenThrottle(ExecuteThrottle):
    """Bounds how often one account makes tokens."""

    def limit(self) -> RateLimit:
        return TOKENS_MADE


class TryRulesThrottle(ExecuteThrottle):
    """Bounds how often one account tries rules."""

    def limit(self) -> RateLimit:
        return RULE_TRIES
