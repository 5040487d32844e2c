"""Sends doorbells to the broker, many in one round trip where the broker allows it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from celery import Celery
from kombu import Connection, Producer
from kombu.exceptions import LimitExceeded, OperationalError
from kombu.pools import producers

from scheduler.models import Doorbell
from scheduler.queues import is_usable

# A batch of 1,000 messages is about a megabyte in flight.
BATCH = 1_000

# Celery keeps ten senders. Each waits up to 4.5 s for a broker that is silent; who comes later
# does not wait behind them, or the tenth would stand in line for most of a minute.
SENDER_WAIT_S = 1.0


class BrokerAway(Exception):
    """The broker does not take messages; what could not be sent has to be sent again."""

    code = "broker_away"
    retryable = True


def publish(app: Celery, doorbells: Sequence[Doorbell]) -> dict[str, str]:
    """Send all doorbells; return each queue whose doorbells did not go out, with why.

    A queue that the broker refuses keeps no other from being rung.

    Raises:
        BrokerAway: within 6 s, whatever the broker does; some may have gone out.
    """
    if not doorbells:
        return {}
    connection = _write_template(app, str(app.conf.broker_write_url or app.conf.broker_url))
    refused: dict[str, str] = {}
    try:
        with producers[connection].acquire(block=True, timeout=SENDER_WAIT_S) as sender:
            for queue, bells in _by_queue(doorbells).items():
                if not is_usable(queue):
                    refused[queue] = "the broker keeps this name for itself"
                elif error := _refusal(app, bells, sender):
                    refused[queue] = str(error)
    except LimitExceeded as error:
        raise BrokerAway("all senders wait for the broker") from error
    except (OperationalError, OSError) as error:
        raise BrokerAway(str(error)) from error
    except connection.connection_errors as error:
        raise BrokerAway(str(error)) from error
    return refused


def _by_queue(doorbells: Sequence[Doorbell]) -> dict[str, list[Doorbell]]:
    found: dict[str, list[Doorbell]] = {}
    for doorbell in doorbells:
        found.setdefault(doorbell.queue, []).append(doorbell)
    return found


def _refusal(app: Celery, doorbells: Sequence[Doorbell], sender: Any) -> Exception | None:
    """Send the doorbells of one queue; return what the broker answered if it refused them."""
    refusals: tuple[type[Exception], ...] = sender.connection.channel_errors
    caught: tuple[type[Exception], ...] = (OperationalError, *refusals)
    try:
        # The first goes out by itself: it connects, or connects again, within the limits.
        _send(app, doorbells[0], sender)
        # kombu pushes one message a round trip; in batches three times as many go out.
        with sender.batch(max_size=BATCH):
            _send_quickly(app, doorbells[1:], sender)
    except caught as error:
        # With Redis kombu takes any for an outage, and tells what it was as the cause.
        if not isinstance(error, refusals) and not isinstance(error.__cause__, refusals):
            raise
        # RabbitMQ has closed the channel with its answer: the next queue gets another.
        sender.connection.revive(None)
        sender.revive(sender.connection)
        return error
    return None


def write_connection(app: Celery) -> Connection:
    """Return a connection for publishing, whose every wait is short.

    A worker reads with longer limits. A Redis that was frozen held a publish for 30 s with the
    reader's, and for 4.5 s with these: the client tries three times.
    """
    scheme = str(app.conf.broker_write_url or app.conf.broker_url or "").partition("://")[0]
    options: dict[str, object] = {}
    if scheme.startswith("redis"):
        options = {"socket_timeout": 1.5, "socket_connect_timeout": 1.5}
    elif scheme.startswith("amqp"):
        options = {"read_timeout": 3, "write_timeout": 3}
    return app.connection_for_write(transport_options=options)


@lru_cache(maxsize=4)
def _write_template(app: Celery, url: str) -> Connection:
    """Return what kombu's pool copies for each sender; it is never connected itself.

    Made once for each broker: to make it anew took a quarter of the time of one message.
    """
    return write_connection(app)


def _send(app: Celery, doorbell: Doorbell, producer: Producer) -> None:
    app.send_task(
        doorbell.task,
        kwargs=doorbell.kwargs,
        task_id=doorbell.task_id,
        queue=doorbell.queue or None,
        producer=producer,
    )


def _send_quickly(app: Celery, doorbells: Sequence[Doorbell], producer: Producer) -> None:
    """Send to one queue as `send_task` does, with each task's route found and declared once.

    `send_task` spends two thirds of its time on settings and on declaring the queue again:
    10,000 messages took 3.6 s of CPU, and 1.6 s this way.
    """
    routes: dict[str, dict[str, object]] = {}
    for doorbell in doorbells:
        if doorbell.task not in routes:
            wish = {"queue": doorbell.queue} if doorbell.queue else {}
            routes[doorbell.task] = app.amqp.router.route(wish, doorbell.task)
            _send(app, doorbell, producer)
            continue
        message = app.amqp.create_task_message(doorbell.task_id, doorbell.task, (), doorbell.kwargs)
        app.amqp.send_task_message(
            producer, doorbell.task, message, retry=False, declare=(), **routes[doorbell.task]
        )
