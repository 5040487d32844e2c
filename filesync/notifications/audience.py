"""Who hears of what: the channels that are on, and the events that each asks for of which sync."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from django.utils import translation

from filesync.models import NotificationChannel
from filesync.notifications.events import Event
from filesync.notifications.targets import Message


@dataclass(frozen=True, slots=True)
class Listener:
    """A channel, and per chosen sync the events that it asks for."""

    channel: NotificationChannel
    chosen: Mapping[int, frozenset[str]]

    def hears(self, event: str, config_ids: Iterable[int]) -> bool:
        """Whether it asks for an event of one of these syncs; without any it is of no sync."""
        ids = list(config_ids)
        # The version before chose syncs without a mark that it is for those only.
        if not ids or not (self.channel.chosen_only or self.chosen):
            return event in self.channel.events
        return any(event in self.chosen.get(pk, ()) for pk in ids)

    def hears_end(self, config_ids: Iterable[int]) -> bool:
        """Whether it asks for the end of a trouble of which it was told.

        A sync that was given up since counts no more: without another the channel decides.
        """
        return self.hears(Event.RECOVERED, [pk for pk in config_ids if pk in self.chosen])

    def read(self, words: Callable[[], Message]) -> Message:
        """Return a message in the language of the channel."""
        with translation.override(self.channel.spoken):
            return words()


def listeners() -> list[Listener]:
    """Return the channels that are on."""
    enabled = NotificationChannel.objects.filter(enabled=True).prefetch_related("uses")
    return [
        Listener(
            channel,
            {use.config_id: frozenset(use.events or channel.events) for use in channel.uses.all()},
        )
        for channel in enabled
    ]
