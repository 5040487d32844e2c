"""A whole Syncbeat as its user starts it: `manage.py up` and what is typed beside it; no promises.

It runs below no guardian, as what it leaves behind by itself is what the tests want to see. It
dies with the test process instead.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

import psutil
import requests

from tests.servers.process import HOST, REPOSITORY, free_port, short_temp_dir

T = TypeVar("T")

STARTS_WITHIN_S = 100.0
STOPS_WITHIN_S = 15.0
ANSWERS_WITHIN_S = 15.0
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class SystemFailed(AssertionError):
    """The system did not do in time what was waited for; the end of its log is in the message."""


class Client(requests.Session):
    """Calls one system's HTTP routes; signs each call with a token where it has one."""

    def __init__(self, base: str, token: str = "") -> None:
        super().__init__()
        self.base = base
        self.trust_env = False
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send `body` as JSON; redirects are answers, not followed."""
        return self.request(
            method,
            f"{self.base}{path}",
            json=body,
            headers=dict(headers or {}),
            timeout=ANSWERS_WITHIN_S,
            allow_redirects=False,
        )


class System:
    """`manage.py up` with its own data folder, port and environment.

    The folder and the port stay the same over stop, kill and restart; both go with the context.
    The data folder's name has a space and Chinese in it, as a user's may.
    """

    def __init__(self, **settings: str) -> None:
        self.folder = short_temp_dir("sb-up-")
        self.data_dir = self.folder / "数据 1"
        self.files = self.data_dir / "files"
        self.port = free_port()
        self.base = f"http://{HOST}:{self.port}"
        self.environment = own_environment(
            self.data_dir, SYNCBEAT_PORT=str(self.port), SYNCBEAT_TIME_ZONE="Asia/Shanghai"
        ) | dict(settings)
        self._log_file = self.folder / "up.log"
        self._up: subprocess.Popen[bytes] | None = None
        self._token = ""

    def __enter__(self) -> Self:
        try:
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
    def running(self) -> bool:
        return self._up is not None and self._up.poll() is None

    def start(self) -> None:
        """Start and wait until it says that it is up; raises SystemFailed with its log."""
        if self.running:
            return
        offset = len(self.log())
        with self._log_file.open("ab") as log:
            self._up = start_command(["up"], self.environment, output=log)
        self.wait_for(
            lambda: "Ctrl-C stops it" in self.log()[offset:] or not self.running,
            "the system is up",
            timeout_s=STARTS_WITHIN_S,
        )
        if not self.running:
            raise SystemFailed(f"`manage.py up` ended at once:\n{self.log()[offset:]}")

    def send(self, number: signal.Signals) -> int:
        """Signal the supervisor alone, and wait for its end; returns its exit code."""
        assert self._up is not None
        self._up.send_signal(number)
        try:
            return self._up.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise self.failed(f"{number.name} did not end it in {STOPS_WITHIN_S:.0f} s") from None

    def close(self) -> None:
        """End all of it, whatever state it is in, and remove the folder."""
        if self.running:
            assert self._up is not None
            self._up.terminate()
            try:
                self._up.wait(STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._up.kill()
                self._up.wait()
        for process in processes_of(self.data_dir):
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tree(self) -> list[psutil.Process]:
        """Return the supervisor and all that runs below it."""
        assert self._up is not None
        supervisor = psutil.Process(self._up.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def log(self) -> str:
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    def failed(self, what: str) -> SystemFailed:
        return SystemFailed(f"{what}; the end of its log:\n{self.log()[-4000:]}")

    def wait_for(self, probe: Callable[[], T | None], what: str, *, timeout_s: float) -> T:
        """Return the first truthy answer of `probe`; raises SystemFailed with the log."""
        found = wait_until(probe, timeout_s=timeout_s)
        if not found:
            raise self.failed(f"waited {timeout_s:.0f} s in vain until {what}")
        return found

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another manage.py command beside it, as from a second terminal."""
        return run_command(arguments, self.environment)

    def query(self, expression: str) -> object:
        """Evaluate a Django expression in a process of its own; its value must fit JSON.

        `TaskResult`, `PeriodicTask`, `IntervalSchedule` and `SyncRun` are at hand.
        """
        code = (
            "import json\n"
            "from django_celery_results.models import TaskResult\n"
            "from django_celery_beat.models import IntervalSchedule, PeriodicTask\n"
            "from filesync.models import SyncRun\n"
            f"print('ANSWER', json.dumps({expression}, default=str))"
        )
        done = self.manage("shell", "--no-imports", "-c", code)
        answer = re.search(r"^ANSWER (.*)$", done.stdout, re.MULTILINE)
        if answer is None:
            raise SystemFailed(f"{expression}: {done.stdout}{done.stderr}")
        return json.loads(answer[1])

    def celery(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `celery -A project ...` beside it."""
        return run([sys.executable, "-m", "celery", "-A", "project", *arguments], self.environment)

    @property
    def password(self) -> str:
        """Return the admin's password, which the first start prints once."""
        found = re.search(r"Sign in as admin with the password (\S+)", self.log())
        if found is None:
            raise self.failed("it printed no password")
        return found[1]

    def client(self) -> Client:
        """Return a client that is the admin, by a token of `manage.py create_token`."""
        if not self._token:
            self._token = self.manage("create_token", "admin").stdout.strip()
        return Client(self.base, self._token)

    def anonymous(self) -> Client:
        return Client(self.base)


def own_environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """Return the whole environment of a system: nothing of a developer's own gets in."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(data_dir.parent),
        "LANG": "C.UTF-8",
        "SYNCBEAT_DATA_DIR": str(data_dir),
        **settings,
    }


def start_command(
    arguments: Sequence[str], environment: Mapping[str, str], *, output: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a manage.py command that stops itself when the test process dies."""
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        cwd=REPOSITORY,
        process_group=0,
        preexec_fn=lambda: _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),
    )


def run_command(
    arguments: Sequence[str], environment: Mapping[str, str], *, checkout: Path = REPOSITORY
) -> subprocess.CompletedProcess[str]:
    """Run a manage.py command to its end."""
    return run([sys.executable, "manage.py", *arguments], environment, checkout=checkout)


def run(
    argv: Sequence[str], environment: Mapping[str, str], *, checkout: Path = REPOSITORY
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(argv),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=dict(environment),
        cwd=checkout,
        timeout=60,
    )


def wait_until(probe: Callable[[], T | None], *, timeout_s: float) -> T | None:
    """Return the first truthy answer of `probe`, or its last one when the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = probe()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Return the live processes that work in a data folder.

    Redis overwrites its environment with its title and rclone is given none, but both name the
    folder in their command line.
    """
    return [process for process in psutil.process_iter() if _works_in(process, data_dir)]


def still_alive(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return those that run; a zombie does not, and a recycled pid is another process."""
    return [
        process
        for process in processes
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


def _works_in(process: psutil.Process, data_dir: Path) -> bool:
    try:
        return (
            process.status() != psutil.STATUS_ZOMBIE
            and process.pid != os.getpid()
            and (
                process.environ().get("SYNCBEAT_DATA_DIR") == str(data_dir)
                or str(data_dir) in " ".join(process.cmdline())
            )
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
