"""RunLog: a piece of the compressed log of one attempt of a run."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from filesync.models.run import SyncRun


class RunLog(models.Model):
    """The log as the engine wrote it, gzip, cut into parts; `claim` names the attempt.

    It stands in the database, and not in files, because the worker that wrote it and the web
    process that shows it may be on different hosts.
    """

    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="logs")
    claim = models.UUIDField()
    started_at = models.DateTimeField()
    part = models.PositiveSmallIntegerField()
    data = models.BinaryField()

    class Meta:
        verbose_name = _("log")
        verbose_name_plural = _("logs")
        ordering = ["started_at", "claim", "part"]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "claim", "part"], name="filesync_run_log_part_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.claim}/{self.part}"
