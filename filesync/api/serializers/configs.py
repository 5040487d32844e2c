"""What is taken and answered about sync configs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property, partial
from typing import Any

from django.db import transaction
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from filesync.api import examples
from filesync.api.form_fields import LinesField, Withholding
from filesync.api.permissions import VIEW_CHANNELS
from filesync.api.quick_rows import QuickRows
from filesync.api.serializers.channel_uses import ChannelUsesField
from filesync.api.serializers.rule_sets import RuleSetList
from filesync.api.serializers.shared import answered, asked
from filesync.models import NotificationChannel, RuleSetUse, SyncConfig
from filesync.notifications.targets import TargetRefused, check_ping_url
from filesync.services.channels import check_channels, tell_channels
from filesync.services.rules import use_rule_sets
from filesync.services.switching import MOST_SWITCHED
from filesync.services.warnings import ENDS, warnings_of
from filesync.texts import say
from scheduler.api.strict import StrictModelSerializer, StrictSerializer


def checked_ping_url(url: str) -> str:
    """Return a ping URL that may be used, or the empty one that removes it."""
    try:
        if url:
            check_ping_url(url)
    except TargetRefused as error:
        raise serializers.ValidationError(say(error.message), code=error.code) from None
    return url


class RuleSetIds(RuleSetList):
    """The ids of a config's rule sets, in their order."""

    def get_attribute(self, instance: SyncConfig) -> list[RuleSetUse]:
        return list(instance.rule_set_uses.all())

    def to_representation(self, uses: Iterable[RuleSetUse]) -> list[int]:
        return [use.rule_set_id for use in uses]


@extend_schema_serializer(examples=[asked(examples.CONFIG_WISH), answered(examples.CONFIG)])
class SyncConfigSerializer(Withholding, QuickRows, StrictModelSerializer):
    """What is kept in step with what, when and how; `warnings` say what is unwise about it."""

    cron = serializers.CharField(
        max_length=100,
        allow_blank=True,
        required=False,
        help_text=_("minute hour day month weekday; empty: runs only by hand"),
    )
    next_run = serializers.SerializerMethodField(label=_("Next run"))
    ping_url = serializers.CharField(
        max_length=2048,
        required=False,
        allow_blank=True,
        write_only=True,
        label=_("Ping URL"),
        help_text=_("called with /start, plain, or /fail as runs go on; an empty text removes it"),
    )
    ping_url_set = serializers.SerializerMethodField(label=_("Ping URL is set"))
    warnings = serializers.SerializerMethodField(
        label=_("Warnings"), help_text=_("what is unwise about it, in sentences; null in lists")
    )
    rule_sets = RuleSetIds(
        required=False,
        help_text=_("ids; their rules come after the config's own, in this order"),
    )
    channels = ChannelUsesField(
        required=False,
        allow_null=True,
        help_text=_(
            "which channels of chosen syncs hear of this one; null in lists, and for who may not "
            "see channels; in a form a line each: 3 = FAILURE, GUARD"
        ),
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
            "channels",
            "ping_url",
            "ping_url_set",
            "warnings",
            "max_shrink_percent",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["created_at", "updated_at"]

    # What this save has changed of them.
    _changed: Collection[str] = ()

    @cached_property
    def withheld(self) -> Collection[str]:
        return () if self.context["request"].user.has_perm(VIEW_CHANNELS) else ("channels",)

    def get_warnings(self, config: SyncConfig) -> list[str] | None:
        view = self.context.get("view")
        if getattr(view, "action", "list") == "list":
            return None
        return warnings_of(config, changed=self._changed)

    def get_ping_url_set(self, config: SyncConfig) -> bool:
        return bool(config.encrypted_ping_url)

    def validate_ping_url(self, url: str) -> str:
        return checked_ping_url(url)

    def validate_channels(
        self, channels: Mapping[NotificationChannel, list[str]] | None
    ) -> Mapping[NotificationChannel, list[str]] | None:
        if channels is not None:
            check_channels(channels)
        return channels

    def validate(self, attrs: dict[str, Any]) -> Any:
        # The model's own checks know no many-to-many field.
        relations = {key: attrs.pop(key) for key in ("rule_sets", "channels") if key in attrs}
        return super().validate(attrs) | relations

    def create(self, validated_data: dict[str, Any]) -> SyncConfig:
        return self._save(super().create, validated_data)

    def update(self, instance: SyncConfig, validated_data: dict[str, Any]) -> SyncConfig:
        self._changed = [
            name
            for name in ENDS & validated_data.keys()
            if getattr(instance, name) != validated_data[name]
        ]
        return self._save(partial(super().update, instance), validated_data)

    def _save(self, save: Callable[[Any], SyncConfig], values: dict[str, Any]) -> SyncConfig:
        rule_sets, channels = values.pop("rule_sets", None), values.pop("channels", None)
        with transaction.atomic():
            config = save(values)
            if rule_sets is not None:
                use_rule_sets(config, rule_sets)
            if channels is not None:
                tell_channels(config, channels)
        return config

    def get_next_run(self, config: SyncConfig) -> str | None:
        slot = config.next_slot()
        return slot.isoformat() if slot else None


@extend_schema_serializer(examples=[asked(examples.SWITCH)])
class SwitchSerializer(StrictSerializer):
    """Which configs are enabled or disabled together, all or none."""

    ids = LinesField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1),
        min_length=1,
        max_length=MOST_SWITCHED,
        label=_("Sync configs"),
        help_text=_("ids of sync configs, one a line in a form"),
    )
    enabled = serializers.BooleanField(label=_("Enable"))


@extend_schema_serializer(examples=[answered(examples.SWITCHED)])
class SwitchedSerializer(serializers.Serializer[Any]):
    changed = serializers.ListField(child=serializers.IntegerField())
    unchanged = serializers.ListField(
        child=serializers.IntegerField(), help_text="those that were so already"
    )
    missing = serializers.ListField(child=serializers.IntegerField(), help_text="no such config")
