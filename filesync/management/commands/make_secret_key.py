"""`manage.py make_secret_key`: print a new key for FILESYNC_SECRET_KEYS."""

from __future__ import annotations

from cryptography.fernet import Fernet
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Print a new key for FILESYNC_SECRET_KEYS; put it in front of those in use."

    def handle(self, *args: object, **options: object) -> None:
        self.stdout.write(Fernet.generate_key().decode("ascii"))
