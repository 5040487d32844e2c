"""What `task-status` answers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from filesync.api import examples
from filesync.api.serializers.runs import SyncRunSerializer


class BeatProcessSerializer(serializers.Serializer[Any]):
    """One beat, by its last sign of life."""

    name = serializers.CharField()
    seen_at = serializers.DateTimeField()
    alive = serializers.BooleanField()
    leading = serializers.BooleanField()


class WorkerSerializer(serializers.Serializer[Any]):
    """One worker, by its last sign of life."""

    name = serializers.CharField()
    seen_at = serializers.DateTimeField()
    alive = serializers.BooleanField()
    slots = serializers.IntegerField(help_text="runs at once")
    busy = serializers.IntegerField(help_text="slots that run something now")
    free = serializers.IntegerField(help_text="slots that could take a run; 0 when it is silent")


class BeatSerializer(serializers.Serializer[Any]):
    running = serializers.BooleanField(help_text="a beat lives, so that schedules fire")
    leader = serializers.CharField(allow_null=True, help_text="the beat that fires")
    standbys = serializers.IntegerField(help_text="beats that would take over")
    last_seen_at = serializers.DateTimeField(allow_null=True, help_text="last sign of any beat")
    last_slot = serializers.DateTimeField(allow_null=True, help_text="the last slot that fired")
    lag_s = serializers.FloatField(
        allow_null=True, help_text="seconds from that slot to its run, a config's spread included"
    )
    missed_slots = serializers.IntegerField(
        help_text="slots that passed while no beat ran, counted up to 1,000"
    )
    processes = BeatProcessSerializer(many=True)


class ReachableSerializer(serializers.Serializer[Any]):
    reachable = serializers.BooleanField(help_text="as of the last few seconds")


class DatabaseSerializer(serializers.Serializer[Any]):
    reachable = serializers.BooleanField(help_text="always true: without it the answer is 503")
    vendor = serializers.CharField()


class NextRunSerializer(serializers.Serializer[Any]):
    config_id = serializers.IntegerField()
    name = serializers.CharField()
    cron = serializers.CharField()
    timezone = serializers.CharField()
    next_run = serializers.DateTimeField()


class SlotsSerializer(serializers.Serializer[Any]):
    busy = serializers.IntegerField()
    free = serializers.IntegerField()


@extend_schema_serializer(examples=[OpenApiExample("A healthy system", examples.STATUS)])
class TaskStatusSerializer(serializers.Serializer[Any]):
    beat = BeatSerializer()
    workers = WorkerSerializer(many=True)
    slots = SlotsSerializer(help_text="of all workers that live")
    broker = ReachableSerializer()
    database = DatabaseSerializer()
    scheduled_count = serializers.IntegerField(help_text="enabled configs with a cron")
    scheduled = NextRunSerializer(many=True, help_text="the next ten")
    running = SyncRunSerializer(many=True, help_text="with their progress; at most 50")
    queued = SyncRunSerializer(many=True, help_text="the longest waiting; at most 50")
    queue_depth = serializers.IntegerField(help_text="how many are queued in all")
    warnings = serializers.ListField(
        child=serializers.CharField(), help_text="what keeps syncs from running, in words"
    )
