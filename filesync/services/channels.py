"""Which channels hear of which syncs, and what their Test buttons do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, QuerySet
from django.db.models.functions import Now
from django.utils import translation
from django.utils.translation import gettext as _

from filesync.models import ChannelUse, NotificationChannel, SyncConfig
from filesync.notifications import message
from filesync.notifications.targets import SendFailed, TargetRefused, send_message
from filesync.secrets import SecretsUnreadable


def channels_of_every_sync() -> QuerySet[NotificationChannel]:
    """Return the channels for which no sync is chosen: they hear of all."""
    return NotificationChannel.objects.filter(configs=None)


def channels_of_chosen_syncs() -> QuerySet[NotificationChannel]:
    """Return the channels that hear of chosen syncs only."""
    return NotificationChannel.objects.filter(configs__isnull=False).distinct()


def check_channels(config: SyncConfig, channels: Collection[NotificationChannel]) -> None:
    """Check that a choice of who hears of a sync changes nothing for any other sync.

    Raises:
        ValidationError: a channel would hear of every sync from now on, or no longer.
    """
    left = [channel.name for channel in _channels_of_it_alone(config) if channel not in channels]
    if left:
        raise ValidationError(
            _(
                "%s hears of this sync alone, and with none chosen it would hear of all: "
                "switch the channel off, or choose another sync for it first."
            )
            % ", ".join(left)
        )
    if taken := channels_of_every_sync().filter(pk__in=[channel.pk for channel in channels]):
        raise ValidationError(
            _("%s hears of every sync, and with this one chosen it would hear of no other.")
            % ", ".join(channel.name for channel in taken)
        )


def _channels_of_it_alone(config: SyncConfig) -> list[NotificationChannel]:
    """Return the channels for which this sync is the only one chosen."""
    if config.pk is None:
        return []
    chosen = NotificationChannel.objects.annotate(syncs=Count("configs"))
    return list(chosen.filter(syncs=1, configs=config))


def tell_channels(config: SyncConfig, events: Mapping[NotificationChannel, Sequence[str]]) -> None:
    """Let exactly these channels hear of a sync: of these events, with none as each says."""
    with transaction.atomic():
        config.channel_uses.all().delete()
        ChannelUse.objects.bulk_create(
            ChannelUse(config=config, channel=channel, events=list(chosen))
            for channel, chosen in events.items()
        )


def hear_of(channel: NotificationChannel, events: Mapping[SyncConfig, Sequence[str]]) -> None:
    """Let a channel hear of exactly these syncs: of these events, with none as it says."""
    with transaction.atomic():
        channel.uses.all().delete()
        ChannelUse.objects.bulk_create(
            ChannelUse(config=config, channel=channel, events=list(chosen))
            for config, chosen in events.items()
        )


def try_channel(channel: NotificationChannel) -> str | None:
    """Send a test message now; return why it was not taken, None where it was.

    Takes up to some seconds; the outcome is kept with the channel.
    """
    mine = NotificationChannel.objects.filter(pk=channel.pk)
    with translation.override(channel.spoken):
        proof = message.proof(channel.name)
    try:
        send_message(channel.url, proof)
    except (SendFailed, TargetRefused, SecretsUnreadable) as error:
        mine.update(last_error=str(error))
        return error.message
    mine.update(last_sent_at=Now(), last_error="")
    return None
