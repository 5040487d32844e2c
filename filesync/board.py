"""What the dashboard says: health in plain words and numbers, read with a few queries each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Literal, NamedTuple

from django.core.cache import cache
from django.db import connection
from django.db.models import Count, Min, Q, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from filesync import selectors
from filesync.models import SyncConfig, SyncRun

FAILED_STATES = (SyncRun.State.FAILED, SyncRun.State.PARTIAL, SyncRun.State.LOST)
WAITS_LONG = timedelta(minutes=10)
# A day's runs up to here are counted once a minute; a worker may store an end a little late.
SETTLES = timedelta(minutes=1)
SETTLED_KEPT_S = 120
CONFIGS_KEPT_S = 10
DAY_KEPT_S = 3600

Level = Literal["good", "warning", "bad"]


@dataclass(frozen=True, slots=True)
class Vital:
    """One part of the system: what it is, how it is, and what to do where it is not well."""

    name: str
    level: Level
    words: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """The counters at the top; `today` begins at midnight of the server's time zone."""

    runs_today: int
    failed_today: int
    bytes_today: int
    configs_enabled: int
    configs_total: int
    queued: int
    oldest_wait: datetime | None


class StripRun(NamedTuple):
    """The few columns of a run that the strip of the latest shows."""

    pk: int
    state: str
    config_name: str
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def took_s(self) -> float | None:
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Day:
    """What ended on one day."""

    day: date
    runs: int
    failed: int
    bytes_transferred: int


def vitals(*, broker: bool | None) -> list[Vital]:
    """Return the health of every part; `broker` is None while nobody knows yet."""
    beats, workers = selectors.processes()
    return [
        Vital(_("Web"), "good", _("serves this page")),
        _worker_vital(workers),
        _beat_vital(beats),
        _broker_vital(broker),
        Vital(_("Database"), "good", _("%s answers") % connection.display_name),
    ]


def _worker_vital(workers: list[selectors.ProcessHealth]) -> Vital:
    alive = [worker for worker in workers if worker.alive]
    if not alive:
        words = _("No worker is running, queued runs wait: start `celery -A project worker`.")
        return Vital(_("Workers"), "bad", words)
    if unserved := selectors.unserved_queues(workers):
        words = _("No worker serves %(queues)s: start one with `-Q` and that name.")
        return Vital(_("Workers"), "bad", words % {"queues": ", ".join(unserved)})
    slots = sum(worker.slots for worker in alive)
    words = ngettext("%(count)d worker", "%(count)d workers", len(alive)) % {"count": len(alive)}
    places = ngettext("%(count)d run at once", "%(count)d runs at once", slots) % {"count": slots}
    return Vital(_("Workers"), "good", f"{words}, {places}")


def _beat_vital(beats: list[selectors.ProcessHealth]) -> Vital:
    alive = [beat for beat in beats if beat.alive]
    if not alive:
        words = _("No beat is running, schedules do not fire: start `celery -A project beat`.")
        return Vital(_("Beat"), "bad", words)
    if not any(beat.leading for beat in alive):
        return Vital(_("Beat"), "warning", _("No beat leads yet; one takes over within seconds."))
    standby = len(alive) - 1
    if not standby:
        return Vital(_("Beat"), "good", _("leads, without a standby"))
    words = ngettext("leads, %(count)d standby", "leads, %(count)d standbys", standby)
    return Vital(_("Beat"), "good", words % {"count": standby})


def _broker_vital(reachable: bool | None) -> Vital:
    if reachable is None:
        return Vital(_("Broker"), "warning", _("is being asked"))
    if not reachable:
        words = _("The broker does not answer: runs are queued and start when it is back.")
        return Vital(_("Broker"), "bad", words)
    return Vital(_("Broker"), "good", _("answers"))


def numbers(*, now: datetime | None = None, polled: bool = False) -> Numbers:
    """Return the counters; four queries at most, however many runs there are.

    A poll takes the number of configs of the last 10 s: to count 10,000 is a fifth of its time.
    """
    now = now or timezone.now()
    waiting = Q(not_before=None) | Q(not_before__lte=now)
    queue = SyncRun.objects.filter(state=SyncRun.State.QUEUED).aggregate(
        count=Count("pk"), oldest=Min("created_at", filter=waiting)
    )
    today = _today(now)
    configs: dict[bool, int] | None = cache.get("board:configs") if polled else None
    if configs is None:
        by_enable = SyncConfig.objects.order_by().values_list("enable")
        configs = dict(by_enable.annotate(configs=Count("enable")))
        cache.set("board:configs", configs, CONFIGS_KEPT_S)
    return Numbers(
        runs_today=today.runs,
        failed_today=today.failed,
        bytes_today=today.bytes_transferred,
        configs_enabled=configs.get(True, 0),
        configs_total=sum(configs.values()),
        queued=queue["count"],
        oldest_wait=queue["oldest"],
    )


def _today(now: datetime) -> Day:
    """Count what ended today: up to a minute ago once a minute, the rest each time."""
    today = timezone.localtime(now).date()
    begin = _midnight(today)
    settled = max(begin, now.replace(second=0, microsecond=0) - SETTLES)
    place = f"board:today:{begin.isoformat()}:{settled.isoformat()}"
    count = partial(_count_ended, begin, settled)
    before: dict[str, int] = cache.get_or_set(place, count, SETTLED_KEPT_S)  # type: ignore[assignment]
    rest = _count_ended(settled, _midnight(today + timedelta(days=1)))
    return Day(today, **{name: before[name] + rest[name] for name in rest})


def running(limit: int = 20) -> QuerySet[SyncRun]:
    """Return what runs now, longest first."""
    return SyncRun.objects.filter(state=SyncRun.State.RUNNING).order_by("started_at")[:limit]


def last_runs(limit: int = 60) -> list[StripRun]:
    """Return the latest runs, oldest first."""
    latest = SyncRun.objects.order_by("-pk").values_list(*StripRun._fields)[:limit]
    return [StripRun(*row) for row in latest][::-1]


def failures(limit: int = 6) -> list[SyncRun]:
    """Return the latest failed runs with their configs; one query per state, by its index."""
    found: list[SyncRun] = []
    for state in FAILED_STATES:
        latest = SyncRun.objects.select_related("config").filter(state=state)
        found += latest.order_by("-pk")[:limit]
    return sorted(found, key=lambda run: -run.pk)[:limit]


def days(count: int = 14, *, now: datetime | None = None) -> list[Day]:
    """Return the last `count` days, today last, also those on which nothing ran.

    A day that is over is remembered for an hour: only retention changes it. Each day is a walk
    along the index; to group two weeks of 200,000 runs sorts them all.
    """
    today = timezone.localtime(now).date()
    wanted = [today - timedelta(days=count - 1 - number) for number in range(count)]
    return [_read_day(day) if day == today else _past_day(day) for day in wanted]


def _past_day(day: date) -> Day:
    place = f"board:{timezone.get_current_timezone_name()}:{day}"
    known: Day | None = cache.get(place)
    if known is None:
        known = _read_day(day)
        cache.set(place, known, DAY_KEPT_S)
    return known


def _read_day(day: date) -> Day:
    return Day(day, **_count_ended(_midnight(day), _midnight(day + timedelta(days=1))))


def _count_ended(begin: datetime, end: datetime) -> dict[str, Any]:
    """Count the runs that ended from `begin` until before `end`, without those that never ran."""
    ended = SyncRun.objects.filter(finished_at__gte=begin, finished_at__lt=end).exclude(
        state__in=[SyncRun.State.SKIPPED, SyncRun.State.MISSED]
    )
    return ended.aggregate(
        # Counted by columns of the index, which is read alone then.
        runs=Count("finished_at"),
        failed=Count("finished_at", filter=Q(state__in=FAILED_STATES)),
        bytes_transferred=Sum("bytes_transferred", default=0),
    )


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime(day.year, day.month, day.day))  # noqa: DTZ001
