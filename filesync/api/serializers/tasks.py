"""What the task routes take and answer: executing, waiting for results."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from filesync.api import examples
from filesync.api.form_fields import Withholding
from filesync.api.permissions import FORCE
from filesync.api.serializers.runs import SyncRunSerializer
from filesync.api.serializers.shared import SaidField, answered, asked
from filesync.services.waiting import LONGEST_WAIT_S
from scheduler.api.strict import StrictSerializer


@extend_schema_serializer(examples=[asked(examples.EXECUTE)])
class ExecuteAllSerializer(StrictSerializer):
    """How all configs are run; without a field as their schedules would run them."""

    dry_run = serializers.BooleanField(
        default=False,
        label=_("Dry run"),
        help_text=_("plan only: say what would change, change nothing"),
    )


@extend_schema_serializer(
    examples=[asked(examples.EXECUTE), asked(examples.MEND, "Only the files that failed")]
)
class ExecuteSerializer(Withholding, ExecuteAllSerializer):
    """How a config is run; without a field as its schedule would run it."""

    force = serializers.BooleanField(
        default=False,
        label=_("Force"),
        help_text=_("run once past the guards on deletions, also where the config is disabled"),
    )
    only_failed_of = serializers.IntegerField(
        min_value=1,
        max_value=2**63 - 1,
        allow_null=True,
        default=None,
        label=_("Only what failed in run"),
        help_text=_(
            "id of a run of this config that ended: send only the files that failed in it; "
            "nothing is deleted"
        ),
    )

    @cached_property
    def withheld(self) -> Collection[str]:
        return () if self.context["request"].user.has_perm(FORCE) else ("force",)


class WaitSerializer(serializers.Serializer[Any]):
    """The query of `task-result`."""

    wait = serializers.IntegerField(min_value=0, max_value=LONGEST_WAIT_S, default=0)


# A field's name with a hyphen cannot stand in a class body.
class IdempotencyKeySerializer(serializers.Serializer[Any]):
    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        key = serializers.RegexField(r"^[!-~]+$", max_length=255, trim_whitespace=False)
        return {"Idempotency-Key": key}


@extend_schema_serializer(examples=[answered(examples.QUEUED)])
class QueuedSerializer(serializers.Serializer[Any]):
    task_id = serializers.UUIDField()
    config_id = serializers.IntegerField()
    status = serializers.CharField()


class BatchEntrySerializer(serializers.Serializer[Any]):
    config_id = serializers.IntegerField()
    name = serializers.CharField()
    task_id = serializers.UUIDField(allow_null=True)
    status = serializers.CharField(help_text="queued, or why not")
    detail = SaidField(allow_blank=True)


@extend_schema_serializer(examples=[answered(examples.BATCH)])
class BatchSerializer(serializers.Serializer[Any]):
    queued = serializers.IntegerField()
    total = serializers.IntegerField()
    results = BatchEntrySerializer(many=True)


@extend_schema_serializer(examples=[answered(examples.RESULT)])
class TaskResultSerializer(serializers.Serializer[Any]):
    task_id = serializers.CharField()
    status = serializers.CharField()
    ready = serializers.BooleanField()
    successful = serializers.BooleanField()
    failed = serializers.BooleanField()
    result = serializers.JSONField(allow_null=True)
    error = serializers.CharField(allow_null=True)
    progress = serializers.JSONField(allow_null=True)
    run = SyncRunSerializer(allow_null=True)
