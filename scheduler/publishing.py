"""Sends doorbells to the broker, many in one round trip where the broker allows it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from celery import Celery
from kombu import Connection, Producer
from kombu.exceptions import LimitExceeded, OperationalError
from kombu.pools import producers

from scheduler.models import Doorbell

# A batch of 1,000 messages is about a megabyte in flight.
BATCH = 1_000

# Celery keeps ten senders. Each waits up to 4.5 s for a broker that is silent; who comes later
# does not wait behind them, or the tenth would stand in line for most of a minute.
SENDER_WAIT_S = 1.0


class BrokerAway(Exception):
    """The broker does not take messages; what could not be sent has to be sent again."""

    code = "broker_away"
    retryable = True


def publish(app: Celery, doorbells: Sequence[Doorbell]) -> None:
    """Send all doorbells; some may have gone out when this raises.

    Raises:
        BrokerAway: within 6 s, whatever the broker does.
    """
    if not doorbells:
        return
    connection = _write_template(app, str(app.conf.broker_write_url or app.conf.broker_url))
    try:
        with producers[connection].acquire(block=True, timeout=SENDER_WAIT_S) as sender:
            # The first goes out by itself: it connects, or connects again, within the limits.
            _send(app, doorbells[0], sender)
            # kombu pushes one message a round trip; in batches three times as many go out.
            with sender.batch(max_size=BATCH):
                _send_quickly(app, doorbells[1:], sender)
    except LimitExceeded as error:
        raise BrokerAway("all senders wait for the broker") from error
    except (OperationalError, OSError) as error:
        raise BrokerAway(str(error)) from error
    except connection.connection_errors as error:
        raise BrokerAway(str(error)) from error


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
    """Send as `send_task` does, with each route found and its queue declared once.

    `send_task` spends two thirds of its time on settings and on declaring the queue again:
    10,000 messages took 3.6 s of CPU, and 1.6 s this way.
    """
    routes: dict[tuple[str, str], dict[str, object]] = {}
    for doorbell in doorbells:
        key = doorbell.task, doorbell.queue
        if key not in routes:
            wish = {"queue": doorbell.queue} if doorbell.queue else {}
            routes[key] = app.amqp.router.route(wish, doorbell.task)
            _send(app, doorbell, producer)
            continue
        message = app.amqp.create_task_message(doorbell.task_id, doorbell.task, (), doorbell.kwargs)
        app.amqp.send_task_message(
            producer, doorbell.task, message, retry=False, declare=(), **routes[key]
        )
