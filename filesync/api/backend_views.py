"""The catalogue of backends: what a storage can be, and what it can be told."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    extend_schema,
    extend_schema_serializer,
)
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from filesync import engine
from filesync.api import examples
from filesync.api.permissions import MayViewStorages
from filesync.api.serializers.shared import ErrorSerializer, TranslatedField
from filesync.errors import NotFound
from scheduler.api.query import check_parameters


class PresetSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    title = TranslatedField()
    backend = serializers.CharField()
    options = serializers.DictField(child=serializers.CharField())
    ask = serializers.ListField(
        child=serializers.CharField(), help_text="options that only the person knows"
    )
    root = serializers.CharField(  # type: ignore[assignment]  # DRF takes it for the field
        help_text="what the root path is there"
    )
    hint = TranslatedField(allow_blank=True)


class BackendSummarySerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    description = serializers.CharField()


class RefusedSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    why = serializers.CharField()


@extend_schema_serializer(
    many=False,
    examples=[OpenApiExample("An answer", examples.CATALOGUE, response_only=True)],
)
class CatalogueSerializer(serializers.Serializer[Any]):
    rclone = serializers.CharField(help_text="the version that was asked")
    backends = BackendSummarySerializer(many=True)
    refused = RefusedSerializer(many=True, help_text="backends that are not offered")
    presets = PresetSerializer(many=True)


class ExampleSerializer(serializers.Serializer[Any]):
    value = serializers.CharField(allow_blank=True)
    help = serializers.CharField(allow_blank=True)
    provider = serializers.CharField(allow_blank=True)


class OptionSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    help = serializers.CharField(allow_blank=True)
    type = serializers.CharField()
    default = serializers.CharField(allow_blank=True)
    required = serializers.BooleanField()  # type: ignore[assignment]  # as root above
    secret = serializers.BooleanField(help_text="belongs among the secrets")
    advanced = serializers.BooleanField()
    exclusive = serializers.BooleanField(help_text="only the examples are values")
    provider = serializers.CharField(
        allow_blank=True, help_text="counts only with these values of the option provider"
    )
    examples = ExampleSerializer(many=True)


@extend_schema_serializer(
    examples=[OpenApiExample("An answer", examples.BACKEND, response_only=True)]
)
class BackendSerializer(BackendSummarySerializer):
    needs = serializers.ListField(
        child=serializers.CharField(), help_text="one of these must be set"
    )
    options = OptionSerializer(many=True)
    refused = RefusedSerializer(many=True, help_text="options that may not be set")
    presets = PresetSerializer(many=True)


class BackendViewSet(ViewSet):
    """What rclone offers, as far as it is allowed here."""

    permission_classes = [MayViewStorages]
    lookup_value_regex = "[^/]+"

    @extend_schema(summary="List backends and presets", responses=CatalogueSerializer)
    def list(self, request: Request) -> Response:
        """List the backends that a storage can have, and presets by the names people know."""
        check_parameters(request, {"format"})
        rclone = engine.find_rclone(settings.FILESYNC_RCLONE_BINARY or None)
        catalogue = {
            "rclone": str(engine.check_rclone(rclone)),
            "backends": list(engine.catalogue(rclone).values()),
            "refused": [
                {"name": name, "why": refused.why}
                for name, refused in sorted(engine.REFUSED_BACKENDS.items())
            ],
            "presets": engine.PRESETS,
        }
        return Response(CatalogueSerializer(catalogue).data)

    @extend_schema(
        summary="Describe a backend",
        parameters=[OpenApiParameter("id", OpenApiTypes.STR, OpenApiParameter.PATH)],
        responses={200: BackendSerializer, 404: ErrorSerializer},
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        """Give each option of a backend with its help, default and examples."""
        check_parameters(request, {"format"})
        rclone = engine.find_rclone(settings.FILESYNC_RCLONE_BINARY or None)
        backend = engine.catalogue(rclone).get(pk)
        if backend is None:
            raise NotFound(_("no backend %r is offered") % pk)
        described = {
            "name": backend.name,
            "description": backend.description,
            "needs": backend.needs,
            "options": backend.options,
            "refused": [{"name": name, "why": why} for name, why in backend.refused.items()],
            "presets": [preset for preset in engine.PRESETS if preset.backend == pk],
        }
        return Response(BackendSerializer(described).data)
