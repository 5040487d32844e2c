"""`manage.py rotate_secrets`: encrypt every stored secret with the first key."""

from __future__ import annotations

import json

from django.core.management.base import BaseCommand, CommandError

from filesync.services.rotation import rotate_secrets


class Command(BaseCommand):
    help = "Encrypt all stored secrets with the first of FILESYNC_SECRET_KEYS; safe to repeat."

    def handle(self, *args: object, **options: object) -> None:
        report = rotate_secrets()
        self.stdout.write(json.dumps(report.as_dict(), ensure_ascii=False))
        if report.unreadable:
            raise CommandError(
                "no configured key opens the secrets of "
                f"{', '.join(report.unreadable)}: put the key that was in use back into "
                "FILESYNC_SECRET_KEYS and run this again, or enter them again"
            )
