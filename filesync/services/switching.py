"""Enabling and disabling many configs at once, with their schedules."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from filesync.models import SyncConfig

logger = logging.getLogger(__name__)

MOST_SWITCHED = 1_000


@dataclass(frozen=True, slots=True)
class Switched:
    """What became of each id."""

    changed: list[int]
    unchanged: list[int]
    missing: list[int]


def switch_configs(ids: Sequence[int], *, enable: bool) -> Switched:
    """Enable or disable all of them or, on an error, none; their rows are locked by id.

    Raises:
        ScheduleConflict: a foreign periodic task has the name that one of them needs.
    """
    changed: list[int] = []
    unchanged: list[int] = []
    with transaction.atomic():
        found = SyncConfig.objects.filter(pk__in=ids).order_by("pk")
        for config in found.select_for_update(no_key=True):
            if config.enable == enable:
                unchanged.append(config.pk)
                continue
            config.enable = enable
            config.save(update_fields=["enable", "updated_at"])
            changed.append(config.pk)
    if changed:
        logger.info("%d sync configs %s", len(changed), "enabled" if enable else "disabled")
    return Switched(changed, unchanged, sorted(set(ids) - set(changed) - set(unchanged)))
