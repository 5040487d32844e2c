"""The watch: one pass looks for what is late and who is silent, and reviews what ended.

Beat, every worker and every web process take turns at it, so that whichever lives tells of the
others.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Min
from django.utils import timezone

from filesync.models import Story, SyncConfig, SyncRun, Watch
from filesync.notifications import message, outbox, stories
from filesync.notifications.events import Event
from filesync.notifications.late import look_for_late
from filesync.notifications.review import BATCH, Review
from filesync.selectors import default_queue, used_queues_lately
from scheduler import cron
from scheduler.models import Heartbeat

WATCH_EVERY_S = 3.0
SILENT_AFTER = timedelta(seconds=120)
REMEMBER_EVERY = timedelta(seconds=10)


def watch(*, now: datetime | None = None) -> None:
    """Make one pass, unless another process is at it, and work off the outbox."""
    with transaction.atomic():
        mine = _take_turn()
        if mine is not None:
            _look(mine, now or timezone.now())
    while _review(now or timezone.now()) == BATCH:
        pass
    outbox.work_off()


def _take_turn() -> Watch | None:
    """Lock the one row; None where another process holds it."""
    locked = Watch.objects.select_for_update(skip_locked=True)
    turn = locked.filter(pk=Watch.SINGLETON_ID).first()
    if turn is None and not Watch.objects.filter(pk=Watch.SINGLETON_ID).exists():
        Watch.objects.bulk_create([Watch()], ignore_conflicts=True)
        turn = locked.filter(pk=Watch.SINGLETON_ID).first()
    return turn


def _review(now: datetime) -> int:
    """Review a batch of ended runs in a transaction and turn of its own; return how many."""
    if not SyncRun.objects.filter(reviewed=False, finished_at__isnull=False).exists():
        return 0
    with transaction.atomic():
        if _take_turn() is None:
            return 0
        review = Review(now)
        review.missed_slots()
        return review.ended_runs()


def _look(turn: Watch, now: datetime) -> None:
    look_for_late(now)
    _look_for_silent(turn, now)


# --- silent


def _look_for_silent(turn: Watch, now: datetime) -> None:
    seen = dict(
        Heartbeat.objects.order_by()
        .values_list("role")
        .annotate(Max("seen_at"))
        .values_list("role", "seen_at__max")
    )
    # A heartbeat row goes with a beat that was stopped: what was seen last is kept here.
    beat_at = _latest(turn.beat_seen_at, seen.get(Heartbeat.Role.BEAT.value)) or now
    workers_at = _latest(turn.workers_seen_at, seen.get(Heartbeat.Role.WORKER.value)) or now
    if _moved(turn.beat_seen_at, beat_at) or _moved(turn.workers_seen_at, workers_at):
        Watch.objects.filter(pk=turn.pk).update(beat_seen_at=beat_at, workers_seen_at=workers_at)
    _judge("beat", stories.BEAT_KEY, beat_at, now)
    _judge("workers", stories.WORKERS_KEY, workers_at, now)
    _look_for_unserved(now)


def _look_for_unserved(now: datetime) -> None:
    """Judge each queue in use by the workers that serve it, where any worker lives."""
    workers = list(Heartbeat.objects.filter(role=Heartbeat.Role.WORKER))
    alive = [worker for worker in workers if now - worker.seen_at <= SILENT_AFTER]
    if not alive or not all(worker.queues for worker in alive):
        return
    used = used_queues_lately()
    served: dict[str, datetime] = {}
    for worker in workers:
        for queue in worker.queue_names:
            served[queue] = max(served.get(queue, worker.seen_at), worker.seen_at)
    # One that nobody served of late is missed from when the first run waits for it.
    served = _first_waits(used - served.keys()) | served
    for queue in used & served.keys():
        _judge("queue", stories.queue_key(queue), served[queue], now, queue=queue)
    is_open = Story.objects.filter(key__startswith=stories.QUEUE_PREFIX, closed_at=None)
    unused = is_open.exclude(key__in=[stories.queue_key(queue) for queue in used])
    if keys := list(unused.values_list("key", flat=True)):
        review = Review(now)
        for key in keys:
            review.close(review.open_stories[key])


def _first_waits(queues: Collection[str]) -> dict[str, datetime]:
    if not queues:
        return {}
    waiting = SyncRun.objects.filter(state=SyncRun.State.QUEUED).order_by()
    first = dict(waiting.values_list("queue").annotate(Min("created_at")))
    named = {queue or default_queue(): at for queue, at in first.items()}
    return {queue: at for queue, at in named.items() if queue in queues}


def _judge(role: str, key: str, seen_at: datetime, now: datetime, *, queue: str = "") -> None:
    is_silent = now - seen_at > SILENT_AFTER
    is_open = Story.objects.filter(key=key, closed_at=None).exists()
    if is_silent and not queue and not _is_missed(role):
        return
    if not (is_silent or is_open):
        return
    review = Review(now)
    if is_silent:
        story = review.open_stories.get(key) or review.add(
            key, Event.SILENT, kind=role, at=seen_at, config_ids=[]
        )
        silent_s = (now - seen_at).total_seconds()
        told = partial(message.silent, role=role, silent_s=silent_s, queue=queue)
        review.tell(story, told)
        return
    story = review.open_stories[key]
    review.close(story)
    zone = cron.load_timezone(settings.TIME_ZONE)
    since = message.moment(story.opened_at, now, zone)
    review.tell_end(story, partial(message.back, role=role, since=since, queue=queue))


def _is_missed(role: str) -> bool:
    """Whether anything waits for a beat, or for a worker."""
    if role == "beat":
        return SyncConfig.objects.filter(enable=True).exclude(cron="").exists()
    return (
        SyncConfig.objects.filter(enable=True).exists()
        or SyncRun.objects.filter(state__in=SyncRun.ACTIVE).exists()
    )


def _latest(first: datetime | None, second: datetime | None) -> datetime | None:
    known = [moment for moment in (first, second) if moment is not None]
    return max(known) if known else None


def _moved(remembered: datetime | None, seen_at: datetime) -> bool:
    return remembered is None or seen_at - remembered >= REMEMBER_EVERY
