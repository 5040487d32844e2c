"""What the Test buttons of notification channels do."""

from __future__ import annotations

from django.db.models.functions import Now

from filesync.models import NotificationChannel
from filesync.notifications import message
from filesync.notifications.targets import SendFailed, TargetRefused, send_message
from filesync.secrets import SecretsUnreadable


def try_channel(channel: NotificationChannel) -> str | None:
    """Send a test message now; return why it was not taken, None where it was.

    Takes up to some seconds; the outcome is kept with the channel.
    """
    mine = NotificationChannel.objects.filter(pk=channel.pk)
    try:
        send_message(channel.url, message.proof(channel.name))
    except (SendFailed, TargetRefused, SecretsUnreadable) as error:
        mine.update(last_error=str(error))
        return str(error)
    mine.update(last_sent_at=Now(), last_error="")
    return None
