"""What is answered about hooks."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from filesync.api import examples
from filesync.api.serializers.shared import answered


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
