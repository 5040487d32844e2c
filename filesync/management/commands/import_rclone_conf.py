"""`manage.py import_rclone_conf FILE`: make storages of an existing rclone configuration."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from filesync import engine
from filesync.services.rclone_import import import_rclone_conf


class Command(BaseCommand):
    help = "Make a storage of each section of an rclone.conf; says what was left out, and why."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="the rclone.conf; it is only read")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be, save nothing"
        )

    def handle(self, *args: object, **options: object) -> None:
        file, dry_run = Path(str(options["file"])), bool(options["dry_run"])
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
            done = import_rclone_conf(text, dry_run=dry_run)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}") from None
        except engine.EngineError as error:
            raise CommandError(f"{file}: {error.message}") from None
        for entry in done:
            storage = entry.storage
            became = "not imported" if storage is None else f"{storage.backend} {storage.root}"
            self.stdout.write(f"{entry.name}: {became.strip()}")
            for note in entry.notes:
                self.stdout.write(f"  {note}")
        made = sum(entry.storage is not None for entry in done)
        verb = "would be imported" if dry_run else "imported"
        self.stdout.write(f"{made} {verb}, {len(done) - made} not")
