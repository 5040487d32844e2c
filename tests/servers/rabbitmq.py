"""RabbitMQ from Debian, with a node name, a data folder and an epmd of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import amqp

from tests.servers.installed import RABBITMQ_SERVER
from tests.servers.process import Server, answers_tcp, free_port


class RabbitmqServer(Server):
    """A RabbitMQ node on loopback; durable queues survive kill() and restart().

    With `consumer_timeout_s` it gives a message to another when it was not acknowledged so long.
    """

    name: ClassVar[str] = "rabbitmq"
    ready_within_s: ClassVar[float] = 60.0

    def __init__(self, *, consumer_timeout_s: int | None = None) -> None:
        super().__init__()
        self.consumer_timeout_s = consumer_timeout_s
        self.distribution_port = free_port()
        self.epmd_port = free_port()

    @property
    def url(self) -> str:
        """Return the address as celery writes it (CELERY_BROKER)."""
        return f"amqp://guest:guest@{self.host}:{self.port}//"

    def prepare(self) -> None:
        (self.folder / "enabled_plugins").write_text("[].\n")
        if self.consumer_timeout_s is not None:
            limits = f"{{consumer_timeout, {self.consumer_timeout_s}000}}"
            # How often it looks; once a minute by itself.
            limits += ", {channel_tick_interval, 1000}"
            (self.folder / "own.config").write_text(f"[{{rabbit, [{limits}]}}].\n")

    def environment(self) -> Mapping[str, str]:
        return {
            **super().environment(),
            # The node starts an epmd that detaches; the guardian ends that one too.
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": self.host,
            # Killed, it would leave a report in the folder that the tests run in.
            "ERL_CRASH_DUMP": str(self.folder / "erl_crash.dump"),
            "RABBITMQ_NODENAME": f"sb{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": self.host,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "own.config"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }

    def argv(self) -> Sequence[str]:
        return [str(RABBITMQ_SERVER)]

    def is_ready(self) -> bool:
        if not answers_tcp(self.port):
            return False
        connection = self.connection()
        try:
            connection.connect()
        except (OSError, amqp.exceptions.AMQPError):
            return False
        connection.close()
        return True

    def waiting_task_ids(self, queue: str) -> list[str]:
        """Return the ids of celery's messages in a queue, oldest first; they stay there."""
        found: list[str] = []
        with self.connection() as connection:
            channel = connection.channel()
            try:
                while message := channel.basic_get(queue):
                    found.append((message.headers or {})["id"])
            except amqp.exceptions.NotFound:
                return []
        return found

    def connection(self) -> amqp.Connection:
        """Return a connection that is not open yet."""
        return amqp.Connection(host=f"{self.host}:{self.port}", connect_timeout=5, read_timeout=5)
