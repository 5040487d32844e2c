"""What is done to many sync configs at once, and how it is told; one alone is `sync_configs`'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.admin import ModelAdmin
from unfold.decorators import action

from filesync.admin.row_actions import RUN_DIALOG, go
from filesync.api.permissions import RUN
from filesync.models import SyncConfig, SyncRun
from filesync.services import batches
from filesync.services.switching import switch_each
from filesync.texts import say
from scheduler.bulk import chunks

# Of many that were left out so many are told one by one.
TOLD = 5


class ManyConfigs(ModelAdmin):
    """Runs, enables and disables a selection, and runs all that are enabled."""

    actions = ["enable_selected", "disable_selected", "run_selected"]
    actions_list = ["run_all_enabled"]

    @action(
        description=gettext_lazy("Run all enabled"),
        permissions=["run"],
        url_path="run-all",
        icon="playlist_play",
        dialog={
            **RUN_DIALOG,
            "title": gettext_lazy("Run all enabled"),
            "description": gettext_lazy("Queue a run of every enabled sync config."),
        },
    )
    def run_all_enabled(self, request: HttpRequest, form: Any) -> HttpResponse:
        outcomes = batches.queue_all_enabled(user=request.user)
        queued = sum(1 for outcome in outcomes if outcome.run)
        self.message_user(
            request,
            _("%(queued)d of %(total)d enabled syncs queued")
            % {"queued": queued, "total": len(outcomes)},
        )
        self._tell_unqueued(request, outcomes)
        return go(reverse("admin:filesync_syncrun_changelist"))

    @admin.action(description=gettext_lazy("Run"), permissions=["run"])
    def run_selected(self, request: HttpRequest, configs: QuerySet[SyncConfig]) -> None:
        chosen = list(configs.values_list("pk", "name"))
        wish = batches.Wish(SyncRun.Trigger.MANUAL, request.user)
        outcomes = batches.queue_many(chosen, wish)
        queued = sum(1 for outcome in outcomes if outcome.run)
        self.message_user(request, _("%d runs queued") % queued)
        self._tell_unqueued(request, outcomes)

    @admin.action(description=gettext_lazy("Enable"), permissions=["change"])
    def enable_selected(self, request: HttpRequest, configs: QuerySet[SyncConfig]) -> None:
        self._switch_selected(request, configs, enable=True)

    @admin.action(description=gettext_lazy("Disable"), permissions=["change"])
    def disable_selected(self, request: HttpRequest, configs: QuerySet[SyncConfig]) -> None:
        self._switch_selected(request, configs, enable=False)

    def switch_many(self, request: HttpRequest, ids: Sequence[int], *, enable: bool) -> int:
        """Enable or disable those that can be, with their history; say which cannot, and why.

        Returns how many changed.
        """
        done = switch_each(ids, enable=enable)
        for chunk in chunks(done.changed):
            LogEntry.objects.log_actions(
                int(str(request.user.pk)),
                SyncConfig.objects.filter(pk__in=chunk).only("name"),
                CHANGE,
                [{"changed": {"fields": ["enable"]}}],
            )
        first = list(done.refused)[:TOLD]
        names = dict(SyncConfig.objects.filter(pk__in=first).values_list("pk", "name"))
        said = _("%(name)s was not enabled: %(reason)s")
        self._warn(
            request,
            [said % {"name": names.get(pk, pk), "reason": done.refused[pk]} for pk in first],
            len(done.refused),
        )
        return len(done.changed)

    def _switch_selected(
        self, request: HttpRequest, configs: QuerySet[SyncConfig], *, enable: bool
    ) -> None:
        changed = self.switch_many(
            request, list(configs.values_list("pk", flat=True)), enable=enable
        )
        self.message_user(request, _("%d sync configs changed") % changed)

    def _tell_unqueued(
        self, request: HttpRequest, outcomes: Sequence[batches.QueueOutcome]
    ) -> None:
        details = [outcome.detail for outcome in outcomes if outcome.run is None]
        self._warn(request, [say(detail) for detail in details[:TOLD]], len(details))

    def _warn(self, request: HttpRequest, first: Sequence[str], count: int) -> None:
        """Say the first of `count` warnings one by one, and how many more there are."""
        for text in first:
            self.message_user(request, text, messages.WARNING)
        if more := count - len(first):
            said = ngettext("... and %d more like that", "... and %d more like these", more)
            self.message_user(request, said % more, messages.WARNING)

    def has_run_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perm(RUN))
