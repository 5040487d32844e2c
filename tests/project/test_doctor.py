"""`manage.py doctor`: what it finds, what it advises, and its exit code."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django.fixtures import SettingsWrapper

from project.doctor import Level, clock_finding, disk_level
from scheduler.models import Heartbeat
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import forget_newest_migration, make_storage, point_broker_at
from tests.filesync.factories import use_broker as use_broker
from tests.project.system import own_environment, run_command
from tests.servers.process import free_port
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.django_db


def live(role: str, *, ago_s: float = 0, leading: bool = False) -> None:
    seen_at = timezone.now() - timedelta(seconds=ago_s)
    Heartbeat.objects.create(
        role=role,
        name=f"{role}@here",
        started_at=seen_at,
        seen_at=seen_at,
        leading=leading,
        slots=4,
    )


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    """Return level, and text with advice, of the worst finding of each part."""
    with contextlib.suppress(CommandError):
        call_command("doctor", "--json")
    found: dict[str, tuple[str, str]] = {}
    for entry in json.loads(capsys.readouterr().out):
        if entry["level"] != "ok" or entry["what"] not in found:
            found[entry["what"]] = (entry["level"], f"{entry['text']} {entry['advice']}")
    return found


def test_a_sound_installation_has_no_problem(
    local_root: Path, broker: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    live("beat", leading=True)
    live("worker")
    call_command("doctor")
    text = capsys.readouterr().out
    assert "PROBLEM" not in text
    for part in ("settings", "rclone", "database", "migrations", "clock", "keys", "broker"):
        assert f"ok      {part}: " in text
    assert "beat@here leads, 0 stand by" in text
    assert "1 run, 4 runs at once" in text


def test_nobody_who_works_is_a_problem_with_the_command_to_start_it(
    local_root: Path, broker: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    live("worker", ago_s=300)
    with pytest.raises(CommandError, match="it cannot work as it is: beat, workers"):
        call_command("doctor")
    capsys.readouterr()
    found = findings(capsys)
    assert found["beat"][0] == found["workers"][0] == "problem"
    assert "celery --quiet -A project beat" in found["beat"][1]
    assert "celery --quiet -A project worker" in found["workers"][1]


def test_a_beat_that_does_not_lead_is_a_warning(
    local_root: Path, broker: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    live("beat")
    assert findings(capsys)["beat"][0] == "warning"


def test_a_dead_broker_is_a_problem(
    local_root: Path, broker: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    point_broker_at(f"redis://127.0.0.1:{free_port()}/0")
    level, text = findings(capsys)["broker"]
    assert level == "problem"
    assert "CELERY_BROKER" in text


def test_secrets_that_no_key_opens_are_a_problem_that_names_them(
    local_root: Path,
    broker: RedisServer,
    settings: SettingsWrapper,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_storage(local_root, name="NAS", backend="webdav", secrets={"pass": "canary-1"})
    settings.FILESYNC_SECRET_KEYS = [Fernet.generate_key().decode()]
    level, text = findings(capsys)["keys"]
    assert level == "problem"
    assert "storage NAS" in text
    assert "canary" not in text


def test_a_missing_migration_and_a_missing_rclone_are_problems(
    local_root: Path, settings: SettingsWrapper, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.FILESYNC_RCLONE_BINARY = "/nowhere/rclone"
    forget_newest_migration()
    found = findings(capsys)
    assert found["migrations"][0] == found["rclone"][0] == "problem"
    assert "manage.py migrate" in found["migrations"][1]
    assert found["settings"][0] == "ok"  # rclone is told once


def test_debug_pages_a_missing_root_and_another_scheduler_are_warnings(
    local_root: Path,
    broker: RedisServer,
    settings: SettingsWrapper,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings.FILESYNC_LOCAL_ROOTS = [local_root / "not mounted"]
    settings.DEBUG = True
    found = findings(capsys)
    assert found["settings"][0] == found["local root"][0] == "warning"
    settings.DEBUG = False
    settings.CELERY_BEAT_SCHEDULER = "celery.beat:PersistentScheduler"
    level, text = findings(capsys)["settings"]
    assert level == "warning"
    assert "CronDatabaseScheduler" in text


@pytest.mark.parametrize(
    ("skew_s", "level"),
    [(0.5, "ok"), (-1.9, "ok"), (2, "warning"), (-29, "warning"), (30, "problem")],
)
def test_a_clock_that_differs_is_told(skew_s: float, level: str) -> None:
    finding = clock_finding(skew_s)
    assert finding.level == level
    if skew_s <= -2:
        assert "behind" in finding.text


@pytest.mark.parametrize(
    ("free", "level"), [(10**12, Level.OK), (10**9, Level.WARNING), (10**8, Level.PROBLEM)]
)
def test_a_disk_that_is_full_soon_is_told(free: int, level: Level) -> None:
    assert disk_level(free) is level


def test_without_a_database_it_says_so_and_exits_with_1(tmp_path: Path) -> None:
    url = f"postgres://nobody:canary-pw@127.0.0.1:{free_port()}/none"
    done = run_command(["doctor"], own_environment(tmp_path, DATABASE_URL=url))
    assert done.returncode == 1
    assert "PROBLEM database: it does not answer" in done.stdout
    assert "canary-pw" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
