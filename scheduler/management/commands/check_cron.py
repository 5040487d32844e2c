"""`manage.py check_cron EXPR`: say whether a cron expression can be scheduled, and when."""

from __future__ import annotations

import json
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from scheduler.sync_scheduler import get_sync_scheduler


class Command(BaseCommand):
    help = "Check a cron expression and list its next fire times; exit 1 where it is invalid."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("expr", help='five fields in quotes, for example "0 2 * * *"')
        parser.add_argument("--timezone", help="IANA name; default: the server's own")
        parser.add_argument("--count", type=int, default=5, help="how many fire times (1 to 100)")
        parser.add_argument("--json", action="store_true", help="print the answer as JSON")

    def handle(self, *args: object, **options: object) -> None:
        count = options["count"]
        assert isinstance(count, int)
        if not 1 <= count <= 100:
            raise CommandError(f"--count is {count}; it must be from 1 to 100")
        zone = options["timezone"]
        answer = get_sync_scheduler().validate_cron_expression(
            str(options["expr"]), str(zone) if zone else None, count
        )
        if options["json"]:
            self.stdout.write(json.dumps(answer, ensure_ascii=False))
        elif answer["valid"]:
            self.stdout.write(f"{answer['cron']}  ({answer['timezone']}): {answer['description']}")
            next_runs = answer["next_runs"]
            assert isinstance(next_runs, list)
            self.stdout.write("\n".join(next_runs))
        if not answer["valid"]:
            raise CommandError(f"{answer['field']}: {answer['error']}")
