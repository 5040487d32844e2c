"""A history for pictures: storages, syncs and two weeks of runs, as a household would have them.

Run by `manage.py shell` of the system that is photographed; nothing is asserted here.
"""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from django_celery_results.models import GroupResult, TaskResult

from filesync import engine
from filesync.models import (
    ApiToken,
    Delivery,
    Hook,
    NotificationChannel,
    RuleSet,
    RuleSetUse,
    RunItem,
    Storage,
    SyncConfig,
    SyncRun,
)
from filesync.services import attempts
from scheduler.clock import from_now

SYNCS = (
    ("Photos", "NAS", "photos", "Backup disk", "photos", "0 2 * * *"),
    ("Mail archive", "NAS", "mail", "Backup disk", "mail", "0 */4 * * *"),
    ("Videos", "NAS", "videos", "Backup disk", "videos", "15 3 * * 6"),
    ("工作日报表", "NAS", "报表", "Backup disk", "报表", "0 9,18 * * 1-5"),
    ("Documents", "NAS", "documents", "Backup disk", "documents", "*/30 * * * *"),
    ("Music", "NAS", "music", "Backup disk", "music", "0 2 * * *"),
    ("Old laptop", "NAS", "laptop", "Backup disk", "laptop", ""),
)
FAILURES = (
    (engine.FailureClass.NETWORK, "dial tcp 192.0.2.7:443: i/o timeout"),
    (engine.FailureClass.QUOTA, "507 Insufficient Storage"),
    (
        engine.FailureClass.GUARD,
        engine.Text(
            "{numbers}; the limit is {most}.",
            numbers=engine.Text(
                "{deletes} of the destination's {total} files ({size}) would be deleted",
                deletes=4210,
                total=9800,
                size="37 GiB",
            ),
            most=1000,
        ),
    ),
)
ATTEMPTS = 3
PLAN = {
    "adds": 12,
    "updates": 3,
    "deletes": 4210,
    "renames": 0,
    "dirs_removed": 41,
    "bytes_to_send": 61 << 20,
    "bytes_to_delete": 37 << 30,
    "items": [
        {"action": "DELETED", "path": f"2019/{number:02d}/clip {number}.mp4", "size_bytes": 9 << 20}
        for number in range(1, 7)
    ],
}
DAYS = 14


@transaction.atomic
def make_scene() -> None:
    """Save the whole history; the same each time."""
    chance = random.Random(7)
    storages = {name: _storage(name) for name in ("NAS", "Backup disk")}
    configs = []
    for name, source, source_path, destination, destination_path, cron in SYNCS:
        configs.append(
            SyncConfig.objects.create(
                name=name,
                source_storage=storages[source],
                source_path=source_path,
                destination_storage=storages[destination],
                destination_path=destination_path,
                cron=cron,
                enable=bool(cron),
                timezone="Europe/Berlin",
            )
        )
    now = timezone.now()
    for number in range(DAYS * 12):
        at = now - timedelta(days=DAYS) + timedelta(hours=2 * number + chance.random())
        _ended(chance.choice(configs[:6]), at, chance)
    _running(configs[0], 42.0, ["2026/10/IMG_4711.jpg", "2026/10/海边 & <夕阳>.jpg"])
    _running(configs[2], 77.5, ["holidays/day 3.mp4"])
    _channel("Mail to the household")
    _channel("Chat of the office", configs[0], configs[3])
    _around(configs[0])


def _storage(name: str) -> Storage:
    root = Path(settings.FILESYNC_LOCAL_ROOTS[0]) / name
    root.mkdir(parents=True, exist_ok=True)
    return Storage.objects.create(name=name, backend="local", root=str(root))


def _ended(config: SyncConfig, at: datetime, chance: random.Random) -> None:
    failed = chance.random() < 0.12
    took = timedelta(seconds=chance.randint(20, 1800))
    files = chance.randint(1, 900)
    run = SyncRun(
        config=config,
        config_name=config.name,
        trigger=SyncRun.Trigger.CRON,
        state=SyncRun.State.FAILED if failed else SyncRun.State.SUCCEEDED,
        started_at=at,
        finished_at=at + took,
        attempt=1,
        worker="worker@nas",
        files_transferred=files,
        bytes_transferred=files * chance.randint(1 << 18, 1 << 23),
        files_checked=files * 3,
    )
    if failed:
        reason, message = chance.choice(FAILURES)
        run.failure_class, run.message, run.advice = reason.value, message, reason.advice
        if reason is engine.FailureClass.GUARD:
            run.guard, run.plan = "max_delete_files", PLAN
            run.files_transferred = run.bytes_transferred = 0
        run.attempts = _attempts(run, reason)
        run.attempt = len(run.attempts)
    run.save()
    items = [
        RunItem(
            run=run,
            action=chance.choice(["ADDED", "ADDED", "UPDATED", "DELETED"]),
            path=f"2026/{number:02d}/file {number}.jpg",
            size_bytes=chance.randint(1 << 10, 1 << 24),
        )
        for number in range(8)
    ]
    # Made in any case, so that what comes by chance afterwards stays the same.
    RunItem.objects.bulk_create([] if run.guard else items)


def _attempts(run: SyncRun, reason: engine.FailureClass) -> list[attempts.Attempt]:
    """Return the attempts of a run that failed: several where trying again could help."""
    tried = SyncRun(worker=run.worker, attempts=[], started_at=run.started_at)
    assert run.finished_at is not None
    most = ATTEMPTS if reason.retryable else 1
    for number in range(1, most + 1):
        ended = run.finished_at - timedelta(minutes=2 * (most - number))
        tried.attempt, tried.started_at = number, ended - timedelta(seconds=31 * number)
        last = number == most
        outcome = {
            "state": run.state if last else SyncRun.State.QUEUED,
            "reason": "" if last else SyncRun.Reason.RETRY,
            "failure_class": run.failure_class,
            "message": run.message,
        }
        tried.attempts = attempts.with_ended_attempt(tried, outcome, ended)
    return list(tried.attempts)


def _channel(name: str, *configs: SyncConfig) -> None:
    channel = NotificationChannel(name=name)
    channel.url = "jsons://notify.example.org/x"
    channel.save()
    channel.configs.set(configs)


def _around(config: SyncConfig) -> None:
    """Save one of everything else that has a page."""
    rule_set = RuleSet.objects.create(name="No junk", filters="- *.tmp\n- Thumbs.db\n- .DS_Store")
    RuleSetUse.objects.create(config=config, rule_set=rule_set, position=1)
    Delivery.objects.create(
        channel=NotificationChannel.objects.earliest("pk"),
        event="FAILURE",
        dedupe_key="scene",
        title="Photos failed",
        body="dial tcp 192.0.2.7:443: i/o timeout",
        state=Delivery.State.SENT,
        attempts=1,
        sent_at=timezone.now() - timedelta(hours=3),
    )
    admin = User.objects.get(username="admin")
    ApiToken.issue(admin, "Script on the laptop")
    Hook.issue(config)
    Group.objects.create(name="Family")
    hourly = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.HOURS)
    PeriodicTask.objects.create(name="Report", task="reports.send", interval=hourly, enabled=False)
    SolarSchedule.objects.create(event="sunrise", latitude=52.5, longitude=13.4)
    ClockedSchedule.objects.create(clocked_time=timezone.now() + timedelta(days=1))
    TaskResult.objects.create(task_id="scene", task_name="reports.send", status="SUCCESS")
    GroupResult.objects.create(group_id="scene", result="[]")
    folder = Path(settings.FILESYNC_LOCAL_ROOTS[0]) / "NAS"
    for name in (*(source_path for _name, _source, source_path, *_rest in SYNCS), "海边"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "read me.txt").write_text("x" * 700)


def _running(config: SyncConfig, percent: float, names: list[str]) -> None:
    total = 5 << 30
    SyncRun.objects.create(
        config=config,
        config_name=config.name,
        trigger=SyncRun.Trigger.CRON,
        state=SyncRun.State.RUNNING,
        started_at=timezone.now() - timedelta(minutes=7),
        attempt=1,
        worker="worker@nas",
        lease_token=uuid.uuid4(),
        lease_expires_at=from_now(3600),
        phase=engine.Phase.TRANSFERRING.value,
        progress={
            "percent": percent,
            "bytes_done": int(total * percent / 100),
            "bytes_total": total,
            "files_done": 210,
            "files_total": 512,
            "checks_done": 1800,
            "deletes": 0,
            "errors": 0,
            "speed_bytes_per_s": 11_400_000.0,
            "eta_s": 260.0,
            "in_flight": [
                {"name": name, "size_bytes": 8 << 20, "bytes_done": (number + 3) << 20}
                for number, name in enumerate(names)
            ],
        },
    )
