"""Filters and paging of long lists: nothing here counts or lists a whole history."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.timezone import make_aware
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RangeDateFilter
from unfold.utils import parse_date_str

from filesync.models import Storage, SyncRun
from filesync.selectors import is_id, last_id_before

COUNTED = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages through the first 10,000 rows: to count a million took longer than the whole page."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        counted: int = rows.order_by()[:COUNTED].count()
        return counted


class StorageFilter(admin.SimpleListFilter):
    """Runs that read from a storage or write to it."""

    title = _("storage")
    parameter_name = "storage"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = Storage.objects.values_list("pk", "name")[:500]
        return [(str(pk), name) for pk, name in names]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[SyncRun]
    ) -> QuerySet[SyncRun] | None:
        chosen = self.value()
        if chosen is None or not is_id(chosen):
            return None
        uses = Q(config__source_storage=chosen) | Q(config__destination_storage=chosen)
        return queryset.filter(uses)


class ConfigFilter(AutocompleteSelectFilter):
    """Runs of a config; the stock filter asks the database for any number in the address."""

    def value(self) -> str | None:
        chosen: str | None = super().value()
        return chosen if chosen is not None and is_id(chosen) else None


class DaysFilter(RangeDateFilter):
    """From one day to another, both whole: the stock filter leaves the last day out."""

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[SyncRun]
    ) -> QuerySet[SyncRun] | None:
        first = parse_date_str(self.used_parameters.get(f"{self.parameter_name}_from") or "")
        last = parse_date_str(self.used_parameters.get(f"{self.parameter_name}_to") or "")
        if first is not None:
            queryset = queryset.filter(**{f"{self.parameter_name}__gte": _midnight(first)})
        if last is not None:
            ends = _midnight(last + timedelta(days=1))
            queryset = queryset.filter(**{f"{self.parameter_name}__lt": ends})
        return queryset


class RunDaysFilter(DaysFilter):
    """Days on which runs ended; the walk by id begins at the last run that was queued by then."""

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[SyncRun]
    ) -> QuerySet[SyncRun] | None:
        last = parse_date_str(self.used_parameters.get(f"{self.parameter_name}_to") or "")
        if last is not None:
            ends = _midnight(last + timedelta(days=1))
            queryset = queryset.filter(pk__lte=last_id_before(ends))
        return super().queryset(request, queryset)


def _midnight(day: date) -> datetime:
    return make_aware(datetime.combine(day, time.min))
