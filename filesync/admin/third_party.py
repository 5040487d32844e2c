"""The pages of django-celery-beat and django-celery-results, in this admin's dress.

Rows of ours are read-only there: they follow their sync config.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django_celery_beat.admin import ClockedScheduleAdmin as StockClockedScheduleAdmin
from django_celery_beat.admin import CrontabScheduleAdmin as StockCrontabScheduleAdmin
from django_celery_beat.admin import PeriodicTaskAdmin as StockPeriodicTaskAdmin
from django_celery_beat.admin import PeriodicTaskForm as StockPeriodicTaskForm
from django_celery_beat.admin import TaskSelectWidget
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from django_celery_results.admin import GroupResultAdmin as StockGroupResultAdmin
from django_celery_results.admin import TaskResultAdmin as StockTaskResultAdmin
from django_celery_results.models import GroupResult, TaskResult
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from scheduler import rows
from scheduler.models import schedulable_models

for model in (
    PeriodicTask,
    IntervalSchedule,
    CrontabSchedule,
    SolarSchedule,
    ClockedSchedule,
    TaskResult,
    GroupResult,
):
    admin.site.unregister(model)


class TaskSelect(UnfoldAdminSelectWidget, TaskSelectWidget):
    """django-celery-beat's list of registered tasks, in this admin's dress."""


class PeriodicTaskForm(StockPeriodicTaskForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = TaskSelect()


class SuperuserWrites:
    """Lets only superusers write, and act on a selection; mix it in before the admin class."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        if not request.user.is_superuser:
            return {}
        actions: dict[str, Any] = super().get_actions(request)  # type: ignore[misc]
        return actions


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(SuperuserWrites, StockPeriodicTaskAdmin, ModelAdmin):
    form = PeriodicTaskForm
    # The stock page has an inline script that only repeats the crontab in words.
    change_form_template = None

    def has_change_permission(self, request: HttpRequest, obj: PeriodicTask | None = None) -> bool:
        return super().has_change_permission(request, obj) and not _is_ours(obj)

    def has_delete_permission(self, request: HttpRequest, obj: PeriodicTask | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not _is_ours(obj)

    @admin.action(description=_("Enable selected tasks"))
    def enable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        super().enable_tasks(request, self._others(request, queryset))

    @admin.action(description=_("Disable selected tasks"))
    def disable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        super().disable_tasks(request, self._others(request, queryset))

    @admin.action(description=_("Toggle activity of selected tasks"))
    def toggle_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        super().toggle_tasks(request, self._others(request, queryset))

    def _others(
        self, request: HttpRequest, tasks: QuerySet[PeriodicTask]
    ) -> QuerySet[PeriodicTask]:
        """Leave out rows of ours, and say so: they follow their sync config."""
        ours = rows.ours(schedulable_models())
        left_out = tasks.filter(ours).count()
        if left_out:
            self.message_user(
                request,
                _("%d tasks belong to sync configs and were left alone: edit the config instead")
                % left_out,
                messages.WARNING,
            )
        return tasks.exclude(ours)


@admin.register(IntervalSchedule)
class IntervalScheduleAdmin(SuperuserWrites, ModelAdmin):
    pass


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(SuperuserWrites, StockCrontabScheduleAdmin, ModelAdmin):
    def has_change_permission(
        self, request: HttpRequest, obj: CrontabSchedule | None = None
    ) -> bool:
        """Keep a crontab that rows of ours fire by: an edit would part them from their config."""
        allowed = bool(super().has_change_permission(request, obj))
        if obj is None or not allowed:
            return allowed
        ours = rows.ours(schedulable_models())
        return not PeriodicTask.objects.filter(ours, crontab=obj).exists()


@admin.register(SolarSchedule)
class SolarScheduleAdmin(SuperuserWrites, ModelAdmin):
    pass


@admin.register(ClockedSchedule)
class ClockedScheduleAdmin(SuperuserWrites, StockClockedScheduleAdmin, ModelAdmin):
    pass


@admin.register(TaskResult)
class TaskResultAdmin(StockTaskResultAdmin, ModelAdmin):
    pass


@admin.register(GroupResult)
class GroupResultAdmin(StockGroupResultAdmin, ModelAdmin):
    pass


def _is_ours(task: PeriodicTask | None) -> bool:
    if task is None:
        return False
    return any(
        task.task == model.schedule_task and rows.object_id(model, task.name) is not None
        for model in schedulable_models()
    )
