"""Which channels hear of which syncs, and what their Test buttons do."""

from __future__ import annotations

from django.db.models import Count, QuerySet
from django.db.models.functions import Now

from filesync.models import NotificationChannel, SyncConfig
from filesync.notifications import message
from filesync.notifications.targets import SendFailed, TargetRefused, send_message
from filesync.secrets import SecretsUnreadable


def channels_of_every_sync() -> QuerySet[NotificationChannel]:
    """Return the channels for which no sync is chosen: they hear of all."""
    return NotificationChannel.objects.filter(configs=None)


def channels_of_chosen_syncs() -> QuerySet[NotificationChannel]:
    """Return the channels that hear of chosen syncs only."""
    return NotificationChannel.objects.filter(configs__isnull=False).distinct()


def channels_of_it_alone(config: SyncConfig) -> list[NotificationChannel]:
    """Return the channels for which this sync is the only one chosen."""
    chosen = NotificationChannel.objects.annotate(syncs=Count("configs"))
    return list(chosen.filter(syncs=1, configs=config))


def try_channel(channel: NotificationChannel) -> str | None:
    """Send a test message now; return why it was not taken, None where it was.

    Takes up to some seconds; the outcome is kept with the channel.
    """
    mine = NotificationChannel.objects.filter(pk=channel.pk)
    try:
        send_message(channel.url, message.proof(channel.name))
    except (SendFailed, TargetRefused, SecretsUnreadable) as error:
        mine.update(last_error=str(error))
        return error.message
    mine.update(last_sent_at=Now(), last_error="")
    return None
