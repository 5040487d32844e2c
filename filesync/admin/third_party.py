"""The pages of django-celery-beat and django-celery-results, in this admin's dress.

Rows of ours are read-only there: they follow their sync config.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

from celery.states import ALL_STATES, IGNORED
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, ngettext
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

from filesync.admin.filters import CappedPaginator, DaysFilter
from scheduler import cron, rows
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


class StatusFilter(admin.SimpleListFilter):
    """Results by celery's word; the stock filter reads all rows to find the words."""

    title = _("Task State")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in sorted({*ALL_STATES, IGNORED})]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[TaskResult]
    ) -> QuerySet[TaskResult] | None:
        return queryset.filter(status=self.value()) if self.value() else None


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


class CronInWords:
    """Says a crontab in the reader's language, unlike the stock text of it; mix in first."""

    @admin.display(description=_("in words"))
    def human_readable(self, crontab: CrontabSchedule) -> str:
        return _in_words(crontab)

    @admin.display(description=_("crontab in words"))
    def crontab_translation(self, task: PeriodicTask) -> str:
        return "-" if task.crontab is None else _in_words(task.crontab)


class TasksCounted:
    """Counts the tasks of a schedule, of which the stock page lists each; mix in first.

    10,000 may fire at the same minute. `schedule_field` is what a task calls the schedule.
    """

    schedule_field: ClassVar[str]
    inlines: ClassVar[Any] = []

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_fields(request, obj), "used_by"]  # type: ignore[misc]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_readonly_fields(request, obj), "used_by"]  # type: ignore[misc]

    @admin.display(description=_("used by"))
    def used_by(self, schedule: CrontabSchedule | ClockedSchedule) -> SafeString | str:
        count = PeriodicTask.objects.filter(**{self.schedule_field: schedule.pk}).count()
        if schedule.pk is None or not count:
            return "-"
        return format_html(
            '<a class="sb-folder" href="{}?{}__id__exact={}">{}</a>',
            reverse("admin:django_celery_beat_periodictask_changelist"),
            self.schedule_field,
            schedule.pk,
            ngettext("%d periodic task", "%d periodic tasks", count) % count,
        )


def _in_words(crontab: CrontabSchedule) -> str:
    fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    expr = " ".join(str(getattr(crontab, field)) for field in fields)
    said = expr
    # Where both are given celery wants both to fit, and cron takes either.
    if "*" in (crontab.day_of_month, crontab.day_of_week):
        with suppress(cron.InvalidCron):  # celery's crontab takes more than our cron
            said = cron.describe(expr, get_language() or "en")
    return f"{said} ({crontab.timezone})"


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(CronInWords, SuperuserWrites, StockPeriodicTaskAdmin, ModelAdmin):
    form = PeriodicTaskForm
    list_per_page = 25
    paginator = CappedPaginator
    show_full_result_count = False
    # There is one for each schedule; to write them all into the form took a second.
    autocomplete_fields = ["crontab"]
    # The stock page has an inline script that only repeats the crontab in words.
    change_form_template = None
    readonly_fields: ClassVar[Any] = (*StockPeriodicTaskAdmin.readonly_fields, "owner")

    def get_fieldsets(self, request: HttpRequest, obj: PeriodicTask | None = None) -> Any:
        fieldsets = list(super().get_fieldsets(request, obj))
        if _is_ours(obj):
            fieldsets.insert(0, (None, {"fields": ("owner",)}))
        return fieldsets

    @admin.display(description=_("belongs to"))
    def owner(self, task: PeriodicTask) -> SafeString | str:
        """Return a link to what a row of ours follows, where it is edited."""
        for model in schedulable_models():
            pk = rows.object_id(model, task.name)
            owner = model._default_manager.filter(pk=pk).first() if pk is not None else None
            if owner is not None:
                meta = model._meta
                page = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[pk])
                name = owner.remark or owner
                return format_html('<a class="sb-folder" href="{}">{}</a>', page, name)
        return "-"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Leave out the stock view, which puts every crontab into words for that script."""
        view = super(StockPeriodicTaskAdmin, self).changeform_view
        answer: HttpResponse = view(request, object_id, form_url, extra_context)
        return answer

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
class CrontabScheduleAdmin(
    CronInWords, TasksCounted, SuperuserWrites, StockCrontabScheduleAdmin, ModelAdmin
):
    list_per_page = 25
    search_fields = ["minute", "hour", "timezone"]
    ordering = ["hour", "minute", "pk"]
    schedule_field = "crontab"

    def has_change_permission(
        self, request: HttpRequest, obj: CrontabSchedule | None = None
    ) -> bool:
        """Keep a crontab that rows of ours fire by: an edit would part them from their config."""
        return bool(super().has_change_permission(request, obj)) and not _is_used_by_ours(obj)

    def has_delete_permission(
        self, request: HttpRequest, obj: CrontabSchedule | None = None
    ) -> bool:
        return bool(super().has_delete_permission(request, obj)) and not _is_used_by_ours(obj)


@admin.register(SolarSchedule)
class SolarScheduleAdmin(SuperuserWrites, ModelAdmin):
    pass


@admin.register(ClockedSchedule)
class ClockedScheduleAdmin(TasksCounted, SuperuserWrites, StockClockedScheduleAdmin, ModelAdmin):
    schedule_field = "clocked"


@admin.register(TaskResult)
class TaskResultAdmin(StockTaskResultAdmin, ModelAdmin):
    """A run's result is found by its task's id; nothing here looks through a million rows."""

    list_per_page = 25
    paginator = CappedPaginator
    show_full_result_count = False
    date_hierarchy: ClassVar[Any] = None
    list_filter: ClassVar[Any] = (StatusFilter, ("date_done", DaysFilter))
    list_filter_submit = True
    search_fields: ClassVar[Any] = ("task_id__exact",)
    search_help_text = _("the whole id of a task")
    sortable_by = ("date_done",)


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


def _is_used_by_ours(crontab: CrontabSchedule | None) -> bool:
    if crontab is None:
        return False
    ours = rows.ours(schedulable_models())
    return bool(PeriodicTask.objects.filter(ours, crontab=crontab).exists())
