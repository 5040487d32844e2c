"""WebDAV servers: what all have, and one in Python without hashes or times, as netdisks are."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Sequence
from typing import ClassVar

from tests.servers.process import Server, answers_tcp
from tests.servers.remote import Remote


class DavServer(Server):
    """A WebDAV server over a folder, with one account."""

    def __init__(self) -> None:
        super().__init__()
        self.account = "dav"
        self.password = secrets.token_urlsafe(12)
        self.root = self.folder / "root"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def remote(self) -> Remote:
        options = {"url": self.url, "vendor": "other", "user": self.account, "pass": self.password}
        return Remote("webdav", options)

    def is_ready(self) -> bool:
        return answers_tcp(self.port)


class WebdavServer(DavServer):
    """wsgidav: Python, and as plain as WebDAV can be."""

    name: ClassVar[str] = "webdav"

    def prepare(self) -> None:
        self.root.mkdir()
        accounts = {self.account: {"password": self.password}}
        settings = {
            "host": self.host,
            "port": self.port,
            "provider_mapping": {"/": str(self.root)},
            "simple_dc": {"user_mapping": {"*": accounts}},
            "http_authenticator": {"domain_controller": None},
            "dir_browser": {"enable": False},
        }
        (self.folder / "wsgidav.json").write_text(json.dumps(settings))

    def argv(self) -> Sequence[str]:
        program = [sys.executable, "-m", "wsgidav.server.server_cli"]
        return [*program, "--config", str(self.folder / "wsgidav.json")]
