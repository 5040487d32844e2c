"""The ids that log lines bear: which run, config and task they are about."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_about: ContextVar[Mapping[str, object] | None] = ContextVar("log_ids", default=None)


@contextmanager
def about(**ids: object) -> Iterator[None]:
    """Give every line that this thread logs within the block these ids."""
    token = _about.set({**(_about.get() or {}), **ids})
    try:
        yield
    finally:
        _about.reset(token)


def ids(event: str, **ids: object) -> dict[str, object]:
    """Return the `extra` of one line: the name of its event, and its ids."""
    return {"event": event, "ids": ids}


def ids_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the event and ids of a line, its own over those of the block."""
    event = getattr(record, "event", None)
    own = getattr(record, "ids", {})
    found = {**(_about.get() or {}), **own}
    return ({"event": event} if event else {}) | {k: v for k, v in found.items() if v is not None}
