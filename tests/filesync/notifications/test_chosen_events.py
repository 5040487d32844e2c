"""Events that are chosen for one sync of a channel: they count in the place of the channel's."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from filesync.models import ChannelUse, Delivery, NotificationChannel, SyncConfig, SyncRun
from filesync.notifications.audience import Listener
from filesync.notifications.watch import watch
from scheduler.models import Heartbeat
from tests.filesync.api.test_permissions import migrated_back as migrated_back
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_config, make_run, make_storage
from tests.filesync.notifications.test_telling import FAILED, SUCCEEDED, end, make_channel
from tests.filesync.notifications.test_telling import hook as hook
from tests.servers.webhook import WebhookReceiver

pytestmark = pytest.mark.django_db


def choose(channel: NotificationChannel, config: SyncConfig, *events: str) -> None:
    assert ChannelUse.objects.filter(channel=channel, config=config).update(events=list(events))


@pytest.mark.parametrize(
    ("chosen", "event", "config_ids", "hears"),
    [
        # Its chosen syncs are all deleted: it hears of none, but of what is no sync's.
        (None, "FAILURE", [1], False),
        (None, "FAILURE", [], True),
        # It hears of every sync.
        ({}, "FAILURE", [1], True),
        ({}, "PARTIAL", [1], False),
        # Of chosen syncs: of none but those, each by its own events.
        ({1: "FAILURE", 2: "PARTIAL"}, "FAILURE", [1], True),
        ({1: "FAILURE", 2: "PARTIAL"}, "FAILURE", [2], False),
        ({1: "FAILURE", 2: "PARTIAL"}, "PARTIAL", [2], True),
        ({1: "FAILURE", 2: "PARTIAL"}, "FAILURE", [3], False),
        # A trouble of several syncs is told where one of them asks for it.
        ({1: "FAILURE", 2: "PARTIAL"}, "FAILURE", [2, 1], True),
        ({1: "FAILURE", 2: "PARTIAL"}, "FAILURE", [2, 3], False),
        # What is no sync's is the channel's.
        ({1: "PARTIAL"}, "FAILURE", [], True),
        ({1: "PARTIAL"}, "PARTIAL", [], False),
    ],
)
def test_who_hears_of_what(
    chosen: dict[int, str] | None, event: str, config_ids: list[int], *, hears: bool
) -> None:
    channel = NotificationChannel(events=["FAILURE"], chosen_only=chosen is None)
    uses = {pk: frozenset([events]) for pk, events in (chosen or {}).items()}
    listener = Listener(channel, uses)

    assert listener.hears(event, config_ids) is hears


@pytest.mark.parametrize(
    ("chosen", "config_ids", "hears"),
    [
        ({}, [1], True),
        ({1: "RECOVERED"}, [1], True),
        ({1: "FAILURE"}, [1], False),
        ({1: "FAILURE", 2: "RECOVERED"}, [1, 2], True),
        # The sync was given up after its trouble was told.
        ({1: "FAILURE"}, [2], True),
    ],
)
def test_who_hears_of_the_end_of_what_was_told(
    chosen: dict[int, str], config_ids: list[int], *, hears: bool
) -> None:
    channel = NotificationChannel(events=["RECOVERED"])
    listener = Listener(channel, {pk: frozenset([events]) for pk, events in chosen.items()})

    assert listener.hears_end(config_ids) is hears


def test_a_sync_s_own_events_count_in_the_place_of_the_channel_s(
    local_root: Path, hook: WebhookReceiver
) -> None:
    plain, own = make_config(local_root, name="plain"), make_config(local_root, name="own")
    channel = make_channel(hook, plain, own, events=["FAILURE"])
    choose(channel, own, "NOTHING_TO_DO", "GUARD")
    start = timezone.now() - timedelta(hours=1)
    for minute, config in ((0, plain), (10, own)):
        end(config, at=start + timedelta(minutes=minute))
        end(config, SUCCEEDED, at=start + timedelta(minutes=minute + 2))
        end(config, FAILED, "GUARD", at=start + timedelta(minutes=minute + 4))
    watch()
    watch()

    assert hook.titles == ["plain failed", "own had nothing to do", "own was stopped by a guard"]


def test_failures_are_folded_and_the_recovery_is_told_once_where_the_failure_was(
    local_root: Path, hook: WebhookReceiver
) -> None:
    loud = make_config(local_root, name="loud", timezone="UTC")
    quiet = make_config(local_root, name="quiet", timezone="UTC")
    deaf = make_config(local_root, name="deaf", timezone="UTC")
    channel = make_channel(hook, loud, quiet, deaf, events=["RECOVERED"])
    choose(channel, loud, "FAILURE", "RECOVERED")
    choose(channel, quiet, "FAILURE")
    start = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)
    for minute in range(3):
        now = start + timedelta(minutes=minute)
        for config in (loud, quiet, deaf):
            end(config, at=now)
        watch(now=now)
    assert hook.titles == ["loud failed", "quiet failed"]

    Delivery.objects.update(created_at=start)
    now = start + timedelta(minutes=61)
    end(quiet, at=now)
    watch(now=now)
    assert hook.titles[2:] == ["quiet failed 4 times since 12:00"]

    for minute in (70, 71):
        now = start + timedelta(minutes=minute)
        for config in (loud, quiet, deaf):
            end(config, SUCCEEDED, at=now)
        watch(now=now)
    # Of the one that nobody heard to fail nobody hears that it works again.
    assert hook.titles[3:] == ["loud works again after 3 failures since 12:00"]


def test_an_account_that_expired_is_one_message_where_one_of_its_syncs_asks_for_it(
    local_root: Path, hook: WebhookReceiver
) -> None:
    dav = make_storage(
        local_root, name="Netdisk", backend="webdav", options={"url": "https://dav.example.org"}
    )
    disk = make_storage(local_root)
    first, second = (
        make_config(local_root, name=name, source_storage=dav, source_path=name)
        for name in ("first", "second")
    )
    SyncConfig.objects.update(destination_storage=disk)
    channel = make_channel(hook, first, second, events=["SUCCESS"])
    choose(channel, second, "FAILURE", "RECOVERED")
    now = timezone.now()
    end(SyncConfig.objects.get(pk=first.pk), FAILED, "AUTH", at=now)
    watch()
    assert hook.titles == []
    for config in (second, first, second):
        end(SyncConfig.objects.get(pk=config.pk), FAILED, "AUTH", at=now)
    watch()
    assert [title.split(" since")[0] for title in hook.titles] == [
        "Netdisk refuses the login: 2 syncs cannot run 4 times"
    ]

    later = now + timedelta(seconds=10)
    for config in (first, second):
        end(config, SUCCEEDED, at=later)
    watch(now=later)
    assert [title.split(" after")[0] for title in hook.titles[1:]] == ["Netdisk works again"]


def test_missed_slots_are_counted_of_the_syncs_that_ask_for_them(
    local_root: Path, hook: WebhookReceiver
) -> None:
    storage = make_storage(local_root)
    asks, does_not = (
        make_config(local_root, source_storage=storage, name=name) for name in ("asks", "does not")
    )
    channel = make_channel(hook, asks, does_not, events=["MISSED"])
    choose(channel, does_not, "FAILURE")
    now = timezone.now()
    for config in (asks, does_not):
        for hour in (1, 2):
            slot = now - timedelta(hours=hour)
            make_run(config, state=SyncRun.State.MISSED, slot=slot, finished_at=now)

    watch(now=now + timedelta(seconds=20))

    (title,) = hook.titles
    assert title.startswith("2 slots of 1 syncs were missed")
    assert "does not" not in hook.bodies[0]["message"]


def test_a_late_run_is_told_where_its_sync_asks_for_it(
    local_root: Path, hook: WebhookReceiver
) -> None:
    config = make_config(local_root, name="Photos")
    asks, does_not = (make_channel(hook, config, events=["LATE"]) for _ in range(2))
    choose(does_not, config, "FAILURE")
    make_run(config, slot=timezone.now() - timedelta(days=1))

    watch()

    assert [delivery.channel for delivery in Delivery.objects.all()] == [asks]


def test_a_silence_is_told_as_the_channel_says(local_root: Path, hook: WebhookReceiver) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    choose(make_channel(hook, config, events=["SILENT"]), config, "FAILURE")
    now = timezone.now()
    Heartbeat.objects.create(role=Heartbeat.Role.WORKER, name="worker", started_at=now, seen_at=now)
    watch(now=now)
    Heartbeat.objects.update(seen_at=now + timedelta(seconds=130))
    watch(now=now + timedelta(seconds=130))

    assert [delivery.event for delivery in Delivery.objects.all()] == ["SILENT"]


@pytest.mark.parametrize("events", [["SILENT"], ["NO_SUCH"], "FAILURE", {"FAILURE": True}, [["x"]]])
def test_what_no_sync_can_have_is_refused(events: object) -> None:
    with pytest.raises(ValidationError, match="Events are a list of"):
        ChannelUse(events=events).clean()


def test_a_channel_whose_only_sync_is_deleted_hears_of_no_other(
    local_root: Path, hook: WebhookReceiver
) -> None:
    mine, other = make_config(local_root, name="mine"), make_config(local_root, name="other")
    body = {"name": "ops", "url": f"json://{hook.address}/", "configs": [mine.pk]}
    answer = client_of("superuser").post("/api/v1/notifications/channels", body)
    assert answer.json()["chosen_only"] is True

    mine.delete()
    end(other)
    watch()

    assert hook.titles == []


@pytest.mark.usefixtures("migrated_back")
def test_channels_of_chosen_syncs_are_marked_by_the_migration(local_root: Path) -> None:
    config = make_config(local_root)
    for name, configs in (("some", [config]), ("all", [])):
        channel = NotificationChannel.objects.create(name=name, encrypted_url="x")
        channel.configs.set(configs)

    executor = MigrationExecutor(connection)
    executor.migrate([("filesync", "0008_events_of_a_sync")])
    # As the version before writes one that nothing says about.
    old = executor.loader.project_state([("filesync", "0008_events_of_a_sync")])
    assert old.apps.get_model("filesync", "NotificationChannel").objects.count() == 2
    executor = MigrationExecutor(connection)
    executor.migrate([("filesync", "0010_channel_settings")])
    old.apps.get_model("filesync", "NotificationChannel").objects.create(name="later")

    marks = dict(NotificationChannel.objects.values_list("name", "chosen_only"))
    assert marks == {"some": True, "all": False, "later": False}
    assert set(NotificationChannel.objects.values_list("language", flat=True)) == {""}


@pytest.mark.usefixtures("migrated_back")
def test_the_migration_keeps_which_channel_hears_of_which_sync(local_root: Path) -> None:
    config = make_config(local_root)
    channel = NotificationChannel.objects.create(name="ops", encrypted_url="x")
    channel.configs.set([config])

    for target in ("0007_messages_keep_their_template", "0008_events_of_a_sync"):
        executor = MigrationExecutor(connection)
        executor.migrate([("filesync", target)])
        # As the version before writes and reads it.
        old = executor.loader.project_state([("filesync", "0007_messages_keep_their_template")])
        before = old.apps.get_model("filesync", "NotificationChannel").objects.get(name="ops")
        assert list(before.configs.values_list("pk", flat=True)) == [config.pk]
        before.configs.set([])
        before.configs.set([config.pk])

    (use,) = ChannelUse.objects.all()
    assert (use.channel_id, use.config_id, use.events) == (channel.pk, config.pk, [])
