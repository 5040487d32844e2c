"""Signal handlers that keep the PeriodicTask rows with their schedulables; three lines each."""

from __future__ import annotations

from django.db.models.signals import post_save, pre_delete

from scheduler.models import Schedulable, schedulable_models
from scheduler.sync_scheduler import get_sync_scheduler


def write_row(sender: type[Schedulable], instance: Schedulable, **_: object) -> None:
    get_sync_scheduler().update(instance)


def remove_row(sender: type[Schedulable], instance: Schedulable, **_: object) -> None:
    get_sync_scheduler().remove(sender, instance.pk)


def connect() -> None:
    """Connect both handlers to every schedulable model; called when all models are loaded."""
    for model in schedulable_models():
        uid = f"scheduler.{model._meta.label_lower}"
        post_save.connect(write_row, sender=model, dispatch_uid=uid)
        # Before the object goes: its row is locked first, as in beat's claim, and then the object.
        pre_delete.connect(remove_row, sender=model, dispatch_uid=uid)
