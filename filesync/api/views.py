"""The resources that are edited: storages, rule sets, sync configs."""

from __future__ import annotations

import re
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.viewsets import ModelViewSet

from filesync.ahead import WINDOWS, look_ahead
from filesync.api.filters import ConfigFilter, StorageFilter
from filesync.api.permissions import (
    IsSuperuserOrReadOnly,
    MayChangeConfigs,
    MayRun,
    MayViewRules,
    ModelPermissions,
)
from filesync.api.serializers.ahead import AheadQuerySerializer, AheadSerializer
from filesync.api.serializers.configs import (
    SwitchedSerializer,
    SwitchSerializer,
    SyncConfigSerializer,
)
from filesync.api.serializers.rule_sets import (
    RuleSetSerializer,
    TryRulesSerializer,
    VerdictSerializer,
)
from filesync.api.serializers.shared import ErrorSerializer
from filesync.api.serializers.storages import (
    BrowseQuerySerializer,
    BrowseSerializer,
    StorageDraftSerializer,
    StorageSerializer,
    TestResultSerializer,
)
from filesync.api.throttles import TryRulesThrottle
from filesync.engine import FilterRefused, filter_lines
from filesync.models import RuleSet, Storage, SyncConfig
from filesync.services import rules, storages
from filesync.services.switching import switch_configs
from filesync.texts import say
from scheduler.api.query import StrictQuery, check_parameters

IN_USE = OpenApiResponse(ErrorSerializer, "A sync config uses it; the answer names which.")
TAKEN = OpenApiResponse(ErrorSerializer, "A periodic task of somebody else has its name.")


@extend_schema_view(
    list=extend_schema(summary="List storages"),
    create=extend_schema(summary="Add a storage"),
    retrieve=extend_schema(summary="Show a storage"),
    update=extend_schema(summary="Replace a storage; secrets that are not named stay"),
    partial_update=extend_schema(summary="Change a storage; secrets that are not named stay"),
    destroy=extend_schema(summary="Delete a storage", responses={204: None, 409: IN_USE}),
)
class StorageViewSet(StrictQuery, ModelViewSet):  # type: ignore[type-arg]
    """Places where files live. Only a superuser may change them."""

    queryset = Storage.objects.all()
    serializer_class = StorageSerializer
    permission_classes = [ModelPermissions, IsSuperuserOrReadOnly]
    filterset_class = StorageFilter
    search_fields = ["name", "remark"]
    ordering_fields = ["name", "created_at"]

    @extend_schema(
        summary="Test the connection of a storage",
        request=None,
        responses={200: TestResultSerializer, 400: ErrorSerializer},
    )
    @action(detail=True, methods=["post"], permission_classes=[MayRun], serializer_class=Serializer)
    def test(self, request: Request, **_: Any) -> Response:
        """List its root path, for ten seconds at most, and keep the result with the storage.

        A good test lets the runs go on that wait because the storage is paused.
        """
        result = storages.check_storage(self.get_object())
        return Response(TestResultSerializer(result).data)

    @extend_schema(
        summary="Test a connection before it is saved",
        operation_id="v1_sync_storages_test_unsaved",
        request=StorageDraftSerializer,
        responses={200: TestResultSerializer, 400: ErrorSerializer},
    )
    @action(
        detail=False,
        methods=["post"],
        url_path="test",
        url_name="test-unsaved",
        serializer_class=StorageDraftSerializer,
    )
    def test_unsaved(self, request: Request, **_: Any) -> Response:
        """List the root path of what was sent, for ten seconds at most; nothing is kept."""
        draft = StorageDraftSerializer(data=request.data)
        draft.is_valid(raise_exception=True)
        result = storages.probe_unsaved(Storage(**draft.validated_data))
        return Response(TestResultSerializer(result).data)

    @extend_schema(
        summary="Browse a storage",
        parameters=[BrowseQuerySerializer],
        responses={200: BrowseSerializer, 400: ErrorSerializer},
    )
    @action(
        detail=True,
        methods=["get"],
        permission_classes=[MayRun],
        filter_backends=[],
        pagination_class=None,
    )
    def browse(self, request: Request, **_: Any) -> Response:
        """List a page of a folder, folders first, for ten seconds at most.

        A storage that does not answer is 200 with its `failure`.
        """
        check_parameters(request, {"path", "page", "format"}, may_be_empty={"path"})
        query = BrowseQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        page = storages.browse(self.get_object(), asked["path"], asked["page"])
        return Response(BrowseSerializer(page).data)


@extend_schema_view(
    list=extend_schema(summary="List rule sets"),
    create=extend_schema(summary="Add a rule set"),
    retrieve=extend_schema(summary="Show a rule set"),
    update=extend_schema(summary="Replace a rule set"),
    partial_update=extend_schema(summary="Change a rule set"),
    destroy=extend_schema(summary="Delete a rule set", responses={204: None, 409: IN_USE}),
)
class RuleSetViewSet(StrictQuery, ModelViewSet):  # type: ignore[type-arg]
    """Filter rules with a name, for any number of sync configs."""

    queryset = RuleSet.objects.all()
    serializer_class = RuleSetSerializer
    search_fields = ["name", "remark"]
    ordering_fields = ["name", "created_at"]

    @extend_schema(
        summary="Try rules on file names",
        request=TryRulesSerializer,
        responses={200: VerdictSerializer(many=True), 400: ErrorSerializer},
    )
    @action(
        detail=False,
        methods=["post"],
        url_path="try",
        permission_classes=[MayViewRules],
        throttle_classes=[TryRulesThrottle],
        serializer_class=TryRulesSerializer,
        filter_backends=[],
        pagination_class=None,
    )
    def try_rules(self, request: Request) -> Response:
        """Say of each file whether a run would count it, and which rule decides."""
        wish = TryRulesSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        lines = filter_lines(wish.validated_data["filters"])
        for rule_set in wish.validated_data["rule_sets"]:
            lines += filter_lines(rule_set.filters)
        try:
            verdicts = rules.try_rules(lines, wish.validated_data["paths"])
        except FilterRefused as error:
            raise ValidationError({"filters": [say(error.message)]}) from None
        return Response(VerdictSerializer(verdicts, many=True).data)


@extend_schema_view(
    list=extend_schema(summary="List sync configs"),
    create=extend_schema(
        summary="Add a sync config", responses={201: SyncConfigSerializer, 409: TAKEN}
    ),
    retrieve=extend_schema(summary="Show a sync config"),
    update=extend_schema(
        summary="Replace a sync config", responses={200: SyncConfigSerializer, 409: TAKEN}
    ),
    partial_update=extend_schema(
        summary="Change a sync config", responses={200: SyncConfigSerializer, 409: TAKEN}
    ),
    destroy=extend_schema(summary="Delete a sync config; its runs stay"),
)
class SyncConfigViewSet(StrictQuery, ModelViewSet):  # type: ignore[type-arg]
    """What is kept in step with what, and when."""

    queryset = SyncConfig.objects.prefetch_related("rule_set_uses")
    serializer_class = SyncConfigSerializer
    filterset_class = ConfigFilter
    search_fields = ["name", "remark"]
    ordering_fields = ["name", "created_at", "updated_at"]

    @extend_schema(
        summary="Enable or disable many",
        request=SwitchSerializer,
        responses={200: SwitchedSerializer, 409: TAKEN},
    )
    @action(
        detail=False,
        methods=["post"],
        permission_classes=[MayChangeConfigs],
        filter_backends=[],
        pagination_class=None,
        serializer_class=SwitchSerializer,
    )
    def bulk(self, request: Request) -> Response:
        """Enable or disable up to 1,000 configs, all or none; says what became of each."""
        wish = SwitchSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        done = switch_configs(wish.validated_data["ids"], enable=wish.validated_data["enabled"])
        return Response(SwitchedSerializer(done).data)

    @extend_schema(
        summary="What starts in the time ahead",
        parameters=[AheadQuerySerializer],
        responses=AheadSerializer,
    )
    @action(detail=False, methods=["get"], filter_backends=[], pagination_class=None)
    def ahead(self, request: Request) -> Response:
        """Count the starts of a day or a week, and say where they clash and what would help."""
        check_parameters(request, {"window", "day", "format"})
        wish = AheadQuerySerializer(data=request.query_params.dict())
        wish.is_valid(raise_exception=True)
        window = WINDOWS[wish.validated_data["window"]]
        seen = look_ahead(window, timezone.now(), day=wish.validated_data["day"])
        answer = {
            "begins": seen.begins,
            "span_s": window.bucket.seconds,
            "starts": seen.counts,
            "clashes": seen.clashes,
            "clock_changes": seen.changes,
            "moves": seen.moves,
        }
        return Response(AheadSerializer(answer).data)

    def get_extra_action_url_map(self) -> dict[str, str]:
        """Name the addresses of other views that the page of one config leads to."""
        found: dict[str, str] = super().get_extra_action_url_map()
        pk = self.kwargs.get("pk", "")
        # Any other is no config, and the page says so.
        if self.detail and re.fullmatch("[0-9]{1,18}", pk):
            found[_("Run now")] = reverse("task-execute-sync", args=[pk])
            found[_("Runs")] = f"{reverse('syncrun-list')}?config={pk}"
            found[_("Hook")] = reverse("syncconfig-hook", args=[pk])
        return found
