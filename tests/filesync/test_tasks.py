"""The celery tasks through a real worker and a real broker: direct calls, doorbells, batches."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from celery import current_app
from celery.result import AsyncResult
from django.core.exceptions import ValidationError
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from filesync.errors import NotFound, SyncFailed
from filesync.models import SyncRun
from filesync.services import doorbells, queueing
from filesync.services.finishing import cancel_run
from filesync.tasks import housekeeping, sync_all_enabled_configs, sync_file_task
from scheduler.models import Heartbeat
from tests.filesync.engine.lab import files_of, write_tree
from tests.filesync.factories import (
    doorbell,
    make_config,
    make_run,
    make_storage,
    point_broker_at,
    stored_status,
)
from tests.servers.process import Server
from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]

FILES = {"a.txt": "alpha", "sub/b.txt": "beta"}
PATIENCE_S = 30


class Worker(Server):
    """A celery worker with one pool process, on the test database and the given broker."""

    name: ClassVar[str] = "worker"

    def __init__(self, broker_url: str, files: Path) -> None:
        super().__init__()
        self.broker_url = broker_url
        self.files = files

    def argv(self) -> Sequence[str]:
        options = ["--concurrency", "1", "--loglevel", "INFO", "--queues", "celery,shanghai"]
        return [sys.executable, "-m", "celery", "-A", "project", "worker", *options]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DATABASE_URL": database_url(),
            "CELERY_BROKER": self.broker_url,
            "FILESYNC_LOCAL_ROOTS": str(self.files),
        }

    def is_ready(self) -> bool:
        # Written when the worker has begun to consume.
        return Heartbeat.objects.filter(role=Heartbeat.Role.WORKER).exists()


def database_url() -> str:
    """Return the address of the test database for another process."""
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    login = f"{settings['USER']}:{settings['PASSWORD']}"
    return f"postgres://{login}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"


@pytest.fixture(scope="module")
def worker(
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Worker]:
    before = current_app.conf.broker_url
    redis_server.client().flushall()
    point_broker_at(redis_server.url)
    with (
        django_db_blocker.unblock(),
        Worker(redis_server.url, tmp_path_factory.mktemp("files")) as server,
    ):
        yield server
    point_broker_at(before)


@pytest.fixture(autouse=True)
def patient(transactional_db: None) -> None:
    """Wait for the worker's locks when a test's rows are removed: its query gives way, not ours."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET deadlock_timeout = '60s'")


@pytest.fixture
def root(worker: Worker) -> Path:
    """Return a folder of the test's own below the worker's allowed root."""
    folder = worker.files / uuid.uuid4().hex
    folder.mkdir()
    return folder


def wait_for(fact: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not fact():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.05)


def ended(run: SyncRun) -> SyncRun:
    """Wait until the run has ended and return it."""

    def over() -> bool:
        run.refresh_from_db()
        return run.is_terminal

    wait_for(over, f"the end of run {run.pk}")
    return run


def call(config_id: int) -> AsyncResult[object]:
    """Call the task as the specification writes it."""
    return sync_file_task.delay(config_id=config_id)


def finish_messages() -> None:
    """Wait until the worker is done with what was sent: its one pool process takes it in order."""
    housekeeping.delay().get(timeout=PATIENCE_S)


@pytest.mark.usefixtures("worker")
def test_a_worker_says_which_queues_it_serves() -> None:
    hearts = Heartbeat.objects.filter(role=Heartbeat.Role.WORKER)
    wait_for(hearts.exists, "the worker lives")
    (heart,) = hearts
    assert heart.queue_names == {"celery", "shanghai"}


def test_a_worker_neither_looks_for_others_nor_listens_to_them(
    root: Path, worker: Worker, redis_server: RedisServer
) -> None:
    assert "Connected to redis" in worker.log()
    assert "mingle" not in worker.log()
    assert redis_server.client().smembers("_kombu.binding.celeryev") == set()


def test_a_direct_call_makes_its_own_run_and_returns_its_summary(root: Path) -> None:
    write_tree(root / "source", FILES)
    config = make_config(root)

    result = call(config.pk)
    summary = result.get(timeout=PATIENCE_S)

    assert isinstance(summary, dict)
    run = SyncRun.objects.get()
    assert str(run.task_id) == result.id
    assert (run.state, run.trigger, run.attempt) == ("SUCCEEDED", "MANUAL", 1)
    assert run.worker.startswith("celery@")
    assert files_of(root / "destination") == files_of(root / "source")
    assert (result.status, result.successful()) == ("SUCCESS", True)
    assert summary["run_id"] == run.pk
    assert summary["config_id"] == config.pk
    assert (summary["state"], summary["files_transferred"], summary["bytes_transferred"]) == (
        "SUCCEEDED",
        2,
        9,
    )


def test_a_queued_run_is_carried_out_when_its_doorbell_rings(root: Path) -> None:
    write_tree(root / "source", FILES)

    run = ended(queueing.queue_run(make_config(root).pk))

    assert (run.state, run.files_transferred) == ("SUCCEEDED", 2)
    assert stored_status(run) == "SUCCESS"


def test_a_message_that_comes_again_changes_nothing(root: Path) -> None:
    write_tree(root / "source", FILES)
    config = make_config(root)
    run = ended(queueing.queue_run(config.pk))
    before = SyncRun.objects.filter(pk=run.pk).values().get()

    for _ in range(2):
        sync_file_task.apply_async(kwargs={"config_id": config.pk}, task_id=str(run.task_id))
    finish_messages()

    assert SyncRun.objects.filter(pk=run.pk).values().get() == before
    assert SyncRun.objects.count() == 1
    assert stored_status(run) == "SUCCESS"


def test_a_doorbell_of_a_run_that_was_deleted_makes_no_run(root: Path, worker: Worker) -> None:
    write_tree(root / "source", FILES)
    run = ended(queueing.queue_run(make_config(root).pk))
    finish_messages()  # the log is stored after the end
    SyncRun.objects.all().delete()

    doorbells.ring([run])
    finish_messages()

    assert not SyncRun.objects.exists()
    assert worker.log().count(f"a doorbell of run {run.pk} rang for nothing") == 1


def test_a_failed_run_fails_the_task_with_its_reason(root: Path) -> None:
    result = call(make_config(root).pk)

    with pytest.raises(SyncFailed, match="NOT_FOUND"):
        result.get(timeout=PATIENCE_S)

    assert result.status == "FAILURE"
    assert SyncRun.objects.get().state == "FAILED"


def test_celery_stores_nothing_over_the_failure_of_a_run_it_was_called_for(root: Path) -> None:
    run = ended(queueing.queue_run(make_config(root).pk))
    finish_messages()

    assert stored_status(run) == "FAILURE"
    with pytest.raises(SyncFailed, match="NOT_FOUND"):
        AsyncResult(str(run.task_id)).get(timeout=PATIENCE_S)


def test_only_a_direct_call_ends_with_an_exception(root: Path) -> None:
    run = make_run(make_config(root), state=SyncRun.State.SUCCEEDED)
    task_id, arguments = doorbell(run)

    answered = sync_file_task.apply(kwargs=arguments, task_id=task_id)
    called = sync_file_task.apply(kwargs={"config_id": run.config_id}, task_id=task_id)

    # Celery copies the frames of each exception: a pool process grew to twice its size.
    assert answered.state == "SUCCESS"
    assert answered.result is None
    assert str(called.state) == "IGNORED"


def test_a_call_for_an_unknown_config_fails(root: Path) -> None:
    result = call(999_999)

    with pytest.raises(NotFound, match="999999"):
        result.get(timeout=PATIENCE_S)

    assert result.status == "FAILURE"
    assert not SyncRun.objects.exists()


@pytest.mark.parametrize("reason", ["DISABLED", "OVERLAP"])
def test_a_direct_call_that_may_not_run_is_skipped_with_the_reason(root: Path, reason: str) -> None:
    config = make_config(root, enable=reason != "DISABLED")
    if reason == "OVERLAP":
        make_run(config, state=SyncRun.State.RUNNING)

    result = call(config.pk)
    summary = result.get(timeout=PATIENCE_S)

    assert isinstance(summary, dict)
    assert (summary["state"], summary["reason"]) == ("SKIPPED", reason)
    assert (result.status, result.ready(), result.successful()) == ("IGNORED", True, False)
    run = SyncRun.objects.get(task_id=result.id)
    assert (run.state, run.reason) == ("SKIPPED", reason)
    assert run.finished_at is not None


def test_a_running_run_is_cancelled_and_the_task_is_revoked(root: Path) -> None:
    write_tree(root / "source", {"big.bin": os.urandom(8 * 1024 * 1024)})
    run = queueing.queue_run(make_config(root, bandwidth="64K").pk)

    def transferring() -> bool:
        run.refresh_from_db()
        return run.phase == "TRANSFERRING"

    wait_for(transferring, "the transfer")
    cancel_run(run.pk)

    assert ended(run).state == "CANCELLED"
    assert stored_status(run) == "REVOKED"
    assert files_of(root / "destination") == {}


def test_a_run_that_found_no_place_starts_when_one_is_free(root: Path) -> None:
    storage = make_storage(root, max_concurrent_runs=1)
    write_tree(root / "source", FILES)
    holder = make_run(
        make_config(root, source_storage=storage, source_path="x", destination_path="y"),
        state=SyncRun.State.RUNNING,
    )
    waiting = queueing.queue_run(make_config(root, source_storage=storage).pk)
    finish_messages()
    waiting.refresh_from_db()
    assert (waiting.state, waiting.attempt) == ("QUEUED", 0)

    SyncRun.objects.filter(pk=holder.pk).update(state=SyncRun.State.SUCCEEDED)
    doorbells.ring([waiting])

    assert ended(waiting).state == "SUCCEEDED"


def test_all_enabled_configs_are_queued_and_each_is_told_of(root: Path) -> None:
    storage = make_storage(root)
    for side in ("a", "b"):
        write_tree(root / side, FILES)
        make_config(
            root,
            name=f"{root.name} {side}",
            source_storage=storage,
            source_path=side,
            destination_path=f"to {side}",
        )
    busy = make_config(root, name=f"{root.name} c")
    active = make_run(busy, state=SyncRun.State.RUNNING)
    make_config(root, name=f"{root.name} d", enable=False)

    told = sync_all_enabled_configs.delay().get(timeout=PATIENCE_S)

    assert [entry["status"] for entry in told] == ["queued", "queued", "run_active"]
    assert str(active.task_id) in str(told[2]["detail"])
    for entry in told[:2]:
        assert ended(SyncRun.objects.get(task_id=str(entry["task_id"]))).state == "SUCCEEDED"
    assert files_of(root / "to a") == files_of(root / "to b") == files_of(root / "a")


def test_a_sweep_can_be_asked_for(root: Path) -> None:
    assert housekeeping.delay().get(timeout=PATIENCE_S)["lost"] == 0


def test_a_task_id_that_is_no_uuid_fails_and_makes_no_run(root: Path) -> None:
    result = sync_file_task.apply_async(
        kwargs={"config_id": make_config(root).pk}, task_id=f"nightly-{root.name}"
    )

    with pytest.raises(ValidationError, match="UUID"):
        result.get(timeout=PATIENCE_S)

    assert not SyncRun.objects.exists()
