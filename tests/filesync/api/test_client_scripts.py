"""The scripts of docs/api.md, run as they are written, against a server with a worker beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from filesync.models import ApiToken, SyncConfig, SyncRun
from filesync.services import leases
from filesync.services.execution import execute
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import close_connections, make_config, make_user
from tests.project.docs import code_blocks

pytestmark = [pytest.mark.django_db(transaction=True)]

PAGE = "docs/api.md"


@pytest.fixture
def worker() -> Iterator[None]:
    """Run what is queued, as a worker does, until the test is over."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.1):
            for run in SyncRun.objects.filter(state=SyncRun.State.QUEUED):
                claim = leases.claim_run(str(run.task_id), worker="worker@here")
                if claim is not None:
                    execute(claim)
        close_connections()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


def run_script(argv: list[str], live_server: LiveServer, folder: Path) -> list[str]:
    """Return the lines that a script prints; it must end well."""
    _, token = ApiToken.issue(make_user("superuser"), "script")
    environment = os.environ | {
        "API": f"{live_server.url}/api/v1",
        "TOKEN": token,
        "FOLDER": str(folder),
    }
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.usefixtures("worker")
def test_the_curl_script_does_what_it_says(local_root: Path, live_server: LiveServer) -> None:
    (script,) = code_blocks(PAGE, "bash")
    (local_root / "photos").mkdir()
    (local_root / "photos" / "a.jpg").write_text("a")

    lines = run_script(["bash", "-c", script], live_server, local_root)

    config = SyncConfig.objects.get()
    first, partial, mended, hooked = SyncRun.objects.order_by("pk")
    task, status, failures, partly, mend, disabled, enabled, hook, warnings = lines
    assert (task, status, failures) == (str(first.task_id), "SUCCESS", "[]")
    assert (partly, mend) == ("PARTIAL", "SUCCESS")
    assert (mended.only_failed, mended.retry_of) == (True, partial)
    assert (local_root / "backup" / "2026" / "b.jpg").read_text() == "new\n"
    assert disabled == enabled == f"[{config.pk}]"
    assert hook == "PENDING"
    assert "No worker" in warnings
    assert (local_root / "backup" / "a.jpg").read_text() == "a"
    assert [one.trigger for one in (first, partial, hooked)] == ["MANUAL", "MANUAL", "HOOK"]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("good", [True, False])
def test_the_python_script_ends_as_the_run_does(
    local_root: Path, live_server: LiveServer, *, good: bool
) -> None:
    (script,) = code_blocks(PAGE, "python")
    config = make_config(local_root, name="photos", max_attempts=1)
    if good:
        (local_root / "source").mkdir()
        (local_root / "source" / "a.jpg").write_text("a")
    argv = [sys.executable, "-c", script, str(config.pk)]

    if good:
        assert run_script(argv, live_server, local_root) == ["photos: SUCCEEDED, 1 files "]
    else:
        with pytest.raises(AssertionError, match="photos: FAILED, 0 files"):
            run_script(argv, live_server, local_root)
