"""A pool process starts without the connections, and the locks, of its worker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import current_app
from celery.fixups import django as fixups
from django.conf import settings
from kombu.utils.imports import symbol_by_name

from tests.servers.process import REPOSITORY


def test_a_new_pool_process_forgets_the_connections_of_its_worker() -> None:
    """Celery sees to it for the pools that it takes for processes, which it tells by a name."""
    fixup = fixups.DjangoWorkerFixup(current_app)  # type: ignore[attr-defined]  # the stubs lack it
    fixup.worker = SimpleNamespace(pool_cls=symbol_by_name(settings.CELERY_WORKER_POOL))
    assert fixup._is_prefork()


# A thread of a worker is within a transaction while another pool process is forked.
FORKED = """
import os, threading, time
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
django.setup()
from django.db import OperationalError, connections, transaction
from django.utils import timezone
from filesync import startup
from scheduler.models import Heartbeat

now = timezone.now()
Heartbeat.objects.create(role="WORKER", name="a", started_at=now, seen_at=now)
connections["default"].settings_dict["OPTIONS"]["timeout"] = 1
connections.close_all()
inside, go_on = threading.Event(), threading.Event()
read, write = os.pipe()

def hold():
    with transaction.atomic():
        Heartbeat.objects.update(name="b")
        inside.set()
        go_on.wait()

def fork(check):
    pid = os.fork()
    if not pid:
        check()
        try:
            Heartbeat.objects.update(name="c")
        except OperationalError:
            os._exit(3)
        os._exit(4)
    if check is unchecked:
        go_on.set()
        while startup._connected:
            time.sleep(0.01)
        os.write(write, b".")
    print(check.__name__, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

def unchecked():
    os.read(read, 1)  # its worker's thread has ended

checked = startup._leave_if_connected
startup._repeat("hold", 3600, hold)
inside.wait()
fork(checked)
fork(unchecked)
fork(checked)
"""


@pytest.mark.only_on("sqlite")
def test_a_pool_process_that_inherits_locks_of_sqlite_leaves(tmp_path: Path) -> None:
    environment = {**os.environ, "SYNCBEAT_DATA_DIR": str(tmp_path)}
    for arguments in (["manage.py", "migrate", "--verbosity=0"], ["-c", FORKED]):
        ran = subprocess.run(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    assert ran.stdout.splitlines() == [
        # The check ends it before it writes.
        "_leave_if_connected 0",
        # Without it the lock is held for ever, although the thread has long ended.
        "unchecked 3",
        # One that is forked while no thread is connected writes.
        "_leave_if_connected 4",
    ]
