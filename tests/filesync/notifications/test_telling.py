"""From the end of a run to the message at a real target: told once, folded, never in the way."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django.fixtures import SettingsWrapper

from filesync.models import Delivery, NotificationChannel, Storage, Story, SyncConfig, SyncRun
from filesync.notifications import outbox
from filesync.notifications.events import Event
from filesync.notifications.review import Review
from filesync.notifications.watch import watch
from filesync.selectors import usual_duration_s
from filesync.services import pausing, retention
from scheduler.clock import from_now
from scheduler.models import Heartbeat
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    claim,
    make_config,
    make_run,
    make_storage,
    waiting_messages,
)
from tests.filesync.factories import use_broker as use_broker
from tests.racing import race
from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from tests.servers.webhook import MailServer, WebhookReceiver

pytestmark = pytest.mark.django_db

ALL = list(Event.values)
FAILED = SyncRun.State.FAILED
UNDOING = SyncRun.Trigger.RESTORE
SUCCEEDED = SyncRun.State.SUCCEEDED


@pytest.fixture
def hook(settings: SettingsWrapper) -> Iterator[WebhookReceiver]:
    settings.NOTIFY_NETWORKS = [ipaddress.ip_network("127.0.0.1")]
    with WebhookReceiver() as receiver:
        yield receiver


def make_channel(
    hook: WebhookReceiver, *configs: SyncConfig, events: list[str] = ALL, url: str = ""
) -> NotificationChannel:
    channel = NotificationChannel(name=f"channel {NotificationChannel.objects.count()}")
    channel.url = url or f"json://{hook.address}/"
    channel.events = events
    channel.full_clean()
    channel.save()
    channel.configs.set(configs)
    return channel


def end(
    config: SyncConfig,
    state: SyncRun.State = FAILED,
    failure_class: str = "NETWORK",
    *,
    at: datetime | None = None,
    files: int = 0,
    dry_run: bool = False,
    trigger: SyncRun.Trigger = SyncRun.Trigger.MANUAL,
    took: timedelta = timedelta(seconds=1),
) -> SyncRun:
    """Save a run that ended at a time, now unless told otherwise."""
    at = at or timezone.now()
    run = make_run(
        config,
        state=state,
        started_at=at - took,
        finished_at=at,
        trigger=trigger,
        failure_class="" if state == SUCCEEDED else failure_class,
        message="" if state == SUCCEEDED else "it broke",
        advice="" if state == SUCCEEDED else "mend it",
        dry_run=dry_run,
    )
    SyncRun.objects.filter(pk=run.pk).update(files_transferred=files)
    return run


def worker_lives() -> None:
    now = timezone.now()
    Heartbeat.objects.create(
        role=Heartbeat.Role.WORKER, name="worker@here", started_at=now, seen_at=now, slots=4
    )


# What is told ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "failure_class", "files", "title"),
    [
        (FAILED, "NETWORK", 0, "Photos failed"),
        (SyncRun.State.LOST, "INTERNAL", 0, "Photos failed"),
        (SyncRun.State.PARTIAL, "PERMISSION", 1, "Photos failed for some files"),
        (FAILED, "GUARD", 0, "Photos was stopped by a guard"),
        (SUCCEEDED, "", 2, "Photos succeeded"),
        (SUCCEEDED, "", 0, "Photos had nothing to do"),
    ],
)
def test_each_event_reaches_its_target_exactly_once(
    local_root: Path,
    hook: WebhookReceiver,
    state: SyncRun.State,
    failure_class: str,
    files: int,
    title: str,
) -> None:
    make_channel(hook)
    run = end(make_config(local_root, name="Photos"), state, failure_class, files=files)
    for _ in range(3):
        watch()
    assert hook.titles == [title]
    assert f"/admin/filesync/syncrun/{run.pk}/change/" in hook.bodies[0]["message"]


def test_a_mail_is_told_too(local_root: Path, hook: WebhookReceiver) -> None:
    with MailServer() as mail:
        make_channel(hook, url=mail.url)
        end(make_config(local_root, name="Photos"))
        watch()
        watch()
    assert [str(one["Subject"]) for one in mail.mails] == ["Photos failed"]


@pytest.mark.parametrize(
    "state", [SyncRun.State.CANCELLED, SyncRun.State.SKIPPED, SyncRun.State.QUEUED]
)
def test_nobody_is_told_of_what_is_no_event(
    local_root: Path, hook: WebhookReceiver, state: SyncRun.State
) -> None:
    make_channel(hook)
    make_run(make_config(local_root), state=state)
    end(make_config(local_root, source_storage=Storage.objects.get()), dry_run=True)
    watch()
    assert hook.titles == []


def test_failures_are_folded_and_the_recovery_is_told_once(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["FAILURE", "RECOVERED", "SUCCESS"])
    config = make_config(local_root, name="Photos", timezone="UTC")
    start = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)
    for minute in range(7):
        now = start + timedelta(minutes=minute)
        end(config, at=now)
        watch(now=now)
    assert hook.titles == ["Photos failed"]

    # An hour after the first message the story is told again, with all that happened.
    Delivery.objects.update(created_at=start)
    now = start + timedelta(minutes=61)
    end(config, at=now)
    watch(now=now)
    assert hook.titles[1:] == ["Photos failed 8 times since 12:00"]

    for minute in (70, 71, 72):
        end(config, SUCCEEDED, at=start + timedelta(minutes=minute), files=1)
        watch(now=start + timedelta(minutes=minute))
    recovery = "Photos works again after 8 failures since 12:00"
    assert [title for title in hook.titles if "again" in title] == [recovery]
    assert hook.titles.count("Photos succeeded") == 3

    end(config, at=start + timedelta(minutes=80))
    watch(now=start + timedelta(minutes=80))
    assert hook.titles[-1] == "Photos failed"


def test_another_kind_of_trouble_is_news_within_a_story(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook)
    config = make_config(local_root, name="Photos")
    for failure_class in ("NETWORK", "GUARD", "NETWORK", "GUARD"):
        end(config, FAILED, failure_class)
        watch()
    assert [title.split(" times")[0] for title in hook.titles] == [
        "Photos failed",
        "Photos was stopped by a guard 2",
    ]


def test_a_failure_and_its_recovery_that_are_reviewed_together_are_both_told(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["FAILURE", "RECOVERED"])
    config = make_config(local_root, name="Photos")
    now = timezone.now()
    end(config, at=now - timedelta(minutes=2))
    end(config, SUCCEEDED, at=now)
    watch()
    watch()
    assert hook.titles[0] == "Photos failed"
    assert hook.titles[1].startswith("Photos works again after 1 failures")
    assert len(hook.titles) == 2


def test_a_run_that_began_before_the_trouble_does_not_end_it(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["FAILURE", "RECOVERED"])
    dav = make_storage(local_root, backend="webdav", options={"url": "https://dav.example.org"})
    first, second = (
        make_config(local_root, source_storage=dav, source_path=name, destination_path=f"to {name}")
        for name in "ab"
    )
    now = timezone.now()
    end(first, FAILED, "AUTH", at=now)
    slow = end(second, SUCCEEDED, at=now + timedelta(seconds=5))
    SyncRun.objects.filter(pk=slow.pk).update(started_at=now - timedelta(hours=1))
    watch()
    assert len(hook.titles) == 1
    assert Story.objects.get().closed_at is None


def test_an_account_that_expired_is_one_message_for_all_its_syncs(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["FAILURE", "RECOVERED"])
    disk = make_storage(local_root)
    dav = make_storage(
        local_root, name="Netdisk", backend="webdav", options={"url": "https://dav.example.org"}
    )
    configs = [
        SyncConfig.objects.create(
            name=f"sync {number:02}",
            source_storage=disk,
            source_path=f"{number}",
            destination_storage=dav,
            destination_path=f"{number}",
        )
        for number in range(20)
    ]
    for config in configs[:5]:
        end(config, FAILED, "AUTH")
    watch()
    for config in configs[5:]:
        end(config, FAILED, "AUTH")
    watch()
    assert [title.split(" since")[0] for title in hook.titles] == [
        "Netdisk refuses the login: 5 syncs cannot run 5 times"
    ]
    assert "sync 04" in hook.bodies[0]["message"]

    later = timezone.now() + timedelta(seconds=10)
    for config in configs:
        end(config, SUCCEEDED, at=later)
    watch(now=later)
    watch(now=later)
    assert len(hook.titles) == 2
    assert hook.titles[1].startswith("Netdisk works again after 20 failures")


def test_an_account_that_expired_at_the_source_is_one_message_with_its_name(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["FAILURE"])
    expired, *others = (
        make_storage(
            local_root,
            name=name,
            backend="webdav",
            options={"url": f"https://{name}.example.org"},
        )
        for name in ("expired", "first", "second")
    )
    for other in others:
        config = SyncConfig.objects.create(
            name=f"to {other.name}",
            source_storage=expired,
            source_path="a",
            destination_storage=other,
            destination_path="b",
        )
        # As a worker leaves it, which tests both sides before it tells the end of the run.
        pausing.pause(expired, "it refuses the login")
        Storage.objects.filter(pk=expired.pk).update(last_check_class="AUTH")
        end(config, FAILED, "AUTH")
    watch()

    assert [title.split(" since")[0] for title in hook.titles] == [
        "expired refuses the login: 2 syncs cannot run 2 times"
    ]


@pytest.mark.parametrize(
    ("state", "failure_class", "files", "title"),
    [
        (FAILED, "NETWORK", 0, "Photos: undoing a run failed"),
        (SyncRun.State.PARTIAL, "NETWORK", 1, "Photos: undoing a run failed for some files"),
        (FAILED, "AUTH", 0, "Photos: undoing a run failed"),
        (SUCCEEDED, "", 2, "Photos: undoing a run succeeded"),
    ],
)
def test_an_undoing_is_told_as_one_and_neither_breaks_nor_mends_the_sync(
    local_root: Path,
    hook: WebhookReceiver,
    state: SyncRun.State,
    failure_class: str,
    files: int,
    title: str,
) -> None:
    make_channel(hook)
    config = make_config(local_root, name="Photos")
    now = timezone.now()
    end(config, at=now)
    watch(now=now)

    later = now + timedelta(minutes=1)
    end(config, state, failure_class, files=files, trigger=UNDOING, at=later)
    for _ in range(3):
        watch(now=later)

    assert hook.titles == ["Photos failed", title]
    story = Story.objects.get()
    assert (story.count, story.closed_at) == (1, None)
    later += timedelta(minutes=1)
    end(config, SUCCEEDED, at=later)
    watch(now=later)
    assert any(found.startswith("Photos works again after 1 fail") for found in hook.titles)


def test_missed_slots_of_all_syncs_are_told_together_once_they_are_all_there(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["MISSED"])
    storage = make_storage(local_root)
    now = timezone.now()
    for number in range(3):
        config = make_config(local_root, source_storage=storage, name=f"sync {number}")
        for hour in range(4):
            slot = now - timedelta(hours=hour + 1)
            make_run(config, state=SyncRun.State.MISSED, slot=slot, finished_at=now)
    watch(now=now)
    assert hook.titles == []
    watch(now=now + timedelta(seconds=20))
    watch(now=now + timedelta(seconds=40))
    (title,) = hook.titles
    assert title.startswith("12 slots of 3 syncs were missed")


# Who is told -------------------------------------------------------------------------------------


def test_a_channel_of_some_configs_hears_of_those_only(
    local_root: Path, hook: WebhookReceiver
) -> None:
    mine = make_config(local_root, name="mine")
    other = make_config(local_root, name="other")
    make_channel(hook, mine)
    end(other)
    end(mine)
    watch()
    assert hook.titles == ["mine failed"]


def test_a_channel_hears_of_the_events_it_asked_for_and_a_disabled_one_of_none(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["PARTIAL"])
    make_channel(hook)
    NotificationChannel.objects.filter(name="channel 1").update(enabled=False)
    end(make_config(local_root, name="Photos"))
    watch()
    assert hook.titles == []


def test_a_channel_that_comes_later_is_told_of_the_story_as_a_whole(
    local_root: Path, hook: WebhookReceiver
) -> None:
    config = make_config(local_root, name="Photos")
    end(config)
    watch()
    make_channel(hook)
    end(config)
    watch()
    (title,) = hook.titles
    assert title.startswith("Photos failed 2 times since")


# The outbox --------------------------------------------------------------------------------------


def test_a_worker_is_rung_and_sends(
    local_root: Path, hook: WebhookReceiver, broker: RedisServer
) -> None:
    worker_lives()
    make_channel(hook)
    end(make_config(local_root, name="Photos"))
    watch()
    watch()
    assert hook.titles == []
    (message,) = waiting_messages(broker)
    assert message[1] == {"delivery_id": Delivery.objects.get().pk}
    outbox.deliver(Delivery.objects.get().pk)
    outbox.deliver(Delivery.objects.get().pk)
    assert hook.titles == ["Photos failed"]


def test_a_message_that_no_worker_takes_is_sent_by_whoever_watches(
    local_root: Path, hook: WebhookReceiver, broker: RedisServer
) -> None:
    worker_lives()
    make_channel(hook)
    end(make_config(local_root, name="Photos"))
    watch()
    Delivery.objects.update(rung_at=from_now(-31))
    watch()
    assert hook.titles == ["Photos failed"]


def test_a_dead_target_is_tried_again_later_and_touches_nothing_else(
    local_root: Path, hook: WebhookReceiver
) -> None:
    dead = make_channel(hook, url=f"json://127.0.0.1:{free_port()}/canary-token")
    make_channel(hook)
    run = end(make_config(local_root, name="Photos"))
    watch()
    assert hook.titles == ["Photos failed"]
    delivery = Delivery.objects.get(channel=dead)
    assert (delivery.state, delivery.attempts) == ("WAITING", 1)
    assert delivery.not_before is not None
    assert delivery.not_before > timezone.now() + timedelta(seconds=20)
    dead.refresh_from_db()
    assert "onnection error" in dead.last_error
    assert "canary" not in dead.last_error + delivery.error
    run.refresh_from_db()
    assert run.state == FAILED

    watch()
    assert Delivery.objects.get(channel=dead).attempts == 1

    dead.url = f"json://{hook.address}/"
    dead.save()
    Delivery.objects.update(not_before=from_now(-1))
    watch()
    assert hook.titles == ["Photos failed"] * 2
    dead.refresh_from_db()
    assert dead.last_error == ""


def test_a_target_that_stays_dead_is_given_up(local_root: Path, hook: WebhookReceiver) -> None:
    make_channel(hook)
    hook.status = 500
    end(make_config(local_root))
    for _ in range(outbox.MESSAGE_ATTEMPTS + 2):
        watch()
        Delivery.objects.update(not_before=from_now(-1))
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts) == ("FAILED", outbox.MESSAGE_ATTEMPTS)


def test_a_target_in_a_private_network_is_given_up_at_once(
    local_root: Path, hook: WebhookReceiver, settings: SettingsWrapper
) -> None:
    channel = make_channel(hook)
    settings.NOTIFY_NETWORKS = []
    end(make_config(local_root))
    watch()
    assert Delivery.objects.get().state == "FAILED"
    channel.refresh_from_db()
    assert "SYNCBEAT_NOTIFY_NETWORKS" in channel.last_error


def test_a_message_whose_sender_was_killed_is_sent_again(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook)
    end(make_config(local_root, name="Photos"))
    with transaction.atomic():
        Review(timezone.now()).ended_runs()
    Delivery.objects.update(state="SENDING", attempts=1, claimed_until=from_now(60))
    watch()
    assert hook.titles == []
    Delivery.objects.update(claimed_until=from_now(-1))
    watch()
    assert hook.titles == ["Photos failed"]


def test_a_review_that_is_killed_before_its_commit_is_made_again_without_doubles(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook)
    end(make_config(local_root, name="Photos"))
    with transaction.atomic():
        Review(timezone.now()).ended_runs()
        transaction.set_rollback(True)
    assert Delivery.objects.count() == 0
    watch()
    assert hook.titles == ["Photos failed"]


@pytest.mark.django_db(transaction=True)
def test_of_many_that_watch_at_once_each_message_is_sent_by_one(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook)
    storage = make_storage(local_root)
    for number in range(5):
        end(make_config(local_root, source_storage=storage, name=f"sync {number}"))
    assert race([watch] * 6) == []
    watch()
    assert sorted(hook.titles) == [f"sync {number} failed" for number in range(5)]


def test_old_messages_go_but_not_those_of_a_story_that_goes_on(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["FAILURE"])
    going_on = make_config(local_root, name="going on")
    over = make_config(local_root, name="over")
    now = timezone.now()
    end(going_on, at=now)
    end(over, at=now)
    end(over, SUCCEEDED, at=now + timedelta(minutes=1))
    watch()
    assert len(hook.titles) == 2
    long_ago = now - timedelta(days=1000)
    Delivery.objects.update(created_at=long_ago)
    Story.objects.filter(closed_at__isnull=False).update(closed_at=long_ago)
    SyncRun.objects.update(finished_at=long_ago)
    retention.delete_expired()
    assert [delivery.title for delivery in Delivery.objects.all()] == ["going on failed"]
    assert SyncRun.objects.count() == 0


def test_the_story_of_a_sync_that_was_given_up_is_closed_and_untold(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook)
    names = ("deleted", "disabled", "paused a while", "goes on")
    configs = {name: make_config(local_root, name=name) for name in names}
    for config in configs.values():
        end(config)
    watch()
    configs["deleted"].delete()
    off = SyncConfig.objects.filter(name__in=["disabled", "paused a while"])
    off.update(enable=False)
    long_ago = timezone.now() - timedelta(hours=25)
    Story.objects.exclude(key=f"config:{configs['paused a while'].pk}").update(last_at=long_ago)
    titles = list(hook.titles)

    retention.delete_expired()
    watch()

    still_open = Story.objects.filter(closed_at=None)
    assert {story.key for story in still_open} == {
        f"config:{configs[name].pk}" for name in ("paused a while", "goes on")
    }
    assert hook.titles == titles


def test_an_account_s_story_goes_on_while_one_of_its_syncs_does(
    local_root: Path, hook: WebhookReceiver
) -> None:
    dav = make_storage(local_root, backend="webdav", options={"url": "https://dav.example.org"})
    configs = [
        make_config(local_root, source_storage=dav, source_path=name, destination_path=f"to {name}")
        for name in "ab"
    ]
    for config in configs:
        end(config, FAILED, "AUTH")
    watch()
    Story.objects.update(last_at=timezone.now() - timedelta(days=2))

    for config in configs:
        assert Story.objects.get().closed_at is None
        SyncConfig.objects.filter(pk=config.pk).update(enable=False)
        retention.delete_expired()

    assert Story.objects.get().closed_at is not None


# Pings -------------------------------------------------------------------------------------------


def ping_config(local_root: Path, hook: WebhookReceiver) -> SyncConfig:
    config = make_config(local_root)
    config.ping_url = f"http://{hook.address}/ping/uuid"
    config.save()
    return config


def finish(run: SyncRun, state: SyncRun.State) -> None:
    SyncRun.objects.filter(pk=run.pk).update(
        state=state, lease_token=None, lease_expires_at=None, finished_at=timezone.now()
    )


@pytest.mark.parametrize(
    ("state", "paths"),
    [
        (SUCCEEDED, ["/ping/uuid/start", "/ping/uuid"]),
        (FAILED, ["/ping/uuid/start", "/ping/uuid/fail"]),
        (SyncRun.State.CANCELLED, ["/ping/uuid/start"]),
    ],
)
def test_a_monitor_is_called_at_start_and_end_in_order(
    local_root: Path, hook: WebhookReceiver, state: SyncRun.State, paths: list[str]
) -> None:
    run = make_run(ping_config(local_root, hook))
    claim(run)
    finish(run, state)
    for _ in range(4):
        watch()
    assert hook.paths == paths


@pytest.mark.parametrize("state", [SUCCEEDED, FAILED])
def test_a_monitor_is_not_called_for_an_undoing(
    local_root: Path, hook: WebhookReceiver, state: SyncRun.State
) -> None:
    run = make_run(ping_config(local_root, hook), trigger=UNDOING)
    claim(run)
    finish(run, state)
    watch()
    assert hook.paths == []


def test_an_end_waits_for_its_start_but_not_for_ever(
    local_root: Path, hook: WebhookReceiver
) -> None:
    run = make_run(ping_config(local_root, hook))
    claim(run)
    hook.status = 503
    watch()
    finish(run, SUCCEEDED)
    watch()
    assert hook.paths == ["/ping/uuid/start"]
    Delivery.objects.update(not_before=from_now(-1))
    watch()
    assert hook.paths == ["/ping/uuid/start"] * 2
    hook.status = 200
    watch()
    assert hook.paths == ["/ping/uuid/start", "/ping/uuid/start", "/ping/uuid"]


def test_a_config_without_a_ping_url_writes_no_ping(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    claim(run)
    finish(run, SUCCEEDED)
    watch()
    assert Delivery.objects.count() == 0
    assert "ping" not in str(SyncConfig.objects.values().get()["encrypted_ping_url"])


# Late and silent ---------------------------------------------------------------------------------


def test_a_run_that_has_not_started_in_time_is_late_and_told_once(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook)
    config = make_config(local_root, name="Photos")
    run = make_run(config, slot=timezone.now() - timedelta(seconds=1700))
    watch()
    run.refresh_from_db()
    assert run.late == ""
    for seconds in (200, 210, 220):
        watch(now=timezone.now() + timedelta(seconds=seconds))
    run.refresh_from_db()
    assert run.late == "NOT_STARTED"
    late = [title for title in hook.titles if "late" in title]
    assert [title.split(" since")[0] for title in late] == ["1 runs are late"]


def test_a_config_that_sets_no_limit_is_never_late(local_root: Path, hook: WebhookReceiver) -> None:
    make_channel(hook, events=["LATE"])
    config = make_config(local_root)
    SyncConfig.objects.update(late_after_s=None)
    make_run(config, slot=timezone.now() - timedelta(days=2))
    watch()
    assert hook.titles == []


def test_a_run_far_over_its_usual_duration_is_told_once(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["LATE"])
    config = make_config(local_root, name="Photos")
    for _ in range(5):
        end(config, SUCCEEDED)
    run = make_run(config, state=SyncRun.State.RUNNING, started_at=timezone.now())
    watch(now=timezone.now() + timedelta(seconds=290))
    assert hook.titles == []
    for seconds in (310, 320):
        watch(now=timezone.now() + timedelta(seconds=seconds))
    run.refresh_from_db()
    assert run.late == "TOO_LONG"
    assert hook.titles == ["Photos runs for 5 min 10 s, usually it takes 1.0 s"]


def test_an_undoing_is_neither_usual_nor_ever_too_long(
    local_root: Path, hook: WebhookReceiver
) -> None:
    make_channel(hook, events=["LATE"])
    config = make_config(local_root)
    for _ in range(5):
        end(config, SUCCEEDED)
    for _ in range(15):
        end(config, SUCCEEDED, trigger=UNDOING, took=timedelta(hours=9))
        mended = end(config, SUCCEEDED, took=timedelta(hours=9))
        SyncRun.objects.filter(pk=mended.pk).update(only_failed=True)
    assert usual_duration_s(config.pk) == 1

    run = make_run(config, state=SyncRun.State.RUNNING, started_at=timezone.now(), trigger=UNDOING)
    watch(now=timezone.now() + timedelta(hours=1))

    run.refresh_from_db()
    assert run.late == ""
    assert hook.titles == []


def test_without_enough_runs_nothing_is_usual(local_root: Path, hook: WebhookReceiver) -> None:
    make_channel(hook, events=["LATE"])
    config = make_config(local_root)
    for _ in range(4):
        end(config, SUCCEEDED)
    make_run(config, state=SyncRun.State.RUNNING, started_at=timezone.now())
    watch(now=timezone.now() + timedelta(days=1))
    assert hook.titles == []


@pytest.mark.parametrize(
    ("role", "silence", "return_"),
    [
        ("beat", "No beat for", "Beat is back"),
        ("worker", "No worker for", "A worker is back"),
    ],
)
def test_who_is_silent_is_told_once_and_its_return_too(
    local_root: Path, hook: WebhookReceiver, role: str, silence: str, return_: str
) -> None:
    make_channel(hook, events=["SILENT", "RECOVERED"])
    make_config(local_root, cron="0 2 * * *")
    now = timezone.now()

    def lives(at: datetime, *roles: str) -> None:
        for one in roles:
            Heartbeat.objects.update_or_create(
                role=one, name=one, defaults={"started_at": now, "seen_at": at}
            )

    other = "worker" if role == "beat" else "beat"
    lives(now, "beat", "worker")
    watch(now=now)
    # A beat that was stopped in order takes its row with it, and is missed all the same.
    Heartbeat.objects.filter(role=role).delete()
    for seconds in (60, 130, 140, 150):
        lives(now + timedelta(seconds=seconds), other)
        watch(now=now + timedelta(seconds=seconds))
        outbox.work_off()
    Delivery.objects.update(rung_at=from_now(-60))
    outbox.work_off()
    assert [title.startswith(silence) for title in hook.titles] == [True]

    lives(now + timedelta(seconds=200), "beat", "worker")
    for seconds in (200, 210):
        watch(now=now + timedelta(seconds=seconds))
        Delivery.objects.update(rung_at=from_now(-60))
        outbox.work_off()
    assert [title.startswith(return_) for title in hook.titles[1:]] == [True]


def test_nobody_misses_a_beat_that_nothing_waits_for(hook: WebhookReceiver) -> None:
    make_channel(hook)
    now = timezone.now()
    watch(now=now)
    watch(now=now + timedelta(days=1))
    assert hook.titles == []
