"""Rate limits: how often something may be tried in a minute, counted in Django's cache.

The default cache lives in the web process: with several of them each counts for itself.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from django.core.cache import cache

WINDOW_S = 60


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `per_minute` of what `name` says, for each key; counted by the clock's minute."""

    name: str
    per_minute: int

    def wait_s(self, key: str) -> int | None:
        """Return the seconds until another one may be tried, None where it may now."""
        spent = cache.get(self._place(key), 0)
        return _rest_of_window_s() if spent >= self.per_minute else None

    def count(self, key: str) -> int | None:
        """Count one, and say as `wait_s` does whether it was one too many."""
        place = self._place(key)
        cache.add(place, 0, timeout=2 * WINDOW_S)
        try:
            spent = cache.incr(place)
        except ValueError:
            # Evicted between the two calls: then nothing is counted.
            return None
        return _rest_of_window_s() if spent > self.per_minute else None

    def _place(self, key: str) -> str:
        # Keys hold names and addresses that people typed; a cache wants short plain ones.
        digest = hashlib.sha256(key.encode(errors="replace")).hexdigest()[:32]
        return f"rate:{self.name}:{digest}:{int(time.time()) // WINDOW_S}"


def _rest_of_window_s() -> int:
    return WINDOW_S - int(time.time()) % WINDOW_S
