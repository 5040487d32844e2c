"""The app config: registers the system checks and what runs beside beat and workers."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class FilesyncConfig(AppConfig):
    name = "filesync"
    verbose_name = _("File sync")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from filesync import checks, signals, startup  # noqa: F401 - importing registers them

        startup.connect()
