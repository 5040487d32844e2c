"""A drill on the upgrade of docs/operations.md: the version before the newest migration goes on.

While the database is migrated, and after it, the old worker, the old beat and the old web server do
their work; then they are replaced one after the other.
"""

from __future__ import annotations

import io
import itertools
import socket
import subprocess
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

import pytest

from tests.drills.lab import (
    MINUTE_S,
    Broker,
    Databases,
    PostgresDatabases,
    SqliteDatabases,
    sleep_until,
    slot_in,
)
from tests.drills.run_lab import SLOW, RecordProperty, RunLab, run_lab, runs
from tests.drills.test_cron_drills import fired, unschedule, wait_for_runs
from tests.project.docs import unit_argv
from tests.servers.process import HOST, REPOSITORY

pytestmark = [
    pytest.mark.drill,
    pytest.mark.each_database,
    pytest.mark.each_broker,
    pytest.mark.timeout(500),
]

LONG, SHORT = 2, 6
SECONDS = 25
SLOTS = 4
STARTS_WITHIN_S = 30.0
MIGRATIONS = ["filesync/migrations", "scheduler/migrations"]

# The old version's own words: it does not know the tests of this one.
ADD_SYNCS = """
from datetime import datetime
from filesync.models import Storage, SyncConfig
root, first, slow, names = {root!r}, {first!r}, {slow!r}, {names!r}
disk = Storage.objects.create(name="disk", backend="local", root=root, max_concurrent_runs=64)
for name, bandwidth in names:
    SyncConfig.objects.create(
        name=name, cron="* * * * *", timezone="UTC", start_time=datetime.fromisoformat(first),
        bandwidth=bandwidth, transfers=1, method="OVERWRITE" if bandwidth else "INCREMENTAL",
        source_storage=disk, source_path=f"from {{name}}",
        destination_storage=disk, destination_path=f"to {{name}}",
    )
"""


def git(*arguments: str) -> bytes:
    argv = ["git", "-c", "safe.directory=*", "-C", str(REPOSITORY), *arguments]
    try:
        return subprocess.run(argv, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the version before this one is not at hand: {error}")


@pytest.fixture
def before(folder: Path) -> Path:
    """Return a checkout of the version before the newest migration."""
    newest = git("log", "-1", "--format=%H", "--diff-filter=A", "--", *MIGRATIONS).decode().strip()
    checkout = folder / "before"
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", f"{newest}~1"))) as archive:
        archive.extractall(checkout, filter="data")
    return checkout


@pytest.fixture
def lab(
    before: Path, broker: Broker, folder: Path, request: pytest.FixtureRequest
) -> Iterator[RunLab]:
    template = folder / "template"
    template.mkdir()
    databases: Databases
    if request.config.getoption("database") == "sqlite":
        databases = SqliteDatabases(template, before)
    else:
        server = request.getfixturevalue("postgres_server")
        databases = PostgresDatabases(server, template, before)
    with run_lab(databases.fresh(folder), broker, folder) as lab:
        yield lab


def wait_for_long_runs(lab: RunLab) -> None:
    """Wait until all short runs of a slot have ended and all long ones transfer."""
    lab.wait_for(
        lambda: (
            len(lab.sampler.now()) == LONG
            and sum(not run.finished_at for run in lab.ask(runs)) == LONG
        ),
        "only long runs go on",
        timeout_s=STARTS_WITHIN_S,
    )


def test_an_upgrade_under_runs_costs_no_slot_and_no_run(
    lab: RunLab, before: Path, record_property: RecordProperty
) -> None:
    long = [(name, SLOW) for name in lab.make_sources(LONG, seconds=SECONDS)]
    names = [*long, *((name, "") for name in lab.make_sources(SHORT))]
    old_worker, old_beat = lab.start_worker(checkout=before), lab.start_beat(checkout=before)
    first = slot_in(20.0)
    slots = [first + number * MINUTE_S for number in range(SLOTS)]
    moment = datetime.fromtimestamp(first, tz=UTC).isoformat()
    code = ADD_SYNCS.format(root=str(lab.files), first=moment, slow=SLOW, names=names)
    lab.manage("shell", "--no-imports", "-c", code, checkout=before)

    sleep_until(first)
    wait_for_long_runs(lab)
    lab.manage("migrate")
    assert lab.sampler.now(), "the migration came too late to matter"
    sleep_until(slots[1])
    wait_for_runs(lab, 2 * len(names))
    new_worker = lab.start_worker()
    sleep_until(slots[2])
    wait_for_runs(lab, 3 * len(names))
    wait_for_long_runs(lab)
    left = {run.pk: run.config_id for run in lab.ask(runs) if not run.finished_at}
    old_worker.stop()
    new_beat = lab.start_beat()
    old_beat.stop()
    sleep_until(slots[3])
    wait_for_runs(lab, 4 * len(names))
    lab.ask(unschedule, sorted({pk for pk, _ in lab.ask(fired)}))
    ended = lab.end()

    ids = {run.config_id for run in ended}
    assert len(ids) == len(names)
    assert Counter(lab.ask(fired)) == Counter((pk, slot) for pk in ids for slot in slots)
    # The version before may end by force: then the next slot finds the run waiting for its lease.
    skipped = [run for run in ended if run.state == "SKIPPED"]
    again = {run.pk for run in ended if run.attempt > 1}
    assert again <= set(left), lab.failed("tried again")
    assert {(run.slot, run.config_id) for run in skipped} <= {
        (slots[3], left[pk]) for pk in again
    }, lab.failed("skipped")
    assert {run.state for run in ended if run not in skipped} == {"SUCCEEDED"}, lab.failed("ends")
    record_property("cut_again_skipped", (len(left), len(again), len(skipped)))
    workers = {
        slot: {run.worker.partition("@")[0] for run in ended if run.slot == slot and run.worker}
        for slot in slots
    }
    assert workers[slots[0]] == {old_worker.name}
    assert old_worker.name in workers[slots[1]], "the old one did nothing on the new schema"
    assert workers[slots[3]] == {new_worker.name}
    assert "Traceback" not in old_worker.log(), lab.failed("old worker")
    assert old_beat.lines("ERROR") == new_beat.lines("ERROR") == []
    for run in ended:
        lab.assert_in_step(run)


# --- the web server

ADD_READER = """
from django.contrib.auth.models import User
from filesync.models import ApiToken
print("TOKEN", ApiToken.issue(User.objects.create_superuser("drill"), "drill")[1])
"""
CALLERS = 4
PATHS = ("/health/ready", "/admin/login/", "/api/v1/sync/configs", "/api/v1/sync/runs")


class Callers:
    """Programs that ask without a pause, each over a new connection, and note every answer."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token
        self._over = threading.Event()
        self.answers: list[str] = []
        self._threads = [
            threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self, number: int) -> None:
        for path in itertools.cycle(PATHS[number:] + PATHS[:number]):
            if self._over.is_set():
                return
            try:
                call = HTTPConnection(HOST, self._port, timeout=60)
                call.request("GET", path, headers={"Authorization": f"Bearer {self._token}"})
                self.answers.append(f"{path} {call.getresponse().status}")
                call.close()
            except (OSError, HTTPException) as error:
                self.answers.append(f"{path} {error!r}")


def test_an_upgrade_of_the_web_server_refuses_nobody(
    lab: RunLab, before: Path, record_property: RecordProperty
) -> None:
    told = lab.manage("shell", "--no-imports", "-c", ADD_READER, checkout=before)
    token = told.partition("TOKEN ")[2].strip()
    unit = REPOSITORY / "docs" / "systemd" / "syncbeat-web.service"
    with socket.create_server((HOST, 0), backlog=512) as listener:
        old = lab.start_web(checkout=before, listener=listener)
        with Callers(lab.web_port, token) as callers:

            def are_answered(more: int) -> None:
                wanted = len(callers.answers) + more
                lab.wait_for(
                    lambda: len(callers.answers) >= wanted, "they are answered", timeout_s=60
                )

            are_answered(50)
            lab.manage("migrate")
            are_answered(50)
            assert old.end(patience_s=40.0) == 0
            before_new = len(callers.answers)
            new = lab.start_web(argv=unit_argv(unit.read_text()), listener=listener)
            are_answered(50)
        assert new.end(patience_s=40.0) == 0
        wrong = [answer for answer in callers.answers if not answer.endswith(" 200")]
        assert wrong == []
        record_property("answers", (before_new, len(callers.answers) - before_new))
    lab.end()
