"""`manage.py import_configs FILE`: make what an export holds; by name, all or nothing."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import yaml
from django.core.management.base import BaseCommand, CommandError

from filesync.management.commands.export_configs import read_passphrase
from filesync.services.references import resolved
from filesync.services.transfer import DocumentRefused, import_document


class Command(BaseCommand):
    help = "Make or change storages, sync configs and channels as an export says, by name."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file")
        parser.add_argument("--passphrase-file", help="opens the secrets of the export")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would change, change nothing"
        )

    def handle(self, *args: object, **options: object) -> None:
        path = Path(str(options["file"]))
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path} cannot be read: {error}") from None
        except yaml.YAMLError as error:
            where = getattr(error, "problem_mark", None)
            line = f", line {where.line + 1}" if where is not None else ""
            raise CommandError(f"{path} is no YAML{line}") from None
        passphrase = read_passphrase(options["passphrase_file"])
        try:
            report = import_document(
                document, passphrase, resolve=resolved, dry_run=bool(options["dry_run"])
            )
        except DocumentRefused as error:
            raise CommandError(f"nothing was changed:\n{error}") from None
        for line in report.created:
            self.stdout.write(f"created {line}")
        for line in report.changed:
            self.stdout.write(f"changed {line}")
        for line in report.without_secrets:
            self.stdout.write(f"enter the secrets of {line}: the file has none for it")
        for line in report.warnings:
            self.stdout.write(f"warning: {line}")
        verb = "would change" if options["dry_run"] else "changed"
        self.stdout.write(
            f"{verb}: {len(report.created)} created, {len(report.changed)} changed, "
            f"{report.unchanged} as they are"
        )
