"""Which channels hear of which syncs, and what their Test buttons do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import translation
from django.utils.translation import gettext as _

from filesync.models import ChannelUse, NotificationChannel, SyncConfig
from filesync.notifications import message
from filesync.notifications.targets import SendFailed, TargetRefused, send_message
from filesync.secrets import SecretsUnreadable


def channels_of_every_sync() -> QuerySet[NotificationChannel]:
    """Return the channels that hear of all syncs."""
    return NotificationChannel.objects.filter(configs=None, chosen_only=False)


def channels_of_chosen_syncs() -> QuerySet[NotificationChannel]:
    """Return the channels that hear of chosen syncs only, those too for which none is left."""
    chosen = Q(configs__isnull=False) | Q(chosen_only=True)
    return NotificationChannel.objects.filter(chosen).distinct()


def check_channels(channels: Collection[NotificationChannel]) -> None:
    """Check that a choice of who hears of a sync changes nothing for any other sync.

    Raises:
        ValidationError: a channel would no longer hear of every sync.
    """
    if taken := channels_of_every_sync().filter(pk__in=[channel.pk for channel in channels]):
        raise ValidationError(
            _("%s hears of every sync, and with this one chosen it would hear of no other.")
            % ", ".join(channel.name for channel in taken)
        )


def tell_channels(config: SyncConfig, events: Mapping[NotificationChannel, Sequence[str]]) -> None:
    """Let exactly these channels hear of a sync: of these events, with none as each says."""
    with transaction.atomic():
        _keep_to_chosen([*config.channels.all(), *events])
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
        if events:
            _keep_to_chosen([channel])


def _keep_to_chosen(channels: Iterable[NotificationChannel]) -> None:
    """Let channels hear of no sync, and not of every one, once their chosen syncs are deleted."""
    ids = [channel.pk for channel in channels]
    NotificationChannel.objects.filter(pk__in=ids).update(chosen_only=True)


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
