"""The router of the REST API: all paths without a trailing slash."""

from __future__ import annotations

from django.urls import path, re_path

from filesync.api import schema  # noqa: F401 - registers the token's description
from filesync.api.backend_views import BackendViewSet
from filesync.api.hook_views import ConfigHookView, HookView, UnknownView
from filesync.api.notification_views import ChannelViewSet, DeliveryViewSet
from filesync.api.root import Router
from filesync.api.run_views import SyncRunViewSet
from filesync.api.task_views import TaskViewSet
from filesync.api.token_views import TokenViewSet
from filesync.api.views import RuleSetViewSet, StorageViewSet, SyncConfigViewSet
from scheduler.api.views import SchedulerViewSet

router = Router(trailing_slash=False)
router.register("task/scheduler", SchedulerViewSet, basename="scheduler")
router.register("task/scheduler", TaskViewSet, basename="task")
router.register("sync/backends", BackendViewSet, basename="backend")
router.register("sync/storages", StorageViewSet)
router.register("sync/rule-sets", RuleSetViewSet)
router.register("sync/configs", SyncConfigViewSet)
router.register("sync/runs", SyncRunViewSet)
router.register("notifications/channels", ChannelViewSet)
router.register("notifications/messages", DeliveryViewSet)
router.register("tokens", TokenViewSet)

urlpatterns = [
    *router.urls,
    path("sync/configs/<int:pk>/hook", ConfigHookView.as_view(), name="syncconfig-hook"),
    path("hooks/<str:token>", HookView.as_view(), name="hook"),
    re_path(r".*", UnknownView.as_view(), name="unknown"),
]
