"""What the scheduler's routes take and answer."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from scheduler.api.strict import StrictSerializer
from scheduler.cron import MAX_LENGTH


class ValidateCronSerializer(StrictSerializer):
    cron = serializers.CharField(
        max_length=10 * MAX_LENGTH,
        trim_whitespace=False,
        help_text="minute hour day month weekday, for example 0 2 * * *",
    )
    timezone = serializers.CharField(
        max_length=100, required=False, help_text="IANA name; empty is the server's own"
    )
    count = serializers.IntegerField(min_value=1, max_value=100, default=5)


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


class RefreshReportSerializer(serializers.Serializer[Any]):
    created = serializers.IntegerField()
    updated = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    removed = serializers.IntegerField()
    errors = RowErrorSerializer(many=True)  # type: ignore[assignment]
    active_tasks = serializers.IntegerField()


class RemovedSerializer(serializers.Serializer[Any]):
    removed = serializers.IntegerField()
