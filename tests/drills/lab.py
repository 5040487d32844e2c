"""A lab: one fresh database, one broker and real beats to kill, pause and restart; no promises.

What a drill asks of the database runs in a Django process of the lab's own (`Lab.ask`), as the
tests' Django has its settings read already, with another database.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import socket
import sqlite3
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar
from urllib.parse import urlsplit

from tests.project.system import own_environment, run_command
from tests.servers.postgres import PostgresServer
from tests.servers.process import HOST, REPOSITORY, GuardedProcess, answers_tcp, free_port
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

T = TypeVar("T")
P = ParamSpec("P")
Broker = RedisServer | RabbitmqServer

OURS = "scheduler.beat:CronDatabaseScheduler"
STOCK = "django_celery_beat.schedulers:DatabaseScheduler"

MINUTE_S = 60
BOOTS_WITHIN_S = 40.0
ANSWERS_WITHIN_S = 60.0
PR_SET_PDEATHSIG = 1


class DrillFailed(AssertionError):
    """What a drill waited for did not come; the message ends with the logs of its beats."""


class Databases(ABC):
    """Makes migrated databases, each a copy of one that was migrated once, by `checkout`."""

    @abstractmethod
    def fresh(self, folder: Path) -> str:
        """Return the DATABASE_URL of a new migrated database without rows of ours."""


class SqliteDatabases(Databases):
    def __init__(self, folder: Path, checkout: Path = REPOSITORY) -> None:
        self._template = folder / "template.sqlite3"
        migrate(own_environment(folder, DATABASE_URL=f"sqlite:///{self._template}"), checkout)

    def fresh(self, folder: Path) -> str:
        target = folder / "lab.sqlite3"
        with sqlite3.connect(self._template) as source, sqlite3.connect(target) as copy:
            source.backup(copy)
        return f"sqlite:///{target}"


class PostgresDatabases(Databases):
    """Databases on one server, which outlive the drill and go with the server."""

    _numbers = itertools.count(1)

    def __init__(self, server: PostgresServer, folder: Path, checkout: Path = REPOSITORY) -> None:
        self._server = server
        self._template = f"drill_{os.getpid()}_{next(self._numbers)}"
        self._create(self._template)
        migrate(own_environment(folder, DATABASE_URL=self._url(self._template)), checkout)

    def fresh(self, folder: Path) -> str:
        name = f"{self._template}_{next(self._numbers)}"
        self._create(f'{name}" TEMPLATE "{self._template}')
        return self._url(name)

    def _create(self, what: str) -> None:
        with self._server.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{what}"'.encode())

    def _url(self, name: str) -> str:
        return urlsplit(self._server.url)._replace(path=f"/{name}").geturl()


class Beat:
    """One `celery -A project beat`, below a guardian; its log is a file of its own."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log_file: Path,
        scheduler: str,
        checkout: Path = REPOSITORY,
    ) -> None:
        argv = [sys.executable, "-m", "celery", "-A", "project", "beat", "--loglevel", "INFO"]
        argv += ["--pidfile", "", "--scheduler", scheduler]
        self._log_file = log_file
        self._process = GuardedProcess(
            argv, log_file=log_file, environment=environment, cwd=checkout
        )
        self.name = f"{socket.gethostname()}:{self._process.pid}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.running

    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    def lines(self, level: str, *, of: str = "") -> list[str]:
        """Return the log's lines of a level, and of one logger where it is named."""
        return [line for line in self.log().splitlines() if f" {level} " in line and of in line]

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._process.signal_all(signal.SIGKILL)
        self._process.kill()

    def stop(self) -> int:
        """Ask it to end (SIGTERM), wait, and return its exit code."""
        return self._process.end(signal.SIGTERM, patience_s=20.0)

    def pause(self) -> None:
        self._process.signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.signal_all(signal.SIGCONT)


class Lab:
    """A database, a broker, and the beats on them; all of it goes with the context."""

    def __init__(self, database_url: str, broker: Broker, folder: Path) -> None:
        self.database_url = database_url
        self.broker = broker
        self.beats: list[Beat] = []
        self._folder = folder
        self._webs = 0
        self._environment = own_environment(
            folder / "data",
            DATABASE_URL=database_url,
            CELERY_BROKER=broker.url,
            SYNCBEAT_TIME_ZONE="UTC",
            PYTHONUNBUFFERED="1",
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        desk = ProcessPoolExecutor(
            1,
            mp_context=get_context("spawn"),
            initializer=_set_up_django,
            initargs=(self._environment,),
        )
        self._desk = self._stack.enter_context(desk)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for beat in self.beats:
            beat.kill()
        self._stack.close()

    def ask(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a module's function in the lab's Django process; both ways must fit pickle."""
        return self._desk.submit(_answer, function, args, kwargs).result(ANSWERS_WITHIN_S)

    def start_beat(
        self,
        *,
        scheduler: str = OURS,
        ready: bool = True,
        checkout: Path = REPOSITORY,
        **settings: str,
    ) -> Beat:
        """Start one more beat and wait until it ticks, unless it is not to be `ready` yet."""
        log_file = self._folder / f"beat{len(self.beats)}.log"
        beat = Beat(self._environment | settings, log_file, scheduler, checkout)
        self.beats.append(beat)
        if ready:
            wanted = (" schedules loaded", " stands by") if scheduler == OURS else ("Starting",)
            self.wait_for(
                lambda: any(words in beat.log() for words in wanted),
                f"{beat.name} ticks",
                timeout_s=BOOTS_WITHIN_S,
            )
        return beat

    def manage(self, *arguments: str, checkout: Path = REPOSITORY) -> str:
        """Run a manage.py command and return what it prints; it must exit with 0."""
        done = run_command(arguments, self._environment, checkout=checkout)
        if done.returncode != 0:
            raise self.failed(f"manage.py {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def start_command(self, *arguments: str) -> GuardedProcess:
        """Start a manage.py command, and do not wait for its end."""
        argv = [sys.executable, "manage.py", *arguments]
        log_file = self._folder / f"{arguments[0]}.log"
        return GuardedProcess(argv, log_file=log_file, environment=self._environment)

    def start_web(
        self,
        *,
        argv: Sequence[str] = (),
        checkout: Path = REPOSITORY,
        listener: socket.socket | None = None,
        **settings: str,
    ) -> GuardedProcess:
        """Start a web server and wait until it serves; it ends with the lab.

        It listens on `web_port`, or on the socket that is handed to it as systemd does it.
        """
        self._webs += 1
        port = self.web_port = listener.getsockname()[1] if listener else free_port()
        options = ["--bind", f"{HOST}:{port}", "--worker-class", "gthread", "--no-control-socket"]
        argv = argv or [sys.executable, "-m", "gunicorn", "project.wsgi:application", *options]
        if listener is not None:
            hand_over = f'exec 3<&{listener.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
            argv = ["bash", "-c", hand_over, "bash", *argv]
        log_file = self._folder / f"web{self._webs}.log"
        web = GuardedProcess(
            argv,
            log_file=log_file,
            environment={"DJANGO_SETTINGS_MODULE": "project.settings"}
            | self._environment
            | settings,
            cwd=checkout,
            pass_fds=[listener.fileno()] if listener is not None else [],
        )
        self._stack.callback(web.kill)
        self.wait_for(
            lambda: "Booting worker" in log_file.read_text() and answers_tcp(port),
            "the web serves",
            timeout_s=BOOTS_WITHIN_S,
        )
        return web

    def wait_for(self, probe: Callable[[], T | None], what: str, *, timeout_s: float) -> T:
        """Return the first truthy answer of `probe`, asked every 50 ms."""
        deadline = time.monotonic() + timeout_s
        while not (found := probe()):
            if time.monotonic() > deadline:
                raise self.failed(f"waited {timeout_s:.0f} s in vain until {what}")
            time.sleep(0.05)
        return found

    def failed(self, what: str) -> DrillFailed:
        logs = [f"--- {beat.name}\n{beat.log()[-3000:]}" for beat in self.beats]
        return DrillFailed("\n".join([what, *logs]))


def migrate(environment: Mapping[str, str], checkout: Path = REPOSITORY) -> None:
    done = run_command(["migrate", "--verbosity", "0"], environment, checkout=checkout)
    if done.returncode != 0:
        raise DrillFailed(f"migrate: {done.stderr}")


def slot_in(at_least_s: float) -> float:
    """Return the next full minute that is at least so many seconds away, as a Unix time."""
    return (time.time() + at_least_s) // MINUTE_S * MINUTE_S + MINUTE_S


def sleep_until(moment: float) -> None:
    """Sleep until a Unix time; one that has passed is no error."""
    time.sleep(max(0.0, moment - time.time()))


def stay_within_a_minute(seconds: float) -> None:
    """Sleep over the next full minute if it is less than so many seconds away."""
    slot = slot_in(0.0)
    if slot - time.time() < seconds:
        sleep_until(slot)


def _set_up_django(environment: Mapping[str, str]) -> None:
    """Make this new process a Django one of the lab, which dies with the tests."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.clear()
    os.environ.update(environment, DJANGO_SETTINGS_MODULE="project.settings", LOG_LEVEL="error")
    import django

    django.setup()


def _answer(
    function: Callable[..., T], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> T:
    from django.db import connections

    try:
        return function(*args, **kwargs)
    finally:
        # Nothing of the drill may hang on a connection that this process keeps.
        connections.close_all()
