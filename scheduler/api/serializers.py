"""What the scheduler's routes take and answer."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from scheduler.api.strict import StrictSerializer
from scheduler.cron import MAX_LENGTH

NIGHTLY = {"cron": "0 2 * * *", "timezone": "Asia/Shanghai", "count": 2}
VALID = {
    "valid": True,
    "cron": "0 2 * * *",
    "timezone": "Asia/Shanghai",
    "description": "At 02:00 every day",
    "next_runs": ["2026-03-02T02:00:00+08:00", "2026-03-03T02:00:00+08:00"],
    "next_run_in_seconds": 28_800.5,
}
INVALID = {"valid": False, "field": "minute", "error": "61 is not from 0 to 59"}
REFRESHED = {
    "created": 1,
    "updated": 0,
    "unchanged": 11,
    "removed": 0,
    "errors": [],
    "active_tasks": 12,
}


@extend_schema_serializer(examples=[OpenApiExample("A request", NIGHTLY, request_only=True)])
class ValidateCronSerializer(StrictSerializer):
    """A cron expression, the clock it reads, and how many fire times are told."""

    cron = serializers.CharField(
        max_length=10 * MAX_LENGTH,
        trim_whitespace=False,
        label=_("Cron"),
        help_text=_("minute hour day month weekday, for example 0 2 * * *"),
    )
    timezone = serializers.CharField(
        max_length=100,
        required=False,
        label=_("Time zone"),
        help_text=_("IANA name; empty is the server's own"),
    )
    count = serializers.IntegerField(
        min_value=1,
        max_value=100,
        default=5,
        label=_("Count"),
        help_text=_("how many fire times are told"),
    )


@extend_schema_serializer(
    examples=[
        OpenApiExample("A cron that can fire", VALID, response_only=True),
        OpenApiExample("One that cannot", INVALID, response_only=True),
    ]
)
class CronAnswerSerializer(serializers.Serializer[Any]):
    """The answer is 200 for an invalid cron too: the question was answered."""

    valid = serializers.BooleanField()
    cron = serializers.CharField(required=False, help_text="normalised")
    timezone = serializers.CharField(required=False)
    description = serializers.CharField(required=False)
    next_runs = serializers.ListField(child=serializers.DateTimeField(), required=False)
    next_run_in_seconds = serializers.FloatField(required=False, allow_null=True)
    field = serializers.CharField(required=False, help_text="the cron field that is wrong")
    error = serializers.CharField(required=False)


class RowErrorSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    field = serializers.CharField()
    error = serializers.CharField()


@extend_schema_serializer(examples=[OpenApiExample("An answer", REFRESHED, response_only=True)])
class RefreshReportSerializer(serializers.Serializer[Any]):
    created = serializers.IntegerField()
    updated = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    removed = serializers.IntegerField()
    errors = RowErrorSerializer(many=True)  # type: ignore[assignment]
    active_tasks = serializers.IntegerField()


@extend_schema_serializer(
    examples=[OpenApiExample("An answer", {"removed": 12}, response_only=True)]
)
class RemovedSerializer(serializers.Serializer[Any]):
    removed = serializers.IntegerField()
