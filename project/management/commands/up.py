"""`manage.py up`: everything on one machine under one supervisor, until Ctrl-C."""

from __future__ import annotations

import fcntl
import signal
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from project import accounts, embedded
from project.addresses import base_url
from project.console import print_block, printer
from project.services import build_services, check_ready_to_start
from project.supervisor import ServiceNotReady, Supervisor


class Command(BaseCommand):
    help = "Migrate, then run broker, web, worker and beat together until Ctrl-C."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--quiet", action="store_true", help="do not print the services' logs")

    def handle(self, *args: object, **options: object) -> None:
        with running_system(quiet=bool(options["quiet"])) as system:
            print_where(accounts.ensure_admin())
            system.serve()


class RunningSystem:
    """A started system; `serve` blocks until somebody stops it."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    @property
    def stopping(self) -> bool:
        return self._supervisor.stopping

    def serve(self) -> None:
        self._supervisor.watch()

    def tend(self) -> None:
        """Restart what ended; a caller that does not `serve` calls it now and then."""
        self._supervisor.tend()


@contextmanager
def running_system(*, quiet: bool) -> Iterator[RunningSystem]:
    """Prepare the data, start all services, stop them at the end of the block.

    Raises:
        CommandError: something cannot start; the message says what and what to do.
    """
    data_dir: Path = settings.DATA_DIR
    check_ready_to_start(data_dir)
    say = printer(quiet=quiet)
    with _only_one(data_dir):
        errors = [message for message in run_checks() if message.is_serious()]
        if errors:
            said = "; ".join(f"{error.msg}: {error.hint or error.id}" for error in errors)
            raise CommandError(said)
        if embedded.redis_binary() is None and settings.CELERY_BROKER_URL == "filesystem://":
            say("up", "no redis-server was found: messages go through files, half a second each")
        say("up", "preparing the database")
        call_command("migrate", interactive=False, verbosity=0)
        for root in settings.FILESYNC_LOCAL_ROOTS[:1]:
            if root.is_relative_to(data_dir):
                root.mkdir(parents=True, exist_ok=True)
        supervisor = Supervisor(build_services(data_dir), say)
        with _stop_on_signals(supervisor):
            try:
                supervisor.start()
                yield RunningSystem(supervisor)
            except ServiceNotReady as error:
                raise CommandError(f"{error}; its last lines above say why") from None
            finally:
                say("up", "stopping")
                supervisor.stop()


def print_where(password: str | None) -> None:
    """Print where the system is, and the admin's one-time password when it was just made."""
    base = base_url(settings.WEB_BIND, settings.WEB_PORT)
    lines = [f"Syncbeat is up: {base}/admin/   API: {base}/api/v1/   docs: {base}/api/docs"]
    if password is not None:
        lines.append(
            f"Sign in as {accounts.ADMIN} with the password {password} (shown once: change it)"
        )
    print_block([*lines, "Ctrl-C stops it."])


@contextmanager
def _stop_on_signals(supervisor: Supervisor) -> Iterator[None]:
    def stop(_signum: int, _frame: FrameType | None) -> None:
        supervisor.request_stop()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data folder: two systems on one SQLite and one socket would fight."""
    with open(data_dir / "up.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"another `manage.py up` runs with the data folder {data_dir}; "
                "stop it, or set SYNCBEAT_DATA_DIR to another folder"
            ) from None
        yield
