"""Wishes with a key: asked again within a day, the first answer is given and nothing is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from filesync import engine
from filesync.errors import KeyReused
from filesync.models import IdempotencyKey

KEPT = timedelta(days=1)

Answer = dict[str, object]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a wish; `replayed` where an earlier call has done it."""

    answer: Answer
    replayed: bool


def once(user_id: int, key: str, wish: Mapping[str, object], act: Callable[[], Answer]) -> Outcome:
    """Do `act` unless this user's key has done it; one transaction holds the deed and the key.

    Of two that come at once the second waits for the first one's commit: the unique row makes it.
    A refusal keeps no key, so that the same key may try again.

    Raises:
        KeyReused: the key belongs to another wish.
    """
    fingerprint = hashlib.sha256(json.dumps(wish, sort_keys=True).encode()).hexdigest()
    with transaction.atomic():
        mine = IdempotencyKey.objects.filter(user_id=user_id, key=key)
        mine.filter(created_at__lt=timezone.now() - KEPT).delete()
        row = IdempotencyKey(user_id=user_id, key=key, fingerprint=fingerprint)
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except IntegrityError:
            row = mine.get()
            if row.fingerprint != fingerprint:
                raise KeyReused(
                    engine.Text(
                        "the idempotency key {key!r} was used for another request within "
                        "the last day: take a new key for a new request",
                        key=key,
                    )
                ) from None
            return Outcome(row.answer, replayed=True)
        row.answer = act()
        row.save(update_fields=["answer"])
        return Outcome(row.answer, replayed=False)


def forget_old_keys() -> None:
    IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
