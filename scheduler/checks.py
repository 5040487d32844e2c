"""System checks of the scheduler's configuration, each with an id and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Warning, register

OUR_SCHEDULER = "scheduler.beat:CronDatabaseScheduler"


@register()
def check_scheduler_class(
    app_configs: Sequence[AppConfig] | None, **_: object
) -> list[CheckMessage]:
    """Warn where beat would run without our claims and clock-change rules."""
    configured = getattr(settings, "CELERY_BEAT_SCHEDULER", "")
    if configured == OUR_SCHEDULER:
        return []
    return [
        Warning(
            f"celery beat is set to run {configured or 'its file scheduler'}: sync configs would "
            "fire on celery's cron rules, and twice under two beats.",
            hint=f"Set CELERY_BEAT_SCHEDULER = {OUR_SCHEDULER!r}.",
            id="scheduler.W001",
        )
    ]
