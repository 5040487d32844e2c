"""Fills an empty installation for benchmarks with rows of every kind.

Settings are read once, so a child process makes them, `python -m` this module or another that
calls `fill`; what it prints last is JSON.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

CRONS = 2_000
MANY = "0 2 * * *"
MOST_USES = 10_000
ACCOUNTS = 20
STORAGES = 20
RUNNING = 8
RUN_ITEMS = 1_000
SINCE = timedelta(days=60)
PROGRESS: dict[str, object] = {
    "percent": 42.0,
    "bytes_done": 420_000_000,
    "bytes_total": 1_000_000_000,
    "files_done": 420,
    "files_total": 1_000,
    "checks_done": 5_000,
    "deletes": 1,
    "errors": 0,
    "speed_bytes_per_s": 20_480_000.0,
    "eta_s": 75.0,
    "in_flight": [
        {"name": f"photos/{number}.jpg", "size_bytes": 9_000_000, "bytes_done": 4_000_000}
        for number in range(4)
    ],
}


@dataclass(frozen=True, slots=True)
class Filled:
    """What was made: tokens of operators, the web server's command, and rows to ask for.

    Configs and runs have consecutive ids; the last `RUNNING` configs have a run that goes on.
    """

    tokens: list[str]
    web: list[str]
    first_config: int
    last_run: int
    run_with_items: int
    rare_storage: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    options = parser.parse_args()
    print(json.dumps(asdict(fill(options.configs, options.runs))))


def fill(configs: int, runs: int) -> Filled:
    """Fill an empty database with so many configs and runs, and a little of all else."""
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    from project.services import build_services

    call_command("migrate", verbosity=0)
    first, rare = _make_configs(configs)
    _make_signs_of_life()
    _make_runs(first, configs, runs)
    _make_results()
    last_run, run_with_items = _make_running(first + configs - RUNNING)
    tokens = _make_accounts()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
        cursor.execute("ANALYZE")
    (web,) = (entry for entry in build_services(settings.DATA_DIR) if entry.name == "web")
    return Filled(tokens, list(web.argv), first, last_run, run_with_items, rare)


def cron_of(number: int) -> str:
    """Return one of 2,000 distinct crons, of the kinds that people write."""
    minute, hour = number % 60, number // 60 % 24
    kind = number // 1440
    if kind == 0:
        return f"{minute} {hour} * * *"
    return f"{minute} {hour} * * {number % 5}-6"


def _make_configs(configs: int) -> tuple[int, int]:
    """Make configs between pairs of storages; the first three alone use the last storage.

    Up to 10,000 use the first rule set, and every tenth fires at the same minute.
    """
    from filesync.models import RuleSet, RuleSetUse, Storage, SyncConfig
    from scheduler.sync_scheduler import get_sync_scheduler

    storages = [
        Storage.objects.create(name=f"storage {number:02}", backend="local", root=f"/srv/{number}")
        for number in range(STORAGES + 1)
    ]
    RuleSet.objects.bulk_create(
        RuleSet(name=f"rules {number}", filters="- /cache/**\n- *.tmp") for number in range(20)
    )
    SyncConfig.objects.bulk_create(
        (
            SyncConfig(
                name=f"config {number:06}",
                source_storage=storages[STORAGES if number < 3 else number % STORAGES],
                source_path=f"{number}",
                destination_storage=storages[(number + 1) % STORAGES],
                destination_path=f"{number}",
                cron=MANY if number % 10 == 0 else cron_of(number % CRONS),
            )
            for number in range(configs)
        ),
        batch_size=2_000,
    )
    used = RuleSet.objects.earliest("pk")
    ids = SyncConfig.objects.order_by("pk").values_list("pk", flat=True)[:MOST_USES]
    uses = (RuleSetUse(config_id=pk, rule_set=used) for pk in ids)
    RuleSetUse.objects.bulk_create(uses, batch_size=2_000)
    get_sync_scheduler().refresh()
    first = SyncConfig.objects.order_by("pk").values_list("pk", flat=True)[0]
    return first, storages[STORAGES].pk


def _make_signs_of_life() -> None:
    """Make them from the future: beat and worker stay alive as long as this takes."""
    from scheduler.models import Heartbeat

    later = datetime.now(UTC) + timedelta(hours=1)
    for role, slots in (("beat", 0), ("worker", RUNNING)):
        Heartbeat.objects.create(
            role=role, name=f"{role}@a", started_at=later, seen_at=later, slots=slots, leading=True
        )


def _make_runs(first_config: int, configs: int, runs: int) -> None:
    """Multiply one run of the model's making: each row inserted by itself would take minutes.

    They are spread evenly over the time up to now, one of a hundred has failed, and all were
    reviewed: else the web server's watch would review them while it is measured.
    """
    from filesync.models import SyncRun

    begin = datetime.now(UTC) - SINCE
    model = SyncRun.objects.create(
        config_id=first_config,
        config_name="config",
        state="SUCCEEDED",
        trigger="CRON",
        slot=begin,
        finished_at=begin,
        files_transferred=12,
        reviewed=True,
    )
    apart_s = (SINCE - timedelta(minutes=20)).total_seconds() / runs
    failed, took_s = "n % 100 = 0", f"(5 + n % {configs} * 37 % 900)"
    columns = {field.column: f'"{field.column}"' for field in SyncRun._meta.concrete_fields}
    del columns["id"]
    columns |= {
        "task_id": _random_id(),
        "config_id": f"{first_config} + n % {configs}",
        "slot": (moment := _later(f"n * {apart_s}")),
        "created_at": moment,
        "started_at": moment,
        "finished_at": _later(f"n * {apart_s} + {took_s}"),
        "state": f"CASE WHEN {failed} THEN 'FAILED' ELSE 'SUCCEEDED' END",
        "failure_class": f"CASE WHEN {failed} THEN 'NETWORK' ELSE '' END",
        "message": f"CASE WHEN {failed} THEN 'connection refused' ELSE '' END",
        "bytes_transferred": "n % 1000 * 1000000",
    }
    names = ", ".join(f'"{name}"' for name in columns)
    _without_timeout(
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
        f"WHERE n < {runs}) INSERT INTO filesync_syncrun ({names}) "
        f"SELECT {', '.join(columns.values())} FROM numbers, filesync_syncrun "
        f"WHERE filesync_syncrun.id = {model.pk}"
    )


def _make_results() -> None:
    """Make the result that each run has in django-celery-results."""
    from django_celery_results.models import TaskResult

    from filesync.models import SyncRun

    model = TaskResult.objects.create(
        task_id="model",
        content_type="application/json",
        content_encoding="utf-8",
        result='{"run_id": 1}',
        meta="{}",
    )
    columns = {field.column: f'm."{field.column}"' for field in TaskResult._meta.concrete_fields}
    del columns["id"]
    columns |= {
        "task_id": "CAST(r.task_id AS varchar(36))",
        "status": "CASE WHEN r.state = 'FAILED' THEN 'FAILURE' ELSE 'SUCCESS' END",
        "date_created": "r.created_at",
        "date_done": "r.finished_at",
    }
    names = ", ".join(f'"{name}"' for name in columns)
    _without_timeout(
        f"INSERT INTO {TaskResult._meta.db_table} ({names}) SELECT {', '.join(columns.values())} "
        f"FROM {SyncRun._meta.db_table} r, {TaskResult._meta.db_table} m WHERE m.id = {model.pk}"
    )
    model.delete()


def _make_running(first_config: int) -> tuple[int, int]:
    """Make runs that go on, and one that failed with many items; return the last one and it."""
    from filesync.models import RunItem, SyncRun

    now = datetime.now(UTC)
    failed = SyncRun.objects.create(
        config_id=first_config,
        config_name="config",
        state="PARTIAL",
        started_at=now,
        finished_at=now,
        failure_class="PERMISSION",
        message="permission denied",
        reviewed=True,
    )
    RunItem.objects.bulk_create(
        RunItem(run=failed, action="ADDED", path=f"photos/2026/{number}.jpg", size_bytes=number)
        for number in range(RUN_ITEMS)
    )
    for number in range(RUNNING):
        last = SyncRun.objects.create(
            config_id=first_config + number,
            config_name=f"running {number}",
            state="RUNNING",
            phase="TRANSFERRING",
            worker="worker@a",
            started_at=now,
            lease_expires_at=now + timedelta(hours=1),
            progress=PROGRESS,
        )
    return last.pk, failed.pk


def _make_accounts() -> list[str]:
    from django.contrib.auth.models import Group, User

    from filesync.models import ApiToken, NotificationChannel

    tokens = []
    for number in range(ACCOUNTS):
        user = User.objects.create(username=f"operator {number}", is_staff=True)
        user.groups.add(Group.objects.get(name="operator"))
        tokens.append(ApiToken.issue(user, "benchmark")[1])
    for number in range(ACCOUNTS):
        channel = NotificationChannel(name=f"channel {number}", enabled=False)
        channel.url = "json://127.0.0.1/"
        channel.save()
    return tokens


def _is_postgres() -> bool:
    from django.db import connection

    return connection.vendor == "postgresql"


def _later(seconds: str) -> str:
    """Return in SQL the model's slot and so many seconds, a number in SQL."""
    if _is_postgres():
        return f"slot + ({seconds}) * interval '1 second'"
    return f"strftime('%Y-%m-%d %H:%M:%f', slot, '+' || ({seconds}) || ' seconds')"


def _random_id() -> str:
    return "gen_random_uuid()" if _is_postgres() else "lower(hex(randomblob(16)))"


def _without_timeout(statement: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        if _is_postgres():
            cursor.execute("SET statement_timeout = 0")
        cursor.execute(statement)


if __name__ == "__main__":
    main()
