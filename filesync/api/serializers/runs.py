"""What is taken and answered about runs."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cached_property
from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from filesync.api import examples
from filesync.api.form_fields import Withholding
from filesync.api.quick_rows import QuickRows
from filesync.api.serializers.shared import SaidField, answered, asked
from filesync.models import RunItem, SyncRun
from filesync.services.failures import can_mend
from filesync.texts import read_text, say
from scheduler.api.strict import StrictSerializer


class AttemptSerializer(serializers.Serializer[Any]):
    """An attempt that has ended, as `filesync.services.attempts` keeps it."""

    number = serializers.IntegerField()
    worker = serializers.CharField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField()
    state = serializers.ChoiceField(
        SyncRun.State.choices, help_text="what the run became: QUEUED where it went on"
    )
    reason = serializers.CharField()
    failure_class = serializers.CharField()
    message = serializers.CharField(help_text="why it did not succeed, for a person")


@extend_schema_field(AttemptSerializer(many=True))
class AttemptsField(serializers.Field[Any, Any, Any, Any]):
    """The list in a run's row as it is, but for the words; every row of a list has one."""

    def to_representation(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [one | {"message": say(read_text(one["message"]))} for one in value]


class PlanItemSerializer(serializers.Serializer[Any]):
    """One change that a plan would make."""

    action = serializers.CharField()
    path = serializers.CharField()
    size_bytes = serializers.IntegerField(allow_null=True)
    old_path = serializers.CharField(
        required=False, help_text="what a file that would be renamed is called now"
    )


class PlanSerializer(serializers.Serializer[Any]):
    """What a run would do, as `filesync.services.documents` keeps it.

    Nothing is required: plans of earlier versions lack what was not counted then.
    """

    adds = serializers.IntegerField(required=False)
    updates = serializers.IntegerField(required=False)
    deletes = serializers.IntegerField(required=False)
    renames = serializers.IntegerField(required=False)
    dirs_made = serializers.IntegerField(required=False)
    dirs_removed = serializers.IntegerField(required=False)
    times_updated = serializers.IntegerField(
        required=False, help_text="files of which only the time would be set"
    )
    bytes_to_send = serializers.IntegerField(required=False)
    bytes_to_delete = serializers.IntegerField(required=False)
    bytes_renamed = serializers.IntegerField(required=False, help_text="which need not be sent")
    source_files = serializers.IntegerField(
        required=False, allow_null=True, help_text="null for a check"
    )
    source_bytes = serializers.IntegerField(
        required=False, allow_null=True, help_text="null where no guard asks for it"
    )
    destination_files = serializers.IntegerField(
        required=False, allow_null=True, help_text="null for a check"
    )
    items = PlanItemSerializer(
        many=True, required=False, help_text="the first 1,000 changes, deletions before all others"
    )
    items_left_off = serializers.IntegerField(
        required=False, help_text="changes beyond those, which are only counted"
    )


@extend_schema_field(PlanSerializer)
class PlanField(serializers.JSONField):
    """The plan in a run's row as it is."""


@extend_schema_serializer(examples=[answered(examples.RUN)])
class SyncRunSerializer(QuickRows, serializers.ModelSerializer[SyncRun]):
    """One run of a config: its state, what started it, what it did, and why it failed."""

    status = serializers.CharField(source="task_status", help_text="celery's word for the state")
    duration_s = serializers.FloatField(allow_null=True)
    message = SaidField(help_text="why it did not succeed, for a person")
    advice = serializers.CharField(source="next_step", help_text="the next step, for a person")
    plan = PlanField(
        read_only=True, allow_null=True, help_text="what it would do, once it is known"
    )
    attempts = AttemptsField(read_only=True, help_text="those that ended, oldest first; at most 50")

    class Meta:
        model = SyncRun
        fields = [
            "id",
            "task_id",
            "config",
            "config_name",
            "state",
            "status",
            "reason",
            "trigger",
            "slot",
            "requested_by",
            "retry_of",
            "only_failed",
            "restore_of",
            "dry_run",
            "force",
            "attempt",
            "attempts",
            "not_before",
            "late",
            "created_at",
            "started_at",
            "finished_at",
            "duration_s",
            "worker",
            "cancel_requested_at",
            "phase",
            "progress",
            "plan",
            "files_transferred",
            "bytes_transferred",
            "files_deleted",
            "files_renamed",
            "files_checked",
            "files_failed",
            "kept_until",
            "failure_class",
            "guard",
            "message",
            "advice",
            "retryable",
        ]
        read_only_fields = fields


@extend_schema_serializer(examples=[answered(examples.ITEM)])
class RunItemSerializer(serializers.ModelSerializer[RunItem]):
    error = SaidField(help_text="why it failed, for a person; else empty")

    class Meta:
        model = RunItem
        fields = ["id", "action", "path", "size_bytes", "error", "old_path"]
        extra_kwargs = {"old_path": {"help_text": "what a RENAMED file was called before"}}
        read_only_fields = fields


@extend_schema_serializer(examples=[asked(examples.RETRY)])
class RetrySerializer(Withholding, StrictSerializer):
    """How a run is repeated; without a field as a whole."""

    only_failed = serializers.BooleanField(
        default=False,
        label=_("Only the failed files"),
        help_text=_("send only the files that failed; nothing is deleted"),
    )

    @cached_property
    def withheld(self) -> Collection[str]:
        # A page comes here whatever its address says, and for a run that is not there too.
        pk = str(self.context["view"].kwargs["pk"])
        run = SyncRun.objects.filter(pk=pk).first() if re.fullmatch("[0-9]{1,18}", pk) else None
        return () if run is not None and can_mend(run) else ("only_failed",)


@extend_schema_serializer(examples=[asked(examples.EXECUTE)])
class RestoreSerializer(StrictSerializer):
    """How a run is undone; without a field in earnest."""

    dry_run = serializers.BooleanField(
        default=False,
        label=_("Dry run"),
        help_text=_("plan only: say what would be put back, change nothing"),
    )


class ItemsQuerySerializer(serializers.Serializer[Any]):
    after = serializers.IntegerField(
        min_value=1,
        max_value=2**63 - 1,
        required=False,
        help_text="id of the last item that you have: those that come after it",
    )


class LogTailSerializer(serializers.Serializer[Any]):
    tail = serializers.IntegerField(
        min_value=1, max_value=100_000, required=False, help_text="only so many lines, the last"
    )
