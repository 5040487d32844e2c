"""How many storages are looked at for callers at once, each for as long as the storage takes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from filesync.engine import Text
from filesync.errors import TooManyLooks

# Each keeps a thread of the web server for up to ten seconds: half of them stay free for others.
_places = threading.BoundedSemaphore(max(1, settings.WEB_THREADS // 2))


@contextmanager
def place() -> Iterator[None]:
    """Look at a storage within.

    Raises:
        TooManyLooks: others are looked at already, as many as may be at once.
    """
    if not _places.acquire(blocking=False):
        raise TooManyLooks(
            Text("too many storages are being tested or listed at this moment: try again")
        )
    try:
        yield
    finally:
        _places.release()
