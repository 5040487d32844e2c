"""Drills on the database under real workers: away for a while, runs live on or fence themselves.

PostgreSQL is stopped; SQLite is locked by another process's transaction, which its writers meet
as a database that does not answer.
"""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.drills.lab import Broker, Databases, PostgresDatabases, SqliteDatabases
from tests.drills.run_lab import (
    STARTS_WITHIN_S,
    RecordProperty,
    RunLab,
    Transfer,
    hurry,
    run_lab,
)
from tests.servers.postgres import PostgresServer

pytestmark = [
    pytest.mark.drill,
    pytest.mark.each_database,
    pytest.mark.each_broker,
    pytest.mark.timeout(300),
]

SHORT_OUTAGE_S = 20.0
# A run fences itself 35 s after its last renewal.
LONG_OUTAGE_S = 60.0
# A lease lasts 60 s.
LONGEST_OUTAGE_S = 75.0


class Ground:
    """A place for databases of its own, as these drills take them away."""

    def __init__(self, databases: Databases, server: PostgresServer | None) -> None:
        self._databases = databases
        self._server = server

    def fresh(self, folder: Path) -> str:
        return self._databases.fresh(folder)

    def away(self, lab: RunLab) -> AbstractContextManager[None]:
        """Take the lab's database away while the block runs."""
        if self._server is not None:
            return stopped(self._server)
        return locked(Path(lab.database_url.removeprefix("sqlite:///")))


@contextmanager
def stopped(server: PostgresServer) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def locked(file: Path) -> Iterator[None]:
    database = sqlite3.connect(file, isolation_level=None, timeout=20.0)
    database.execute("BEGIN EXCLUSIVE")
    yield
    database.execute("ROLLBACK")
    database.close()


@pytest.fixture(scope="module")
def ground(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("outages")
    if pytestconfig.getoption("database") == "sqlite":
        yield Ground(SqliteDatabases(folder), None)
        return
    with PostgresServer() as server:
        yield Ground(PostgresDatabases(server, folder), server)


@pytest.fixture
def lab(ground: Ground, broker: Broker, folder: Path) -> Iterator[RunLab]:
    with run_lab(ground.fresh(folder), broker, folder) as lab:
        yield lab


def test_a_run_lives_on_while_the_database_is_away_and_its_outcome_is_told(
    lab: RunLab, ground: Ground, record_property: RecordProperty
) -> None:
    lab.start_worker()
    long, short = lab.queue(lab.add_syncs(1, seconds=35) + lab.add_syncs(1, seconds=8))
    transfers = [lab.wait_for_transfer(run_id) for run_id in (long, short)]
    with ground.away(lab):
        away_at = time.monotonic()
        wait_until_gone(lab, transfers[1])
        record_property("ended_while_away_after_s", time.monotonic() - away_at)
        sleep_until_away_for(away_at, SHORT_OUTAGE_S)
        assert transfers[0] in lab.sampler.now()
    for run in lab.end():
        assert (run.state, run.attempt) == ("SUCCEEDED", 1)
        assert run.files_transferred == len(lab.source(run))
        lab.assert_in_step(run)
    assert lab.sampler.of(long) >= {transfers[0].pid}


def test_a_run_whose_database_stays_away_ends_itself_and_is_run_again(
    lab: RunLab, ground: Ground, record_property: RecordProperty
) -> None:
    lab.start_worker()
    config_ids = lab.add_syncs(1, seconds=100)
    [run_id] = lab.queue(config_ids)
    transfer = lab.wait_for_transfer(run_id)
    lab.ask(hurry, config_ids)
    with ground.away(lab):
        away_at = time.monotonic()
        wait_until_gone(lab, transfer, within_s=LONG_OUTAGE_S)
        record_property("fenced_after_s", time.monotonic() - away_at)
        sleep_until_away_for(away_at, LONG_OUTAGE_S)
    back_at = time.monotonic()
    [run] = lab.end()
    record_property("ended_after_return_s", time.monotonic() - back_at)
    assert run.state == "SUCCEEDED"
    record_property("attempt", run.attempt)
    lab.assert_in_step(run)


def test_an_outcome_is_told_by_the_sweep_when_the_database_was_away_for_too_long(
    lab: RunLab, ground: Ground, record_property: RecordProperty
) -> None:
    worker = lab.start_worker()
    [run_id] = lab.queue(lab.add_syncs(1, seconds=8))
    transfer = lab.wait_for_transfer(run_id)
    with ground.away(lab):
        away_at = time.monotonic()
        wait_until_gone(lab, transfer)
        ended_after_s = time.monotonic() - away_at
        sleep_until_away_for(away_at, LONGEST_OUTAGE_S)
        assert "the outcome of run" in worker.log()
        worker.send(signal.SIGKILL)
        worker.wait()
    record_property("ended_while_away_after_s", ended_after_s)
    lab.start_worker()
    back_at = time.monotonic()
    [run] = lab.end()
    record_property("told_after_return_s", time.monotonic() - back_at)
    assert (run.state, run.attempt) == ("SUCCEEDED", 1)
    assert run.files_transferred == len(lab.source(run))
    assert lab.sampler.of(run_id) == {transfer.pid}, "it was run again"


def test_a_database_away_for_60_s_across_the_end_of_a_run_loses_and_doubles_nothing(
    lab: RunLab, ground: Ground, record_property: RecordProperty
) -> None:
    lab.start_worker()
    [run_id] = lab.queue(lab.add_syncs(1, seconds=8))
    transfer = lab.wait_for_transfer(run_id)
    with ground.away(lab):
        away_at = time.monotonic()
        wait_until_gone(lab, transfer)
        sleep_until_away_for(away_at, LONG_OUTAGE_S)
    back_at = time.monotonic()
    [run] = lab.end()
    record_property("told_after_return_s", time.monotonic() - back_at)
    assert (run.state, run.attempt) == ("SUCCEEDED", 1)
    assert run.files_transferred == len(lab.source(run))
    assert lab.sampler.of(run_id) == {transfer.pid}, "it was run again"


def sleep_until_away_for(away_at: float, seconds: float) -> None:
    time.sleep(max(0.0, away_at + seconds - time.monotonic()))


def wait_until_gone(lab: RunLab, transfer: Transfer, *, within_s: float = STARTS_WITHIN_S) -> None:
    lab.wait_for(
        lambda: transfer not in lab.sampler.now(), "its rclone is gone", timeout_s=within_s
    )
