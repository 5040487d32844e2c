"""API tokens: their owner sees, makes and revokes them, a superuser those of everybody."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.mixins import DestroyModelMixin, ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from filesync.api.permissions import ModelPermissions, NoTokenByToken
from filesync.api.serializers.tokens import (
    NewTokenSerializer,
    TokenSerializer,
    TokenWishSerializer,
)
from filesync.api.throttles import MakeTokenThrottle
from filesync.models import ApiToken
from scheduler.api.query import StrictQuery


@extend_schema_view(
    list=extend_schema(summary="List tokens"),
    retrieve=extend_schema(summary="Show a token"),
    destroy=extend_schema(summary="Revoke a token"),
)
class TokenViewSet(
    StrictQuery,
    ListModelMixin,
    RetrieveModelMixin,
    DestroyModelMixin,
    GenericViewSet[ApiToken],
):
    """What programs sign in with: one's own, and to a superuser those of everybody."""

    queryset = ApiToken.objects.select_related("user")
    permission_classes = [ModelPermissions, NoTokenByToken]
    throttle_classes = [MakeTokenThrottle]

    def get_queryset(self) -> QuerySet[ApiToken]:
        tokens, user = super().get_queryset(), self.request.user
        return tokens if user.is_superuser else tokens.filter(user=user.pk)

    def get_serializer_class(self) -> Any:
        return TokenWishSerializer if self.action == "create" else TokenSerializer

    @extend_schema(
        summary="Make a token",
        request=TokenWishSerializer,
        responses={201: NewTokenSerializer},
        auth=[{"cookieAuth": []}],  # type: ignore[list-item]
    )
    def create(self, request: Request) -> Response:
        """Answer its text, this once: only a hash is kept.

        It takes a session: a token that could make another would outlive its own end.
        """
        wish = self.get_serializer(data=request.data)
        wish.is_valid(raise_exception=True)
        assert isinstance(request.user, User)
        token, text = ApiToken.issue(request.user, **wish.validated_data)
        return Response(TokenSerializer(token).data | {"token": text}, status=201)
