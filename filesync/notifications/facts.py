"""What messages say of runs, read from their rows in the language that is active."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.urls import reverse

from filesync.models import SyncConfig, SyncRun
from filesync.notifications import message
from filesync.notifications.events import Event
from filesync.notifications.message import RunFacts, StoryFacts
from filesync.notifications.targets import Message


def trouble(story: StoryFacts, run: SyncRun) -> Message:
    return message.trouble(story, facts_of(run))


def recovered(story: StoryFacts, run: SyncRun) -> Message:
    return message.recovered(story, facts_of(run))


def routine(event: Event, run: SyncRun) -> Message:
    return message.routine(event, facts_of(run))


def undoing(event: Event, run: SyncRun) -> Message:
    return message.undoing(event, facts_of(run))


def too_long(run: SyncRun, usual_s: float) -> Message:
    return message.too_long(facts_of(run), usual_s)


def ended(run: SyncRun) -> Message:
    return message.ended(facts_of(run))


def names_of(config_ids: Iterable[int]) -> list[str]:
    """Return the names of configs in the order of the ids."""
    ids = list(config_ids)
    names = dict(SyncConfig.objects.filter(pk__in=ids).values_list("pk", "name"))
    return [names[pk] for pk in ids if pk in names]


def facts_of(run: SyncRun) -> RunFacts:
    """Return what a message says of a run; its config must be loaded with both storages."""
    assert run.config is not None
    return RunFacts(
        run_id=run.pk,
        sync=run.config.name,
        route=run.config.route(),
        state=run.get_state_display(),
        failure_class=run.failure_class,
        reason=run.explanation,
        advice=run.next_step,
        files_sent=run.files_transferred,
        bytes_sent=run.bytes_transferred,
        files_renamed=run.files_renamed,
        files_deleted=run.files_deleted,
        files_failed=run.files_failed,
        duration_s=run.duration_s,
        link=settings.PUBLIC_URL + reverse("admin:filesync_syncrun_change", args=[run.pk]),
    )
