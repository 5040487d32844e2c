"""`manage.py demo`: a system with one sync that fires every minute, and what became of its run."""

from __future__ import annotations

import io
import os
import sys
import time
from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections

from filesync.models import ApiToken, SyncConfig, SyncRun
from filesync.services.demo import demo_folders, make_demo, make_tree
from project import accounts
from project.addresses import base_url
from project.management.commands.up import RunningSystem, print_where, running_system

WAIT_S = 180


class Command(BaseCommand):
    help = "Start the system, add a demo sync on * * * * *, wait for the run that cron fired."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        env = os.environ
        parser.add_argument(
            "--src", default=env.get("SRC", ""), help="folder to copy from; default: a made tree"
        )
        parser.add_argument(
            "--dst", default=env.get("DST", ""), help="folder to copy to; default: beside it"
        )
        parser.add_argument(
            "--once",
            action="store_true",
            default=env.get("ONCE", "") not in ("", "0"),
            help="end after the first run; exit 0 if it succeeded",
        )

    def handle(self, *args: object, **options: object) -> None:
        # A log file or a pipe would see nothing until the end.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)
        source, destination = _folders(str(options["src"]), str(options["dst"]))
        with running_system(quiet=True) as system:
            password = accounts.ensure_admin()
            try:
                config = make_demo(source, destination)
            except ValidationError as error:
                raise CommandError("; ".join(error.messages)) from None
            _, token = ApiToken.issue(
                get_user_model()._default_manager.filter(is_superuser=True)[0], "demo"
            )
            self.stdout.write(f"copying {source} to {destination}, on the cron {config.cron}")
            run = self._wait_for_cron(config, system)
            self._tell(run, token)
            print_where(password)
            if not options["once"]:
                system.serve()
        if options["once"] and run.state != SyncRun.State.SUCCEEDED:
            raise CommandError(f"the run ended {run.state}: {run.message} {run.advice}".strip())

    def _wait_for_cron(self, config: SyncConfig, system: RunningSystem) -> SyncRun:
        """Wait for the first run that the schedule fires from now on, and show its progress."""
        last = SyncRun.objects.filter(config=config).order_by("-id").values_list("pk", flat=True)
        after = last.first() or 0
        slot = config.next_slot()
        self.stdout.write(f"waiting for the schedule: next at {slot:%H:%M:%S %Z}")
        deadline = time.monotonic() + WAIT_S
        shown = ""
        while time.monotonic() < deadline:
            if system.stopping:
                raise CommandError("stopped before the schedule fired a run")
            system.tend()
            close_old_connections()
            run = (
                SyncRun.objects.filter(config=config, pk__gt=after, slot__isnull=False)
                .exclude(state__in=[SyncRun.State.MISSED, SyncRun.State.SKIPPED])
                .order_by("id")
                .first()
            )
            if run is not None and run.is_terminal:
                return run
            state = "" if run is None else f"{run.get_state_display()} {run.phase}".strip()
            if state != shown:
                self.stdout.write(f"  {state}")
                shown = state
            time.sleep(0.3)
        raise CommandError(f"no run was fired and finished in {WAIT_S} s; see the log above")

    def _tell(self, run: SyncRun, token: str) -> None:
        base = base_url(settings.WEB_BIND, settings.WEB_PORT)
        took = f"{run.duration_s:.2f} s" if run.duration_s is not None else "-"
        self.stdout.write(
            f"\n  run {run.pk}: {run.state}, fired for {run.slot:%H:%M:%S} by the schedule\n"
            f"  {run.files_transferred} files, {run.bytes_transferred:,} bytes, {took}\n"
            + (f"  {run.failure_class}: {run.message} {run.advice}\n" if run.message else "")
            + f"\n  this run:   {base}/admin/filesync/syncrun/{run.pk}/change/\n"
            f"  as JSON:    curl -H 'Authorization: Bearer {token}' "
            f"{base}/api/v1/sync/runs/{run.pk}\n"
            f"  API token:  {token}"
        )


def _folders(source: str, destination: str) -> tuple[Path, Path]:
    """Return the two folders; make the demo tree where none is named.

    Folders of one's own are added to the allowed local roots for this system.
    """
    own_source, own_destination = demo_folders()
    source_path = Path(source).expanduser().absolute() if source else own_source
    destination_path = Path(destination).expanduser().absolute() if destination else own_destination
    if source and not source_path.is_dir():
        raise CommandError(f"SRC {source_path} is no folder")
    named = [
        path for path, given in ((source_path, source), (destination_path, destination)) if given
    ]
    if named:
        roots = [*map(str, settings.FILESYNC_LOCAL_ROOTS), *map(str, named)]
        if any("," in root for root in roots):
            raise CommandError("a folder with a comma in its name cannot be a local root")
        os.environ["FILESYNC_LOCAL_ROOTS"] = ",".join(roots)
        settings.FILESYNC_LOCAL_ROOTS = [Path(root) for root in roots]
    if not source:
        make_tree(source_path)
    destination_path.mkdir(parents=True, exist_ok=True)
    return source_path, destination_path
