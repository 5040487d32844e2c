"""Log lines: one per event, for people or as JSON, with the ids of what they are about."""

from __future__ import annotations

import json
import logging
import re
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from filesync import engine
from filesync.models import SyncConfig, SyncRun
from filesync.services import journal, queueing, slot_runs, sweeping
from filesync.services.execution import execute
from filesync.services.finishing import finish_run
from project.logs import JsonFormatter, LineFormatter
from scheduler import sync_scheduler, writing
from scheduler.clock import from_now
from scheduler.log_ids import about, ids
from scheduler.models import DueSlot
from scheduler.sync_scheduler import get_sync_scheduler
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, make_config, make_storage
from tests.project.docs import UNITS, unit_argv
from tests.project.system import System, own_environment, run_command, wait_until
from tests.servers.process import GuardedProcess, free_port
from tests.servers.redis import RedisServer

CANARY = "canary-77ab"


class Lines(logging.Handler):
    """Keeps lines as both formatters write them."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.documents: list[dict[str, Any]] = []
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.documents.append(json.loads(JsonFormatter().format(record)))
        self.texts.append(LineFormatter().format(record))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.documents if line.get("event") == event]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_a_line_bears_the_ids_of_its_block_and_its_own(lines: Lines) -> None:
    logger = logging.getLogger("filesync.test")
    with about(run=7, config=3):
        logger.warning("it %s", "rains", extra=ids("weather", config=4, task=None))
    logger.warning("it shines")
    first, second = lines.documents
    assert first | {"time": ""} == {
        "time": "",
        "level": "warning",
        "logger": "filesync.test",
        "message": "it rains",
        "event": "weather",
        "run": 7,
        "config": 4,
    }
    assert first["time"].endswith("+00:00")
    assert lines.texts[0].endswith("WARNING filesync.test: it rains [run=7 config=4]")
    assert lines.texts[1].endswith("filesync.test: it shines")
    assert "run" not in second


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x85", "\u2028", "\x0b", "\x1b[2K"])
def test_no_text_can_write_a_line_of_its_own(lines: Lines, end: str) -> None:
    forged = f"{end}2026-01-01 00:00:00,000 ERROR   filesync: all is lost"
    logger = logging.getLogger("filesync.test")
    logger.warning("the sync %s", f"photos{forged}")
    try:
        raise ValueError(f"no photos{forged}")
    except ValueError:
        logger.exception("it broke")

    plain, broken = lines.texts
    assert len(plain.splitlines()) == 1
    assert "\x1b" not in plain + broken
    first, *traceback = broken.splitlines()
    assert first.endswith("it broke")
    assert any("all is lost" in line for line in traceback)
    assert all(line.startswith("    ") for line in traceback)


def test_an_exception_is_one_json_line_with_its_cause(lines: Lines) -> None:
    try:
        raise ValueError("for\na reason")
    except ValueError:
        logging.getLogger("filesync.test").exception("it broke")
    (line,) = lines.documents
    assert line["message"] == "it broke"
    assert "ValueError: for\na reason" in line["exception"]


@pytest.mark.django_db
def test_a_schedule_s_life_is_told(local_root: Path, lines: Lines) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    config.save()
    config.cron = "0 3 * * *"
    config.save()
    config.cron = ""
    config.save()
    config.cron = "0 4 * * *"
    config.save()
    pk = config.pk
    config.delete()
    events = [line["event"] for line in lines.documents if "schedule_" in line.get("event", "")]
    assert events == [
        "schedule_added",
        "schedule_changed",
        "schedule_removed",
        "schedule_added",
        "schedule_removed",
    ]
    assert {line["config"] for line in lines.documents if "event" in line} == {pk}


@pytest.mark.django_db
def test_what_a_refresh_and_a_clearing_change_is_told_a_line_each_unless_it_is_very_much(
    local_root: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> list[tuple[str, object]]:
        found = [(line["event"], line.get("config")) for line in lines.documents if "event" in line]
        lines.documents.clear()
        return found

    scheduler = get_sync_scheduler()
    first, second = (make_config(local_root, cron="0 2 * * *").pk for _ in range(2))
    told()
    scheduler.clear()
    assert told() == [
        ("schedule_removed", first),
        ("schedule_removed", second),
        ("schedules_cleared", None),
    ]
    scheduler.refresh()
    assert told() == [
        ("schedule_added", first),
        ("schedule_added", second),
        ("schedules_refreshed", None),
    ]
    SyncConfig.objects.filter(pk=first).update(cron="0 3 * * *")
    SyncConfig.objects.filter(pk=second).update(cron="0 3 31 2 *")
    scheduler.refresh()
    assert sorted(told(), key=str) == [
        ("schedule_changed", first),
        ("schedule_left_out", second),
        ("schedule_removed", second),
        ("schedules_refreshed", None),
    ]
    monkeypatch.setattr(writing, "CHANGES_KEPT", 1)
    monkeypatch.setattr(sync_scheduler, "CHANGES_KEPT", 1)
    SyncConfig.objects.filter(pk=second).update(cron="0 4 * * *")
    SyncConfig.objects.filter(pk=first).update(cron="0 4 * * *")
    report = scheduler.refresh()
    assert (report.created, report.updated, len(report.changes)) == (1, 1, 1)
    assert told() == [("schedules_refreshed", None)]


@pytest.mark.django_db
def test_a_run_s_life_is_told_with_its_ids(local_root: Path, lines: Lines) -> None:
    (local_root / "source").mkdir()
    (local_root / "source" / "a.txt").write_text(CANARY)
    config = make_config(local_root)
    run_ = queueing.queue_run(config.pk, ring_bell=False)
    execute(claim(run_))
    run_.refresh_from_db()
    assert run_.state == "SUCCEEDED"
    events = {"run_queued", "run_started", "run_finished"}
    told = [line for line in lines.documents if line.get("event") in events]
    assert [line["event"] for line in told] == ["run_queued", "run_started", "run_finished"]
    for line in told:
        assert (line["run"], line["config"]) == (run_.pk, config.pk)
        assert line["task"] == str(run_.task_id)
    assert "1 files, 11 bytes" in told[-1]["message"]
    assert CANARY not in str(lines.texts)


@pytest.mark.django_db
def test_another_attempt_is_told_with_its_reason(local_root: Path, lines: Lines) -> None:
    run_ = queueing.queue_run(make_config(local_root).pk, ring_bell=False)
    failure = engine.Failure.of(engine.FailureClass.NETWORK, "no route")
    finish_run(claim(run_), engine.SyncResult(engine.Outcome.FAILED, failure=failure))
    (line,) = lines.of("run_retry")
    assert "NETWORK: no route" in line["message"]
    assert "attempt 2" in line["message"]
    assert line["run"] == run_.pk


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (engine.Outcome.SUCCEEDED, "info"),
        (engine.Outcome.CANCELLED, "info"),
        (engine.Outcome.PARTIAL, "warning"),
        (engine.Outcome.FAILED, "error"),
    ],
)
def test_an_end_is_told_as_loud_as_it_is_bad(
    local_root: Path, lines: Lines, outcome: engine.Outcome, level: str
) -> None:
    run_ = queueing.queue_run(make_config(local_root).pk, ring_bell=False)
    finish_run(claim(run_), engine.SyncResult(outcome))
    (line,) = lines.of("run_finished")
    assert (line["level"], line["run"]) == (level, run_.pk)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("crashes", "event", "level"),
    [(0, "run_requeued", "warning"), (sweeping.MAX_CRASHES - 1, "run_finished", "error")],
)
def test_a_lost_worker_is_told_by_the_sweep_that_noted_it_and_by_no_other(
    local_root: Path,
    lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
    crashes: int,
    event: str,
    level: str,
) -> None:
    run_ = queueing.queue_run(make_config(local_root).pk, ring_bell=False)
    claim(run_)
    SyncRun.objects.filter(pk=run_.pk).update(lease_expires_at=from_now(-1), crashes=crashes)
    replay = journal.replay

    def another_sweep_is_faster() -> int:
        monkeypatch.setattr(journal, "replay", replay)
        sweeping.sweep()
        return replay()

    monkeypatch.setattr(journal, "replay", another_sweep_is_faster)
    sweeping.sweep()
    (line,) = lines.of(event)
    assert (line["level"], line["run"]) == (level, run_.pk)


@pytest.mark.django_db
def test_what_became_of_slots_is_told_a_line_each_unless_they_are_very_many(
    local_root: Path,
    lines: Lines,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    now = timezone.now()
    first, second = make_config(local_root), make_config(local_root)
    missed = tuple(now - timedelta(minutes=minute) for minute in (30, 20))
    with django_capture_on_commit_callbacks(execute=True):
        slot_runs.queue_slots([DueSlot(first.pk, now, missed), DueSlot(second.pk, now)])
    with django_capture_on_commit_callbacks(execute=True):
        slot_runs.queue_slots([DueSlot(first.pk, now + timedelta(minutes=1))])
    assert [line["config"] for line in lines.of("run_queued")] == [first.pk, second.pk]
    assert lines.of("run_queued")[0]["task"] == str(
        SyncRun.objects.get(config=first, state="QUEUED").task_id
    )
    assert len(lines.of("run_missed")) == 2
    assert [line["config"] for line in lines.of("run_skipped")] == [first.pk]

    many = tuple(now - timedelta(hours=hour) for hour in range(1, slot_runs.LOG_AT_MOST + 2))
    with django_capture_on_commit_callbacks(execute=True):
        slot_runs.queue_slots([DueSlot(second.pk, None, many)])
    (line,) = lines.of("runs_missed")
    assert line["message"] == f"{slot_runs.LOG_AT_MOST + 1} runs missed for their slots"


@pytest.mark.django_db
def test_no_secret_is_logged_when_a_login_is_refused(local_root: Path, lines: Lines) -> None:
    storage = make_storage(
        local_root,
        backend="webdav",
        options={"url": "http://127.0.0.1:9/dav"},
        secrets={"pass": CANARY},
    )
    config = make_config(local_root, source_storage=storage)
    config.ping_url = f"https://example.org/{CANARY}"
    config.save()
    execute(claim(queueing.queue_run(config.pk, ring_bell=False)))
    assert lines.of("run_started")
    assert CANARY not in str(lines.documents)


EXEC_STARTS = {
    unit.stem.removesuffix("@"): unit_argv(unit.read_text())
    for unit in UNITS
    if unit.suffix == ".service"
}
# What each says when it is up, and by which logger.
SAYS = {
    "syncbeat-worker": {"celery.apps.worker"},
    "syncbeat-beat": {"celery.beat", "scheduler.sync_scheduler"},
    "syncbeat-web": {"gunicorn.error"},
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("unit", sorted(SAYS))
def test_every_line_of_a_unit_is_json_where_that_is_asked_for(
    unit: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    environment = own_environment(
        tmp_path,
        LOG_FORMAT="json",
        CELERY_BROKER=redis_server.url,
        PYTHONUNBUFFERED="1",
        SYNCBEAT_PORT=str(free_port()),
        # Units run as an account of their own; as root celery warns before anybody can say how.
        PYTHONWARNINGS="ignore",
    )
    assert run_command(["migrate"], environment).returncode == 0
    log = tmp_path / "unit.log"
    process = GuardedProcess(EXEC_STARTS[unit], log_file=log, environment=environment)

    def loggers() -> set[str]:
        return set(re.findall(r'"logger": "([\w.]+)"', log.read_text()))

    try:
        wait_until(lambda: loggers() >= SAYS[unit] or not process.running, timeout_s=60)
        assert loggers() >= SAYS[unit], log.read_text()
    finally:
        process.end(signal.SIGTERM, patience_s=20)
    for line in log.read_text().splitlines():
        assert isinstance(json.loads(line), dict)


def test_every_line_of_the_whole_system_is_json_where_that_is_asked_for() -> None:
    with System(LOG_FORMAT="json", PYTHONWARNINGS="ignore") as system:

        def all_speak() -> bool:
            loggers = ("celery.beat", "celery.apps.worker", "scheduler.sync_scheduler")
            return all(f'"{logger}"' in system.log() for logger in loggers)

        system.wait_for(all_speak, "beat and the worker speak", timeout_s=60)
        assert system.send(signal.SIGTERM) == 0
        documents = [json.loads(line) for line in system.log().splitlines()]
    told = [document["message"] for document in documents if document["logger"] == "up"]
    assert any("Sign in as admin with the password" in message for message in told)
    assert told[-1] == "stopping"
