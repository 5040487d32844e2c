"""Looks at runs that ended, in their order, and writes what has to be told into the outbox.

Runs are not touched beyond a mark that they were looked at: an error here delays messages and
nothing else. One process at a time reviews (the `Watch` row's lock).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from functools import partial

from django.conf import settings
from django.db.models import Count, Max, Min

from filesync.models import Delivery, NotificationChannel, Storage, Story, SyncConfig, SyncRun
from filesync.notifications import facts, message, outbox, stories
from filesync.notifications.audience import Listener, listeners
from filesync.notifications.events import PROBLEMS, ROUTINE, Ending, Event, event_of
from filesync.notifications.message import StoryFacts
from filesync.notifications.targets import Message
from filesync.services.totals import add_missed, add_runs
from scheduler import cron

BATCH = 200
# Missed slots are written in several transactions; they are told together once no more come.
MISSED_SETTLED = timedelta(seconds=15)
MISSED_LONGEST = timedelta(seconds=60)
CONFIGS_KEPT = 500


@dataclass(slots=True)
class Review:
    """One pass over a batch, in the caller's transaction and turn."""

    now: datetime
    audience: list[Listener] = field(default_factory=listeners)
    open_stories: dict[str, Story] = field(default_factory=dict)
    touched: dict[str, Story] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open_stories = {story.key: story for story in Story.objects.filter(closed_at=None)}

    def ended_runs(self) -> int:
        """Review the next batch of ended runs but the missed ones; return how many."""
        runs = list(
            SyncRun.objects.filter(reviewed=False, finished_at__isnull=False)
            .exclude(state=SyncRun.State.MISSED)
            .select_related("config__source_storage", "config__destination_storage")
            .defer("plan", "progress")
            .order_by("finished_at", "id")[:BATCH]
        )
        for run in runs:
            self._take(run)
        self.flush()
        add_runs(runs)
        SyncRun.objects.filter(pk__in=[run.pk for run in runs]).update(reviewed=True)
        return len(runs)

    def missed_slots(self) -> int:
        """Tell the missed slots together once they are all there; return how many."""
        unseen = SyncRun.objects.filter(
            reviewed=False, finished_at__isnull=False, state=SyncRun.State.MISSED
        )
        span = unseen.aggregate(
            newest=Max("finished_at"), oldest=Min("finished_at"), upto=Max("pk"), first=Min("pk")
        )
        newest, oldest = span["newest"], span["oldest"]
        if newest is None or oldest is None:
            return 0
        if self.now - newest < MISSED_SETTLED and self.now - oldest < MISSED_LONGEST:
            return 0
        settled = unseen.filter(pk__lte=span["upto"])
        by_config = list(
            settled.filter(config__isnull=False)
            .order_by("config__name")
            .values("config_id", "config__name")
            .annotate(slots=Count("pk"), first=Min("slot"), last=Max("slot"))
        )
        zone = cron.load_timezone(settings.TIME_ZONE)
        for listener in self.audience:
            mine = [row for row in by_config if listener.hears(Event.MISSED, [row["config_id"]])]
            if not mine:
                continue
            first, last = min(row["first"] for row in mine), max(row["last"] for row in mine)
            words = partial(
                message.missed,
                sum(row["slots"] for row in mine),
                [row["config__name"] for row in mine],
                message.moment(first, self.now, zone),
                message.moment(last, self.now, zone),
            )
            key = f"missed:{span['first']}"
            text = listener.read(words)
            outbox.put_message(listener.channel, text, key=key, event=Event.MISSED)
        reviewed = settled.update(reviewed=True)
        add_missed(reviewed)
        return reviewed

    # --- one run

    def _take(self, run: SyncRun) -> None:
        config = run.config
        if config is None:
            return
        event = event_of(
            Ending(
                run.state,
                run.failure_class,
                run.files_transferred + run.files_deleted + run.files_renamed,
                run.dry_run,
            )
        )
        if event is None:
            return
        if run.undoes:
            # It says nothing of whether the sync works: no ping, and no part of its story.
            self._tell_alone(run, config, event, partial(facts.undoing, event, run))
            return
        outbox.put_ping(config, run, "fail" if event in PROBLEMS else "success")
        if event in PROBLEMS:
            self._worse(run, config, event)
            return
        self._better(run, config)
        if event in ROUTINE:
            self._tell_alone(run, config, event, partial(facts.routine, event, run))

    def _worse(self, run: SyncRun, config: SyncConfig, event: Event) -> None:
        key, storage_id = stories.config_key(config.pk), None
        if run.failure_class == "AUTH":
            troubled = [one.storage_id for one in self.open_stories.values() if one.storage_id]
            storage_id = stories.refused_account(
                _side(config.source_storage), _side(config.destination_storage), troubled
            )
            key = stories.account_key(storage_id)
        self.add(
            key,
            event,
            kind=f"{event}:{run.failure_class}",
            at=run.finished_at or self.now,
            config_ids=[config.pk],
            run=run,
            storage_id=storage_id,
        )

    def _better(self, run: SyncRun, config: SyncConfig) -> None:
        keys = [
            stories.config_key(config.pk),
            stories.account_key(config.source_storage_id),
            stories.account_key(config.destination_storage_id),
        ]
        for key in keys:
            story = self.open_stories.get(key)
            if story is None or run.started_at is None or run.started_at < story.opened_at:
                # What began before the trouble proves nothing about its end.
                continue
            self.flush([key])
            self.close(story)
            words = partial(facts.recovered, self._story_facts(story, config), run)
            self.tell_end(story, words, run=run)

    def _tell_alone(
        self, run: SyncRun, config: SyncConfig, event: Event, words: Callable[[], Message]
    ) -> None:
        for listener in self.audience:
            if listener.hears(event, [config.pk]):
                text = listener.read(words)
                key = f"run:{run.pk}"
                outbox.put_message(listener.channel, text, key=key, event=event, run=run)

    # --- stories

    def add(
        self,
        key: str,
        event: Event,
        *,
        kind: str,
        at: datetime,
        config_ids: Iterable[int],
        run: SyncRun | None = None,
        storage_id: int | None = None,
        count: int = 1,
    ) -> Story:
        """Add to the open story of `key`, or open one; `flush` tells it."""
        story = self.open_stories.get(key) or Story(
            key=key, opened_at=at, storage_id=storage_id, count=0
        )
        known = list(story.config_ids)
        known += [pk for pk in dict.fromkeys(config_ids) if pk not in known]
        story.config_ids = known[:CONFIGS_KEPT]
        story.event, story.kind, story.run = event, kind, run
        story.count += count
        story.last_at = max(at, story.opened_at)
        story.save()
        self.open_stories[key] = self.touched[key] = story
        return story

    def close(self, story: Story) -> None:
        story.closed_at = self.now
        story.save(update_fields=["closed_at"])
        del self.open_stories[story.key]

    def flush(self, keys: Iterable[str] | None = None) -> None:
        """Tell the stories of runs that changed in this pass to the channels that are due."""
        for key in list(self.touched if keys is None else keys):
            story = self.touched.pop(key, None)
            if story is None or story.run is None or story.run.config is None:
                continue
            told = self._story_facts(story, story.run.config)
            self.tell(story, partial(facts.trouble, told, story.run))

    def tell(self, story: Story, words: Callable[[], Message]) -> None:
        """Write a story's message for each channel that wants it and is due for it."""
        for listener in self.audience:
            if listener.hears(story.event, story.config_ids):
                self.tell_to(listener, story, words)

    def tell_to(self, listener: Listener, story: Story, words: Callable[[], Message]) -> None:
        """Write a story's message for a channel that wants it, if it is due for it."""
        told = _told(story, listener.channel)
        if stories.is_due(told, story.kind, self.now):
            outbox.put_message(
                listener.channel,
                listener.read(words),
                key=f"story:{story.pk}/{told.times + 1}",
                event=story.event,
                kind=story.kind,
                story=story,
                run=story.run,
            )

    def tell_end(
        self, story: Story, words: Callable[[], Message], *, run: SyncRun | None = None
    ) -> None:
        """Tell the end of a story, once, to those who were told of the trouble."""
        for listener in self.audience:
            self.tell_end_to(listener, story, words, run=run)

    def tell_end_to(
        self,
        listener: Listener,
        story: Story,
        words: Callable[[], Message],
        *,
        run: SyncRun | None = None,
    ) -> None:
        """Tell the end of a story, once, to a channel that was told of the trouble."""
        heard = story.deliveries.filter(channel=listener.channel).exists()
        if heard and listener.hears_end(story.config_ids):
            outbox.put_message(
                listener.channel,
                listener.read(words),
                key=f"story:{story.pk}/end",
                event=Event.RECOVERED,
                story=story,
                run=run,
            )

    def _story_facts(self, story: Story, config: SyncConfig) -> StoryFacts:
        return StoryFacts(
            event=Event(story.event),
            count=story.count,
            opened_at=story.opened_at,
            now=self.now,
            zone=_zone(config),
            syncs=facts.names_of(story.config_ids),
            account=story.storage.name if story.storage is not None else "",
        )


def _side(storage: Storage) -> stories.Side:
    # A run is reviewed after its storages were tested, see `services.storages.blame`.
    refused = storage.paused_at is not None and storage.last_check_class == "AUTH"
    return stories.Side(storage.pk, storage.backend, refused=refused)


def _told(story: Story, channel: NotificationChannel) -> stories.Told:
    rows = Delivery.objects.filter(story=story, channel=channel)
    kinds = list(rows.values_list("kind", flat=True))
    latest = rows.aggregate(at=Max("created_at"))["at"]
    return stories.Told(len(kinds), latest, frozenset(kinds))


def _zone(config: SyncConfig) -> tzinfo:
    return cron.load_timezone(config.timezone)
