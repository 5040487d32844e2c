"""The outbox: rows are written once each, rung like runs, and sent by whoever takes them first.

At least once: the row is claimed before and marked after the sending, so that only a process
killed between the target's answer and the commit makes a second copy. What kills each of its
senders is given up after as many claims as a target has attempts. A target that hangs holds up
one sender and its own messages, and neither runs nor other targets.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import BooleanField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from filesync.models import Delivery, NotificationChannel, Story, SyncConfig, SyncRun
from filesync.notifications.seats import senders_at_most, take_seat
from filesync.notifications.targets import (
    Message,
    SendFailed,
    TargetRefused,
    send_message,
    send_ping,
)
from filesync.secrets import SecretsUnreadable
from filesync.selectors import living_workers
from scheduler.clock import from_now
from scheduler.models import Doorbell
from scheduler.publishing import BrokerAway, publish

logger = logging.getLogger(__name__)

SEND_TASK = "filesync.tasks.send_notification"
CLAIM_S = 120
RING_AGAIN_S = 30
RING_AT_MOST = 50
SEND_HERE_AT_MOST = 5
# The watch looks for other things too; a pool process is one that runs could have.
SEND_HERE_FOR_S = 5.0
SEND_IN_POOL_FOR_S = 20.0
FIRST_PAUSE_S = 30
LONGEST_PAUSE_S = 3_600
MESSAGE_ATTEMPTS = 8
# So often a message that its target does not take holds back what comes after it: then it may be
# the message.
BLOCKING_ATTEMPTS = 3
# An end waits for its start's ping: that one does not try for long.
PING_ATTEMPTS = {"start": 2}
DEFAULT_PING_ATTEMPTS = 5
# Later than this a ping tells the monitor an untruth.
PING_KEEPS_S = 900
# Why what was not refused is given up; said in the reader's language where it is shown.
TOO_LATE = gettext_noop("it could not be sent in time")
SENDERS_DIED = gettext_noop(
    "each process that was to send it ended before it was done: it may be what kills them"
)


@dataclass(frozen=True, slots=True)
class Ticket:
    """Proof that this process may send a delivery."""

    delivery_id: int
    attempts: int


def put_message(
    channel: NotificationChannel,
    message: Message,
    *,
    key: str,
    event: str,
    kind: str = "",
    story: Story | None = None,
    run: SyncRun | None = None,
) -> bool:
    """Write one message for a channel; False where `key` was written before."""
    return _put(
        Delivery(
            channel=channel,
            story=story,
            run=run,
            event=event,
            kind=kind,
            dedupe_key=f"channel:{channel.pk}/{key}",
            title=message.title,
            body=message.body,
            severity=message.severity,
        )
    )


def put_ping(config: SyncConfig, run: SyncRun, word: str) -> bool:
    """Write one ping ("start", "success" or "fail") of a run's attempt, where its config has a URL.

    Called in the transaction that makes it true. Of a run that sends what it is for: neither a dry
    run nor the undoing of another one.
    """
    if not config.encrypted_ping_url or run.dry_run or run.undoes:
        return False
    key = f"ping:{run.pk}/{run.attempt if word == 'start' else 'end'}/{word}"
    return _put(Delivery(ping_config=config, run=run, event=word, dedupe_key=key))


def _put(delivery: Delivery) -> bool:
    if Delivery.objects.filter(dedupe_key=delivery.dedupe_key).exists():
        return False
    Delivery.objects.bulk_create([delivery], ignore_conflicts=True)
    return True


def due() -> QuerySet[Delivery]:
    """Return what may be sent now, in its order: messages before pings.

    A config's pings go one after the other, and so do a channel's messages.
    """
    earlier = Delivery.objects.filter(
        ping_config=OuterRef("ping_config"), state__in=Delivery.OPEN, pk__lt=OuterRef("pk")
    )
    under_way = Delivery.objects.filter(
        channel=OuterRef("channel"), state=Delivery.State.SENDING, claimed_until__gte=Now()
    )
    waiting = Q(state=Delivery.State.WAITING) & (Q(not_before=None) | Q(not_before__lte=Now()))
    abandoned = Q(state=Delivery.State.SENDING, claimed_until__lt=Now())
    is_ping = ExpressionWrapper(Q(channel=None), output_field=BooleanField())
    found = Delivery.objects.filter(waiting | abandoned)
    return found.filter(~Exists(earlier), ~Exists(under_way)).order_by(is_ping, "pk")


def work_off() -> int:
    """Ring for what is due, and send here what no worker takes; return how many were sent here.

    No worker takes it where none lives, where the broker lost the message, and where all are busy
    with long runs.
    """
    if not Delivery.objects.filter(state__in=Delivery.OPEN).exists():
        return 0
    _give_up_old_pings()
    pool_sends = (
        senders_at_most(settings.CELERY_WORKER_CONCURRENCY) > 0 and living_workers().exists()
    )
    forgotten = Q(rung_at__lt=from_now(-RING_AGAIN_S)) if pool_sends else Q()
    here = list(due().filter(forgotten).values_list("pk", flat=True)[:SEND_HERE_AT_MOST])
    sent, until = 0, time.monotonic() + SEND_HERE_FOR_S
    for pk in here:
        if time.monotonic() < until:
            sent += deliver(pk)
    if pool_sends:
        _ring(list(due().filter(rung_at=None)[:RING_AT_MOST]))
    return sent


def send_from_pool(delivery_id: int) -> None:
    """Send a delivery and what else is due, where the pool has a seat for one more sender.

    What was rung for and finds none is sent by whoever has it.
    """
    with take_seat() as seated:
        until = time.monotonic() + SEND_IN_POOL_FOR_S
        next_id: int | None = delivery_id if seated else None
        while next_id is not None and time.monotonic() < until:
            deliver(next_id)
            next_id = due().values_list("pk", flat=True).first()


def _give_up_old_pings() -> None:
    old = Delivery.objects.filter(
        channel=None, state=Delivery.State.WAITING, created_at__lt=from_now(-PING_KEEPS_S)
    )
    old.update(state=Delivery.State.FAILED, error=TOO_LATE)


def _ring(deliveries: Sequence[Delivery]) -> None:
    # Whoever is called sends the others too: a bell for each would only busy the pool.
    called = deliveries[: senders_at_most(settings.CELERY_WORKER_CONCURRENCY)]
    bells = [Doorbell(SEND_TASK, str(uuid.uuid4()), {"delivery_id": one.pk}) for one in called]
    try:
        publish(current_app, bells)
    except BrokerAway as error:
        logger.debug("the broker does not answer, messages wait for it: %s", error)
    # Marked all the same: after half a minute the message is sent without the broker.
    Delivery.objects.filter(pk__in=[one.pk for one in deliveries]).update(rung_at=Now())


def deliver(delivery_id: int) -> bool:
    """Send one delivery if it is due and nobody else does; say whether its target took it."""
    ticket = _claim(delivery_id)
    if ticket is None:
        return False
    delivery = Delivery.objects.select_related("channel", "ping_config").get(pk=delivery_id)
    try:
        _send(delivery)
    except SendFailed as error:
        _failed(delivery, ticket, str(error), again=ticket.attempts < _attempts(delivery))
        return False
    except (TargetRefused, SecretsUnreadable) as error:
        _failed(delivery, ticket, str(error), again=False)
        return False
    _finish(ticket, state=Delivery.State.SENT, sent_at=Now(), error="")
    if delivery.channel is not None:
        NotificationChannel.objects.filter(pk=delivery.channel.pk).update(
            last_sent_at=Now(), last_error=""
        )
    logger.info("notification %s sent: %s", delivery.pk, delivery)
    return True


def _claim(delivery_id: int) -> Ticket | None:
    with transaction.atomic():
        found = due().filter(pk=delivery_id).first()
        if found is None:
            return None
        attempts = found.attempts
        if found.state == Delivery.State.SENDING and attempts >= _attempts(found):
            # Some of the attempts may have been refused: what the target said is more to the point.
            reason = found.error or SENDERS_DIED
            _failed(found, Ticket(delivery_id, attempts), reason, again=False)
            return None
        same = Delivery.objects.filter(pk=delivery_id, state=found.state, attempts=attempts)
        taken = same.update(
            state=Delivery.State.SENDING,
            attempts=F("attempts") + 1,
            claimed_until=from_now(CLAIM_S),
        )
    return Ticket(delivery_id, attempts + 1) if taken else None


def _send(delivery: Delivery) -> None:
    if delivery.ping_config is not None:
        suffix = {"start": "start", "fail": "fail"}.get(delivery.event, "")
        send_ping(delivery.ping_config.ping_url, suffix)
        return
    assert delivery.channel is not None
    send_message(
        delivery.channel.url,
        Message(delivery.title, delivery.body, delivery.severity),  # type: ignore[arg-type]
    )


def _attempts(delivery: Delivery) -> int:
    if delivery.ping_config_id is None:
        return MESSAGE_ATTEMPTS
    return PING_ATTEMPTS.get(delivery.event, DEFAULT_PING_ATTEMPTS)


def _failed(delivery: Delivery, ticket: Ticket, reason: str, *, again: bool) -> None:
    pause_s = min(FIRST_PAUSE_S * 2 ** (ticket.attempts - 1), LONGEST_PAUSE_S)
    if again:
        _finish(
            ticket,
            state=Delivery.State.WAITING,
            not_before=from_now(pause_s),
            rung_at=None,
            error=reason,
        )
    else:
        _finish(ticket, state=Delivery.State.FAILED, error=reason)
    if delivery.channel_id is not None:
        NotificationChannel.objects.filter(pk=delivery.channel_id).update(last_error=reason)
        if again and ticket.attempts <= BLOCKING_ATTEMPTS:
            _hold_back(delivery.channel_id, pause_s)
    logger.warning(
        "notification %s was not delivered (%s)%s",
        delivery.pk,
        reason,
        f", attempt {ticket.attempts + 1} in {pause_s} s" if again else ", given up",
    )


def _hold_back(channel_id: int, pause_s: float) -> None:
    """Let the other messages of a channel wait too: each would find its target as it is."""
    sooner = Q(not_before=None) | Q(not_before__lt=from_now(pause_s))
    others = Delivery.objects.filter(sooner, channel=channel_id, state=Delivery.State.WAITING)
    others.update(not_before=from_now(pause_s), rung_at=None)


def _finish(ticket: Ticket, **values: object) -> None:
    Delivery.objects.filter(
        pk=ticket.delivery_id, state=Delivery.State.SENDING, attempts=ticket.attempts
    ).update(claimed_until=None, **values)
