"""Rows that tests of file sync stand on: storages, configs, runs, users; no test stands here."""

from __future__ import annotations

import base64
import json
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TypedDict, Unpack

import pytest
from celery import current_app
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import connection, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from django_celery_results.models import TaskResult
from pytest_django.fixtures import SettingsWrapper
from rest_framework.test import APIClient

from filesync.models import ApiToken, Storage, SyncConfig, SyncRun
from filesync.services import leases
from scheduler.clock import from_now
from tests.servers.redis import RedisServer

SLOT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)

# Two that are no group: without any right, and with every one.
NO_GROUP = ("nobody", "superuser")

_numbers = count(1)


class StorageFields(TypedDict, total=False):
    """The columns of a storage that a test may choose."""

    name: str
    backend: str
    root: str
    options: dict[str, str]
    secrets: dict[str, str]
    max_concurrent_runs: int
    remark: str


class ConfigFields(TypedDict, total=False):
    """The columns of a sync config that a test may choose."""

    name: str
    remark: str
    enable: bool
    cron: str
    timezone: str
    start_time: datetime | None
    end_time: datetime | None
    misfire_policy: str
    misfire_grace_s: int
    jitter_s: int
    source_storage: Storage
    source_path: str
    destination_storage: Storage
    destination_path: str
    method: SyncConfig.Method
    compare: SyncConfig.Compare
    filters: str
    renames: str
    min_size_bytes: int | None
    max_size_bytes: int | None
    min_age_s: int | None
    max_age_s: int | None
    bandwidth: str
    transfers: int
    checkers: int | None
    calls_per_s: float | None
    max_bytes: int | None
    max_files: int | None
    max_attempts: int
    retry_delay_s: int
    max_delete_files: int | None
    max_delete_percent: int | None
    max_shrink_percent: int | None
    keep_deleted_days: int


class RunFields(TypedDict, total=False):
    """The columns of a run that a test may choose."""

    task_id: uuid.UUID
    state: SyncRun.State
    reason: SyncRun.Reason
    trigger: SyncRun.Trigger
    queue: str
    slot: datetime | None
    retry_of: SyncRun | None
    restore_of: SyncRun | None
    only_failed: bool
    dry_run: bool
    force: bool
    attempt: int
    not_before: datetime | None
    rung_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    failure_class: str
    guard: str
    message: str
    advice: str
    retryable: bool | None
    progress: dict[str, object]
    plan: dict[str, object] | None


@pytest.fixture(name="local_root")
def allow_local_root(tmp_path: Path, settings: SettingsWrapper) -> Path:
    """Return a folder below which local storages are allowed, and no other is."""
    root = tmp_path / "files"
    root.mkdir()
    settings.FILESYNC_LOCAL_ROOTS = [root]
    settings.FILESYNC_WORK_DIR = tmp_path / "work"
    settings.FILESYNC_LOG_DIR = tmp_path / "logs"
    return root


@pytest.fixture(name="broker")
def use_broker(redis_server: RedisServer) -> Iterator[RedisServer]:
    """Return a real broker with an empty queue, to which this process publishes."""
    before = current_app.conf.broker_url
    redis_server.client().flushall()
    point_broker_at(redis_server.url)
    yield redis_server
    point_broker_at(before)


def point_broker_at(url: str) -> None:
    """Let this process publish to another broker from now on."""
    current_app.conf.update(broker_url=url, broker_write_url=url)
    # Celery keeps the pools of the broker before; kombu keeps one for each address itself, and
    # one that was closed stays closed.
    current_app._pool = None  # type: ignore[attr-defined]  # the stubs leave these two out
    current_app.amqp._producer_pool = None  # type: ignore[attr-defined]


def waiting_messages(broker: RedisServer) -> list[tuple[str, object]]:
    """Return the task id and the arguments of each message in the queue, oldest first."""
    found: list[tuple[str, object]] = []
    for text in reversed(broker.client().lrange("celery", 0, -1)):
        message = json.loads(text)
        _, kwargs, _ = json.loads(base64.b64decode(message["body"]))
        found.append((message["headers"]["id"], kwargs))
    return found


def doorbell(run: SyncRun) -> tuple[str, dict[str, object]]:
    """Return the task id and the arguments of the message that rings for a run."""
    return str(run.task_id), {"config_id": run.config_id, "run_id": run.pk}


def make_storage(root: Path, /, **fields: Unpack[StorageFields]) -> Storage:
    """Save a storage: a local one at `root` unless told otherwise."""
    values: StorageFields = {"name": f"storage {next(_numbers)}", "backend": "local"}
    if fields.get("backend", "local") == "local":
        values["root"] = str(root)
    return Storage.objects.create(**(values | fields))


def make_config(root: Path, **fields: Unpack[ConfigFields]) -> SyncConfig:
    """Save a config from the folder `source` to `destination` of one storage at `root`.

    It has no cron, so that nothing but the test starts it.
    """
    values: ConfigFields = {
        "name": f"config {next(_numbers)}",
        "source_path": "source",
        "destination_path": "destination",
    }
    if "source_storage" not in fields:
        values["source_storage"] = make_storage(root)
    values["destination_storage"] = fields.get("source_storage") or values["source_storage"]
    return SyncConfig.objects.create(**(values | fields))


def make_run(config: SyncConfig, **fields: Unpack[RunFields]) -> SyncRun:
    """Save a run: a queued one unless told otherwise; a running one gets a lease."""
    run = SyncRun(config=config, config_name=config.name, **fields)
    if run.state == SyncRun.State.RUNNING:
        run.lease_token = uuid.uuid4()
        run.started_at = run.started_at or timezone.now()
        run.attempt = run.attempt or 1
    if run.is_terminal:
        run.finished_at = run.finished_at or timezone.now()
    if run.lease_token is not None:
        run.lease_expires_at = from_now(leases.LEASE_S)
    run.save(force_insert=True)
    run.refresh_from_db()
    return run


def claim(run: SyncRun, *, worker: str = "worker@here") -> leases.Claim:
    """Claim a queued run, which must be there to be claimed."""
    taken = leases.claim_run(str(run.task_id), worker=worker)
    assert taken is not None, f"run {run.pk} is {run.state} and was not claimed"
    return taken


def lapse(run: SyncRun) -> None:
    """Let the lease of a running run end, as if its worker had died."""
    SyncRun.objects.filter(pk=run.pk).update(lease_expires_at=from_now(-1))


def make_user(role: str) -> User:
    """Save a user in the group of a role, who has no password."""
    user = User(username=f"{role} {next(_numbers)}", is_superuser=role == "superuser")
    user.is_staff = True
    user.set_unusable_password()
    user.save()
    if role not in NO_GROUP:
        user.groups.add(role_group(role))
    return user


def role_group(role: str) -> Group:
    """Return the group of a role; a test that empties the database loses what migrations made."""
    if (group := Group.objects.filter(name=role).first()) is None:
        migration = import_module("filesync.migrations.0002_roles")
        migration.make_roles(apps, SimpleNamespace(connection=connection))
        group = Group.objects.get(name=role)
    return group


def client_of(role: str) -> APIClient:
    """Return a client that is signed in with a token of a new user of that role."""
    client = APIClient()
    if role != "anonymous":
        _, text = ApiToken.issue(make_user(role), "test")
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


def browser_of(role: str) -> APIClient:
    """Return a client that is signed in with a session and asks for pages."""
    client = APIClient(HTTP_ACCEPT="text/html")
    client.force_login(make_user(role))
    return client


def sign_in(role: str, *, language: str = "en", csrf: bool = False) -> Client:
    """Return a browser in which a new user of that role is signed in to the admin."""
    client = Client(enforce_csrf_checks=csrf, headers={"accept-language": language})
    client.force_login(make_user(role))
    return client


def stored_status(run: SyncRun) -> str | None:
    """Return the state in the run's django-celery-results row, None where it has none."""
    return (
        TaskResult.objects.filter(task_id=str(run.task_id)).values_list("status", flat=True).first()
    )


def periodic_row(config: SyncConfig) -> PeriodicTask | None:
    """Return the config's PeriodicTask row."""
    return PeriodicTask.objects.filter(name=f"filesync.syncconfig:{config.pk}").first()


def forget_newest_migration() -> None:
    """Let the database say that it lacks the newest migration."""
    newest, *_ = MigrationLoader(connection).graph.leaf_nodes("filesync")
    MigrationRecorder(connection).record_unapplied(*newest)


def complaints(row: Model) -> dict[str, list[str]]:
    """Return what `full_clean`, which admin and API call, says by field."""
    with pytest.raises(ValidationError) as refused:
        row.full_clean()
    found: dict[str, list[str]] = refused.value.message_dict
    return found


def close_connections() -> None:
    """Close this thread's database connections; a thread that a test starts must end so."""
    connections.close_all()


def database_bytes() -> bytes:
    """Return all bytes of SQLite's files, which another process reads.

    A process that closes such a file gives up all the locks it holds on it: the next worker took
    the database for unused and removed its log (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    file = Path(str(connection.settings_dict["NAME"]))
    return subprocess.check_output(["cat", *file.parent.glob(f"{file.name}*")])
