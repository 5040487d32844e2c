"""What is late or silent: told where it is asked for, again while it goes on, and its end once."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from filesync.models import Delivery, Story, SyncConfig, SyncRun
from filesync.notifications import outbox
from filesync.notifications.watch import watch
from scheduler.models import Heartbeat
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, make_config, make_run, make_storage
from tests.filesync.notifications.test_telling import SUCCEEDED, end, make_channel
from tests.filesync.notifications.test_telling import hook as hook
from tests.servers.webhook import WebhookReceiver

pytestmark = pytest.mark.django_db

RUNNING = SyncRun.State.RUNNING


def told(now: datetime) -> list[str]:
    """Let a pass be made at a time, and return the titles that it wrote, by channel and title."""
    known = set(Delivery.objects.values_list("pk", flat=True))
    watch(now=now)
    written = Delivery.objects.exclude(pk__in=known)
    # The outbox writes the time of its database.
    written.update(created_at=now)
    return [
        f"{delivery.channel}: {delivery.title.split(' since')[0]}"
        for delivery in written.order_by("channel__name", "title")
    ]


def late_run(config: SyncConfig, now: datetime, hours: int = 1) -> SyncRun:
    return make_run(config, slot=now - timedelta(hours=hours))


# Runs that have not started -----------------------------------------------------------------------


def test_a_channel_reads_of_the_late_runs_of_its_own_syncs_only(
    local_root: Path, hook: WebhookReceiver
) -> None:
    storage = make_storage(local_root)
    mine, other = (
        make_config(local_root, source_storage=storage, name=name) for name in ("mine", "other")
    )
    make_channel(hook, mine, events=["LATE"])
    make_channel(hook, events=["LATE"])
    now = timezone.now()
    late_run(mine, now)
    late_run(other, now, hours=2)

    assert told(now) == ["channel 0: 1 runs are late", "channel 1: 2 runs are late"]

    bodies = {delivery.channel_id: delivery.body for delivery in Delivery.objects.all()}
    of_mine, of_all = (bodies[pk] for pk in sorted(pk for pk in bodies if pk is not None))
    assert "Syncs: mine" in of_mine.splitlines()
    assert "other" not in of_mine
    assert "Syncs: other, mine" in of_all.splitlines()


def test_a_channel_hears_at_once_of_its_first_late_run_while_others_go_on(
    local_root: Path, hook: WebhookReceiver
) -> None:
    storage = make_storage(local_root)
    mine, other = (
        make_config(local_root, source_storage=storage, name=name) for name in ("mine", "other")
    )
    make_channel(hook, mine, events=["LATE"])
    now = timezone.now()
    late_run(other, now)
    assert told(now) == []
    late_run(mine, now)
    assert told(now + timedelta(seconds=5)) == ["channel 0: 1 runs are late"]


def test_late_runs_are_told_again_ever_more_rarely_and_their_end_once(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["LATE", "RECOVERED"])
    storage = make_storage(local_root)
    first, second = (
        late_run(make_config(local_root, source_storage=storage, name=name), timezone.now())
        for name in ("first", "second")
    )
    now = timezone.now()
    titles = {}
    for minutes in (0, 1, 59, 61, 120, 179, 182):
        titles[minutes] = told(now + timedelta(minutes=minutes))
        if minutes == 1:
            claim(first)
    assert {minutes: title for minutes, title in titles.items() if title} == {
        0: ["channel 0: 2 runs are late"],
        61: ["channel 0: 1 runs are late"],
        182: ["channel 0: 1 runs are late"],
    }

    claim(second)
    ends = [told(now + timedelta(minutes=minutes)) for minutes in (183, 184)]
    assert ends == [["channel 0: No run is late any more"], []]
    assert Delivery.objects.latest("pk").body.splitlines()[0] == "Syncs: first, second"
    assert not Story.objects.filter(key="late", closed_at=None).exists()


@pytest.mark.parametrize("events", [["LATE"], ["RECOVERED"]])
def test_an_end_is_told_to_those_who_heard_of_the_trouble_and_ask_for_ends(
    local_root: Path, hook: WebhookReceiver, events: list[str]
) -> None:
    make_channel(hook, events=events)
    now = timezone.now()
    run = late_run(make_config(local_root), now)
    told(now)
    claim(run)
    assert told(now + timedelta(minutes=1)) == []


# Runs that go on for too long ---------------------------------------------------------------------


def long_run(local_root: Path) -> SyncRun:
    config = make_config(local_root, name="Photos")
    for _ in range(5):
        end(config, SUCCEEDED)
    return make_run(config, state=RUNNING, attempt=1, started_at=timezone.now())


def finish(run: SyncRun, state: SyncRun.State, at: datetime) -> None:
    failure = "" if state in (SUCCEEDED, SyncRun.State.CANCELLED) else "NETWORK"
    SyncRun.objects.filter(pk=run.pk).update(state=state, finished_at=at, failure_class=failure)


def test_a_run_that_takes_far_too_long_is_told_again_and_its_end_once(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["LATE", "RECOVERED"])
    run = long_run(local_root)
    now = timezone.now()
    assert told(now + timedelta(minutes=6)) == [
        "channel 0: Photos runs for 6 min 0 s, usually it takes 1.0 s"
    ]
    assert told(now + timedelta(minutes=60)) == []
    assert told(now + timedelta(minutes=67)) == [
        "channel 0: Photos runs for 1 h 7 min, usually it takes 1.0 s"
    ]
    assert run.started_at is not None
    finish(run, SUCCEEDED, run.started_at + timedelta(minutes=70))
    ends = [told(now + timedelta(minutes=minutes)) for minutes in (71, 72)]
    assert ends == [["channel 0: Photos has ended after 1 h 10 min"], []]


@pytest.mark.parametrize(
    ("state", "titles"),
    [
        (SyncRun.State.CANCELLED, ["channel 0: Photos has ended after 10 min 0 s"]),
        # That it is over stands in what is told of the failure.
        (SyncRun.State.FAILED, ["channel 0: Photos failed"]),
    ],
)
def test_how_a_run_that_took_too_long_ended_is_told_once(
    local_root: Path, hook: WebhookReceiver, state: SyncRun.State, titles: list[str]
) -> None:
    make_channel(hook, events=["LATE", "RECOVERED", "FAILURE"])
    run = long_run(local_root)
    now = timezone.now()
    told(now + timedelta(minutes=6))
    assert run.started_at is not None
    finish(run, state, run.started_at + timedelta(minutes=10))
    assert told(now + timedelta(minutes=11)) + told(now + timedelta(minutes=12)) == titles
    assert not Story.objects.filter(key=f"long:{run.pk}", closed_at=None).exists()


def test_the_story_of_a_long_run_whose_sync_was_deleted_is_closed_and_untold(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["LATE", "RECOVERED"])
    run = long_run(local_root)
    now = timezone.now()
    told(now + timedelta(minutes=6))
    SyncRun.objects.filter(pk=run.pk).update(config=None)
    assert told(now + timedelta(minutes=90)) == []
    assert not Story.objects.filter(key=f"long:{run.pk}", closed_at=None).exists()


# Silence ------------------------------------------------------------------------------------------


def test_a_silence_is_told_again_ever_more_rarely(local_root: Path, hook: WebhookReceiver) -> None:
    make_channel(hook, events=["SILENT", "RECOVERED"])
    make_config(local_root, cron="0 2 * * *")
    now = timezone.now()
    told(now)
    titles = {}
    for minutes in (3, 62, 64, 180, 185):
        at = now + timedelta(minutes=minutes)
        Heartbeat.objects.update_or_create(
            role=Heartbeat.Role.WORKER, name="worker", defaults={"started_at": at, "seen_at": at}
        )
        titles[minutes] = told(at)
    outbox.work_off()
    assert {minutes: title for minutes, title in titles.items() if title} == {
        3: ["channel 0: No beat for 3 min 0 s: schedules do not fire"],
        64: ["channel 0: No beat for 1 h 4 min: schedules do not fire"],
        185: ["channel 0: No beat for 3 h 5 min: schedules do not fire"],
    }


def test_nobody_is_reminded_of_a_silence_that_nothing_waits_for_any_more(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["SILENT"])
    make_config(local_root, cron="0 2 * * *")
    now = timezone.now()
    told(now)
    assert len(told(now + timedelta(minutes=3))) == 2
    SyncConfig.objects.update(enable=False)
    assert told(now + timedelta(days=1)) == []
