"""The task routes of the specification: status, execute, execute all, result."""

from __future__ import annotations

import json
import uuid

from celery.states import READY_STATES
from django_celery_results.models import TaskResult
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.viewsets import GenericViewSet

from filesync import selectors
from filesync.api.permissions import FORCE, MayRun, MayViewRuns
from filesync.api.serializers import (
    BatchSerializer,
    ErrorSerializer,
    ExecuteSerializer,
    QueuedSerializer,
    TaskResultSerializer,
    TaskStatusSerializer,
)
from filesync.errors import NotFound
from filesync.models import SyncConfig, SyncRun
from filesync.services import queueing
from scheduler.models import Heartbeat

NUMBER = OpenApiParameter("config_id", int, OpenApiParameter.PATH)
TASK = OpenApiParameter("task_id", str, OpenApiParameter.PATH)


class TaskViewSet(GenericViewSet):  # type: ignore[type-arg]
    """Running syncs and looking after them."""

    permission_classes = [MayViewRuns]
    serializer_class = ExecuteSerializer
    filter_backends = []
    pagination_class = None

    @extend_schema(summary="Status of scheduler, workers and runs", responses=TaskStatusSerializer)
    @action(detail=False, methods=["get"], url_path="task-status", serializer_class=Serializer)
    def task_status(self, request: Request) -> Response:
        """Health of beat and workers, what fires next, what runs and what waits."""
        beats = selectors.processes(Heartbeat.Role.BEAT, selectors.BEAT_SILENT)
        workers = selectors.processes(Heartbeat.Role.WORKER, selectors.WORKER_SILENT)
        broker = selectors.broker_reachable()
        runs = selectors.active_runs()
        running = [run for run in runs if run.state == SyncRun.State.RUNNING]
        queued = [run for run in runs if run.state == SyncRun.State.QUEUED]
        status = {
            "beat": {"running": any(beat.alive for beat in beats), "processes": beats},
            "workers": workers,
            "broker": {"reachable": broker},
            "scheduled_count": SyncConfig.objects.filter(enable=True).exclude(cron="").count(),
            "scheduled": selectors.next_runs(10),
            "running": running,
            "queued": queued,
            "queue_depth": SyncRun.objects.filter(state=SyncRun.State.QUEUED).count(),
            "warnings": selectors.warnings(beats, workers, broker=broker),
        }
        return Response(TaskStatusSerializer(status).data)

    @extend_schema(
        summary="Run one config now",
        parameters=[NUMBER],
        request=ExecuteSerializer,
        responses={202: QueuedSerializer, 404: ErrorSerializer, 409: ErrorSerializer},
    )
    @action(
        detail=False,
        methods=["post"],
        url_path=r"execute-sync/(?P<config_id>[0-9]{1,18})",
        permission_classes=[MayRun],
    )
    def execute_sync(self, request: Request, config_id: str) -> Response:
        """Queue a run of the config; 409 with the active task's id where it has one already."""
        wish = ExecuteSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        if wish.validated_data["force"] and not request.user.has_perm(FORCE):
            raise PermissionDenied("you may not force a run")
        run = queueing.queue_run(
            int(config_id),
            user=request.user,
            dry_run=wish.validated_data["dry_run"],
            force=wish.validated_data["force"],
        )
        answer = {"task_id": run.task_id, "config_id": run.config_id, "status": run.task_status}
        return Response(QueuedSerializer(answer).data, status=202)

    @extend_schema(
        summary="Run all enabled configs now", request=None, responses={202: BatchSerializer}
    )
    @action(
        detail=False,
        methods=["post"],
        url_path="execute-all-enabled",
        permission_classes=[MayRun],
        serializer_class=Serializer,
    )
    def execute_all_enabled(self, request: Request) -> Response:
        """Queue a run of every enabled config; says for each whether it was queued, or why not."""
        outcomes = queueing.queue_all_enabled(user=request.user)
        results = [
            {
                "config_id": outcome.config_id,
                "name": outcome.config_name,
                "task_id": outcome.run.task_id if outcome.run else None,
                "status": outcome.code,
                "detail": outcome.detail,
            }
            for outcome in outcomes
        ]
        queued = sum(1 for outcome in outcomes if outcome.run)
        answer = {"queued": queued, "total": len(results), "results": results}
        return Response(BatchSerializer(answer).data, status=202)

    @extend_schema(
        summary="Result of a task",
        parameters=[TASK],
        responses={200: TaskResultSerializer, 404: ErrorSerializer},
    )
    @action(
        detail=False,
        methods=["get"],
        url_path=r"task-result/(?P<task_id>[^/]{1,64})",
        serializer_class=Serializer,
    )
    def task_result(self, request: Request, task_id: str) -> Response:
        """What became of a task, its progress while it runs; a failed run is no HTTP error."""
        run = _find_run(task_id)
        stored = TaskResult.objects.filter(task_id=task_id).first()
        if run is None and stored is None:
            raise NotFound(f"there is no task {task_id}")
        status = run.task_status if run is not None else str(stored.status)  # type: ignore[union-attr]
        result = stored.as_dict().get("result") if stored is not None else None
        failed = status == "FAILURE"
        answer = {
            "task_id": task_id,
            "status": status,
            "ready": run.is_terminal if run is not None else status in READY_STATES,
            "successful": status == "SUCCESS",
            "failed": failed,
            "result": _json(result) if not failed else None,
            "error": _error(run) if run is not None else (result if failed else None),
            "progress": run.progress or None if run is not None else None,
            "run": run,
        }
        return Response(TaskResultSerializer(answer).data)


def _find_run(task_id: str) -> SyncRun | None:
    try:
        return SyncRun.objects.filter(task_id=uuid.UUID(task_id)).first()
    except ValueError:
        return None


def _error(run: SyncRun) -> str | None:
    if not run.message:
        return None
    return f"{run.failure_class}: {run.message} {run.advice}".strip()


def _json(text: str | None) -> object:
    return None if text is None else json.loads(text)
