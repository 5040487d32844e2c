"""The state of the whole system at one glance, and in words what keeps syncs from running.

Read from rows in a handful of queries, whatever the number of configs and runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from filesync import selectors, upcoming
from filesync.amounts import roughly
from filesync.models import Storage, SyncRun
from filesync.selectors import ProcessHealth
from filesync.upcoming import NextRun
from scheduler.models import BeatLease

NEXT_SHOWN = 10
MISSED_COUNTED = 1_000
LATE = timedelta(seconds=60)
WAITS_LONG = timedelta(minutes=5)
# Of the latest slots the first that fired: the others were missed, and recorded later.
SLOTS_SEEN = 100
PAUSED_SHOWN = 10


@dataclass(frozen=True, slots=True)
class BeatHealth:
    """Beat as a whole: who leads, who stands by, and how late the last slot was."""

    processes: Sequence[ProcessHealth]
    last_seen_at: datetime | None
    last_slot: datetime | None
    lag_s: float | None
    missed_slots: int = 0

    @property
    def running(self) -> bool:
        return any(beat.alive for beat in self.processes)

    @property
    def leader(self) -> str | None:
        return next((beat.name for beat in self.processes if beat.leading), None)

    @property
    def standbys(self) -> int:
        return sum(1 for beat in self.processes if beat.alive and not beat.leading)


@dataclass(frozen=True, slots=True)
class Status:
    """What `task-status` answers."""

    beat: BeatHealth
    workers: Sequence[ProcessHealth]
    broker_reachable: bool
    database: str
    scheduled_count: int
    scheduled: Sequence[NextRun]
    running: Sequence[SyncRun]
    queued: Sequence[SyncRun]
    queue_depth: int
    busy_slots: int
    free_slots: int
    warnings: Sequence[str]


def read_status() -> Status:
    """Read everything; the broker is asked at most once in 5 s."""
    now = timezone.now()
    beats, workers = selectors.processes(count_busy=True)
    beat = _read_beat(beats, now)
    # Nothing is wrong as long as nobody knows of it.
    broker = selectors.broker_reachable_lately(wait_s=selectors.STATUS_WAITS_S) is not False
    active = selectors.active_runs()
    queued = [run for run in active if run.state == SyncRun.State.QUEUED]
    free = sum(worker.free for worker in workers)
    return Status(
        beat=beat,
        workers=workers,
        broker_reachable=broker,
        database=connection.vendor,
        scheduled_count=upcoming.scheduled_count(now=now),
        scheduled=upcoming.next_runs(NEXT_SHOWN, now=now),
        running=[run for run in active if run.state == SyncRun.State.RUNNING],
        queued=queued,
        queue_depth=SyncRun.objects.filter(state=SyncRun.State.QUEUED).count(),
        busy_slots=sum(worker.busy for worker in workers),
        free_slots=free,
        warnings=warnings(beat, workers, active, broker=broker, paused=_paused_storages(), now=now),
    )


def warnings(
    beat: BeatHealth,
    workers: Sequence[ProcessHealth],
    active: Sequence[SyncRun],
    *,
    broker: bool,
    paused: Sequence[str],
    now: datetime,
) -> list[str]:
    """Return in plain words what keeps syncs from running, the gravest first."""
    said = [*_beat_warnings(beat, now), *_worker_warnings(workers, now)]
    if unserved := selectors.unserved_queues(workers):
        said.append(
            _("No worker serves %(queues)s: runs wait there. Start one with -Q and that name.")
            % {"queues": ", ".join(unserved)}
        )
    if not broker:
        said.append(_("The broker does not answer: runs are queued and start when it is back."))
    if paused:
        said.append(
            _("%(storages)s: paused, as sign-in or quota failed; runs wait. Mend it, then test it.")
            % {"storages": ", ".join(paused)}
        )
    said += _late_warnings(active, now)
    queued = [run for run in active if run.state == SyncRun.State.QUEUED]
    waiting = [run for run in queued if (run.not_before or run.created_at) < now - WAITS_LONG]
    if waiting and broker and any(worker.free for worker in workers):
        said.append(
            _("%(run)s has waited for %(time)s: its storages are busy, or the workers do not ask.")
            % {"run": waiting[0], "time": roughly(now - waiting[0].created_at)}
        )
    return said


def _late_warnings(active: Sequence[SyncRun], now: datetime) -> Iterator[str]:
    """Tell of the runs that the watch found late: the first of each kind, and how many."""
    unstarted = [
        (run, run.slot)
        for run in active
        if (run.state, run.late) == (SyncRun.State.QUEUED, SyncRun.Late.NOT_STARTED) and run.slot
    ]
    if unstarted:
        run, slot = unstarted[0]
        yield ngettext(
            "%(run)s is late: it has not started %(time)s after its slot.",
            "%(count)d runs are late: %(run)s has not started %(time)s after its slot.",
            len(unstarted),
        ) % {"run": run, "count": len(unstarted), "time": roughly(now - slot)}
    long = [
        (run, run.started_at)
        for run in active
        if (run.state, run.late) == (SyncRun.State.RUNNING, SyncRun.Late.TOO_LONG)
        and run.started_at
    ]
    if long:
        run, started_at = long[0]
        yield ngettext(
            "%(run)s takes far longer than usual: %(time)s so far.",
            "%(count)d runs take far longer than usual: %(run)s, %(time)s so far.",
            len(long),
        ) % {"run": run, "count": len(long), "time": roughly(now - started_at)}


def _paused_storages() -> list[str]:
    paused = Storage.objects.filter(paused_at__isnull=False).order_by("name")
    return list(paused.values_list("name", flat=True)[:PAUSED_SHOWN])


def _beat_warnings(beat: BeatHealth, now: datetime) -> list[str]:
    if not beat.running:
        if beat.last_seen_at is None:
            return [_("Beat has never run: schedules do not fire.")]
        ago = roughly(now - beat.last_seen_at)
        missed = beat.missed_slots
        shown = f"{missed}+" if missed >= MISSED_COUNTED else str(missed)
        return [
            ngettext(
                "Beat is down for %(ago)s: %(shown)s slot missed.",
                "Beat is down for %(ago)s: %(shown)s slots missed.",
                missed,
            )
            % {"ago": ago, "shown": shown}
        ]
    if beat.leader is None:
        return [_("No beat leads yet: schedules fire when one does, within seconds.")]
    if beat.lag_s is not None and beat.lag_s > LATE.total_seconds():
        late = roughly(timedelta(seconds=beat.lag_s))
        return [_("Beat is slow: the last slot fired %(late)s late.") % {"late": late}]
    return []


def _worker_warnings(workers: Sequence[ProcessHealth], now: datetime) -> list[str]:
    if any(worker.alive for worker in workers):
        silent = [worker for worker in workers if not worker.alive]
        return [
            _("The worker %(name)s has been silent for %(time)s.")
            % {"name": worker.name, "time": roughly(now - worker.seen_at)}
            for worker in silent
        ]
    if not workers:
        return [_("No worker is running: queued runs wait.")]
    last = max(worker.seen_at for worker in workers)
    return [_("No worker for %(time)s: queued runs wait.") % {"time": roughly(now - last)}]


def _read_beat(beats: Sequence[ProcessHealth], now: datetime) -> BeatHealth:
    seen = max((beat.seen_at for beat in beats), default=None)
    if seen is None:
        # A beat that stopped in good order leaves no row; its lease says when.
        lease = BeatLease.objects.filter(pk=BeatLease.SINGLETON_ID).first()
        seen = min(lease.expires_at, now) if lease is not None else None
    last_slot, created_at = _last_fired()
    lag_s = (created_at - last_slot).total_seconds() if created_at and last_slot else None
    missed = 0
    if seen is not None and not any(beat.alive for beat in beats):
        missed = upcoming.missed_slots(seen, now=now, at_most=MISSED_COUNTED)
    return BeatHealth(beats, seen, last_slot, lag_s, missed)


def _last_fired() -> tuple[datetime | None, datetime | None]:
    """Return the latest slot that was not missed and when its run was queued."""
    by_cron = SyncRun.objects.filter(trigger=SyncRun.Trigger.CRON).order_by("-pk")
    latest = by_cron.values_list("state", "slot", "created_at")[:SLOTS_SEEN]
    fired = ((slot, at) for state, slot, at in latest if state != SyncRun.State.MISSED)
    return next(fired, (None, None))
