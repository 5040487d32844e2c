"""When a story is worth another message: first news at once, repetitions ever more rarely; pure.

A story is one trouble from its first sign to its end: a config that fails, an account that
expired, a queue that is late, a beat that is silent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2s

FIRST_REMINDER = timedelta(hours=1)
# Less than a day: what fails every night, and some seconds earlier than yesterday, is told daily.
LONGEST_REMINDER = timedelta(hours=23)

# More than this and a message names the first and says how many there are.
NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Told:
    """What one channel was told of one story so far."""

    times: int
    last_at: datetime | None
    kinds: frozenset[str]


@dataclass(frozen=True, slots=True)
class Side:
    """One storage of a config that failed: its id and rclone backend.

    `refused` says that it was tested after the failure, and refused the login then too.
    """

    storage_id: int
    backend: str
    refused: bool = False


def is_due(told: Told, kind: str, now: datetime) -> bool:
    """Whether a channel hears of a story now, whose latest trouble is of `kind`.

    The first time, and a kind of trouble that it has not heard of, at once; a repetition an hour
    after the first message, then after twice as long each time, up to about a day.
    """
    if told.last_at is None or kind not in told.kinds:
        return True
    pause = min(FIRST_REMINDER * 2 ** min(told.times - 1, 10), LONGEST_REMINDER)
    return bool(now - told.last_at >= pause)


def refused_account(source: Side, destination: Side, troubled: Iterable[int]) -> int:
    """Return the storage whose login was refused, as far as is known.

    That is the side that was tested and refused. Where no test says so it is a remote one, as a
    local disk refuses no login. Of two it is the one that is in trouble already, else the
    destination.
    """
    sides = (destination, source)
    suspects = (
        [side.storage_id for side in sides if side.refused]
        or [side.storage_id for side in sides if side.backend != "local"]
        or [destination.storage_id]
    )
    known = set(troubled)
    return next((pk for pk in suspects if pk in known), suspects[0])


def config_key(config_id: int) -> str:
    return f"config:{config_id}"


def account_key(storage_id: int) -> str:
    return f"storage:{storage_id}"


def long_run_key(run_id: int) -> str:
    return f"{LONG_RUN_PREFIX}{run_id}"


def queue_key(queue: str) -> str:
    # A queue's name may be as long as a key.
    return QUEUE_PREFIX + blake2s(queue.encode(), digest_size=16).hexdigest()


LATE_KEY = "late"
LONG_RUN_PREFIX = "long:"
BEAT_KEY = "silent:beat"
WORKERS_KEY = "silent:workers"
QUEUE_PREFIX = "silent:queue:"
