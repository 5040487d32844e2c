"""`manage.py doctor`: look at the installation and say what to do; exit 1 where it cannot work."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict

from django.core.management.base import BaseCommand, CommandError

from project.doctor import Level, examine

MARKS = {Level.OK: "ok      ", Level.WARNING: "WARNING ", Level.PROBLEM: "PROBLEM "}


class Command(BaseCommand):
    help = "Check settings, keys, rclone, disk, database, clock, broker, beat and workers."
    # It runs them itself, and goes on where one fails.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def handle(self, *args: object, **options: object) -> None:
        findings = list(examine())
        if options["json"]:
            document = [asdict(finding) for finding in findings]
            self.stdout.write(json.dumps(document, ensure_ascii=False))
        else:
            for finding in findings:
                self.stdout.write(f"{MARKS[finding.level]}{finding.what}: {finding.text}")
                if finding.advice:
                    self.stdout.write(f"        {finding.advice}")
        problems = [finding.what for finding in findings if finding.level is Level.PROBLEM]
        if problems:
            raise CommandError(f"it cannot work as it is: {', '.join(dict.fromkeys(problems))}")
