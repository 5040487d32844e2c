"""How long the web server's threads wait for what a caller sends, and how many of them at once.

A thread that reads from a caller does nothing else, and gunicorn sets no end to it: as many slow
callers as there are threads, and nobody was served.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from django.conf import settings

# What is there within this is not slow. It is less while as many are slow as may be: others wait.
QUICK_S = 1.0
HURRIED_S = 0.25
LONGEST_S = 20.0
LOOK_EVERY_S = 0.1


@dataclass(eq=False, slots=True)
class Reading:
    """A thread that reads from a caller; `is_cut` once it has waited long enough."""

    source: socket.socket
    since_s: float
    is_slow: bool = False
    is_cut: bool = False


def judge(readings: Iterable[Reading], *, now_s: float, most_slow: int) -> list[Reading]:
    """Mark the slow ones, and return those to cut: too slow, or more than may be slow at once."""
    cut: list[Reading] = []
    oldest_first = sorted(readings, key=attrgetter("since_s"))
    slow = sum(reading.is_slow and not reading.is_cut for reading in oldest_first)
    for reading in oldest_first:
        waited_s = now_s - reading.since_s
        if reading.is_cut:
            continue
        if reading.is_slow:
            if waited_s > LONGEST_S:
                cut.append(reading)
                slow -= 1
        elif slow >= most_slow:
            if waited_s > HURRIED_S:
                cut.append(reading)
        elif waited_s > QUICK_S:
            reading.is_slow = True
            slow += 1
    return cut


class _Readings:
    """The threads of this process that read from callers; one more thread looks after them."""

    def __init__(self, most_slow: int) -> None:
        self._most_slow = most_slow
        self._lock = threading.Lock()
        self._all: set[Reading] = set()
        self._is_watched = False

    def begin(self, source: socket.socket) -> Reading:
        reading = Reading(source, time.monotonic())
        with self._lock:
            self._all.add(reading)
            if not self._is_watched:
                self._is_watched = True
                threading.Thread(target=self._watch, name="slow-callers", daemon=True).start()
        return reading

    def end(self, reading: Reading) -> None:
        with self._lock:
            self._all.discard(reading)

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK_EVERY_S)
            with self._lock:
                if not self._all:
                    self._is_watched = False
                    return
                now_s = time.monotonic()
                for reading in judge(self._all, now_s=now_s, most_slow=self._most_slow):
                    reading.is_cut = True
                    # The reader finds the end of what was sent; it can still answer.
                    with contextlib.suppress(OSError):
                        reading.source.shutdown(socket.SHUT_RD)


# Half of the threads stay free for everybody else.
_readings = _Readings(max(1, settings.WEB_THREADS // 2))
begin = _readings.begin
end = _readings.end


@contextlib.contextmanager
def in_time(source: socket.socket | None) -> Iterator[Reading | None]:
    """Read from a caller within: what has not come by then is cut off; None has no end."""
    if source is None:
        yield None
        return
    reading = begin(source)
    try:
        yield reading
    finally:
        end(reading)
