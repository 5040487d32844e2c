"""The app config: wires the signals and registers the system checks."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class SchedulerConfig(AppConfig):
    name = "scheduler"
    verbose_name = _("Scheduler")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from scheduler import checks, cron, signals  # noqa: F401 - importing registers the checks

        signals.connect()
        cron.translate_with(gettext)
