"""What pages, API and commands read: plain values from rows, never from `inspect`."""

from __future__ import annotations

import heapq
import statistics
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from celery import current_app
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from kombu.exceptions import OperationalError as BrokerError

from filesync.models import SyncConfig, SyncRun
from scheduler import cron
from scheduler.models import Heartbeat
from scheduler.publishing import write_connection

BEAT_SILENT = timedelta(seconds=20)
WORKER_SILENT = timedelta(seconds=40)


@dataclass(frozen=True, slots=True)
class NextRun:
    """When one config fires next."""

    config_id: int
    name: str
    cron: str
    timezone: str
    next_run: datetime


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """One beat or worker, by its last sign of life."""

    name: str
    seen_at: datetime
    alive: bool
    leading: bool
    slots: int


def next_runs(limit: int, *, now: datetime | None = None) -> list[NextRun]:
    """Return the enabled configs that fire soonest; one cron computation per distinct schedule."""
    now = now or timezone.now()
    live = SyncConfig.objects.filter(enable=True).exclude(cron="")
    live = live.filter(Q(end_time=None) | Q(end_time__gt=now))
    by_schedule: dict[tuple[str, str, datetime | None], list[tuple[int, str, datetime | None]]]
    by_schedule = defaultdict(list)
    for pk, name, expr, zone, starts, ends in live.values_list(
        "pk", "name", "cron", "timezone", "start_time", "end_time"
    ).iterator(chunk_size=10_000):
        later_start = starts if starts is not None and starts > now else None
        by_schedule[expr, zone, later_start].append((pk, name, ends))
    found: list[NextRun] = []
    for (expr, zone, later_start), members in by_schedule.items():
        after = later_start - timedelta(microseconds=1) if later_start else now
        try:
            slot = cron.schedule(expr, zone).next_after(after)
        except cron.InvalidCron:
            # Written past the model; a refresh reports it, a status page goes on.
            continue
        found += [
            NextRun(pk, name, expr, zone, slot)
            for pk, name, ends in members
            if ends is None or slot < ends
        ]
    return heapq.nsmallest(limit, found, key=lambda entry: (entry.next_run, entry.config_id))


def processes(role: Heartbeat.Role, silent_after: timedelta) -> list[ProcessHealth]:
    now = timezone.now()
    found: list[ProcessHealth] = []
    for beat in Heartbeat.objects.filter(role=role).order_by("name"):
        alive = now - beat.seen_at < silent_after
        # One that was killed leaves its row behind, leading and all.
        leading = beat.leading and alive
        found.append(ProcessHealth(beat.name, beat.seen_at, alive, leading, beat.slots))
    return found


def active_runs(limit: int = 50) -> list[SyncRun]:
    """Return running runs, then queued ones, oldest first."""
    return list(SyncRun.objects.filter(state__in=SyncRun.ACTIVE).order_by("-state", "id")[:limit])


def broker_reachable() -> bool:
    """Ask the broker once, for a few seconds at most."""
    try:
        with write_connection(current_app) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=1)
    except (BrokerError, OSError):
        return False
    return True


def warnings(
    beats: list[ProcessHealth], workers: list[ProcessHealth], *, broker: bool
) -> list[str]:
    """Return in plain words what keeps syncs from running."""
    said: list[str] = []
    if not any(beat.alive for beat in beats):
        said.append(_("No beat is running: schedules do not fire."))
    if not any(worker.alive for worker in workers):
        said.append(_("No worker is running: queued runs wait."))
    if not broker:
        said.append(_("The broker does not answer: runs are queued and start when it is back."))
    return said


USUAL_OF = 20
USUAL_AT_LEAST = 5


def usual_duration_s(config_id: int) -> float | None:
    """Return the median of a config's latest successful runs; None where they are too few."""
    spans = (
        SyncRun.objects.filter(
            config_id=config_id,
            state=SyncRun.State.SUCCEEDED,
            dry_run=False,
            started_at__isnull=False,
            finished_at__isnull=False,
        )
        .order_by("-id")
        .values_list("started_at", "finished_at")[:USUAL_OF]
    )
    durations = [(end - start).total_seconds() for start, end in spans if start and end]
    return statistics.median(durations) if len(durations) >= USUAL_AT_LEAST else None
