"""The ground the tests stand on, laid before Django reads its settings: no fixture is here.

An early pytest plugin (`-p tests.ground`). It clears the environment of a developer's own
settings, points Syncbeat at a fresh folder and at the database of --database, and after the last
test it removes both and fails the run when a test has left a process behind.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

import psutil
import pytest
from _pytest.terminal import TerminalReporter

from tests.servers.installed import not_run_line
from tests.servers.postgres import PostgresServer
from tests.servers.process import send, short_temp_dir

OURS = ("SYNCBEAT_", "FILESYNC_", "RCLONE_")
OURS_BY_NAME = ("DATABASE_URL", "CELERY_BROKER", "CELERY_SCHEDULE", "LOG_FORMAT", "LOG_LEVEL")
DATABASE_FIXTURES = frozenset({"db", "transactional_db", "live_server"})
# Python's own bookkeeping for shared memory; it ends with the test process.
PYTHONS_OWN = "multiprocessing.resource_tracker"

data_dir_key = pytest.StashKey[Path]()
left_behind_key = pytest.StashKey[list[str]]()
postgres_key = pytest.StashKey[PostgresServer]()
FUZZ_CASES = 15
# Per operation of the API: how often it answered with which status.
fuzzed_key = pytest.StashKey[dict[str, Counter[int]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=["sqlite", "postgres"],
        default="sqlite",
        help="run on this database; on postgres only the tests that touch a database",
    )
    parser.addoption(
        "--broker",
        choices=["redis", "rabbitmq"],
        default="redis",
        help="run the drills on this broker; on rabbitmq only what would differ there",
    )
    parser.addoption(
        "--fuzz-cases",
        type=int,
        default=FUZZ_CASES,
        help="made-up requests per operation of the API, in tests/filesync/api/test_fuzz.py",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    options = early_config.known_args_namespace
    forget_own_settings(os.environ)
    data_dir = short_temp_dir("sb-")
    early_config.stash[data_dir_key] = data_dir
    early_config.add_cleanup(lambda: shutil.rmtree(data_dir, ignore_errors=True))
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    os.environ["SYNCBEAT_DATA_DIR"] = str(data_dir)
    if options.database == "postgres" and not (options.help or options.version):
        os.environ["DATABASE_URL"] = postgres_url(early_config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    database: str = config.getoption("database")
    broker: str = config.getoption("broker")
    chosen = [item for item in items if runs_on(item, database, broker)]
    if left_out := [item for item in items if item not in chosen]:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen


def pytest_collection_finish() -> None:
    """Let the garbage collector skip what all tests share: a tenth of the time went there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def pytest_sessionfinish(session: pytest.Session) -> None:
    left = end_what_was_left(session.config)
    session.config.stash[left_behind_key] = left
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(left_behind_key, []):
        terminalreporter.write_line(f"LEFT BEHIND by a test: {line}", red=True, bold=True)
    if fuzzed := config.stash.get(fuzzed_key, {}):
        for line in fuzzed_lines(fuzzed, each=config.getoption("fuzz_cases") > FUZZ_CASES):
            terminalreporter.write_line(line)
    reports = terminalreporter.stats.get("skipped", [])
    reasons = [str(report.longrepr[2]) for report in reports if isinstance(report.longrepr, tuple)]
    if not_run := not_run_line(reasons):
        terminalreporter.write_line(not_run, red=True, bold=True)


def fuzzed_lines(fuzzed: Mapping[str, Counter[int]], *, each: bool) -> Iterator[str]:
    """Say how many made-up requests were answered how; with `each` of every operation."""
    for label, answers in fuzzed.items() if each else ():
        shown = ", ".join(f"{status}: {count}" for status, count in sorted(answers.items()))
        yield f"{answers.total():6}  {label}  ({shown})"
    total = sum(answers.total() for answers in fuzzed.values())
    yield f"{total} made-up requests were sent to {len(fuzzed)} operations of the API"


def forget_own_settings(environment: MutableMapping[str, str]) -> None:
    """Remove from an environment what a developer may have set for Syncbeat."""
    for name in list(environment):
        if name.startswith(OURS) or name in OURS_BY_NAME:
            del environment[name]


def postgres_url(config: pytest.Config) -> str:
    """Return TEST_DATABASE_URL, or the address of a PostgreSQL started for this run."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        return given
    server = PostgresServer().__enter__()
    config.stash[postgres_key] = server
    config.add_cleanup(server.close)
    return server.url


def runs_on(item: pytest.Item, database: str, broker: str) -> bool:
    """Tell whether a test belongs to the run on a database and a broker."""
    if broker != "redis" and not item.get_closest_marker("each_broker"):
        return False
    if only := item.get_closest_marker("only_on"):
        return database in only.args
    return database == "sqlite" or touches_database(item)


def touches_database(item: pytest.Item) -> bool:
    """Tell whether a test would do something else on another database."""
    if item.get_closest_marker("django_db") or item.get_closest_marker("each_database"):
        return True
    if not DATABASE_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return True
    # Imported here: Django must not be loaded before its settings are named.
    from django.test import TransactionTestCase

    test_class = getattr(item, "cls", None)
    return isinstance(test_class, type) and issubclass(test_class, TransactionTestCase)


def end_what_was_left(config: pytest.Config, *, patience_s: float = 3.0) -> list[str]:
    """End processes that tests have left behind; returns a line for each, empty when none was."""
    server = config.stash.get(postgres_key, None)
    expected = {process.pid for process in server.process.tree()} if server is not None else set()
    data_dir = config.stash[data_dir_key]
    deadline = time.monotonic() + patience_s
    while True:
        left = [process for process in suspects(data_dir) if process.pid not in expected]
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    lines = [line for process in left if (line := described(process))]
    for process in left:
        send(process, signal.SIGKILL)
    return lines


def suspects(data_dir: Path) -> list[psutil.Process]:
    """Return our descendants, and the detached processes that name our data folder."""
    below = [
        process
        for process in psutil.Process().children(recursive=True)
        if PYTHONS_OWN not in (described(process) or PYTHONS_OWN)
    ]
    known = {process.pid for process in below} | {os.getpid()}
    detached = [
        process
        for process in psutil.process_iter()
        if process.pid not in known and str(data_dir) in (described(process) or "")
    ]
    return below + detached


def described(process: psutil.Process) -> str | None:
    """Return the pid and command line of a process; None when it is gone or a zombie."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return " ".join([str(process.pid), *" ".join(process.cmdline()).split()])
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
