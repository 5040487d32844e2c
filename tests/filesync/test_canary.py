"""A secret is looked for everywhere a whole run leaves a trace: it is nowhere."""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from django.apps import apps
from django.db import connection, models
from django.test import Client
from django.urls import reverse
from django_celery_results.models import TaskResult

from filesync import engine
from filesync.models import Storage, SyncConfig, SyncRun
from filesync.services import storages
from filesync.services.execution import execute
from filesync.services.run_logs import text_lines
from tests.filesync.engine.lab import write_tree
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    claim,
    client_of,
    database_bytes,
    make_config,
    make_run,
    make_storage,
    make_user,
)
from tests.filesync.remotes import storage_on
from tests.servers.webdav import WebdavServer

ENCRYPTION = "canary-encryption-8f02"
WRONG = "canary-wrong-password-93d1"


def spellings(account: str, secrets: list[str]) -> list[bytes]:
    """Give each form in which a secret could be seen."""
    found: list[bytes] = []
    for secret in secrets:
        login = base64.b64encode(f"{account}:{secret}".encode())
        found += [secret.encode(), quote(secret, safe="").encode(), login.rstrip(b"=")]
        found += [base64.b64encode(secret.encode()).rstrip(b"="), json.dumps(secret).encode()]
    return found


class Witness:
    """Looks at every process below this one whenever the engine says something."""

    def __init__(self) -> None:
        self.seen = b""
        self.processes: set[int] = set()

    def __call__(self, event: engine.Event) -> None:
        for process in psutil.Process().children(recursive=True):
            for name in ("cmdline", "environ"):
                try:
                    self.seen += Path(f"/proc/{process.pid}/{name}").read_bytes()
                except OSError:
                    continue  # it has ended
            self.processes.add(process.pid)


def every_row() -> str:
    """Give the text of every column of every row of every table."""
    found: list[str] = []
    for model in apps.get_models(include_auto_created=True):
        manager: models.Manager[models.Model] = model._base_manager
        found += [str(row) for row in manager.values_list()]
    return "\n".join(found)


def answers(run: SyncRun) -> Iterator[bytes]:
    """Give what the API and the admin say of everything that took part."""
    assert run.config is not None
    storage = run.config.destination_storage
    api = client_of("superuser")
    for path in (
        *("storages", f"storages/{storage.pk}", f"storages/{storage.pk}/browse", "configs"),
        *(f"configs/{run.config.pk}", "runs", f"runs/{run.pk}", f"runs/{run.pk}/items"),
    ):
        answer = api.get(f"/api/v1/sync/{path}")
        assert answer.status_code == 200, path
        yield answer.content
    yield api.get(f"/api/v1/task/scheduler/task-result/{run.task_id}").content
    yield api.get("/api/v1/task/scheduler/task-status").content
    yield api.post(f"/api/v1/sync/storages/{storage.pk}/test").content
    broken = {"options": {"colour": "red"}, "secrets": {"pass": WRONG, "nothing": WRONG}}
    yield api.patch(f"/api/v1/sync/storages/{storage.pk}", broken, format="json").content
    browser = Client()
    browser.force_login(make_user("superuser"))
    for name, row in (("storage", storage), ("syncconfig", run.config), ("syncrun", run)):
        for page in ("change", "history", "delete"):
            url = reverse(f"admin:filesync_{name}_{page}", args=[row.pk])
            yield browser.get(url).content
        yield browser.get(reverse(f"admin:filesync_{name}_changelist")).content
    yield browser.get(reverse("admin:index")).content
    yield from form_answers(browser, storage)
    for result in TaskResult.objects.all():
        url = reverse("admin:django_celery_results_taskresult_change", args=[result.pk])
        yield browser.get(url).content


def form_answers(browser: Client, storage: Storage) -> Iterator[bytes]:
    """Give what the form of a storage answers: filled in, refused, tested and browsed."""
    change = reverse("admin:filesync_storage_change", args=[storage.pk])
    form = {
        **{"name": storage.name, "backend": storage.backend, "root": storage.root},
        **{f"option_{name}": value for name, value in storage.options.items()},
        **{"secret_pass": WRONG, "secret_headers": WRONG, "max_concurrent_runs": "2"},
    }
    elsewhere = form | {"option_url": "http://127.0.0.1:1", "secret_pass": ""}
    for values in (form | {"option_url": ""}, elsewhere):
        refused = browser.post(change, values)
        assert refused.status_code == 200
        yield refused.content
    for pk in ([], [storage.pk]):
        for action in ("test", "browse"):
            url = reverse(f"admin:filesync_storage_{action}_draft", args=pk)
            for values in (form, elsewhere, form | {"option_url": ""}):
                answer = browser.post(url, values)
                assert answer.status_code == 200
                yield answer.content
    yield browser.get(change, {"backend": "sftp"}).content


@pytest.mark.django_db(transaction=True)
def test_a_secret_is_nowhere_to_be_seen(
    local_root: Path, webdav_server: WebdavServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    write_tree(local_root / "source", {"a.txt": "1", "b/c": "2"})
    good = storage_on(webdav_server.remote, "canary")
    secrets = {**good.secrets, "encryption_password": ENCRYPTION, "encryption_salt": ENCRYPTION}
    good.encryption, good.secrets = Storage.Encryption.STANDARD, secrets
    good.save()
    bad = storage_on(webdav_server.remote, "canary")
    bad.secrets = {"pass": WRONG}
    bad.save()
    witness = Witness()
    runs = []
    for storage in (good, bad):
        config = make_config(
            local_root,
            source_storage=make_storage(local_root),
            destination_storage=storage,
            method=SyncConfig.Method.FULL,
        )
        run = make_run(config)
        execute(claim(run), watch=witness)
        run.refresh_from_db()
        runs.append(run)
        storages.browse(storage, "", 1)
    assert [run.state for run in runs] == ["SUCCEEDED", "FAILED"]

    places: dict[str, bytes] = {"processes": witness.seen, "own log": caplog.text.encode()}
    places["answers"] = b"\n".join(text for run in runs for text in answers(run))
    places["rows"] = every_row().encode()
    # In the rows they are compressed.
    places["logs"] = "\n".join(line for run in runs for line in text_lines(run.pk)).encode()
    if connection.vendor == "sqlite":
        places["database file"] = database_bytes()
        assert good.name.encode() in places["database file"]
    for path in local_root.parent.rglob("*"):
        if path.is_file():
            places[str(path)] = path.read_bytes() + os.fsencode(path)

    assert len(witness.processes) >= 4
    assert b"--use-json-log" in witness.seen
    assert b"Copied" in places["logs"]
    assert str(good.pk).encode() in places["rows"]
    canaries = spellings(webdav_server.account, [webdav_server.password, ENCRYPTION, WRONG])
    hits = [(place, word) for place, text in places.items() for word in canaries if word in text]
    assert hits == []
