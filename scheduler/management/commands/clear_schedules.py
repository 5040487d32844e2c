"""`manage.py clear_schedules`: remove the periodic tasks of all sync configs, and no others."""

from __future__ import annotations

from django.core.management.base import BaseCommand

from scheduler.sync_scheduler import get_sync_scheduler


class Command(BaseCommand):
    help = "Remove our periodic tasks; the configs stay, and a refresh writes the tasks again."

    def handle(self, *args: object, **options: object) -> None:
        self.stdout.write(f"{get_sync_scheduler().clear()} removed")
