"""What is old goes: runs with their items and celery results, logs, dead processes' heartbeats."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q
from django.utils import timezone
from django_celery_results.models import TaskResult

from filesync.config_request import good_runs
from filesync.models import Delivery, RunItem, RunLog, Story, SyncConfig, SyncRun
from filesync.services.idempotency import forget_old_keys
from scheduler.models import Heartbeat

logger = logging.getLogger(__name__)

RETAIN_EVERY_S = 600.0
CHUNK = 50
ITEM_CHUNK = 10_000
HEARTBEAT_KEEP = timedelta(hours=1)
# A disabled config may still be run by hand, and fail each time: that is one story.
GIVEN_UP_AFTER = timedelta(days=1)


def delete_expired() -> int:
    """Delete finished runs past their days or beyond their number per config; return how many.

    Goes by chunks, each in a transaction of its own, so that no lock is held for long.
    """
    cutoff = timezone.now() - timedelta(days=settings.FILESYNC_KEEP_RUNS_DAYS)
    deleted = _delete_all(Q(finished_at__lt=cutoff))
    for config_id, boundary in _crowded_configs():
        deleted += _delete_all(Q(config_id=config_id, pk__lte=boundary))
    _delete_results(cutoff)
    _close_given_up()
    _delete_told(cutoff)
    Heartbeat.objects.filter(seen_at__lt=timezone.now() - HEARTBEAT_KEEP).delete()
    forget_old_keys()
    if deleted:
        logger.info("%d old runs deleted", deleted)
    return deleted


def _delete_results(cutoff: datetime) -> None:
    """Delete old celery results, those of other tasks too."""
    old = TaskResult.objects.filter(date_done__lt=cutoff)
    while ids := list(old.values_list("pk", flat=True)[:ITEM_CHUNK]):
        TaskResult.objects.filter(pk__in=ids).delete()


def _close_given_up() -> None:
    """Close the stories whose configs are deleted or stay disabled: no run will end them."""
    troubles = Story.objects.filter(Q(key__startswith="config:") | Q(key__startswith="storage:"))
    stories = list(troubles.filter(closed_at=None).only("config_ids", "last_at"))
    enabled = dict(
        SyncConfig.objects.filter(pk__in={pk for story in stories for pk in story.config_ids})
        .order_by()
        .values_list("pk", "enable")
    )
    quiet_since = timezone.now() - GIVEN_UP_AFTER
    given_up = [
        story.pk
        for story in stories
        if not any(enabled.get(pk) for pk in story.config_ids)
        and (story.last_at < quiet_since or not enabled.keys() & set(story.config_ids))
    ]
    Story.objects.filter(pk__in=given_up, closed_at=None).update(closed_at=timezone.now())


def _delete_told(cutoff: datetime) -> None:
    """Delete old messages, but not those of a story that goes on: they say what was told."""
    told = Delivery.objects.filter(created_at__lt=cutoff).exclude(state__in=Delivery.OPEN)
    told.exclude(story__isnull=False, story__closed_at=None).delete()
    Story.objects.filter(closed_at__lt=cutoff).delete()


def _delete_all(condition: Q) -> int:
    deleted = 0
    while True:
        # The row of a run knows where its kept files are: it stays as long as they do.
        condition &= Q(state__in=SyncRun.TERMINAL, kept_until=None)
        finished = SyncRun.objects.filter(condition).exclude(_is_last_good()).order_by("pk")
        expired = dict(finished.values_list("pk", "task_id")[:CHUNK])
        ids = list(expired)
        while items := list(
            RunItem.objects.filter(run__in=ids).values_list("pk", flat=True)[:ITEM_CHUNK]
        ):
            RunItem.objects.filter(pk__in=items).delete()
        with transaction.atomic():
            TaskResult.objects.filter(task_id__in=map(str, expired.values())).delete()
            RunLog.objects.filter(run__in=ids).delete()
            SyncRun.objects.filter(retry_of__in=ids).update(retry_of=None)
            Delivery.objects.filter(run__in=ids).update(run=None)
            Story.objects.filter(run__in=ids).update(run=None)
            SyncRun.objects.filter(restore_of__in=ids).update(restore_of=None)
            SyncRun.objects.filter(pk__in=ids)._raw_delete(finished.db)
        deleted += len(ids)
        if len(ids) < CHUNK:
            return deleted


def _is_last_good() -> Q:
    """Match the last good run of a config: by its plan it is seen that a source has shrunk.

    Else a config whose runs are all stopped for that would go through once enough of them failed.
    """
    good = good_runs(SyncRun.objects.filter(config__isnull=False))
    newer = good.filter(config=OuterRef("config"), pk__gt=OuterRef("pk"))
    return Exists(good.filter(pk=OuterRef("pk"))) & ~Exists(newer)


def _crowded_configs() -> list[tuple[int, int]]:
    """Return (config, highest run id to delete) where a config has more runs than are kept."""
    keep: int = settings.FILESYNC_KEEP_RUNS_PER_CONFIG
    crowded = (
        SyncRun.objects.filter(config__isnull=False)
        .order_by()
        .values_list("config_id")
        .annotate(runs=Count("pk"))
        .filter(runs__gt=keep)
    )
    found: list[tuple[int, int]] = []
    for config_id, _ in crowded:
        ids = SyncRun.objects.filter(config_id=config_id).order_by("-pk")
        found += [(config_id, pk) for pk in ids.values_list("pk", flat=True)[keep : keep + 1]]
    return found
