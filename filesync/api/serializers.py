"""What the resources and the task routes take and answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from filesync.api import examples
from filesync.models import RuleSet, RuleSetUse, RunItem, Storage, SyncConfig, SyncRun
from filesync.models.rule_set import MOST_RULE_SETS
from filesync.notifications.targets import TargetRefused, check_ping_url
from filesync.services.logins import SecretsNeeded, merged_secrets
from filesync.services.rules import use_rule_sets
from filesync.services.switching import MOST_SWITCHED
from filesync.services.waiting import LONGEST_WAIT_S
from filesync.services.warnings import warnings_of
from scheduler.api.strict import StrictModelSerializer, StrictSerializer


def asked(value: object, name: str = "A request") -> OpenApiExample:
    return OpenApiExample(name, value, request_only=True)


def answered(value: object) -> OpenApiExample:
    # Without the codes only the answers with 200 and 201 would show it.
    codes = ["200", "201", "202"]
    return OpenApiExample("An answer", value, response_only=True, status_codes=codes)


@extend_schema_serializer(examples=[asked(examples.STORAGE_WISH), answered(examples.STORAGE)])
class StorageSerializer(StrictModelSerializer):
    """Secrets go in and never come out: `secrets_set` names those that are set."""

    options = serializers.DictField(
        child=serializers.CharField(max_length=4096, allow_blank=True), required=False
    )
    secrets = serializers.DictField(
        child=serializers.CharField(max_length=65_536, allow_blank=True),
        required=False,
        write_only=True,
        help_text="Only the secrets that change; an empty text removes one. Where the login goes "
        "elsewhere (another url, host, port ...), all of them are needed again.",
    )
    secrets_set = serializers.SerializerMethodField(help_text="names of the secrets that are set")
    secrets_readable = serializers.SerializerMethodField(
        help_text="false where no configured key opens them: enter them again"
    )

    class Meta:
        model = Storage
        fields = [
            "id",
            "name",
            "backend",
            "root",
            "options",
            "secrets",
            "secrets_set",
            "secrets_readable",
            "encryption",
            "encrypt_folder_names",
            "max_concurrent_runs",
            "transfers",
            "calls_per_s",
            "bandwidth",
            "remark",
            "last_check_at",
            "last_check_class",
            "last_check_message",
            "paused_at",
            "paused_reason",
            "created_at",
            "updated_at",
        ]
        read_only_fields = [
            "last_check_at",
            "last_check_class",
            "last_check_message",
            "paused_at",
            "paused_reason",
            "created_at",
            "updated_at",
        ]

    def get_secrets_set(self, storage: Storage) -> list[str]:
        return storage.secret_names() or []

    def get_secrets_readable(self, storage: Storage) -> bool:
        return storage.secret_names() is not None

    def validate(self, attrs: Any) -> Any:
        given: dict[str, str] = attrs.get("secrets", {})
        secrets = {name: value for name, value in given.items() if value}
        if isinstance(self.instance, Storage):
            try:
                secrets = merged_secrets(
                    self.instance,
                    given,
                    backend=attrs.get("backend", self.instance.backend),
                    options=attrs.get("options", self.instance.options),
                )
            except SecretsNeeded as error:
                raise serializers.ValidationError(
                    {"secrets": str(error)}, code=error.code
                ) from None
        if "secrets" in attrs:
            attrs["secrets"] = secrets
        return super().validate(attrs)


class StorageDraftSerializer(StorageSerializer):
    """A storage that is only tested, and not saved: its name may be left out or be taken."""

    name = serializers.CharField(max_length=120, required=False, default="untitled")


class FailureSerializer(serializers.Serializer[Any]):
    failure_class = serializers.CharField()
    message = serializers.CharField()
    advice = serializers.CharField()


@extend_schema_serializer(examples=[answered(examples.TESTED)])
class TestResultSerializer(serializers.Serializer[Any]):
    ok = serializers.BooleanField()
    duration_s = serializers.FloatField()
    entries = serializers.IntegerField(help_text="files and folders in the root path")
    failure = FailureSerializer(allow_null=True)


class BrowseQuerySerializer(StrictSerializer):
    path = serializers.CharField(
        max_length=1024,
        default="",
        allow_blank=True,
        trim_whitespace=False,
        help_text="below the storage's root; empty is the root itself",
    )
    page = serializers.IntegerField(default=1, min_value=1, max_value=100_000)
    format = serializers.CharField(required=False, allow_blank=True, help_text="json or api")


class EntrySerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    is_dir = serializers.BooleanField()
    size_bytes = serializers.IntegerField(help_text="-1 where it is not known")
    modified_at = serializers.CharField(
        allow_blank=True, help_text="RFC 3339; empty where the storage has no times"
    )


@extend_schema_serializer(examples=[answered(examples.BROWSED)])
class BrowseSerializer(serializers.Serializer[Any]):
    path = serializers.CharField(allow_blank=True)
    page = serializers.IntegerField(source="number")
    pages = serializers.IntegerField()
    total = serializers.IntegerField(source="listing.total")
    cut = serializers.BooleanField(
        source="listing.cut", help_text="the folder has more entries than are read"
    )
    entries = EntrySerializer(many=True, source="listing.entries")
    failure = FailureSerializer(
        allow_null=True, source="listing.failure", help_text="why the storage did not answer"
    )


def checked_ping_url(url: str) -> str:
    """Return a ping URL that may be used, or the empty one that removes it."""
    try:
        if url:
            check_ping_url(url)
    except TargetRefused as error:
        raise serializers.ValidationError(str(error), code=error.code) from None
    return url


@extend_schema_serializer(examples=[asked(examples.RULE_SET_WISH), answered(examples.RULE_SET)])
class RuleSetSerializer(StrictModelSerializer):
    class Meta:
        model = RuleSet
        fields = ["id", "name", "filters", "remark", "created_at", "updated_at"]
        read_only_fields = ["created_at", "updated_at"]


class RuleSetIds(serializers.ManyRelatedField):
    """The ids of a config's rule sets, in their order."""

    def get_attribute(self, instance: SyncConfig) -> list[RuleSetUse]:
        return list(instance.rule_set_uses.all())

    def to_representation(self, uses: Iterable[RuleSetUse]) -> list[int]:
        return [use.rule_set_id for use in uses]

    def to_internal_value(self, data: Any) -> list[RuleSet]:
        found: list[RuleSet] = list(super().to_internal_value(data))
        if len(found) > MOST_RULE_SETS or len(set(found)) < len(found):
            raise serializers.ValidationError(
                _("At most %(most)d rule sets, each once.") % {"most": MOST_RULE_SETS}
            )
        return found


@extend_schema_serializer(examples=[asked(examples.CONFIG_WISH), answered(examples.CONFIG)])
class SyncConfigSerializer(StrictModelSerializer):
    cron = serializers.CharField(
        max_length=100,
        allow_blank=True,
        required=False,
        help_text="minute hour day month weekday; empty: runs only by hand",
    )
    next_run = serializers.SerializerMethodField()
    ping_url = serializers.CharField(
        max_length=2048,
        required=False,
        allow_blank=True,
        write_only=True,
        help_text="called with /start, plain, or /fail as runs go on; an empty text removes it",
    )
    ping_url_set = serializers.SerializerMethodField()
    warnings = serializers.SerializerMethodField(
        help_text="what is unwise about it, in sentences; null in lists"
    )
    rule_sets = RuleSetIds(
        child_relation=serializers.PrimaryKeyRelatedField(queryset=RuleSet.objects.all()),
        required=False,
        help_text="ids; their rules come after the config's own, in this order",
    )

    class Meta:
        model = SyncConfig
        fields = [
            "id",
            "name",
            "remark",
            "enable",
            "cron",
            "timezone",
            "next_run",
            "start_time",
            "end_time",
            "misfire_policy",
            "misfire_grace_s",
            "jitter_s",
            "source_storage",
            "source_path",
            "destination_storage",
            "destination_path",
            "method",
            "compare",
            "filters",
            "rule_sets",
            "renames",
            "min_size_bytes",
            "max_size_bytes",
            "min_age_s",
            "max_age_s",
            "bandwidth",
            "transfers",
            "checkers",
            "calls_per_s",
            "max_bytes",
            "max_files",
            "max_runtime_s",
            "stall_timeout_s",
            "max_attempts",
            "retry_delay_s",
            "keep_deleted_days",
            "max_delete_files",
            "max_delete_percent",
            "queue",
            "late_after_s",
            "ping_url",
            "ping_url_set",
            "warnings",
            "max_shrink_percent",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["created_at", "updated_at"]

    def get_warnings(self, config: SyncConfig) -> list[str] | None:
        view = self.context.get("view")
        return warnings_of(config) if getattr(view, "action", "list") != "list" else None

    def get_ping_url_set(self, config: SyncConfig) -> bool:
        return bool(config.encrypted_ping_url)

    def validate_ping_url(self, url: str) -> str:
        return checked_ping_url(url)

    def validate(self, attrs: dict[str, Any]) -> Any:
        # The model's own checks know no many-to-many field.
        rule_sets = {key: attrs.pop(key) for key in ("rule_sets",) if key in attrs}
        return super().validate(attrs) | rule_sets

    def create(self, validated_data: dict[str, Any]) -> SyncConfig:
        with transaction.atomic():
            rule_sets = validated_data.pop("rule_sets", [])
            config: SyncConfig = super().create(validated_data)
            use_rule_sets(config, rule_sets)
        return config

    def update(self, instance: SyncConfig, validated_data: dict[str, Any]) -> SyncConfig:
        with transaction.atomic():
            rule_sets = validated_data.pop("rule_sets", None)
            config: SyncConfig = super().update(instance, validated_data)
            if rule_sets is not None:
                use_rule_sets(config, rule_sets)
        return config

    def get_next_run(self, config: SyncConfig) -> str | None:
        slot = config.next_slot()
        return slot.isoformat() if slot else None


@extend_schema_serializer(examples=[answered(examples.RUN)])
class SyncRunSerializer(serializers.ModelSerializer[SyncRun]):
    status = serializers.CharField(source="task_status", help_text="celery's word for the state")
    duration_s = serializers.FloatField(allow_null=True)
    advice = serializers.CharField(source="next_step", help_text="the next step, for a person")

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
    class Meta:
        model = RunItem
        fields = ["id", "action", "path", "size_bytes", "error"]
        read_only_fields = fields


@extend_schema_serializer(examples=[asked(examples.RETRY)])
class RetrySerializer(StrictSerializer):
    only_failed = serializers.BooleanField(
        default=False, help_text="send only the files that failed; nothing is deleted"
    )


@extend_schema_serializer(examples=[asked(examples.EXECUTE)])
class RestoreSerializer(StrictSerializer):
    dry_run = serializers.BooleanField(
        default=False, help_text="plan only: say what would be put back, change nothing"
    )


class LogTailSerializer(serializers.Serializer[Any]):
    tail = serializers.IntegerField(
        min_value=1, max_value=100_000, required=False, help_text="only so many lines, the last"
    )


@extend_schema_serializer(examples=[asked(examples.TRY)])
class TryRulesSerializer(StrictSerializer):
    filters = serializers.CharField(
        max_length=100_000, allow_blank=True, default="", help_text="rules, one a line"
    )
    rule_sets = serializers.PrimaryKeyRelatedField(
        many=True,
        queryset=RuleSet.objects.all(),
        default=[],
        help_text="ids; their rules come after `filters`, in this order",
    )
    paths = serializers.ListField(
        child=serializers.CharField(max_length=4096, trim_whitespace=False),
        min_length=1,
        max_length=1000,
        help_text="files, relative to the source folder",
    )

    def validate_paths(self, paths: list[str]) -> list[str]:
        if any(path.startswith("/") or path.endswith("/") for path in paths):
            raise serializers.ValidationError(
                _("A path is that of a file, relative to the source folder.")
            )
        return paths


@extend_schema_serializer(examples=[answered(examples.VERDICT)])
class VerdictSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    goes = serializers.BooleanField(help_text="whether a run would count the file")
    rule = serializers.CharField(allow_blank=True, help_text="the line that decides; empty: none")


@extend_schema_serializer(
    examples=[asked(examples.EXECUTE), asked(examples.MEND, "Only the files that failed")]
)
class ExecuteSerializer(StrictSerializer):
    dry_run = serializers.BooleanField(
        default=False, help_text="plan only: say what would change, change nothing"
    )
    force = serializers.BooleanField(
        default=False, help_text="run a disabled config, and once past the count guards"
    )
    only_failed_of = serializers.IntegerField(
        min_value=1,
        max_value=2**63 - 1,
        allow_null=True,
        default=None,
        help_text="id of a run of this config that ended: send only the files that failed in it; "
        "nothing is deleted",
    )


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
    detail = serializers.CharField(allow_blank=True)


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


@extend_schema_serializer(examples=[asked(examples.SWITCH)])
class SwitchSerializer(StrictSerializer):
    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1),
        min_length=1,
        max_length=MOST_SWITCHED,
        help_text="ids of sync configs",
    )
    enabled = serializers.BooleanField()


@extend_schema_serializer(examples=[answered(examples.SWITCHED)])
class SwitchedSerializer(serializers.Serializer[Any]):
    changed = serializers.ListField(child=serializers.IntegerField())
    unchanged = serializers.ListField(
        child=serializers.IntegerField(), help_text="those that were so already"
    )
    missing = serializers.ListField(child=serializers.IntegerField(), help_text="no such config")


@extend_schema_serializer(examples=[answered(examples.HOOK)])
class HookSerializer(serializers.Serializer[Any]):
    exists = serializers.BooleanField()
    created_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="within a minute")


@extend_schema_serializer(examples=[answered(examples.NEW_HOOK)])
class NewHookSerializer(serializers.Serializer[Any]):
    url = serializers.CharField(help_text="POST to it; keep it as a password")
    token = serializers.CharField(help_text="the secret part of the address; it is shown once")
    created_at = serializers.DateTimeField()


class ErrorSerializer(serializers.Serializer[Any]):
    detail = serializers.CharField()
    code = serializers.CharField()
    task_id = serializers.UUIDField(required=False)
