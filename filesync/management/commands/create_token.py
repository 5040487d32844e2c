"""`manage.py create_token USER`: make an API token and print it, once."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from filesync.models import ApiToken
from filesync.models.api_token import MOST_DAYS


class Command(BaseCommand):
    help = "Make an API token for a user; it is printed once and stored only as a hash."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="command line", help="what it is for")
        parser.add_argument(
            "--days",
            type=int,
            help=f"days until it expires, from 1 to {MOST_DAYS}; default: the setting",
        )

    def handle(self, *args: object, **options: object) -> None:
        username = str(options["username"])
        user = get_user_model()._default_manager.filter(username=username).first()
        if user is None:
            raise CommandError(f"there is no user {username}")
        days = options["days"]
        if isinstance(days, int) and not 1 <= days <= MOST_DAYS:
            raise CommandError(f"--days is {days}; it must be from 1 to {MOST_DAYS}")
        expires_at = timezone.now() + timedelta(days=days) if isinstance(days, int) else None
        token = ApiToken(user=user, name=str(options["name"]), expires_at=expires_at)
        text = token.give_text()
        try:
            token.clean_fields(exclude=["user"])
        except ValidationError as error:
            raise CommandError(f"--name: {error.messages[0]}") from None
        token.save()
        self.stdout.write(text)
