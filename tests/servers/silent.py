"""A server that takes every connection and never says a word, as a black hole behind a firewall."""

from __future__ import annotations

import socket
import threading
from typing import Self


class SilentServer:
    """Accepts on a loopback port and counts; what is sent to it is not read."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._socket.getsockname()[1]
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, name="silent", daemon=True)

    @property
    def connections(self) -> int:
        """Return how many connections it has taken so far."""
        return len(self._held)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Wakes the accept; a close alone does not.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for held in [*self._held, self._socket]:
            held.close()

    def _accept(self) -> None:
        while True:
            try:
                self._held.append(self._socket.accept()[0])
            except OSError:
                return
