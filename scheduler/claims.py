"""The slot claim: takes due slots in the database and hands them to their models, once.

Any number of beats may claim the same slot at the same moment: the row's `last_run_at` moves
forward under its lock, and only who moved it hands the slot over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django_celery_beat.models import PeriodicTask

from scheduler import rows
from scheduler.models import Doorbell, DueSlot, Schedulable, schedulable_models
from scheduler.slots import Due

# Slots, not rows, per transaction: 500 rows with 100 missed slots each took 9.4 s in one, longer
# than a running transfer can wait for SQLite's lock.
CHUNK = 2_000

# A slot this far ahead was fired while the clock was wrong; it must not silence the schedule.
FAR_AHEAD = timedelta(days=1)

# A slot this late was not missed: a reload or a busy beat delayed it. It fires under any policy.
FRESH = timedelta(seconds=60)


def split_slots(
    slots: Sequence[datetime],
    *,
    now: datetime,
    policy: str,
    grace: timedelta,
    delay: timedelta = timedelta(),
) -> tuple[datetime | None, tuple[datetime, ...]]:
    """Return the slot to fire, if any, and those to record as missed.

    Of the unsettled `slots`, oldest first, at most the latest fires: always when it is fresh, else
    under RUN_ONCE within its grace. `delay` is the row's own fixed delay after its slots.
    """
    latest = slots[-1]
    lateness = now - latest - delay
    allowed = grace if policy == Schedulable.MisfirePolicy.RUN_ONCE else timedelta()
    if lateness <= max(FRESH, allowed):
        return latest, tuple(slots[:-1])
    return None, tuple(slots)


def claim(due: Iterable[Due], *, now: datetime) -> list[Doorbell]:
    """Claim the slots, let the models record them, and return what to publish.

    Each chunk is one transaction: a beat that dies in it leaves the slots unclaimed, one that
    dies after it leaves rows that a sweep rings again.
    """
    models = {model._meta.label_lower: model for model in schedulable_models()}
    by_model: dict[str, list[Due]] = defaultdict(list)
    for entry in due:
        by_model[entry.member.model].append(entry)
    doorbells: list[Doorbell] = []
    for label, entries in by_model.items():
        for chunk in _chunks(entries):
            doorbells += _claim_chunk(models[label], chunk, now)
    return doorbells


def _chunks(entries: Sequence[Due]) -> Iterator[list[Due]]:
    chunk: list[Due] = []
    slots = 0
    for entry in entries:
        if chunk and slots + len(entry.slots) > CHUNK:
            yield chunk
            chunk, slots = [], 0
        chunk.append(entry)
        slots += len(entry.slots)
    if chunk:
        yield chunk


def _claim_chunk(
    model: type[Schedulable], entries: Sequence[Due], now: datetime
) -> Sequence[Doorbell]:
    by_latest: dict[datetime, list[Due]] = defaultdict(list)
    for entry in entries:
        by_latest[entry.slots[-1]].append(entry)
    with transaction.atomic():
        # All rows in the order of their ids, as a refresh and other beats lock them.
        row_ids = [entry.member.row_id for entry in entries]
        rows_to_lock = PeriodicTask.objects.filter(pk__in=row_ids).order_by("pk")
        list(rows_to_lock.select_for_update(no_key=True).values_list("pk", flat=True))
        won: list[Due] = []
        for latest, group in by_latest.items():
            taken = _move_forward([entry.member.row_id for entry in group], latest, now)
            won += [entry for entry in group if entry.member.row_id in taken]
        return model.fire(_decide(model, won, now)) if won else []


def _move_forward(row_ids: Sequence[int], slot: datetime, now: datetime) -> set[int]:
    """Move the rows' last slot forward; return those that did move. Their locks are held."""
    unclaimed = PeriodicTask.objects.filter(
        Q(last_run_at=None) | Q(last_run_at__lt=slot) | Q(last_run_at__gt=now + FAR_AHEAD),
        Q(start_time=None) | Q(start_time__lte=slot),
        Q(expires=None) | Q(expires__gt=slot),
        pk__in=row_ids,
        enabled=True,
    )
    taken = set(unclaimed.values_list("pk", flat=True))
    PeriodicTask.objects.filter(pk__in=taken).update(
        last_run_at=slot, total_run_count=F("total_run_count") + 1
    )
    return taken


def _decide(model: type[Schedulable], won: Sequence[Due], now: datetime) -> list[DueSlot]:
    """Split each row's slots; the policy is read only for those that are late."""
    late = [
        entry.member.object_id
        for entry in won
        if len(entry.slots) > 1 or now - entry.slots[-1] > FRESH
    ]
    policies = (
        {
            pk: (policy, timedelta(seconds=grace_s), jitter_s)
            for pk, policy, grace_s, jitter_s in model._default_manager.filter(
                pk__in=late
            ).values_list("pk", "misfire_policy", "misfire_grace_s", "jitter_s")
        }
        if late
        else {}
    )
    decided: list[DueSlot] = []
    for entry in won:
        object_id = entry.member.object_id
        policy, grace, jitter_s = policies.get(
            object_id, (Schedulable.MisfirePolicy.RUN_ONCE, timedelta(), 0)
        )
        delay = timedelta(seconds=rows.jitter_offset_s(rows.row_name(model, object_id), jitter_s))
        slot, missed = split_slots(entry.slots, now=now, policy=policy, grace=grace, delay=delay)
        decided.append(DueSlot(object_id, slot, missed))
    return decided
