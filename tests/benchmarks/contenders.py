"""The two schedulers of `tests.benchmarks.scheduler`, loaded: django-celery-beat's own and ours."""

from __future__ import annotations

import json
from typing import Any

from tests.benchmarks.filling import CRONS, cron_of
from tests.benchmarks.measuring import timed

STOCK_REFRESH_SAMPLE = 1_000


def our_scheduler() -> Any:
    """Return our scheduler, loaded and leading."""
    from project.celery import app
    from scheduler.beat import CronDatabaseScheduler

    scheduler = CronDatabaseScheduler(app=app, lazy=True)
    scheduler._load()
    scheduler._stock_stamp = scheduler._stamp
    # One holder for all instances of this process, so that a new one leads at once.
    scheduler._lease.holder = "bench"
    assert scheduler._lease.hold()
    return scheduler


def stock_scheduler() -> Any | None:
    """Return a loaded stock scheduler; None where it cannot start on this database."""
    from django.db import OperationalError
    from django_celery_beat.schedulers import DatabaseScheduler

    from project.celery import app

    scheduler = DatabaseScheduler(app=app, lazy=True)
    try:
        assert scheduler.schedule is not None
    except OperationalError:
        return None
    return scheduler


def load_memory_mb(who: str) -> dict[str, Any]:
    """Load `stock` or `ours` in this fresh process; return seconds and megabytes, or the error."""
    import django
    import psutil

    django.setup()
    from django.utils import timezone

    from filesync.models import SyncConfig

    # Warm what both need, so that only the schedule is counted.
    SyncConfig.objects.first()
    timezone.now()
    from project.celery import app
    from scheduler.beat import CronDatabaseScheduler

    process = psutil.Process()
    before = process.memory_info().rss
    if who == "stock":
        seconds, scheduler = timed(stock_scheduler)
        if scheduler is None:
            return {"error": "does not start: Expression tree is too large"}
    else:
        scheduler = CronDatabaseScheduler(app=app, lazy=True)
        seconds, _ = timed(scheduler._load)
    return {"seconds": seconds, "mb": (process.memory_info().rss - before) / 1e6}


def stock_refresh_s(configs: int) -> tuple[float, float]:
    """Time get_or_create and save per config, as most projects do it, over a sample."""
    from django_celery_beat.models import CrontabSchedule, PeriodicTask

    def refresh() -> None:
        for number in range(STOCK_REFRESH_SAMPLE):
            minute, hour, day, month, weekday = cron_of(number % CRONS).split()
            crontab, _ = CrontabSchedule.objects.get_or_create(
                minute=minute,
                hour=hour,
                day_of_month=day,
                month_of_year=month,
                day_of_week=weekday,
                timezone="UTC",
            )
            task, _ = PeriodicTask.objects.get_or_create(
                name=f"naive {number}", defaults={"crontab": crontab, "task": "naive"}
            )
            task.kwargs = json.dumps({"config_id": number})
            task.save()

    create_s, none_s = timed(refresh)[0], timed(refresh)[0]
    PeriodicTask.objects.filter(task="naive").delete()
    scale = configs / STOCK_REFRESH_SAMPLE
    return create_s * scale, none_s * scale
