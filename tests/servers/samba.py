"""Samba's smbd from Debian, with a configuration and a password database of its own; needs root."""

from __future__ import annotations

import getpass
import secrets
import subprocess
from collections.abc import Sequence
from typing import ClassVar

from tests.servers.installed import program
from tests.servers.process import Server, ServerFailed, answers_tcp
from tests.servers.remote import Remote

SHARE = "share"
CONFIG = """\
[global]
server role = standalone server
interfaces = lo
bind interfaces only = yes
smb ports = {port}
disable netbios = yes
passdb backend = tdbsam
private dir = {folder}/private
lock directory = {folder}/lock
state directory = {folder}/state
cache directory = {folder}/cache
pid directory = {folder}
ncalrpc dir = {folder}/ncalrpc
logging = file
log file = {folder}/server.log
load printers = no

[{share}]
path = {folder}/root
read only = no
"""


class SambaServer(Server):
    """smbd with one share over a folder and one account, which is that of the tests."""

    name: ClassVar[str] = "samba"

    def __init__(self) -> None:
        super().__init__()
        self.account = getpass.getuser()
        self.password = secrets.token_urlsafe(12)
        self.root = self.folder / "root"
        self.config = self.folder / "smb.conf"

    @property
    def remote(self) -> Remote:
        options = {
            "host": self.host,
            "port": str(self.port),
            "user": self.account,
            "pass": self.password,
        }
        return Remote("smb", options, path=SHARE)

    def prepare(self) -> None:
        for name in ("root", "private", "lock", "state", "cache", "ncalrpc"):
            (self.folder / name).mkdir()
        self.config.write_text(CONFIG.format(port=self.port, folder=self.folder, share=SHARE))
        add = [program("smbpasswd") or "smbpasswd", "-c", str(self.config), "-s", "-a"]
        done = subprocess.run(
            [*add, self.account],
            input=f"{self.password}\n{self.password}\n",
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise ServerFailed(f"samba: no account: {done.stdout} {done.stderr}")

    def argv(self) -> Sequence[str]:
        smbd = program("smbd") or "smbd"
        return [smbd, "--foreground", "--no-process-group", "--configfile", str(self.config)]

    def is_ready(self) -> bool:
        return answers_tcp(self.port)
