"""An FTP server in Python (pyftpdlib)."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from typing import ClassVar

from tests.servers.process import Server, answers_tcp
from tests.servers.remote import Remote


class FtpServer(Server):
    """pyftpdlib over a folder, with one account that may write."""

    name: ClassVar[str] = "ftp"

    def __init__(self) -> None:
        super().__init__()
        self.account = "ftp"
        self.password = secrets.token_hex(8)
        self.root = self.folder / "root"

    @property
    def remote(self) -> Remote:
        options = {
            "host": self.host,
            "port": str(self.port),
            "user": self.account,
            "pass": self.password,
        }
        return Remote("ftp", options)

    def prepare(self) -> None:
        self.root.mkdir()

    def argv(self) -> Sequence[str]:
        where = ["-i", self.host, "-p", str(self.port), "-d", str(self.root), "-w"]
        account = ["-u", self.account, "-P", self.password]
        return [sys.executable, "-m", "pyftpdlib", *where, *account]

    def is_ready(self) -> bool:
        return answers_tcp(self.port)
