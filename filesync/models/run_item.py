"""RunItem: what a run did to one path."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from filesync import engine
from filesync.models.fields import MessageField
from filesync.models.run import SyncRun


class RunItem(models.Model):
    """One path and what became of it; how many a run stores is capped, its counters are not."""

    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="items")
    action = models.CharField(
        _("action"),
        max_length=32,
        choices=[(action.value, action.value) for action in engine.Action],
    )
    path = models.TextField(_("path"))
    size_bytes = models.BigIntegerField(_("size"), null=True, blank=True)
    error = MessageField(_("error"), blank=True, default="")
    old_path = models.TextField(_("old path"), blank=True, default="", db_default="")

    class Meta:
        verbose_name = _("item")
        verbose_name_plural = _("items")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.action} {self.path}"
