"""The outbox: rows are written once each, rung like runs, and sent by whoever takes them first.

At least once: the row is claimed before and marked after the sending, so that only a process
killed between the target's answer and the commit makes a second copy.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from celery import current_app
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from filesync.models import Delivery, NotificationChannel, Story, SyncConfig, SyncRun
from filesync.notifications.targets import (
    Message,
    SendFailed,
    TargetRefused,
    send_message,
    send_ping,
)
from filesync.secrets import SecretsUnreadable
from scheduler.clock import from_now
from scheduler.models import Doorbell, Heartbeat
from scheduler.publishing import BrokerAway, publish

logger = logging.getLogger(__name__)

SEND_TASK = "filesync.tasks.send_notification"
CLAIM_S = 120
RING_AGAIN_S = 30
RING_AT_MOST = 50
SEND_HERE_AT_MOST = 5
WORKER_SILENT_S = 40
FIRST_PAUSE_S = 30
LONGEST_PAUSE_S = 3_600
MESSAGE_ATTEMPTS = 8
# An end waits for its start's ping: that one does not try for long.
PING_ATTEMPTS = {"start": 2}
DEFAULT_PING_ATTEMPTS = 5


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

    Called in the transaction that makes it true.
    """
    if not config.encrypted_ping_url or run.dry_run:
        return False
    key = f"ping:{run.pk}/{run.attempt if word == 'start' else 'end'}/{word}"
    return _put(Delivery(ping_config=config, run=run, event=word, dedupe_key=key))


def _put(delivery: Delivery) -> bool:
    if Delivery.objects.filter(dedupe_key=delivery.dedupe_key).exists():
        return False
    Delivery.objects.bulk_create([delivery], ignore_conflicts=True)
    return True


def due() -> QuerySet[Delivery]:
    """Return what may be sent now; a config's pings go one after the other."""
    earlier = Delivery.objects.filter(
        ping_config=OuterRef("ping_config"), state__in=Delivery.OPEN, pk__lt=OuterRef("pk")
    )
    waiting = Q(state=Delivery.State.WAITING) & (Q(not_before=None) | Q(not_before__lte=Now()))
    abandoned = Q(state=Delivery.State.SENDING, claimed_until__lt=Now())
    return Delivery.objects.filter(waiting | abandoned).filter(~Exists(earlier))


def work_off() -> int:
    """Ring for what is due, and send here what no worker takes; return how many were sent here.

    No worker takes it where none lives, where the broker lost the message, and where all are busy
    with long runs.
    """
    if not Delivery.objects.filter(state__in=Delivery.OPEN).exists():
        return 0
    alone = not Heartbeat.objects.filter(
        role=Heartbeat.Role.WORKER, seen_at__gt=from_now(-WORKER_SILENT_S)
    ).exists()
    forgotten = Q() if alone else Q(rung_at__lt=from_now(-RING_AGAIN_S))
    here: list[int] = list(
        due().filter(forgotten).order_by("pk").values_list("pk", flat=True)[:SEND_HERE_AT_MOST]
    )
    sent = sum(deliver(pk) for pk in here)
    if not alone:
        _ring(list(due().filter(rung_at=None).order_by("pk")[:RING_AT_MOST]))
    return sent


def _ring(deliveries: Sequence[Delivery]) -> None:
    bells = [Doorbell(SEND_TASK, str(uuid.uuid4()), {"delivery_id": one.pk}) for one in deliveries]
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
        found = due().filter(pk=delivery_id).values_list("state", "attempts").first()
        if found is None:
            return None
        state, attempts = found
        taken = Delivery.objects.filter(pk=delivery_id, state=state, attempts=attempts).update(
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
    logger.warning(
        "notification %s was not delivered (%s)%s",
        delivery.pk,
        reason,
        f", attempt {ticket.attempts + 1} in {pause_s} s" if again else ", given up",
    )


def _finish(ticket: Ticket, **values: object) -> None:
    Delivery.objects.filter(
        pk=ticket.delivery_id, state=Delivery.State.SENDING, attempts=ticket.attempts
    ).update(claimed_until=None, **values)
