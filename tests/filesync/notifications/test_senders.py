"""What hangs holds up one sender and its own messages: neither runs nor other targets."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django.fixtures import SettingsWrapper

from filesync.models import Delivery, NotificationChannel
from filesync.notifications import outbox
from filesync.notifications.seats import senders_at_most, take_seat
from filesync.notifications.targets import Message
from filesync.tasks import send_notification
from scheduler.clock import from_now
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_run, waiting_messages
from tests.filesync.factories import use_broker as use_broker
from tests.filesync.notifications.test_telling import hook as hook
from tests.filesync.notifications.test_telling import make_channel, worker_lives
from tests.servers.redis import RedisServer
from tests.servers.webhook import WebhookReceiver

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_folder(settings: SettingsWrapper, tmp_path: Path) -> None:
    settings.FILESYNC_WORK_DIR = tmp_path / "work"


def put(channel: NotificationChannel, *titles: str) -> list[int]:
    for title in titles:
        outbox.put_message(channel, Message(title, "body", "info"), key=title, event="FAILURE")
    found = Delivery.objects.filter(channel=channel, title__in=titles).order_by("pk")
    return list(found.values_list("pk", flat=True))


def due() -> list[str]:
    return [delivery.title or delivery.event for delivery in outbox.due()]


@pytest.mark.parametrize(("pool", "senders"), [(1, 0), (2, 1), (4, 1), (7, 1), (8, 2), (32, 8)])
def test_most_of_a_pool_is_left_to_runs(pool: int, senders: int) -> None:
    assert senders_at_most(pool) == senders


@pytest.mark.parametrize(("pool", "seats"), [(1, 0), (4, 1), (8, 2)])
def test_a_host_has_a_seat_for_each_of_its_senders(
    settings: SettingsWrapper, pool: int, seats: int
) -> None:
    settings.CELERY_WORKER_CONCURRENCY = pool
    with take_seat() as first, take_seat() as second, take_seat() as third:
        assert [first, second, third].count(True) == seats
    with take_seat() as again:
        assert again is (seats > 0)


def test_who_has_the_seat_sends_what_others_were_rung_for(hook: WebhookReceiver) -> None:
    mine, theirs = make_channel(hook), make_channel(hook)
    first, *_ = put(mine, "one", "two")
    (other,) = put(theirs, "three")
    with take_seat():
        send_notification(other)
    assert hook.titles == []

    send_notification(first)

    assert hook.titles == ["one", "two", "three"]


def test_a_channel_is_sent_one_message_at_a_time(hook: WebhookReceiver) -> None:
    mine, theirs = make_channel(hook), make_channel(hook)
    first, _second = put(mine, "one", "two")
    put(theirs, "three")
    Delivery.objects.filter(pk=first).update(state="SENDING", claimed_until=from_now(60))
    assert due() == ["three"]
    # Its sender was killed.
    Delivery.objects.filter(pk=first).update(claimed_until=from_now(-1))
    assert due() == ["one", "two", "three"]


def test_what_a_dead_target_does_not_take_holds_its_other_messages_back(
    hook: WebhookReceiver,
) -> None:
    mine, theirs = make_channel(hook), make_channel(hook)
    first, second = put(mine, "one", "two")
    put(theirs, "three")
    hook.status = 500
    outbox.deliver(first)
    assert due() == ["three"]
    assert not outbox.deliver(second)
    assert Delivery.objects.get(pk=second).attempts == 0

    hook.status = 200
    Delivery.objects.update(not_before=from_now(-1))
    send_notification(first)
    assert hook.titles == ["one", "one", "two", "three"]


def test_a_message_that_is_never_taken_does_not_block_its_channel(hook: WebhookReceiver) -> None:
    channel = make_channel(hook)
    (bad,) = put(channel, "bad")
    hook.status = 500
    for _ in range(outbox.BLOCKING_ATTEMPTS):
        Delivery.objects.update(not_before=None)
        outbox.deliver(bad)
    put(channel, "good")
    Delivery.objects.update(not_before=None)
    outbox.deliver(bad)
    assert due() == ["good"]


def test_a_message_that_kills_each_of_its_senders_is_given_up(hook: WebhookReceiver) -> None:
    channel = make_channel(hook)
    (deadly,) = put(channel, "deadly")
    mine = Delivery.objects.filter(pk=deadly)

    claims = 0
    while outbox._claim(deadly) is not None:
        claims += 1
        # Its sender is gone, and its time is over.
        mine.update(claimed_until=from_now(-1))
        assert claims < 100

    assert claims == outbox.MESSAGE_ATTEMPTS
    assert list(mine.values_list("state", "attempts", "error")) == [
        ("FAILED", outbox.MESSAGE_ATTEMPTS, outbox.SENDERS_DIED)
    ]
    channel.refresh_from_db()
    assert channel.last_error == outbox.SENDERS_DIED
    put(channel, "good")
    outbox.work_off()
    assert hook.titles == ["good"]


def test_one_that_its_target_refused_and_whose_last_sender_died_says_what_the_target_said(
    hook: WebhookReceiver,
) -> None:
    channel = make_channel(hook)
    (message,) = put(channel, "message")
    mine = Delivery.objects.filter(pk=message)
    mine.update(
        state="SENDING",
        attempts=outbox.MESSAGE_ATTEMPTS,
        claimed_until=from_now(-1),
        error="the address answered 503",
    )

    assert outbox._claim(message) is None

    assert list(mine.values_list("state", "error")) == [("FAILED", "the address answered 503")]
    channel.refresh_from_db()
    assert channel.last_error == "the address answered 503"


@pytest.mark.parametrize(("word", "claims"), [("start", 2), ("success", 5)])
def test_a_ping_that_kills_each_of_its_senders_is_given_up(
    local_root: Path, hook: WebhookReceiver, word: str, claims: int
) -> None:
    config = make_config(local_root)
    config.ping_url = f"http://{hook.address}/ping"
    config.save()
    outbox.put_ping(config, make_run(config), word)
    Delivery.objects.update(state="SENDING", attempts=claims - 1, claimed_until=from_now(-1))
    assert outbox._claim(Delivery.objects.get().pk) is not None

    Delivery.objects.update(claimed_until=from_now(-1))
    outbox.work_off()

    assert Delivery.objects.get().state == "FAILED"
    assert hook.paths == []


def test_one_that_its_target_refused_before_its_sender_died_is_sent_again(
    hook: WebhookReceiver,
) -> None:
    (message,) = put(make_channel(hook), "message")
    Delivery.objects.update(
        state="SENDING", attempts=outbox.MESSAGE_ATTEMPTS - 1, claimed_until=from_now(-1)
    )
    assert outbox.deliver(message)


def test_messages_go_before_pings_and_a_late_ping_is_given_up(
    local_root: Path, hook: WebhookReceiver
) -> None:
    for age_s in (outbox.PING_KEEPS_S - 60, outbox.PING_KEEPS_S + 60):
        config = make_config(local_root)
        config.ping_url = f"http://{hook.address}/{age_s}"
        config.save()
        outbox.put_ping(config, make_run(config), "success")
        ping = Delivery.objects.filter(ping_config=config)
        ping.update(created_at=from_now(-age_s))
    put(make_channel(hook), "message")
    assert due() == ["message", "success", "success"]

    outbox.work_off()

    assert hook.paths == ["/", f"/{outbox.PING_KEEPS_S - 60}"]
    assert [one.state for one in Delivery.objects.order_by("pk")] == ["SENT", "FAILED", "SENT"]


def test_as_many_are_called_as_may_send(
    hook: WebhookReceiver, broker: RedisServer, settings: SettingsWrapper
) -> None:
    settings.CELERY_WORKER_CONCURRENCY = 8
    worker_lives()
    for number in range(5):
        put(make_channel(hook), f"message {number}")
    outbox.work_off()
    outbox.work_off()
    assert len(waiting_messages(broker)) == 2
    send_notification(Delivery.objects.earliest("pk").pk)
    assert hook.titles == [f"message {number}" for number in range(5)]


def test_a_pool_of_one_is_never_rung(
    hook: WebhookReceiver, broker: RedisServer, settings: SettingsWrapper
) -> None:
    settings.CELERY_WORKER_CONCURRENCY = 1
    worker_lives()
    put(make_channel(hook), "one")
    outbox.work_off()
    assert hook.titles == ["one"]
    assert waiting_messages(broker) == []
