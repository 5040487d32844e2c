"""Fixtures of the drills: databases to copy, and a lab of each test's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drills.lab import Broker, Databases, Lab, PostgresDatabases, SqliteDatabases
from tests.servers.installed import skip_unless_installed
from tests.servers.process import short_temp_dir
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = short_temp_dir("sb-drill-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def databases(
    pytestconfig: pytest.Config,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Databases:
    """Return the maker of fresh databases on what --database names."""
    folder = tmp_path_factory.mktemp("migrated")
    if pytestconfig.getoption("database") == "sqlite":
        return SqliteDatabases(folder)
    return PostgresDatabases(request.getfixturevalue("postgres_server"), folder)


@pytest.fixture
def broker(pytestconfig: pytest.Config) -> Iterator[Broker]:
    """Return a broker of the test's own, of the kind that --broker names."""
    if pytestconfig.getoption("broker") == "redis":
        server: Broker = RedisServer()
    else:
        skip_unless_installed("rabbitmq")
        server = RabbitmqServer()
    with server:
        yield server


@pytest.fixture
def lab(databases: Databases, broker: Broker, folder: Path) -> Iterator[Lab]:
    with Lab(databases.fresh(folder), broker, folder) as lab:
        yield lab
