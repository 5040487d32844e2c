"""Hooks: the secret address of a config, and what happens when somebody calls it."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from filesync.api.permissions import MayChangeConfigs
from filesync.api.serializers.hooks import HookSerializer, NewHookSerializer
from filesync.api.serializers.shared import ErrorSerializer
from filesync.api.serializers.tasks import QueuedSerializer
from filesync.api.throttles import HookThrottle
from filesync.errors import NotFound
from filesync.models import Hook, SyncConfig, SyncRun
from filesync.services import queueing
from scheduler.api.query import StrictQuery, check_parameters

CONFIG = OpenApiParameter("id", int, OpenApiParameter.PATH, description="id of the sync config")
SECRET = OpenApiParameter(
    "token", str, OpenApiParameter.PATH, description="the secret of the hook, from its address"
)


class ConfigHookView(StrictQuery, APIView):
    """The hook of one sync config: an address that starts it and nothing else."""

    permission_classes = [MayChangeConfigs]
    serializer_class = Serializer

    @extend_schema(
        summary="Whether a config has a hook",
        parameters=[CONFIG],
        responses=HookSerializer,
    )
    def get(self, request: Request, pk: str) -> Response:
        """Say whether there is one, since when, and when it was called last."""
        check_parameters(request, {"format"})
        hook = Hook.objects.filter(config=_config(pk)).first()
        answer = {
            "exists": hook is not None,
            "created_at": hook.created_at if hook else None,
            "last_used_at": hook.last_used_at if hook else None,
        }
        return Response(HookSerializer(answer).data)

    @extend_schema(
        summary="Make a hook, or a new one in its place",
        parameters=[CONFIG],
        request=None,
        responses={201: NewHookSerializer},
    )
    def post(self, request: Request, pk: str) -> Response:
        """Answer its address, this once: only a hash is kept. The address before ends."""
        hook, text = Hook.issue(_config(pk))
        url = reverse("hook", kwargs={"token": text}, request=request)
        answer = {"url": url, "token": text, "created_at": hook.created_at}
        return Response(NewHookSerializer(answer).data, status=201)

    @extend_schema(
        summary="End the hook of a config",
        parameters=[CONFIG],
        responses={204: None},
    )
    def delete(self, request: Request, pk: str) -> Response:
        """Its address opens nothing from now on."""
        Hook.objects.filter(config=_config(pk)).delete()
        return Response(status=204)


class HookView(APIView):
    """Starts the config that the address belongs to. The secret is all the sign-in there is."""

    authentication_classes = []
    permission_classes = []
    throttle_classes = [HookThrottle]
    serializer_class = Serializer

    @extend_schema(
        summary="Start a config by its hook",
        parameters=[SECRET],
        request=None,
        responses={
            202: QueuedSerializer,
            409: OpenApiResponse(ErrorSerializer, "It has an active run, or is disabled."),
        },
        auth=[],
    )
    def post(self, request: Request, token: str) -> Response:
        """Queue a run of it. Whatever the body holds is not read."""
        hook = Hook.find(token)
        if hook is None:
            raise NotFound(
                _("there is no such hook: it was mistyped, ended, or replaced by another")
            )
        run = queueing.queue_run(hook.config_id, trigger=SyncRun.Trigger.HOOK)
        answer = {"task_id": run.task_id, "config_id": run.config_id, "status": run.task_status}
        return Response(QueuedSerializer(answer).data, status=202)


class UnknownView(APIView):
    """Answers addresses of the API that do not exist, as the API answers everything else."""

    name = "Unknown address"
    authentication_classes = []
    permission_classes = []
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound(_("there is nothing at %s; /api/docs lists what there is") % request.path)


def _config(pk: str) -> SyncConfig:
    return get_object_or_404(SyncConfig, pk=pk)
