"""`manage.py sweep_runs`: what beat and workers do by themselves: sweep, and delete what is old."""

from __future__ import annotations

import json

from django.core.management.base import BaseCommand

from filesync.tasks import housekeeping


class Command(BaseCommand):
    help = "Requeue runs that lost their worker, ring those that wait, delete old ones."

    def handle(self, *args: object, **options: object) -> None:
        self.stdout.write(json.dumps(housekeeping()))
