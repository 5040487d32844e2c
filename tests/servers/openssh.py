"""OpenSSH's sshd from Debian, the SFTP server most people run; its account is the tests' own."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import asyncssh

from tests.servers.installed import program
from tests.servers.process import Server, answers_tcp
from tests.servers.remote import Remote
from tests.servers.sftp import one_line_pem

# sshd refuses to start as root without this folder, which Debian's service file makes.
PRIVILEGE_SEPARATION = Path("/run/sshd")


class OpensshServer(Server):
    """sshd that lets the account of the tests in by a key of its own, with a shell and SFTP."""

    name: ClassVar[str] = "openssh"

    def __init__(self, *, max_sessions: int = 10) -> None:
        super().__init__()
        self.max_sessions = max_sessions
        self.account = getpass.getuser()
        self.root = self.folder / "root"
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")

    @property
    def key_pem(self) -> str:
        """Return the account's private key in rclone's one-line form."""
        return one_line_pem(self.client_key)

    @property
    def remote(self) -> Remote:
        options = {
            "host": self.host,
            "port": str(self.port),
            "user": self.account,
            "key_pem": self.key_pem,
        }
        return Remote("sftp", options, path=str(self.root))

    def prepare(self) -> None:
        self.root.mkdir()
        if os.geteuid() == 0:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        host_key = self.folder / "host_key"
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(host_key)
        host_key.chmod(0o600)
        self.client_key.write_public_key(self.folder / "authorized_keys")
        settings = {
            "ListenAddress": f"{self.host}:{self.port}",
            "HostKey": str(host_key),
            "AuthorizedKeysFile": str(self.folder / "authorized_keys"),
            # It would refuse keys below a folder as open as /tmp.
            "StrictModes": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "UsePAM": "no",
            "PidFile": "none",
            "Subsystem": "sftp internal-sftp",
            # rclone opens connections in parallel; the default starts to drop them at ten.
            "MaxStartups": "100",
            "MaxSessions": str(self.max_sessions),
        }
        lines = [f"{name} {value}" for name, value in settings.items()]
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")

    def argv(self) -> Sequence[str]:
        # sshd starts itself again for each connection, so it wants its full path.
        sshd = program("sshd") or "sshd"
        return [sshd, "-D", "-e", "-f", str(self.folder / "sshd_config")]

    def is_ready(self) -> bool:
        return answers_tcp(self.port)
