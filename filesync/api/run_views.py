"""The runs: what happened, what happens now, and what can be done about it."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from filesync.api import examples
from filesync.api.filters import RunFilter, RunSearch
from filesync.api.pagination import NewestFirst
from filesync.api.parsing import KnownOrdering, KnownParameters
from filesync.api.permissions import MayRun
from filesync.api.renderers import PlainText
from filesync.api.serializers.runs import (
    ItemsQuerySerializer,
    LogTailSerializer,
    RestoreSerializer,
    RetrySerializer,
    RunItemSerializer,
    SyncRunSerializer,
)
from filesync.api.serializers.shared import ErrorSerializer
from filesync.api.throttles import ExecuteThrottle
from filesync.models import SyncRun
from filesync.selectors import items_of
from filesync.services.finishing import cancel_run
from filesync.services.queueing import retry_run
from filesync.services.run_logs import text_lines
from filesync.services.undo import queue_restore
from scheduler.api.query import StrictQuery, check_parameters

MOST_ITEMS = 1_000
ENDED = OpenApiResponse(ErrorSerializer, "The run has ended already.")
BUSY = OpenApiResponse(ErrorSerializer, "Its config has an active run, or is disabled.")


@extend_schema_view(
    list=extend_schema(summary="List runs, the newest first"),
    retrieve=extend_schema(summary="Show a run"),
)
class SyncRunViewSet(StrictQuery, ReadOnlyModelViewSet):  # type: ignore[type-arg]
    """What happened, and what happens now."""

    queryset = SyncRun.objects.all()
    serializer_class = SyncRunSerializer
    filterset_class = RunFilter
    pagination_class = NewestFirst
    filter_backends = [KnownParameters, DjangoFilterBackend, RunSearch, KnownOrdering]
    # Any value switches the search on; what it looks at `RunSearch` says.
    search_fields = ["config_name"]
    ordering_fields = ["id"]

    @extend_schema(
        summary="Items of a run",
        parameters=[ItemsQuerySerializer],
        responses=RunItemSerializer(many=True),
    )
    @action(detail=True, methods=["get"], filter_backends=[], pagination_class=None)
    def items(self, request: Request, **_: Any) -> Response:
        """What the run did to each path, failed ones first; at most 1,000 of them.

        `after` names the last one that you have, and the next come.
        """
        check_parameters(request, {"after", "format"})
        wish = ItemsQuerySerializer(data=request.query_params.dict())
        wish.is_valid(raise_exception=True)
        rows = items_of(self.get_object(), MOST_ITEMS, **wish.validated_data)
        return Response(RunItemSerializer(rows, many=True).data)

    @extend_schema(
        summary="Log of a run",
        parameters=[LogTailSerializer],
        responses={
            (200, "text/plain"): OpenApiTypes.STR,
            400: OpenApiTypes.OBJECT,
            404: ErrorSerializer,
        },
        examples=[
            OpenApiExample(
                "A log",
                examples.LOG,
                media_type="text/plain",
                response_only=True,
                status_codes=["200"],
            )
        ],
    )
    @action(
        detail=True,
        methods=["get"],
        filter_backends=[],
        pagination_class=None,
        renderer_classes=[JSONRenderer, PlainText],
    )
    def log(self, request: Request, **_: Any) -> StreamingHttpResponse:
        """What rclone said, all attempts in order, one line an event; secrets are blanked."""
        check_parameters(request, {"tail", "format"})
        wish = LogTailSerializer(data=request.query_params)
        wish.is_valid(raise_exception=True)
        run_id = self.get_object().pk
        lines = text_lines(run_id, tail=wish.validated_data.get("tail"))
        return StreamingHttpResponse(
            (f"{line}\n".encode() for line in lines),
            content_type="text/plain; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="run-{run_id}.log"'},
        )

    @extend_schema(
        summary="Cancel a run", request=None, responses={202: SyncRunSerializer, 409: ENDED}
    )
    @action(detail=True, methods=["post"], permission_classes=[MayRun], serializer_class=Serializer)
    def cancel(self, request: Request, **_: Any) -> Response:
        """Cancel it: a queued run at once, a running one as soon as its worker reads the wish."""
        run = cancel_run(self.get_object().pk)
        return Response(SyncRunSerializer(run).data, status=202)

    @extend_schema(
        summary="Run again", request=RetrySerializer, responses={202: SyncRunSerializer, 409: BUSY}
    )
    @action(
        detail=True,
        methods=["post"],
        permission_classes=[MayRun],
        throttle_classes=[ExecuteThrottle],
        serializer_class=RetrySerializer,
    )
    def retry(self, request: Request, **_: Any) -> Response:
        """Queue a new run of the same config, or only of the files that failed; it names this."""
        wish = self.get_serializer(data=request.data)
        wish.is_valid(raise_exception=True)
        run = retry_run(self.get_object().pk, user=request.user, **wish.validated_data)
        return Response(SyncRunSerializer(run).data, status=202)

    @extend_schema(
        summary="Undo a run",
        request=RestoreSerializer,
        responses={202: SyncRunSerializer, 404: ErrorSerializer, 409: ErrorSerializer},
    )
    @action(
        detail=True,
        methods=["post"],
        permission_classes=[MayRun],
        throttle_classes=[ExecuteThrottle],
        serializer_class=RestoreSerializer,
    )
    def restore(self, request: Request, **_: Any) -> Response:
        """Queue a run that brings the destination back; what changed since is left alone."""
        wish = RestoreSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        run = queue_restore(self.get_object().pk, user=request.user, **wish.validated_data)
        return Response(SyncRunSerializer(run).data, status=202)

    def get_queryset(self) -> QuerySet[SyncRun]:
        return SyncRun.objects.order_by("-id")
