"""What the serializers of all resources share: their examples, and the answer that refuses."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext
from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

from filesync.texts import say


def asked(value: object, name: str = "A request") -> OpenApiExample:
    return OpenApiExample(name, value, request_only=True)


def answered(value: object) -> OpenApiExample:
    # Without the codes only the answers with 200 and 201 would show it.
    codes = ["200", "201", "202"]
    return OpenApiExample("An answer", value, response_only=True, status_codes=codes)


class SaidField(serializers.CharField):
    """A text of the engine or the services, in the reader's language."""

    def to_representation(self, value: str) -> str:
        return say(value)


class TranslatedField(serializers.CharField):
    """A text that a catalogue has in English, in the reader's language."""

    def to_representation(self, value: str) -> str:
        return gettext(value) if value else ""


class ErrorSerializer(serializers.Serializer[Any]):
    detail = serializers.CharField()
    code = serializers.CharField()
    task_id = serializers.UUIDField(required=False)
