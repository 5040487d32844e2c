"""Which channels hear of a sync, as its own resource takes and answers it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied

from filesync.api.form_fields import ChoicesField, LinesField
from filesync.api.permissions import VIEW_CHANNELS
from filesync.models import ChannelUse, NotificationChannel, SyncConfig
from filesync.notifications.events import OF_A_SYNC
from scheduler.api.strict import StrictSerializer

MOST_CHANNELS = 1_000


class ChannelUseSerializer(StrictSerializer):
    """A channel that hears of a sync, and of which events."""

    channel = serializers.IntegerField(
        source="channel_id", min_value=1, max_value=2**63 - 1, help_text=_("id of a channel")
    )
    events = ChoicesField(
        child=serializers.ChoiceField(choices=list(OF_A_SYNC.items())),
        required=False,
        max_length=len(OF_A_SYNC),
        help_text=_("what it is told of; none: what the channel says"),
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        # A change of some fields of the sync leaves out none of these.
        if "channel_id" not in attrs:
            self.fields["channel"].fail("required")
        return {"events": []} | attrs


class ChannelUsesField(LinesField):
    """The channels of a sync; null in lists, and for who may not see channels.

    In a form each line is a channel's id, and its events behind an equals sign.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=ChannelUseSerializer(), max_length=MOST_CHANNELS, **kwargs)

    def get_value(self, dictionary: Any) -> Any:
        value = super().get_value(dictionary)
        if isinstance(dictionary, QueryDict) and isinstance(value, list):
            return [_use_of(line) for line in value]
        return value

    def get_attribute(self, instance: SyncConfig) -> list[ChannelUse] | None:
        request = self.context.get("request")
        if request is None or not request.user.has_perm(VIEW_CHANNELS):
            return None
        return list(instance.channel_uses.order_by("channel__name"))

    def to_internal_value(self, data: Any) -> Any:
        """Return the events by channel."""
        if not self.context["request"].user.has_perm(VIEW_CHANNELS):
            raise PermissionDenied(_("You may not see notification channels."))
        try:
            uses = super().to_internal_value(data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError(list(_texts(error.detail))) from None
        events = {use["channel_id"]: use["events"] for use in uses}
        if len(events) < len(uses):
            raise serializers.ValidationError(_("Each channel once."))
        found = NotificationChannel.objects.in_bulk(events)
        if unknown := events.keys() - found:
            raise serializers.ValidationError(
                _("There is no channel %s.") % ", ".join(map(str, sorted(unknown)))
            )
        return {found[pk]: chosen for pk, chosen in events.items()}

    def to_representation(self, data: list[ChannelUse]) -> list[Any]:
        return [_Use(shown) for shown in super().to_representation(data)]


class _Use(dict[str, Any]):
    """A channel and its events; in a form it is a line."""

    def __str__(self) -> str:
        events = ", ".join(map(str, self["events"]))
        return f"{self['channel']} = {events}" if events else str(self["channel"])


def _use_of(line: str) -> _Use:
    channel, _sign, events = (part.strip() for part in line.partition("="))
    return _Use(
        channel=int(channel) if re.fullmatch("[0-9]{1,18}", channel) else channel,
        events=[event for event in re.split(r"[\s,]+", events) if event],
    )


def _texts(detail: Any) -> Iterator[Any]:
    """Yield what is wrong in words, without the places within the list."""
    if isinstance(detail, Mapping):
        for inner in detail.values():
            yield from _texts(inner)
    elif isinstance(detail, list):
        for inner in detail:
            yield from _texts(inner)
    else:
        yield detail
