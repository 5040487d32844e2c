"""Targets of notifications on loopback: a webhook receiver and a mail server, in this process.

They record what arrives; they run in threads, as nothing here kills or freezes them.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import threading
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.servers.http import HttpServer, QuietHandler
from tests.servers.process import HOST, free_port


class WebhookReceiver(HttpServer):
    """Records every request; answers `status`, or redirects to `location` where it is set.

    While `gate` is cleared it answers nobody.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.status = 200
        self.location = ""
        self.paths: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        receiver = self

        class Handler(QuietHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                receiver.paths.append(self.path)
                if body:
                    receiver.bodies.append(json.loads(body))
                receiver.gate.wait()
                self.send_response(receiver.status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = _answer
            do_POST = _answer

        super().__init__(Handler)

    @property
    def titles(self) -> list[str]:
        """Return the titles of the messages that arrived, oldest first."""
        return [str(body["title"]) for body in self.bodies]


class MailServer:
    """An SMTP server without a login; `mails` are those that arrived, oldest first.

    While `gate` is cleared it takes no recipient, and so no mail.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.mails: list[EmailMessage] = []
        self.port = free_port()
        self._controller = Controller(self, hostname=HOST, port=self.port)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await asyncio.to_thread(self.gate.wait)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        self.mails.append(email.message_from_bytes(content, policy=email.policy.default))
        return "250 OK"

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._controller.stop()

    @property
    def url(self) -> str:
        return (
            f"mailto://{HOST}:{self.port}/ops@example.org"
            f"?smtp={HOST}&from=syncbeat@example.org&mode=insecure"
        )
