"""Signal handlers of file sync; three lines each."""

from __future__ import annotations

from django.db.models.signals import pre_delete, pre_save
from django.dispatch import receiver

from filesync.models import Storage, SyncConfig
from filesync.services.finishing import cancel_for_deleted_config
from filesync.services.pausing import resume_where_changed


@receiver(pre_delete, sender=SyncConfig, dispatch_uid="filesync.config_deleted")
def cancel_runs(instance: SyncConfig, **_: object) -> None:
    cancel_for_deleted_config(instance.pk)


@receiver(pre_save, sender=Storage, dispatch_uid="filesync.storage_changed")
def resume_storage(instance: Storage, update_fields: object = None, **_: object) -> None:
    if update_fields is None:
        resume_where_changed(instance)
