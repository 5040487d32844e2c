"""Signal handlers that keep the PeriodicTask rows with their schedulables; three lines each."""

from __future__ import annotations

from django.db.models.signals import post_delete, post_save, pre_delete
from django_celery_beat.models import PeriodicTasks

from scheduler.models import Schedulable, schedulable_models
from scheduler.sync_scheduler import get_sync_scheduler


def write_row(
    sender: type[Schedulable], instance: Schedulable, update_fields: object = None, **_: object
) -> None:
    # Of a save of some fields the others may be older here than in the database.
    whole = update_fields is None
    get_sync_scheduler().update(instance if whole else sender._default_manager.get(pk=instance.pk))


def remove_row(sender: type[Schedulable], instance: Schedulable, **_: object) -> None:
    get_sync_scheduler().remove(sender, instance.pk, wake_beat=False)


def wake_beat(**_: object) -> None:
    PeriodicTasks.update_changed()


def connect() -> None:
    """Connect the handlers to every schedulable model; called when all models are loaded."""
    for model in schedulable_models():
        uid = f"scheduler.{model._meta.label_lower}"
        post_save.connect(write_row, sender=model, dispatch_uid=uid)
        # Before the object goes: beat's claim locks the row first, and then the object.
        pre_delete.connect(remove_row, sender=model, dispatch_uid=uid)
        # After all objects of one deletion went, as nothing is locked after that.
        post_delete.connect(wake_beat, sender=model, dispatch_uid=uid)
