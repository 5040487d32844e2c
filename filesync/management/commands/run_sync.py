"""`manage.py run_sync CONFIG_ID`: one run in this process, with a progress bar on a terminal."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from filesync import engine
from filesync.engine.controls import escape_controls
from filesync.errors import FilesyncError
from filesync.management.here import carry_out, claim_here
from filesync.models import SyncRun
from filesync.services import queueing
from filesync.services.results import summary

PLANNED = (
    "would add {adds}, update {updates}, rename {renames}, delete {deletes} ({bytes_to_delete} "
    "bytes), send {bytes_to_send} bytes, correct the time of {times_updated} files, make "
    "{dirs_made} and remove {dirs_removed} folders"
)


class Command(BaseCommand):
    help = "Run one sync config here and now; exit 0 only if the run succeeded."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("config_id", type=int)
        parser.add_argument(
            "--dry-run", action="store_true", help="plan only: say what would change"
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="run past the guards on deletions, also where the config is disabled",
        )
        parser.add_argument(
            "--only-failed-of",
            type=int,
            metavar="RUN",
            help="send only the files that failed in this run of it; nothing is deleted",
        )
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: object, only_failed_of: int | None, **options: object) -> None:
        try:
            run = queueing.queue_run(
                int(str(options["config_id"])),
                dry_run=bool(options["dry_run"]),
                force=bool(options["force"]),
                only_failed_of=only_failed_of,
                ring_bell=False,
            )
        except FilesyncError as error:
            raise CommandError(str(error)) from None
        claim = claim_here(run, "run_sync")
        with _Display(quiet=bool(options["json"])) as display:
            carry_out(run, claim, watch=display.show)
        self._tell(run, as_json=bool(options["json"]))

    def _tell(self, run: SyncRun, *, as_json: bool) -> None:
        if as_json:
            document = summary(run) | {"plan": run.plan, "message": run.message}
            self.stdout.write(json.dumps(document, ensure_ascii=False))
        else:
            self.stdout.write(
                f"{run.state}: {run.files_transferred} files, {run.bytes_transferred:,} bytes, "
                f"{run.files_deleted} deleted, {run.files_renamed} renamed, "
                f"{run.files_failed} failed, "
                f"{run.duration_s or 0:.1f} s"
            )
            if run.plan is not None and run.dry_run:
                self.stdout.write(PLANNED.format(**run.plan))
        if run.state != SyncRun.State.SUCCEEDED:
            ended = " ".join(filter(None, (run.state, run.failure_class)))
            why = " ".join(filter(None, (run.message, run.advice)))
            raise CommandError(f"{ended}: {why or 'it was stopped from outside'}")


class _Display:
    """What goes wrong, as it happens, and a bar on a terminal: a pipe would only get its last line.

    All of it goes to stderr.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
            disable=quiet or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> _Display:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, event: engine.Event) -> None:
        match event:
            case engine.PhaseChanged(phase):
                self._bar.update(self._task, description=phase.value.lower())
            case engine.Progress():
                self._bar.update(
                    self._task, completed=event.bytes_done, total=event.bytes_total or None
                )
            case engine.ItemDone(engine.Action.FAILED, path):
                self._say(f"failed: {path}: {event.error or ''}")
            case engine.LogLine("warning", text):
                self._say(f"warning: {text}")
            case _:
                pass

    def _say(self, text: str) -> None:
        if not self._quiet:
            console = self._bar.console
            console.print(escape_controls(text), markup=False, highlight=False, soft_wrap=True)
