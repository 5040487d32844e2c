"""Who may call what: Django's model permissions, also for reading, and those of single actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import BasePermission, DjangoModelPermissions
from rest_framework.request import Request

if TYPE_CHECKING:
    # DRF's views import this module by the settings, before they are complete themselves.
    from rest_framework.views import APIView

RUN = "filesync.run_syncconfig"
FORCE = "filesync.force_syncconfig"
CHANGE_CONFIGS = "filesync.change_syncconfig"
VIEW_RUNS = "filesync.view_syncrun"
VIEW_STORAGES = "filesync.view_storage"
VIEW_RULES = "filesync.view_ruleset"
VIEW_CHANNELS = "filesync.view_notificationchannel"


class ModelPermissions(DjangoModelPermissions):
    """Django's permissions, with `view` for reads, which DRF leaves open to every login."""

    perms_map = {
        **DjangoModelPermissions.perms_map,
        "GET": ["%(app_label)s.view_%(model_name)s"],
        "OPTIONS": ["%(app_label)s.view_%(model_name)s"],
        "HEAD": ["%(app_label)s.view_%(model_name)s"],
    }


class MayRun(BasePermission):
    """Allow operators: those who may run and cancel syncs."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user and request.user.has_perm(RUN))


class MayChangeConfigs(BasePermission):
    """Allow editors: those who may change sync configs."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user and request.user.has_perm(CHANGE_CONFIGS))


class MayViewRuns(BasePermission):
    """Allow those who may see runs."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user and request.user.has_perm(VIEW_RUNS))


class MayViewStorages(BasePermission):
    """Allow those who may see storages."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user and request.user.has_perm(VIEW_STORAGES))


class MayViewRules(BasePermission):
    """Allow those who may see rule sets."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user and request.user.has_perm(VIEW_RULES))


class NoTokenByToken(BasePermission):
    """Let only a person who is signed in make a token: a stolen one could make itself another."""

    message = _("A token makes no other token: sign in for that.")

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method != "POST" or request.auth is None


class IsSuperuserOrReadOnly(BasePermission):
    """Let only superusers write; reading follows the model permissions that stand beside this."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method in ("GET", "HEAD", "OPTIONS") or bool(
            request.user and request.user.is_superuser
        )
