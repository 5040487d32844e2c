"""`manage.py refresh_schedules`: make the periodic tasks equal to the sync configs."""

from __future__ import annotations

import json
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from scheduler.sync_scheduler import get_sync_scheduler


class Command(BaseCommand):
    help = "Write every schedule into django-celery-beat's rows; exit 1 where one was left out."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *args: object, **options: object) -> None:
        report = get_sync_scheduler().refresh()
        if options["json"]:
            self.stdout.write(json.dumps(report.as_dict()))
        else:
            self.stdout.write(
                f"{report.created} created, {report.updated} updated, "
                f"{report.unchanged} unchanged, {report.removed} removed, "
                f"{report.active_tasks} active"
            )
        if report.errors:
            lines = [f"{error.name}: {error.error}" for error in report.errors]
            raise CommandError("left out:\n" + "\n".join(lines))
