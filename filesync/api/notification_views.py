"""The resources of notifications: channels with their test, and the messages that went out."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import (
    OpenApiExample,
    extend_schema,
    extend_schema_serializer,
    extend_schema_view,
)
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet, ReadOnlyModelViewSet

from filesync.api import examples
from filesync.api.filters import ChannelFilter, DeliveryFilter
from filesync.api.form_fields import ChoicesField
from filesync.api.permissions import IsSuperuserOrReadOnly, ModelPermissions
from filesync.api.serializers.shared import IdList
from filesync.models import Delivery, NotificationChannel, SyncConfig
from filesync.notifications.events import Event
from filesync.notifications.targets import TargetRefused, check_target
from filesync.services.channels import try_channel
from filesync.texts import say
from scheduler.api.query import StrictQuery
from scheduler.api.strict import StrictModelSerializer

MOST_CONFIGS = 10_000


@extend_schema_serializer(
    examples=[
        OpenApiExample("A request", examples.CHANNEL_WISH, request_only=True),
        OpenApiExample("An answer", examples.CHANNEL, response_only=True),
    ]
)
class ChannelSerializer(StrictModelSerializer):
    """The URL goes in and never comes out: it holds passwords and tokens."""

    url = serializers.CharField(
        max_length=4096,
        write_only=True,
        label=_("URL"),
        help_text=_("in apprise's notation, such as mailtos://user:password@example.org"),
    )
    events = ChoicesField(
        child=serializers.ChoiceField(choices=Event.choices),
        required=False,
        max_length=len(Event),
        help_text=_("what it is told of; without it all but SUCCESS and NOTHING_TO_DO"),
    )
    configs = IdList(
        queryset=SyncConfig.objects.all(),
        most=MOST_CONFIGS,
        required=False,
        help_text=_("only these sync configs; none means all, unless chosen_only is true"),
    )

    class Meta:
        model = NotificationChannel
        fields = [
            "id",
            "name",
            "remark",
            "scheme",
            "url",
            "enabled",
            "events",
            "configs",
            "chosen_only",
            "language",
            "last_sent_at",
            "last_error",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["scheme", "last_sent_at", "last_error", "created_at", "updated_at"]

    def validate_url(self, url: str) -> str:
        try:
            check_target(url)
        except TargetRefused as error:
            raise serializers.ValidationError(say(error.message), code=error.code) from None
        return url

    def validate(self, attrs: Any) -> Any:
        # The model's own checks see a row that is not saved, which has no relations yet.
        configs = attrs.pop("configs", None)
        attrs = super().validate(attrs)
        if configs is None:
            chosen = self.instance is not None and self.instance.configs.exists()
            return attrs | {"chosen_only": True} if chosen else attrs
        return attrs | {"configs": configs} | ({"chosen_only": True} if configs else {})


@extend_schema_serializer(
    examples=[OpenApiExample("An answer", {"sent": True, "detail": ""}, response_only=True)]
)
class TestAnswerSerializer(serializers.Serializer[Any]):
    sent = serializers.BooleanField()
    detail = serializers.CharField(allow_blank=True, help_text="why not; empty when it was sent")


@extend_schema_serializer(
    examples=[OpenApiExample("An answer", examples.DELIVERY, response_only=True)]
)
class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    class Meta:
        model = Delivery
        fields = [
            "id",
            "channel",
            "run",
            "event",
            "severity",
            "title",
            "body",
            "state",
            "attempts",
            "not_before",
            "error",
            "created_at",
            "sent_at",
        ]
        read_only_fields = fields


@extend_schema_view(
    list=extend_schema(summary="List channels"),
    create=extend_schema(summary="Add a channel"),
    retrieve=extend_schema(summary="Show a channel"),
    update=extend_schema(summary="Replace a channel"),
    partial_update=extend_schema(summary="Change a channel"),
    destroy=extend_schema(summary="Delete a channel"),
)
class ChannelViewSet(StrictQuery, ModelViewSet):  # type: ignore[type-arg]
    """Who is told. Only a superuser may change them."""

    queryset = NotificationChannel.objects.prefetch_related("configs")
    serializer_class = ChannelSerializer
    permission_classes = [ModelPermissions, IsSuperuserOrReadOnly]
    filterset_class = ChannelFilter
    search_fields = ["name", "remark"]
    ordering_fields = ["name", "created_at"]

    @extend_schema(summary="Send a test message", request=None, responses=TestAnswerSerializer)
    @action(detail=True, methods=["post"], serializer_class=serializers.Serializer)
    def test(self, request: Request, **_: Any) -> Response:
        """Send one message now; say whether the target took it, which is 200 either way."""
        problem = try_channel(self.get_object())
        return Response({"sent": problem is None, "detail": say(problem or "")})


@extend_schema_view(
    list=extend_schema(summary="List messages, the newest first"),
    retrieve=extend_schema(summary="Show a message"),
)
class DeliveryViewSet(ReadOnlyModelViewSet):  # type: ignore[type-arg]
    """Messages that were sent, wait, or were given up; newest first."""

    queryset = Delivery.objects.filter(channel__isnull=False).order_by("-id")
    serializer_class = DeliverySerializer
    filterset_class = DeliveryFilter
    ordering_fields = ["id", "created_at"]
