"""How a server's process lives: start, wait until ready, stop, kill, pause; no server's own facts.

Each process stands below a guardian that ends all of it when the test process dies.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil

HOST = "127.0.0.1"
REPOSITORY = Path(__file__).resolve().parents[2]
GUARDIAN = Path(__file__).with_name("guardian.py")
# Ports from 32768 up are handed to outgoing connections, so one of those could be taken
# between choosing it and binding it.
SERVER_PORTS = range(20_000, 32_000)


class ServerFailed(Exception):
    """A server did not come up, or did not answer in time."""


class Server(ABC):
    """One server process with a folder of its own, a port and a log.

    The folder goes with the context; the port stays the same over kill and restart.
    """

    name: ClassVar[str]
    ready_within_s: ClassVar[float] = 30.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        self.folder = short_temp_dir(f"sb-{self.name}-")
        self.host = HOST
        self.port = free_port()
        self.log_file = self.folder / "server.log"
        self._process: GuardedProcess | None = None

    @abstractmethod
    def argv(self) -> Sequence[str]:
        """Return the command line; called at every start."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether a client would be served now."""

    def prepare(self) -> None:  # noqa: B027 (a server may have nothing to prepare)
        """Write what the first start needs into the folder."""

    def after_start(self) -> None:  # noqa: B027 (nor anything to do then)
        """Create what clients expect, such as a bucket; called after every start."""

    def user(self) -> str:
        """Return the account to run as; empty is the one that runs the tests."""
        return ""

    def environment(self) -> Mapping[str, str]:
        """Return the whole environment of the process."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"}

    def __enter__(self) -> Self:
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def process(self) -> GuardedProcess:
        """Return the started process; raises ServerFailed when it was stopped or killed."""
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._process

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def start(self) -> None:
        """Start and wait until it serves; raises ServerFailed with the end of its log."""
        if self.running:
            raise ServerFailed(f"{self.name} is running already")
        self._process = GuardedProcess(
            self.argv(),
            log_file=self.log_file,
            environment=self.environment(),
            user=self.user(),
        )
        self._wait_until_ready()
        self.after_start()

    def stop(self) -> None:
        """Ask it to end and wait; what is left of it after 10 s is killed."""
        if self._process is not None:
            self._process.end(self.stop_signal)
            self._process = None

    def kill(self) -> None:
        """End it and all its children at once, as a crash would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """Stop when running, then start on the same port with the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it and its children: connections stay open and nobody answers (SIGSTOP)."""
        self.process.signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self.process.signal_all(signal.SIGCONT)

    def close(self) -> None:
        """Stop and remove the folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Return what it wrote to stdout and stderr so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.ready_within_s
        while not self.is_ready():
            if self.running and time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            said = "did not answer in time" if self.running else "ended at once"
            self.kill()
            raise ServerFailed(f"{self.name} {said}; the end of its log:\n{self.log()[-2000:]}")


class GuardedProcess:
    """A running program of which nothing outlives the test process; its output goes to a file.

    It has a session of its own, so that an interrupt at the keyboard reaches the tests only.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log_file: Path,
        environment: Mapping[str, str],
        user: str = "",
        cwd: Path = REPOSITORY,
        pass_fds: Collection[int] = (),
    ) -> None:
        command = [sys.executable, "-I", "-S", str(GUARDIAN), str(os.getpid()), user, *argv]
        with log_file.open("ab") as log:
            self._guardian = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=cwd,
                pass_fds=tuple(pass_fds),
                # In a group of this session, what is paused would make the kernel hang up on the
                # whole group, the guardian too, when the test process dies.
                start_new_session=True,
            )
        self._program: psutil.Process | None = None
        while self._program is None and self.running:
            self._program = next(iter(self.members()), None)

    @property
    def pid(self) -> int:
        """Return the pid of the program itself; raises ServerFailed when it ended at once."""
        if self._program is None:
            raise ServerFailed("the program ended before it could be seen; its log says why")
        return self._program.pid

    @property
    def running(self) -> bool:
        return self._guardian.poll() is None

    def members(self) -> list[psutil.Process]:
        """Return the program and all its descendants, without the guardian."""
        try:
            return psutil.Process(self._guardian.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def tree(self) -> list[psutil.Process]:
        """Return the guardian and everything below it."""
        return [psutil.Process(self._guardian.pid), *self.members()]

    def signal_all(self, number: signal.Signals) -> None:
        """Signal the program and all its descendants."""
        for process in self.members():
            send(process, number)

    def end(self, number: signal.Signals = signal.SIGTERM, *, patience_s: float = 10.0) -> int:
        """Signal the program and wait; what is left after `patience_s` is killed.

        Returns the exit code, which is 128 and the signal's number when a signal ended it.
        """
        self.signal_all(signal.SIGCONT)
        if self._program is not None:
            send(self._program, number)
        try:
            return self._guardian.wait(patience_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """Kill the program and all its descendants, and wait until they are gone."""
        self._guardian.terminate()
        return self._guardian.wait()


def send(process: psutil.Process, number: signal.Signals) -> None:
    """Signal a process; nothing happens when it is gone."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    for port in random.sample(SERVER_PORTS, 50):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise ServerFailed(f"no free port among 50 tried in {SERVER_PORTS}")


def answers_tcp(port: int) -> bool:
    """Tell whether something accepts connections on a loopback port."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def short_temp_dir(prefix: str) -> Path:
    """Create a private folder that has room for a unix socket's path and lets others reach it.

    Those paths end at 100 characters, and servers that leave root behind must get to their folder.
    """
    parent = Path(tempfile.gettempdir()).resolve()
    if len(str(parent)) > 40 or not reachable_by_others(parent):
        parent = Path("/tmp")
    return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))


def reachable_by_others(folder: Path) -> bool:
    """Tell whether every account may enter a folder."""
    return all(path.stat().st_mode & 0o001 for path in [folder, *folder.parents])
