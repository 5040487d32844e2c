"""Runs in the admin: the list, the page of one, its live numbers; Cancel, Run again, Undo."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.forms import BaseDialogForm

from filesync import amounts
from filesync.admin import words
from filesync.admin.filters import CappedPaginator, ConfigFilter, RunDaysFilter, StorageFilter
from filesync.admin.live import COLUMNS, run_document
from filesync.admin.row_actions import row_action
from filesync.admin.run_page import items_csv, log_document, run_context
from filesync.api.permissions import RUN
from filesync.errors import FilesyncError
from filesync.models import SyncRun
from filesync.selectors import find_runs, is_id
from filesync.services.failures import can_mend
from filesync.services.finishing import cancel_run
from filesync.services.queueing import retry_run
from filesync.services.undo import keeping, queue_restore
from filesync.texts import say


class ReadOnlyAdmin(ModelAdmin):
    """Rows that only services write."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin):
    list_display = [
        "title",
        "state_badge",
        "trigger",
        "started",
        "took",
        "files_transferred",
        "data",
        "failure",
    ]
    list_display_links = ["title"]
    list_filter = [
        ("config", ConfigFilter),
        StorageFilter,
        ("finished_at", RunDaysFilter),
        "trigger",
    ]
    list_filter_submit = True
    list_per_page = 25
    paginator = CappedPaginator
    # Any value switches the search on; what it looks at `find_runs` says.
    search_fields = ["config_name"]
    search_help_text = _("name or remark of the sync, or the number of a run")
    show_full_result_count = False
    # By what an index holds: to sort a million runs took a second.
    sortable_by = ["title", "state_badge", "trigger"]
    # The page has a template of its own, which shows none of the stock form.
    fields = ["config_name"]
    actions_detail = ["cancel_now", "retry_now", "retry_failed_now", "restore_now"]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("<int:run_id>/live/", view(self.live), name="filesync_syncrun_live"),
            path("<int:run_id>/log/", view(self.log), name="filesync_syncrun_log"),
            path("<int:run_id>/items.csv", view(self.items), name="filesync_syncrun_items_csv"),
        ]
        stock: list[URLPattern] = super().get_urls()
        return own + stock

    def get_queryset(self, request: HttpRequest) -> QuerySet[SyncRun]:
        runs: QuerySet[SyncRun] = super().get_queryset(request)
        return runs.defer("plan", "progress", "advice", "attempts")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SyncRun], search_term: str
    ) -> tuple[QuerySet[SyncRun], bool]:
        term = search_term.replace("\0", "").strip()
        return (find_runs(queryset, term) if term else queryset), False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow what the tabs ask for."""
        return lookup == "state__in" or bool(super().lookup_allowed(lookup, value, request))

    @admin.display(description=_("run"), ordering="id")
    def title(self, run: SyncRun) -> str:
        return str(run)

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, run: SyncRun) -> str:
        return words.badges(run)

    @admin.display(description=_("started"), ordering="started_at")
    def started(self, run: SyncRun) -> str:
        return words.ago(run.started_at)

    @admin.display(description=_("took"))
    def took(self, run: SyncRun) -> str:
        return amounts.duration(run.duration_s)

    @admin.display(description=_("data"), ordering="bytes_transferred")
    def data(self, run: SyncRun) -> str:
        return amounts.size(run.bytes_transferred)

    @admin.display(description=_("failure"))
    def failure(self, run: SyncRun) -> str:
        return words.failure(run.failure_class) or "-"

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        run = self._run(request, object_id)
        context = {**(extra_context or {}), **run_context(run, request), "title": str(run)}
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    def live(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Answer the poll of a run's page."""
        run = self._polled(request, run_id)
        document = run_document(run) | {"ended": run.is_terminal}
        return JsonResponse(document, headers={"Cache-Control": "no-store"})

    def log(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Answer the slower poll of a run's log."""
        document = log_document(self._polled(request, run_id))
        return JsonResponse(document, headers={"Cache-Control": "no-store"})

    def items(self, request: HttpRequest, run_id: int) -> StreamingHttpResponse:
        """Send the run's items as CSV."""
        return items_csv(self._run(request, run_id), request)

    def _run(self, request: HttpRequest, run_id: int | str) -> SyncRun:
        known = SyncRun.objects.select_related(
            "config__source_storage", "config__destination_storage", "requested_by", "retry_of"
        )
        return self._found(request, run_id, known)

    def _polled(self, request: HttpRequest, run_id: int) -> SyncRun:
        return self._found(request, run_id, SyncRun.objects.only(*COLUMNS))

    def _found(self, request: HttpRequest, run_id: int | str, known: QuerySet[SyncRun]) -> SyncRun:
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = known.filter(pk=run_id).first() if is_id(str(run_id)) else None
        if run is None:
            raise Http404(_("There is no such run."))
        return run

    @row_action(
        description=_("Cancel"),
        permissions=["run"],
        url_path="cancel",
        icon="cancel",
        dialog={
            "title": _("Cancel this run"),
            "description": _("What was copied stays; the rest is not copied."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Cancel the run"),
        },
    )
    def cancel_now(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        try:
            run = cancel_run(int(object_id))
            self.message_user(request, _("Run %d is being cancelled") % run.pk)
        except FilesyncError as error:
            self.message_user(request, say(error.message), messages.WARNING)
        url = reverse("admin:filesync_syncrun_change", args=[object_id])
        return HttpResponse(headers={"HX-Redirect": url})

    @row_action(
        description=_("Run again"),
        permissions=["retry"],
        url_path="retry",
        icon="replay",
        dialog={
            "title": _("Run again"),
            "description": _("Queue a new run of the same sync."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Run again"),
        },
    )
    def retry_now(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._queued(request, int(object_id), partial(retry_run, user=request.user))

    @row_action(
        description=_("Send the failed files again"),
        permissions=["mend"],
        url_path="retry-failed",
        icon="replay",
        dialog={
            "title": _("Send the failed files again"),
            "description": _("Queue a run of the files that failed. Nothing is deleted."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Send again"),
        },
    )
    def retry_failed_now(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._queued(
            request, int(object_id), partial(retry_run, user=request.user, only_failed=True)
        )

    @row_action(
        description=_("Undo"),
        permissions=["restore"],
        url_path="restore",
        icon="undo",
        dialog={
            "title": _("Undo this run"),
            "description": _(
                "Put back what the run deleted or overwrote, and remove what it added. What was "
                "changed since is left alone and told."
            ),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Undo"),
        },
    )
    def restore_now(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._queued(request, int(object_id), partial(queue_restore, user=request.user))

    def _queued(
        self, request: HttpRequest, run_id: int, queue: Callable[[int], SyncRun]
    ) -> HttpResponse:
        """Queue a run that follows another, and go to it; or say why not, and stay."""
        try:
            run_id = queue(run_id).pk
            self.message_user(request, _("Run %d is queued") % run_id)
        except FilesyncError as error:
            self.message_user(request, say(error.message), messages.WARNING)
        url = reverse("admin:filesync_syncrun_change", args=[run_id])
        return HttpResponse(headers={"HX-Redirect": url})

    def has_restore_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Allow Undo to those who may run syncs, while the run keeps what it deleted."""
        if not request.user.has_perm(RUN):
            return False
        return object_id is None or SyncRun.objects.filter(keeping(), pk=object_id).exists()

    def has_retry_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Allow Run again to those who may run syncs, once a run that undid none has ended."""
        if not request.user.has_perm(RUN):
            return False
        if object_id is None:
            return True
        ended = SyncRun.objects.filter(pk=object_id, state__in=SyncRun.TERMINAL)
        return ended.filter(config__isnull=False).exclude(trigger=SyncRun.Trigger.RESTORE).exists()

    def has_mend_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Allow it to those who may run syncs, where files failed that can be sent again."""
        if not request.user.has_perm(RUN):
            return False
        if object_id is None:
            return True
        run = self.get_queryset(request).filter(pk=object_id).first()
        return run is not None and can_mend(run)

    def has_run_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Allow Cancel to those who may run syncs, while there is something to cancel."""
        if not request.user.has_perm(RUN):
            return False
        if object_id is None:
            return True
        return SyncRun.objects.filter(pk=object_id, state__in=SyncRun.ACTIVE).exists()
