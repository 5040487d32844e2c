"""`manage.py export_configs`: storages, rule sets, sync configs and channels as YAML."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path

import yaml
from django.core.management.base import BaseCommand, CommandError

from filesync.secrets import SecretsUnreadable
from filesync.services.transfer import export_document


class Command(BaseCommand):
    help = (
        "Write storages, rule sets, sync configs and notification channels as YAML; their secrets "
        "only where that is asked for."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--output", help="a new file, readable by you alone; else stdout")
        secrets = parser.add_mutually_exclusive_group()
        secrets.add_argument(
            "--passphrase-file", help="include the secrets, encrypted with this file's first line"
        )
        secrets.add_argument(
            "--secret-references",
            action="store_true",
            help="name an environment variable for each secret, in which the import finds it",
        )

    def handle(self, *args: object, **options: object) -> None:
        try:
            document = export_document(
                read_passphrase(options["passphrase_file"]),
                by_reference=bool(options["secret_references"]),
            )
        except SecretsUnreadable as error:
            raise CommandError(str(error)) from None
        text = yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
        if not options["output"]:
            self.stdout.write(text)
            return
        path = Path(str(options["output"]))
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from None


def read_passphrase(path: object) -> str:
    """Return the first line of a file, empty where none is named: argv is no place for it."""
    if not path:
        return ""
    try:
        lines = Path(str(path)).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"the passphrase file cannot be read: {error}") from None
    if not lines or not lines[0]:
        raise CommandError(f"{path} is empty: its first line is the passphrase")
    return lines[0]
