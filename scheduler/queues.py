"""Which names of queues may be used: a broker keeps some for itself, and what it keeps there."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# RabbitMQ refuses its own. On Redis a queue is a key: pushed onto kombu's, every worker ends with
# WRONGTYPE as soon as it starts, for ever. Events and remote control have queues of their own.
_KEPT = re.compile(r"amq\.|unacked|_kombu|celeryev|.*pidbox", re.IGNORECASE)


def is_usable(queue: str) -> bool:
    """Whether messages may be sent to a queue of this name; "" is celery's default one."""
    return not queue or bool(_PLAIN.fullmatch(queue) and not _KEPT.match(queue))
