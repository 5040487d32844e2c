"""A WebDAV server within the test process that only counts: what goes at once, how often, how fast.

It takes files and forgets what was in them; no server of anybody's does so.
"""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from tests.servers.process import HOST
from tests.servers.remote import Remote

WAITS_S = 5.0
_ENTRY = """<D:response><D:href>{href}</D:href><D:propstat><D:prop>
<D:getlastmodified>Sat, 01 Aug 2026 10:00:00 GMT</D:getlastmodified>{kind}</D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"""
_FOLDER = "<D:resourcetype><D:collection/></D:resourcetype>"


class CountingServer:
    """Counts requests and the uploads at one moment; one waits until `together` have come."""

    def __init__(self, *, together: int = 1) -> None:
        self.together = together
        self.requests_at_s: list[float] = []
        self.most_at_once = 0
        self.sizes: dict[str, int] = {}
        self.received_within_s = 0.0
        self._at_once = 0
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer((HOST, 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def remote(self) -> Remote:
        return Remote("webdav", {"url": f"http://{HOST}:{self._server.server_port}"})

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

    def saw_request(self) -> None:
        with self._changed:
            self.requests_at_s.append(time.monotonic())

    def begin_upload(self) -> None:
        with self._changed:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self._changed.notify_all()
            # So many are sent together, or never.
            self._changed.wait_for(lambda: self.most_at_once >= self.together, WAITS_S)

    def end_upload(self, path: str, size_bytes: int, within_s: float) -> None:
        with self._changed:
            self._at_once -= 1
            self.sizes[path] = size_bytes
            self.received_within_s = max(self.received_within_s, within_s)

    def listing(self, path: str) -> str | None:
        """Return the answer about a path as XML; None where nothing is."""
        if path in self.sizes:
            kind = f"<D:getcontentlength>{self.sizes[path]}</D:getcontentlength><D:resourcetype/>"
            entries = [_ENTRY.format(href=path, kind=kind)]
        elif path.endswith("/"):
            entries = [_ENTRY.format(href=path, kind=_FOLDER)]
        else:
            return None
        return (
            f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">{"".join(entries)}</D:multistatus>'
        )


def _handler(counts: CountingServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PROPFIND(self) -> None:
            self._read()
            counts.saw_request()
            answer = counts.listing(unquote(self.path))
            self._answer(207 if answer else 404, (answer or "").encode())

        def do_MKCOL(self) -> None:
            counts.saw_request()
            self._answer(201)

        def do_PUT(self) -> None:
            counts.saw_request()
            began_s = time.monotonic()
            counts.begin_upload()
            size_bytes = self._read()
            counts.end_upload(unquote(self.path), size_bytes, time.monotonic() - began_s)
            self._answer(201)

        def _read(self) -> int:
            left = size = int(self.headers.get("Content-Length") or 0)
            while left > 0:
                left -= len(self.rfile.read(min(left, 1 << 16)))
            return size

        def _answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing on the terminal."""

    return Handler
