"""The items of a run as a list in the admin, for runs with more than their page shows."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from filesync.admin.filters import CappedPaginator
from filesync.admin.runs import ReadOnlyAdmin
from filesync.models import RunItem


@admin.register(RunItem)
class RunItemAdmin(ReadOnlyAdmin):
    list_display = ["path", "action", "size_bytes", "error"]
    list_filter = ["action"]
    search_fields = ["path"]
    list_per_page = 100
    paginator = CappedPaginator
    show_full_result_count = False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow the link of a run to its items; a filter would list every run there is."""
        return lookup == "run__id__exact" or bool(super().lookup_allowed(lookup, value, request))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Keep it out of the menu: it is reached from its run."""
        return False
