"""`manage.py restore_run RUN_ID`: undo a run in this process, or say what that would change."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from filesync.errors import FilesyncError
from filesync.management.here import carry_out, claim_here
from filesync.models import SyncRun
from filesync.services.undo import queue_restore


class Command(BaseCommand):
    help = "Undo a run: put back what it deleted or overwrote, remove what it added, rename back."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run_id", type=int)
        parser.add_argument(
            "--dry-run", action="store_true", help="plan only: say what would be put back"
        )

    def handle(self, *args: object, **options: object) -> None:
        try:
            run = queue_restore(
                int(str(options["run_id"])),
                dry_run=bool(options["dry_run"]),
                ring_bell=False,
            )
        except FilesyncError as error:
            raise CommandError(str(error)) from None
        carry_out(run, claim_here(run, "restore_run"))
        self._tell(run)

    def _tell(self, run: SyncRun) -> None:
        plan = run.plan or {}
        if run.dry_run and plan:
            back = plan["adds"] + plan["updates"]
            self.stdout.write(
                f"would put back {back}, remove {plan['deletes']}, rename {plan['renames']}"
            )
        else:
            self.stdout.write(
                f"{run.state}: {run.files_transferred} put back, {run.files_deleted} removed, "
                f"{run.files_renamed} named as before, "
                f"{run.files_failed} left as they are"
            )
        for path, why in run.items.filter(action="FAILED").values_list("path", "error")[:50]:
            self.stdout.write(f"  {path}: {why}")
        if run.state != SyncRun.State.SUCCEEDED:
            raise CommandError(f"{run.state} {run.failure_class}: {run.message} {run.advice}")
