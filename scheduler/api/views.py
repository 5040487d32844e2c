"""The scheduler's routes below /task/scheduler: refresh, clear, validate."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from scheduler.api.query import StrictQuery
from scheduler.api.serializers import (
    CronAnswerSerializer,
    RefreshReportSerializer,
    RemovedSerializer,
    ValidateCronSerializer,
)
from scheduler.models import schedulable_models
from scheduler.sync_scheduler import get_sync_scheduler


class MayChangeSchedules(BasePermission):
    """Allow those who may change every kind of scheduled thing."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        needed = [
            f"{model._meta.app_label}.change_{model._meta.model_name}"
            for model in schedulable_models()
        ]
        return bool(request.user and request.user.has_perms(needed))


class SchedulerViewSet(StrictQuery, GenericViewSet):  # type: ignore[type-arg]
    """Schedules as a whole."""

    serializer_class = ValidateCronSerializer
    permission_classes = [MayChangeSchedules]
    filter_backends = []
    pagination_class = None

    @extend_schema(summary="Refresh schedules", request=None, responses=RefreshReportSerializer)
    @action(detail=False, methods=["post"], url_path="refresh-tasks", serializer_class=Serializer)
    def refresh_tasks(self, request: Request) -> Response:
        """Make the periodic tasks equal to the sync configs; says what changed."""
        report = get_sync_scheduler().refresh()
        return Response(RefreshReportSerializer(report).data)

    @extend_schema(summary="Clear schedules", request=None, responses={200: RemovedSerializer})
    @action(detail=False, methods=["delete"], url_path="clear-tasks", serializer_class=Serializer)
    def clear_tasks(self, request: Request) -> Response:
        """Remove the periodic tasks of all sync configs, and no others.

        The configs stay. A refresh, or the next start of beat, writes the tasks again.
        """
        return Response({"removed": get_sync_scheduler().clear()})

    @extend_schema(
        summary="Validate a cron expression",
        request=ValidateCronSerializer,
        responses=CronAnswerSerializer,
    )
    @action(
        detail=False,
        methods=["post"],
        url_path="validate-cron",
        permission_classes=[IsAuthenticated],
    )
    def validate_cron(self, request: Request) -> Response:
        """Say whether an expression can be scheduled, in words, with its next fire times."""
        question = ValidateCronSerializer(data=request.data)
        question.is_valid(raise_exception=True)
        answer = get_sync_scheduler().validate_cron_expression(
            question.validated_data["cron"],
            question.validated_data.get("timezone") or None,
            question.validated_data["count"],
        )
        return Response(answer)
