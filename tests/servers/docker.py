"""A Docker engine on a small machine of its own, which tests/containers/install.sh makes.

It lives in namespaces: what it starts and mounts ends with it and is reached through it alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from tests.servers.installed import program
from tests.servers.process import REPOSITORY, Server, ServerFailed

MACHINE = Path("/var/cache/syncbeat-docker")
BOOT = REPOSITORY / "tests" / "containers" / "boot.sh"
NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup")
INSTALLED = os.geteuid() == 0 and bool(program("unshare")) and (MACHINE / "installed").exists()

requires_docker = pytest.mark.skipif(
    not INSTALLED, reason=f"no {MACHINE}: tests/containers/install.sh makes it, as root"
)


class DockerHost(Server):
    """The engine, empty but for its images; `folder_there` is a folder of its machine."""

    name: ClassVar[str] = "docker"
    ready_within_s: ClassVar[float] = 60.0

    def __init__(self) -> None:
        super().__init__()
        self.folder_there = MACHINE / "srv" / "syncbeat"

    def argv(self) -> Sequence[str]:
        return ["unshare", *NAMESPACES, "--fork", "--kill-child", str(BOOT), str(MACHINE)]

    def is_ready(self) -> bool:
        try:
            self.type("docker info")
        except (ServerFailed, subprocess.CalledProcessError):
            return False
        return True

    def after_start(self) -> None:
        self.empty()

    def close(self) -> None:
        if self.running and self.is_ready():
            self.empty()
            # unshare itself does not listen; it ends with its child.
            os.kill(self._engine(), signal.SIGTERM)
        super().close()

    def empty(self) -> None:
        """Remove every container, network and volume."""
        self.type("docker ps --all --quiet | xargs --no-run-if-empty docker rm --force")
        self.type("docker network prune --force && docker volume prune --all --force")

    def type(self, commands: str, *, timeout_s: float = 300.0) -> str:
        """Run commands on the machine, in the folder there, and return what they print.

        Raises subprocess.CalledProcessError when one fails.
        """
        return self.run("bash", "-euo", "pipefail", "-c", commands, timeout_s=timeout_s)

    def run(self, *argv: str, timeout_s: float = 300.0) -> str:
        inside = self.folder_there.relative_to(MACHINE)
        self.folder_there.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [
                "nsenter",
                "--all",
                "--target",
                str(self._engine()),
                "env",
                f"--chdir=/{inside}",
                *argv,
            ],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if done.returncode:
            # Without it pytest shows the command alone.
            error = subprocess.CalledProcessError(done.returncode, argv, done.stdout, done.stderr)
            error.add_note(done.stdout + done.stderr)
            raise error
        return done.stdout

    def _engine(self) -> int:
        """Return the process that is number 1 there; raises ServerFailed until it is."""
        below = self.process.members()
        if len(below) < 2:
            raise ServerFailed("docker has not begun")
        return below[1].pid
