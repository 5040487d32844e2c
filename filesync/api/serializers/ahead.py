"""What `configs/ahead` is asked, and what it answers."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from filesync.ahead import WINDOWS
from filesync.api import examples
from filesync.api.serializers.shared import answered


class AheadQuerySerializer(serializers.Serializer[Any]):
    window = serializers.ChoiceField(
        choices=list(WINDOWS), default="day", help_text="how far is looked"
    )
    day = serializers.IntegerField(
        min_value=0,
        max_value=max(window.days for window in WINDOWS.values()) - 1,
        default=0,
        help_text="whose clashes of a week are told: 0 is the next 24 hours, 1 those after them",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["day"] >= WINDOWS[attrs["window"]].days:
            raise serializers.ValidationError({"day": _("A window of a day has no other day.")})
        return attrs


class ClashSerializer(serializers.Serializer[Any]):
    """A time in which more runs want a storage than it allows; the others wait."""

    storage = serializers.IntegerField(source="storage_id")
    begins = serializers.DateTimeField(source="starts")
    ends = serializers.DateTimeField()
    runs = serializers.IntegerField(help_text="the most at once")
    limit = serializers.IntegerField(help_text="what the storage allows")
    configs = serializers.ListField(
        child=serializers.IntegerField(), source="config_ids", help_text="those of that moment"
    )


class ClockChangeSerializer(serializers.Serializer[Any]):
    """A night in which the clocks of a zone jump."""

    timezone = serializers.CharField()
    at = serializers.DateTimeField()
    shift_s = serializers.IntegerField(help_text="negative where they go back")
    configs = serializers.ListField(
        child=serializers.CharField(), source="names", help_text="names of some that fire near it"
    )


class MoveSerializer(serializers.Serializer[Any]):
    """A config that would better start at another minute of its hour."""

    config = serializers.IntegerField(source="config_id")
    name = serializers.CharField()
    cron = serializers.CharField()
    new_cron = serializers.CharField()


@extend_schema_serializer(examples=[answered(examples.AHEAD)], many=False)
class AheadSerializer(serializers.Serializer[Any]):
    begins = serializers.DateTimeField()
    span_s = serializers.IntegerField(help_text="the span in which starts are counted together")
    starts = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="runs that start in each span, from `begins` on",
    )
    clashes = ClashSerializer(many=True, help_text="of the day that was asked for, the earliest 20")
    clock_changes = ClockChangeSerializer(many=True, help_text="of the first week")
    moves = MoveSerializer(many=True, help_text="crons that would clash less; nothing is changed")
