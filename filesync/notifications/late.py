"""Late: runs that have not started in time, and those that go on far over their usual duration.

What goes on is told again ever more rarely, as any trouble is, and its end once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db.models import Q

from filesync.models import Story, SyncRun
from filesync.notifications import facts, message, stories
from filesync.notifications.events import Event
from filesync.notifications.message import StoryFacts
from filesync.notifications.review import BATCH, Review
from filesync.notifications.targets import Message
from filesync.selectors import usual_duration_s
from scheduler import cron

# A run is too long past three times its usual duration, and five minutes more than usual.
LONG_FACTOR = 3.0
LONG_MARGIN_S = 300.0


@dataclass(frozen=True, slots=True)
class LateRun:
    """The slot of a sync that has not started."""

    config_id: int
    slot: datetime


def look_for_late(now: datetime) -> None:
    """Tell what has become late, remind of what goes on, and tell what is over."""
    fresh, long = _newly_late(now), _newly_too_long(now)
    told_before = Q(key=stories.LATE_KEY) | Q(key__startswith=stories.LONG_RUN_PREFIX)
    if not (fresh or long or Story.objects.filter(told_before, closed_at=None).exists()):
        return
    review = Review(now)
    _open_late(review, fresh)
    _tell_late(review)
    _open_too_long(review, long)
    _tell_too_long(review)


def is_too_long(elapsed_s: float, usual_s: float) -> bool:
    """Whether a run goes on far over its usual duration."""
    return elapsed_s > max(LONG_FACTOR * usual_s, usual_s + LONG_MARGIN_S)


# --- not started


def _newly_late(now: datetime) -> list[SyncRun]:
    waiting = SyncRun.objects.filter(
        state=SyncRun.State.QUEUED,
        late=SyncRun.Late.NO,
        attempt=0,
        slot__isnull=False,
        config__late_after_s__isnull=False,
    ).select_related("config")
    return [run for run in waiting.order_by("slot")[:BATCH] if _is_late(run, now)]


def _is_late(run: SyncRun, now: datetime) -> bool:
    assert run.config is not None
    assert run.config.late_after_s is not None
    assert run.slot is not None
    limit_s = run.config.late_after_s + run.config.jitter_s
    return (now - run.slot).total_seconds() > limit_s


def _open_late(review: Review, fresh: Sequence[SyncRun]) -> None:
    ids = [run.pk for run in fresh]
    queued = SyncRun.objects.filter(pk__in=ids, state=SyncRun.State.QUEUED)
    if not ids or not queued.update(late=SyncRun.Late.NOT_STARTED):
        return
    review.add(
        stories.LATE_KEY,
        Event.LATE,
        kind="late",
        at=min(run.slot for run in fresh if run.slot is not None),
        config_ids=[run.config_id for run in fresh if run.config_id is not None],
        count=len(fresh),
    )


def _tell_late(review: Review) -> None:
    story = review.open_stories.get(stories.LATE_KEY)
    if story is None:
        return
    late = _late_now()
    if not late:
        review.close(story)
    # A channel hears of the syncs that ask for it, and of no other's name or number.
    for listener in review.audience:
        if not late:
            mine = [pk for pk in story.config_ids if listener.hears(Event.LATE, [pk])]
            review.tell_end_to(listener, story, partial(_on_time_again, mine))
        elif yet := [run for run in late if listener.hears(Event.LATE, [run.config_id])]:
            review.tell_to(listener, story, partial(_late, yet, review.now))


def _late_now() -> list[LateRun]:
    waiting = SyncRun.objects.filter(
        state=SyncRun.State.QUEUED,
        late=SyncRun.Late.NOT_STARTED,
        attempt=0,
        config__isnull=False,
    )
    rows = waiting.order_by("slot", "id").values_list("config_id", "slot")
    return [LateRun(pk, slot) for pk, slot in rows if pk is not None and slot is not None]


def _late(late: Sequence[LateRun], now: datetime) -> Message:
    told = StoryFacts(
        event=Event.LATE,
        count=len(late),
        opened_at=late[0].slot,
        now=now,
        zone=cron.load_timezone(settings.TIME_ZONE),
        syncs=facts.names_of(run.config_id for run in late),
    )
    return message.late(told, settings.PUBLIC_URL)


def _on_time_again(config_ids: Iterable[int]) -> Message:
    return message.on_time_again(facts.names_of(config_ids), settings.PUBLIC_URL)


# --- too long


def _newly_too_long(now: datetime) -> list[SyncRun]:
    running = SyncRun.objects.filter(
        state=SyncRun.State.RUNNING,
        late=SyncRun.Late.NO,
        started_at__lt=now - timedelta(seconds=LONG_MARGIN_S),
        config__isnull=False,
    ).exclude(trigger=SyncRun.Trigger.RESTORE)
    return [
        run
        for run in running[:BATCH]
        if (usual_s := usual_duration_s(run.config_id or 0)) is not None
        and run.started_at is not None
        and is_too_long((now - run.started_at).total_seconds(), usual_s)
    ]


def _open_too_long(review: Review, runs: Iterable[SyncRun]) -> None:
    for run in runs:
        running = SyncRun.objects.filter(pk=run.pk, state=SyncRun.State.RUNNING)
        if run.config_id is None or not running.update(late=SyncRun.Late.TOO_LONG):
            continue
        key = stories.long_run_key(run.pk)
        at, config_ids = review.now, [run.config_id]
        review.add(key, Event.LATE, kind="long", at=at, config_ids=config_ids, run=run)


def _tell_too_long(review: Review) -> None:
    going_on = review.open_stories.values()
    for story in [one for one in going_on if one.key.startswith(stories.LONG_RUN_PREFIX)]:
        runs = SyncRun.objects.filter(pk=story.run_id or 0, config__isnull=False)
        runs = runs.select_related("config__source_storage", "config__destination_storage")
        run = runs.defer("plan", "progress").first()
        if run is None:
            review.close(story)
        elif run.finished_at is not None:
            review.close(story)
            # Of an end that is a trouble people are told as of any other.
            if run.state in (SyncRun.State.SUCCEEDED, SyncRun.State.CANCELLED):
                review.tell_end(story, partial(facts.ended, run), run=run)
        elif run.state == SyncRun.State.RUNNING:
            usual_s = usual_duration_s(run.config_id or 0)
            if usual_s is not None:
                run.finished_at = review.now
                review.tell(story, partial(facts.too_long, run, usual_s))
