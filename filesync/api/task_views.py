"""The task routes below /task/scheduler: status, execute, execute all, result."""

from __future__ import annotations

import json
import uuid

from celery.states import READY_STATES
from django.utils.translation import gettext as _
from django_celery_results.models import TaskResult
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.viewsets import GenericViewSet

from filesync import status
from filesync.api.permissions import FORCE, MayRun, MayViewRuns
from filesync.api.serializers.shared import ErrorSerializer
from filesync.api.serializers.status import TaskStatusSerializer
from filesync.api.serializers.tasks import (
    BatchSerializer,
    ExecuteAllSerializer,
    ExecuteSerializer,
    IdempotencyKeySerializer,
    QueuedSerializer,
    TaskResultSerializer,
    WaitSerializer,
)
from filesync.api.throttles import ExecuteThrottle
from filesync.errors import NotFound
from filesync.models import SyncRun
from filesync.services import batches, idempotency, queueing
from filesync.services.waiting import LONGEST_WAIT_S, wait_until_ended
from filesync.texts import say
from scheduler.api.query import StrictQuery, check_parameters

NUMBER = OpenApiParameter(
    "config_id", int, OpenApiParameter.PATH, description="id of the sync config"
)
TASK = OpenApiParameter(
    "task_id", str, OpenApiParameter.PATH, description="as execute-sync answered it"
)
WAIT = OpenApiParameter(
    "wait",
    {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT_S},
    description="Seconds to wait for the run to end before answering. The answer comes at once "
    "where many wait already: look at `ready`, and ask again.",
)
KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="A text of your choice, new for each wish, such as a UUID. The same key within a "
    "day queues nothing more: the first answer comes again, with `Idempotent-Replayed: true`.",
)


class TaskViewSet(StrictQuery, GenericViewSet):  # type: ignore[type-arg]
    """Running syncs and looking after them."""

    permission_classes = [MayViewRuns]
    serializer_class = ExecuteSerializer
    filter_backends = []
    pagination_class = None

    @extend_schema(
        summary="Status of scheduler, workers and runs",
        responses=TaskStatusSerializer,
    )
    @action(detail=False, methods=["get"], url_path="task-status", serializer_class=Serializer)
    def task_status(self, request: Request) -> Response:
        """Health of beat and workers, what fires next, what runs and what waits.

        Read from the database's rows, in milliseconds; `warnings` says in words what is wrong.
        """
        check_parameters(request, {"format"})
        now = status.read_status()
        answer = {
            "beat": now.beat,
            "workers": now.workers,
            "slots": {"busy": now.busy_slots, "free": now.free_slots},
            "broker": {"reachable": now.broker_reachable},
            "database": {"reachable": True, "vendor": now.database},
            "scheduled_count": now.scheduled_count,
            "scheduled": now.scheduled,
            "running": now.running,
            "queued": now.queued,
            "queue_depth": now.queue_depth,
            "warnings": now.warnings,
        }
        return Response(TaskStatusSerializer(answer).data)

    @extend_schema(
        summary="Run one config now",
        parameters=[NUMBER, KEY],
        request=ExecuteSerializer,
        responses={
            202: QueuedSerializer,
            409: OpenApiResponse(
                ErrorSerializer,
                "It has an active run, is disabled and this is no dry run, or `only_failed_of` "
                "cannot be sent again.",
            ),
            422: OpenApiResponse(ErrorSerializer, "The key came with another request before."),
        },
    )
    @action(
        detail=False,
        methods=["post"],
        url_path=r"execute-sync/(?P<config_id>[0-9]{1,18})",
        permission_classes=[MayRun],
        throttle_classes=[ExecuteThrottle],
    )
    def execute_sync(self, request: Request, config_id: str) -> Response:
        """Queue a run of the config; 409 with the active task's id where it has one already."""
        wish = self.get_serializer(data=request.data)
        wish.is_valid(raise_exception=True)
        asked = wish.validated_data
        if asked["force"] and not request.user.has_perm(FORCE):
            raise PermissionDenied(_("you may not force a run"))

        def queue() -> idempotency.Answer:
            run = queueing.queue_run(int(config_id), user=request.user, **asked)
            answer = {"task_id": run.task_id, "config_id": run.config_id, "status": run.task_status}
            return dict(QueuedSerializer(answer).data)

        if (key := _idempotency_key(request)) is None:
            return Response(queue(), status=202)
        outcome = idempotency.once(
            int(str(request.user.pk)),
            key,
            {"execute": int(config_id)} | {k: v for k, v in asked.items() if v is not None},
            queue,
        )
        headers = {"Idempotent-Replayed": "true"} if outcome.replayed else None
        return Response(outcome.answer, status=202, headers=headers)

    @extend_schema(
        summary="Run all enabled configs now",
        request=ExecuteAllSerializer,
        responses={202: BatchSerializer},
    )
    @action(
        detail=False,
        methods=["post"],
        url_path="execute-all-enabled",
        permission_classes=[MayRun],
        throttle_classes=[ExecuteThrottle],
        serializer_class=ExecuteAllSerializer,
    )
    def execute_all_enabled(self, request: Request) -> Response:
        """Queue a run of every enabled config; says for each whether it was queued, or why not."""
        wish = ExecuteAllSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        outcomes = batches.queue_all_enabled(user=request.user, **wish.validated_data)
        results = [
            {
                "config_id": outcome.config_id,
                "name": outcome.config_name,
                "task_id": outcome.run.task_id if outcome.run else None,
                "status": outcome.code,
                "detail": say(outcome.detail),
            }
            for outcome in outcomes
        ]
        queued = sum(1 for outcome in outcomes if outcome.run)
        answer = {"queued": queued, "total": len(results), "results": results}
        return Response(BatchSerializer(answer).data, status=202)

    @extend_schema(
        summary="Result of a task",
        parameters=[TASK, WAIT],
        responses={200: TaskResultSerializer},
    )
    @action(
        detail=False,
        methods=["get"],
        url_path=r"task-result/(?P<task_id>[^/]{1,64})",
        serializer_class=Serializer,
    )
    def task_result(self, request: Request, task_id: str) -> Response:
        """What became of a task, its progress while it runs; a failed run is no HTTP error."""
        check_parameters(request, {"wait", "format"})
        asked = WaitSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        # A UUID may be written in capitals, or without its hyphens.
        run = _find_run(task_id)
        task_id = str(run.task_id) if run is not None else task_id
        wait_s = asked.validated_data["wait"]
        if run is not None and not run.is_terminal and wait_s:
            wait_until_ended(task_id, wait_s)
            run = _find_run(task_id)
        stored = _find_result(task_id)
        if run is None and stored is None:
            raise NotFound(_("there is no task %s") % task_id)
        word = run.task_status if run is not None else str(stored.status)  # type: ignore[union-attr]
        result = stored.as_dict().get("result") if stored is not None else None
        failed = word == "FAILURE"
        answer = {
            "task_id": task_id,
            "status": word,
            "ready": run.is_terminal if run is not None else word in READY_STATES,
            "successful": word == "SUCCESS",
            "failed": failed,
            "result": _json(result) if not failed else None,
            "error": _error(run) if run is not None else (result if failed else None),
            "progress": run.progress or None if run is not None else None,
            "run": run,
        }
        return Response(TaskResultSerializer(answer).data)


def _idempotency_key(request: Request) -> str | None:
    if "Idempotency-Key" not in request.headers:
        return None
    given = IdempotencyKeySerializer(data={"Idempotency-Key": request.headers["Idempotency-Key"]})
    given.is_valid(raise_exception=True)
    return str(given.validated_data["Idempotency-Key"])


def _find_run(task_id: str) -> SyncRun | None:
    try:
        return SyncRun.objects.filter(task_id=uuid.UUID(task_id)).first()
    except ValueError:
        return None


def _find_result(task_id: str) -> TaskResult | None:
    # PostgreSQL cannot look for a text with NUL.
    return None if "\0" in task_id else TaskResult.objects.filter(task_id=task_id).first()


def _error(run: SyncRun) -> str | None:
    if not run.message:
        return None
    return f"{run.failure_class}: {run.explanation} {run.next_step}".strip()


def _json(text: str | None) -> object:
    return None if text is None else json.loads(text)
