"""An SFTP server in Python (asyncssh), for every machine; openssh.py has the one most people run.

Run as a program it serves one folder: python -m tests.servers.sftp FOLDER PORT ACCOUNT, with
host_key, password and authorized_keys in FOLDER.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import asyncssh

from tests.servers.process import HOST, Server, answers_tcp
from tests.servers.remote import Remote


class SftpServer(Server):
    """asyncssh over a folder, with one account that has a password and a key."""

    name: ClassVar[str] = "sftp"

    def __init__(self) -> None:
        super().__init__()
        self.account = "sftp"
        self.password = secrets.token_urlsafe(12)
        self.root = self.folder / "root"
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")

    @property
    def key_pem(self) -> str:
        """Return the account's private key in rclone's one-line form."""
        return one_line_pem(self.client_key)

    @property
    def remote(self) -> Remote:
        return Remote("sftp", {**self._address(), "pass": self.password})

    @property
    def remote_with_key(self) -> Remote:
        return Remote("sftp", {**self._address(), "key_pem": self.key_pem})

    def prepare(self) -> None:
        self.root.mkdir()
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(self.folder / "host_key")
        self.client_key.write_public_key(self.folder / "authorized_keys")
        (self.folder / "password").write_text(self.password)

    def argv(self) -> Sequence[str]:
        settings = [str(self.folder), str(self.port), self.account]
        return [sys.executable, "-m", "tests.servers.sftp", *settings]

    def is_ready(self) -> bool:
        return answers_tcp(self.port)

    def _address(self) -> dict[str, str]:
        # Without a shell behind it, rclone must not ask the server to run md5sum.
        return {
            "host": self.host,
            "port": str(self.port),
            "user": self.account,
            "shell_type": "none",
        }


class OneAccount(asyncssh.SSHServer):
    """Lets one account in by its password; asyncssh itself checks the key."""

    def __init__(self, account: str, password: str) -> None:
        self.account = account
        self.password = password

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return username == self.account and hmac.compare_digest(password, self.password)


def one_line_pem(key: asyncssh.SSHKey) -> str:
    """Return a private key as rclone's key_pem wants it: one line, newlines written as \\n."""
    return key.export_private_key().decode().strip().replace("\n", "\\n")


async def serve(folder: Path, port: int, account: str) -> None:
    """Serve FOLDER/root until the process ends."""
    password = (folder / "password").read_text()
    root = folder / "root"
    server = await asyncssh.listen(
        HOST,
        port,
        server_factory=lambda: OneAccount(account, password),
        server_host_keys=[str(folder / "host_key")],
        authorized_client_keys=str(folder / "authorized_keys"),
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()),
        allow_scp=False,
    )
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
