"""The watch: one pass notices what is late and who is silent, and reviews what ended.

Beat, every worker and every web process take turns at it, so that whichever lives tells of the
others.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from filesync.models import Story, SyncConfig, SyncRun, Watch
from filesync.notifications import facts, message, outbox, stories
from filesync.notifications.events import Event
from filesync.notifications.message import StoryFacts
from filesync.notifications.review import BATCH, Review
from filesync.selectors import usual_duration_s
from scheduler import cron
from scheduler.models import Heartbeat

WATCH_EVERY_S = 3.0
SILENT_AFTER = timedelta(seconds=120)
REMEMBER_EVERY = timedelta(seconds=10)

# A run is too long past three times its usual duration, and five minutes more than usual.
LONG_FACTOR = 3.0
LONG_MARGIN_S = 300.0


def watch(*, now: datetime | None = None) -> None:
    """Make one pass, unless another process is at it, and work off the outbox."""
    with transaction.atomic():
        mine = _take_turn()
        if mine is not None:
            _look(mine, now or timezone.now())
    while _review(now or timezone.now()) == BATCH:
        pass
    outbox.work_off()


def is_too_long(elapsed_s: float, usual_s: float) -> bool:
    """Whether a run goes on far over its usual duration."""
    return elapsed_s > max(LONG_FACTOR * usual_s, usual_s + LONG_MARGIN_S)


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
    _look_for_late(now)
    _look_for_silent(turn, now)


# --- late


def _look_for_late(now: datetime) -> None:
    waiting = SyncRun.objects.filter(
        state=SyncRun.State.QUEUED,
        late=SyncRun.Late.NO,
        attempt=0,
        slot__isnull=False,
        config__late_after_s__isnull=False,
    ).select_related("config")
    late = [run for run in waiting.order_by("slot")[:BATCH] if _is_late(run, now)]
    running = SyncRun.objects.filter(
        state=SyncRun.State.RUNNING,
        late=SyncRun.Late.NO,
        started_at__lt=now - timedelta(seconds=LONG_MARGIN_S),
        config__isnull=False,
    ).select_related("config__source_storage", "config__destination_storage")
    long = [
        (run, usual_s)
        for run in running[:BATCH]
        if (usual_s := usual_duration_s(run.config_id or 0)) is not None
        and run.started_at is not None
        and is_too_long((now - run.started_at).total_seconds(), usual_s)
    ]
    over = Story.objects.filter(key=stories.LATE_KEY, closed_at=None).exists()
    if not (late or long or over):
        return
    review = Review(now)
    if late:
        _tell_late(review, late)
    elif not SyncRun.objects.filter(
        state=SyncRun.State.QUEUED, late=SyncRun.Late.NOT_STARTED
    ).exists():
        _close(review, [stories.LATE_KEY])
    for run, usual_s in long:
        _tell_long(review, run, usual_s)


def _is_late(run: SyncRun, now: datetime) -> bool:
    assert run.config is not None
    assert run.config.late_after_s is not None
    limit_s = run.config.late_after_s + run.config.jitter_s
    return (now - _slot(run)).total_seconds() > limit_s


def _slot(run: SyncRun) -> datetime:
    assert run.slot is not None
    return run.slot


def _tell_late(review: Review, runs: list[SyncRun]) -> None:
    SyncRun.objects.filter(pk__in=[run.pk for run in runs], state=SyncRun.State.QUEUED).update(
        late=SyncRun.Late.NOT_STARTED
    )
    story = review.add(
        stories.LATE_KEY,
        Event.LATE,
        kind="late",
        at=min(_slot(run) for run in runs),
        config_ids=[run.config_id for run in runs if run.config_id is not None],
        count=len(runs),
    )
    told = StoryFacts(
        event=Event.LATE,
        count=story.count,
        opened_at=story.opened_at,
        now=review.now,
        zone=cron.load_timezone(settings.TIME_ZONE),
        syncs=facts.names_of(story.config_ids),
    )
    review.tell(story, partial(message.late, told, settings.PUBLIC_URL))


def _tell_long(review: Review, run: SyncRun, usual_s: float) -> None:
    assert run.config_id is not None
    SyncRun.objects.filter(pk=run.pk, state=SyncRun.State.RUNNING).update(
        late=SyncRun.Late.TOO_LONG
    )
    key = stories.long_run_key(run.pk)
    story = review.add(
        key, Event.LATE, kind="long", at=review.now, config_ids=[run.config_id], run=run
    )
    run.finished_at = review.now
    review.tell(story, partial(facts.too_long, run, usual_s))
    review.close(story)


def _close(review: Review, keys: Iterable[str]) -> None:
    for key in keys:
        if (story := review.open_stories.get(key)) is not None:
            review.close(story)


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


def _judge(role: str, key: str, seen_at: datetime, now: datetime) -> None:
    is_silent = now - seen_at > SILENT_AFTER
    is_open = Story.objects.filter(key=key, closed_at=None).exists()
    if is_silent == is_open:
        return
    if is_silent and not _is_missed(role):
        return
    review = Review(now)
    if is_silent:
        story = review.add(key, Event.SILENT, kind=role, at=seen_at, config_ids=[])
        silent_s = (now - seen_at).total_seconds()
        review.tell(story, partial(message.silent, role=role, silent_s=silent_s))
        return
    story = review.open_stories[key]
    review.close(story)
    zone = cron.load_timezone(settings.TIME_ZONE)
    since = message.moment(story.opened_at, now, zone)
    review.tell_end(story, partial(message.back, role=role, since=since))


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
