"""What is allowed and yet unwise in a sync config: told when it is saved."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from itertools import pairwise

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from filesync.amounts import duration
from filesync.models import SyncConfig, SyncRun
from filesync.selectors import usual_duration_s
from scheduler import cron

# A pattern within days or a week, such as 0,10 9 * * 1-5, comes back within so many slots.
SLOTS_LOOKED_AT = 50
CROWD = 5
CROWD_LOOKED_AT = 1_000
NO_LIMIT_PERCENT = 100
DELETING = (SyncConfig.Method.FULL, SyncConfig.Method.OVERWRITE)
ENDS = frozenset({"source_storage", "source_path", "destination_storage", "destination_path"})


def warnings_of(
    config: SyncConfig, *, changed: Collection[str] = (), now: datetime | None = None
) -> list[str]:
    """Return what a person should know of a saved config, in whole sentences.

    `changed` are the fields that this save has changed: no run says which folders it had.
    """
    now = now or timezone.now()
    found = [_too_often(config, now), _crowd(config, now), no_limits(config, changed)]
    return [text for text in found if text]


def _too_often(config: SyncConfig, now: datetime) -> str:
    usual_s = usual_duration_s(config.pk)
    if usual_s is None or not (config.enable and config.cron):
        return ""
    slots = cron.next_slots(config.cron, config.timezone, after=now, count=SLOTS_LOOKED_AT)
    pauses = [(later - slot).total_seconds() for slot, later in pairwise(slots)]
    pause_s = min(pauses, default=usual_s)
    if pause_s >= usual_s:
        return ""
    if pause_s < max(pauses):
        return _(
            "It fires as soon as %(pause)s after the slot before and usually takes %(usual)s: "
            "slots that find it running are skipped. Fire it more rarely."
        ) % {"pause": duration(pause_s), "usual": duration(usual_s)}
    return _(
        "It fires every %(pause)s and usually takes %(usual)s: slots that find it running are "
        "skipped. Fire it more rarely."
    ) % {
        "pause": duration(pause_s),
        "usual": duration(usual_s),
    }


def _crowd(config: SyncConfig, now: datetime) -> str:
    """Tell of a storage that many syncs use in the same minute; spread ones do not count."""
    slot = config.next_slot(now=now)
    if slot is None or config.jitter_s:
        return ""
    sides = {config.source_storage_id, config.destination_storage_id}
    others = SyncConfig.objects.filter(
        Q(source_storage__in=sides) | Q(destination_storage__in=sides), enable=True, jitter_s=0
    ).exclude(cron="")
    crowds: dict[int, int] = dict.fromkeys(sides, 0)
    columns = ("cron", "timezone", "source_storage_id", "destination_storage_id")
    for expr, zone, source, destination in others.values_list(*columns)[:CROWD_LOOKED_AT]:
        if cron.next_slots(expr, zone, after=now, count=1)[:1] == [slot]:
            for side in sides & {source, destination}:
                crowds[side] += 1
    crowded, count = max(crowds.items(), key=lambda item: item[1])
    if count < CROWD:
        return ""
    storage = config.source_storage
    if crowded != config.source_storage_id:
        storage = config.destination_storage
    return _(
        "%(count)d syncs use %(storage)s in the minute of %(slot)s: choose another minute, or "
        "give each a spread."
    ) % {"count": count, "storage": storage.name, "slot": f"{slot:%H:%M}"}


def no_limits(config: SyncConfig, changed: Collection[str]) -> str:
    """Warn of what may delete everything at a destination where it never ran; "" where it may not.

    A source or a destination that was changed in this save is taken for one of those: what another
    source lacks is deleted as well.
    """
    if config.method not in DELETING or config.max_delete_files is not None:
        return ""
    limit = config.max_delete_percent
    if limit is not None and limit < NO_LIMIT_PERCENT:
        return ""
    if not ENDS.isdisjoint(changed):
        return _(
            "Its source or destination is another one now, and it may delete everything at the "
            "destination: make a dry run first, or set the most deletions, or lower those in per "
            "cent."
        )
    if SyncRun.objects.filter(config=config, state=SyncRun.State.SUCCEEDED, dry_run=False).exists():
        return ""
    return _(
        "It may delete everything at the destination, and has never run: make a dry run first, or "
        "set the most deletions, or lower those in per cent."
    )
