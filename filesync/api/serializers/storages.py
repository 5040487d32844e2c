"""What is taken and answered about storages: saved, tested, browsed."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from filesync.api import examples
from filesync.api.form_fields import PairsField
from filesync.api.quick_rows import QuickRows
from filesync.api.serializers.shared import SaidField, TranslatedField, answered, asked
from filesync.models import Storage
from filesync.services.logins import SecretsNeeded, merged_secrets
from filesync.texts import say
from scheduler.api.strict import StrictModelSerializer, StrictSerializer


@extend_schema_serializer(examples=[asked(examples.STORAGE_WISH), answered(examples.STORAGE)])
class StorageSerializer(QuickRows, StrictModelSerializer):
    """Secrets go in and never come out: `secrets_set` names those that are set."""

    options = PairsField(
        child=serializers.CharField(max_length=4096, allow_blank=True),
        required=False,
        help_text=_(
            "What rclone is told of this backend, by rclone's names; /api/v1/sync/backends lists "
            "them. In a form one a line: name = value."
        ),
    )
    secrets = PairsField(
        child=serializers.CharField(max_length=65_536, allow_blank=True),
        required=False,
        write_only=True,
        label=_("Secrets"),
        help_text=_(
            "Only the secrets that change; an empty text removes one. Where the login goes "
            "elsewhere (another url, host, port ...), all of them are needed again. "
            "In a form one a line."
        ),
    )
    secrets_set = serializers.SerializerMethodField(
        label=_("Secrets that are set"), help_text=_("names of the secrets that are set")
    )
    secrets_readable = serializers.SerializerMethodField(
        label=_("Secrets can be read"),
        help_text=_("false where no configured key opens them: enter them again"),
    )

    last_check_message = SaidField(read_only=True)
    paused_reason = SaidField(read_only=True)

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
                    {"secrets": say(error.message)}, code=error.code
                ) from None
        if "secrets" in attrs:
            attrs["secrets"] = secrets
        return super().validate(attrs)


class StorageDraftSerializer(StorageSerializer):
    """A storage that is only tested, and not saved: its name may be left out or be taken."""

    name = serializers.CharField(max_length=120, required=False, default="untitled")


class FailureSerializer(serializers.Serializer[Any]):
    failure_class = serializers.CharField()
    message = SaidField()
    advice = TranslatedField()


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
