"""Signal handlers of file sync; three lines each."""

from __future__ import annotations

from django.db.models.signals import pre_delete
from django.dispatch import receiver

from filesync.models import SyncConfig
from filesync.services.finishing import cancel_for_deleted_config


@receiver(pre_delete, sender=SyncConfig, dispatch_uid="filesync.config_deleted")
def cancel_runs(instance: SyncConfig, **_: object) -> None:
    cancel_for_deleted_config(instance.pk)
