"""What is taken and answered about API tokens: their text only when they are made."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from filesync.api import examples
from filesync.api.serializers.shared import answered, asked
from filesync.models import ApiToken
from scheduler.api.strict import StrictSerializer


@extend_schema_serializer(examples=[asked(examples.TOKEN_WISH)])
class TokenWishSerializer(StrictSerializer):
    """A token of who asks for it: it may do what he may."""

    name = serializers.CharField(
        max_length=80, label=_("Name"), help_text=_("what it is for, such as the program")
    )
    expires_at = serializers.DateTimeField(
        required=False,
        allow_null=True,
        label=_("Expires"),
        help_text=_("without it after the server's usual time"),
    )

    def validate(self, attrs: Any) -> Any:
        ApiToken(**attrs).clean()
        return attrs


@extend_schema_serializer(examples=[answered(examples.TOKEN)])
class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    username = serializers.CharField(source="user.username", help_text="whose it is")

    class Meta:
        model = ApiToken
        fields = ["id", "username", "name", "created_at", "expires_at", "last_used_at"]
        read_only_fields = fields


@extend_schema_serializer(examples=[answered(examples.NEW_TOKEN)])
class NewTokenSerializer(TokenSerializer):
    token = serializers.CharField(help_text="what signs in; it is shown once")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]
        read_only_fields = fields
