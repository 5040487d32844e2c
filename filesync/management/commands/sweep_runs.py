"""`manage.py sweep_runs`: one sweep, as beat and workers do it every few seconds."""

from __future__ import annotations

import json

from django.core.management.base import BaseCommand

from filesync.services.retention import delete_expired
from filesync.services.sweeping import sweep


class Command(BaseCommand):
    help = "Requeue runs that lost their worker, ring those that wait, delete old ones."

    def handle(self, *args: object, **options: object) -> None:
        report = sweep().as_dict() | {"deleted": delete_expired()}
        self.stdout.write(json.dumps(report))
