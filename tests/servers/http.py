"""An HTTP server on loopback in this process, for what nothing here kills or freezes."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.servers.process import HOST


class QuietHandler(BaseHTTPRequestHandler):
    """Answers without a line on standard error for each request."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class HttpServer:
    """Serves with a handler, in threads, while its context is open."""

    def __init__(self, handler: type[QuietHandler]) -> None:
        self._server = ThreadingHTTPServer((HOST, 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"
