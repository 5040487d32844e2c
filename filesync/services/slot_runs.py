"""Claimed slots become runs: one row each, also for those that are skipped or were missed."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter

from django.db import transaction
from django.utils import timezone

from filesync.models import SyncConfig, SyncRun
from filesync.services.doorbells import doorbell
from scheduler.bulk import insert_rows
from scheduler.log_ids import ids
from scheduler.models import Doorbell, DueSlot

logger = logging.getLogger(__name__)

# More slots than this at once are told in one line.
LOG_AT_MOST = 200

# The namespace of task ids that are derived from (config, slot): two beats name one task alike.
SLOT_NAMESPACE = uuid.UUID("6a9f7b0e-5d0c-4c39-9a35-7f6d1a3c9f52")

SlotRow = dict[str, object]


def queue_slots(due: Sequence[DueSlot]) -> list[Doorbell]:
    """Record every claimed slot as one row; return the doorbells of those that are queued.

    Called in beat's claim transaction. A slot whose config has an active run is SKIPPED, slots
    that nobody fired are MISSED.
    """
    configs = {
        pk: (name, queue)
        for pk, name, queue in SyncConfig.objects.filter(
            pk__in=[entry.object_id for entry in due]
        ).values_list("pk", "name", "queue")
    }
    now = timezone.now()
    missed: list[SlotRow] = []
    firing: list[SlotRow] = []
    for entry in due:
        config = configs.get(entry.object_id)
        if config is None:
            continue
        missed += [
            _slot_row(entry.object_id, config, slot) | _ended(SyncRun.State.MISSED, now)
            for slot in entry.missed
        ]
        if entry.slot is not None:
            row = _slot_row(entry.object_id, config, entry.slot)
            if entry.missed:
                row["trigger"] = SyncRun.Trigger.CATCH_UP
            firing.append(row)
    # In the order of the configs, as a batch inserts: each waits for the other's unfinished run.
    firing.sort(key=itemgetter("config_id"))
    insert_rows(SyncRun, missed, ignore_conflicts=True)
    # The bells of a claim ring as soon as it is committed.
    insert_rows(SyncRun, firing, ignore_conflicts=True, stamped=["rung_at"])
    queued = _queued_ids(firing)
    # The constraint on one active run per config has turned the others away.
    overlapping = [row for row in firing if row["task_id"] not in queued]
    skipped = [row | _ended(SyncRun.State.SKIPPED, now) for row in overlapping]
    insert_rows(SyncRun, skipped, ignore_conflicts=True)
    queued_rows = [row for row in firing if row["task_id"] in queued]
    transaction.on_commit(lambda: _log_slots(queued_rows, skipped, missed))
    return [
        doorbell(
            queued[row["task_id"]],
            row["task_id"],
            row["config_id"],
            row["queue"],
        )
        for row in queued_rows
    ]


def _log_slots(
    queued: Sequence[SlotRow], skipped: Sequence[SlotRow], missed: Sequence[SlotRow]
) -> None:
    """Say what became of claimed slots: a line each, or one for all where they are very many."""
    kinds = (("queued", queued), ("skipped", skipped), ("missed", missed))
    for word, rows in kinds:
        if len(rows) > LOG_AT_MOST:
            logger.info("%d runs %s for their slots", len(rows), word, extra=ids(f"runs_{word}"))
            continue
        for row in rows:
            logger.info(
                "run of %s %s for its slot %s",
                row["config_name"],
                word,
                row["slot"],
                extra=ids(f"run_{word}", config=row["config_id"], task=str(row["task_id"])),
            )


def _slot_row(config_id: int, config: tuple[str, str], slot: datetime) -> SlotRow:
    """Return the columns of a run that fires for a slot; its task id follows from the slot.

    `config` is its name and its queue.
    """
    name, queue = config
    return {
        "config_id": config_id,
        "config_name": name,
        "queue": queue,
        "slot": slot,
        "task_id": uuid.uuid5(SLOT_NAMESPACE, f"{config_id}@{slot.isoformat()}"),
        "trigger": SyncRun.Trigger.CRON,
        "state": SyncRun.State.QUEUED,
        "reason": SyncRun.Reason.NONE,
        "finished_at": None,
    }


def _ended(state: SyncRun.State, now: datetime) -> SlotRow:
    """Return what differs in the row of a slot for which nothing runs."""
    missed = state == SyncRun.State.MISSED
    reason = SyncRun.Reason.MISFIRE if missed else SyncRun.Reason.OVERLAP
    return {"state": state, "reason": reason, "finished_at": now}


def _queued_ids(rows: Sequence[SlotRow]) -> dict[object, int]:
    """Return the run ids by task id of those rows that are in the table now, queued."""
    ids = [str(row["task_id"]) for row in rows]
    queued = SyncRun.objects.filter(task_id__in=ids, state=SyncRun.State.QUEUED)
    return dict(queued.values_list("task_id", "pk"))
