"""What lists can be filtered by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django_filters import rest_framework as filters
from django_filters.fields import IsoDateTimeField
from django_filters.widgets import BooleanWidget
from drf_spectacular.utils import extend_schema_field
from rest_framework.request import Request
from rest_framework.views import APIView

from filesync import engine
from filesync.api.parsing import KnownSearch
from filesync.models import Delivery, NotificationChannel, Storage, SyncConfig, SyncRun
from filesync.notifications.events import Event
from filesync.notifications.schemes import SCHEMES
from filesync.selectors import CLOCK_SLACK, find_runs, last_id_before


@extend_schema_field({"type": "integer", "minimum": 1})
class IdFilter(filters.NumberFilter):
    """A whole number that a BigAutoField can hold; 1.5 and 1e300 are refused, not rounded."""

    field_class = forms.IntegerField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, min_value=1, max_value=2**63 - 1, **kwargs)

    def get_max_validator(self) -> None:
        return None


class _BooleanWidget(BooleanWidget):
    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        known = super().value_from_datadict(data, files, name)
        return data.get(name) or None if known is None else known


class _BooleanField(forms.NullBooleanField):
    def clean(self, value: Any) -> Any:
        if isinstance(value, str):
            raise forms.ValidationError(_("This is neither true nor false."), "invalid")
        return super().clean(value)


class TrueFalseFilter(filters.BooleanFilter):
    """`true` or `false`; the stock one takes anything else for "do not filter"."""

    field_class = _BooleanField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, widget=_BooleanWidget, **kwargs)


class _MomentField(IsoDateTimeField):
    def clean(self, value: Any) -> Any:
        moment = super().clean(value)
        # Near the ends of the calendar no span can be added, and no zone's clock be read.
        if moment is not None and not 1900 <= moment.year <= 9000:
            raise forms.ValidationError(_("This is not a time from 1900 to 9000."), "invalid")
        # ISO 8601 knows offsets of up to a day, PostgreSQL up to 16 hours.
        return None if moment is None else moment.astimezone(UTC)


class MomentFilter(filters.IsoDateTimeFilter):
    """A time in ISO 8601, such as a run can have."""

    field_class = _MomentField


class _FilterSet(filters.FilterSet):
    """Filters whose labels are those of the columns, in any language.

    Who generates the schema makes django-filter keep the form's fields of choices without a label.
    """

    @classmethod
    def filter_for_field(cls, field: Any, *args: Any, **kwargs: Any) -> filters.Filter:
        made: filters.Filter = super().filter_for_field(field, *args, **kwargs)
        made.label = capfirst(field.verbose_name)
        return made


class ConfigFilter(_FilterSet):
    # Numbers, not choices: a page must not render every storage there is.
    source_storage = IdFilter(field_name="source_storage_id", help_text=_("id of a storage"))
    destination_storage = IdFilter(
        field_name="destination_storage_id", help_text=_("id of a storage")
    )

    enable = TrueFalseFilter()

    class Meta:
        model = SyncConfig
        fields = ["method"]


class StorageFilter(_FilterSet):
    backend = filters.ChoiceFilter(
        label=_("Backend"), choices=[(name, name) for name in sorted(engine.POLICY)]
    )

    class Meta:
        model = Storage
        fields: list[str] = []


class ChannelFilter(_FilterSet):
    scheme = filters.ChoiceFilter(
        label=_("Kind"), choices=[(name, name) for name in sorted(SCHEMES)]
    )
    enabled = TrueFalseFilter()

    class Meta:
        model = NotificationChannel
        fields: list[str] = []


class DeliveryFilter(_FilterSet):
    event = filters.ChoiceFilter(label=_("Event"), choices=Event.choices)

    class Meta:
        model = Delivery
        fields = ["state"]


class RunSearch(KnownSearch):
    """Searches the history by its syncs, as the admin does."""

    search_description = "Name or remark of the sync, or the number of a run."

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> Any:
        term = str(request.query_params.get(self.search_param, "")).strip()
        return find_runs(queryset, term) if term else queryset


class RunFilter(_FilterSet):
    """Filters of the history; each stays quick however long the history is."""

    config = IdFilter(field_name="config_id", help_text=_("id of a sync config"))
    since = MomentFilter(
        method="queued_since",
        label=_("Queued since"),
        help_text=_("queued at this time or later: 2026-03-01T02:00:00Z"),
    )
    until = MomentFilter(
        method="queued_until",
        label=_("Queued until"),
        help_text=_("queued before this time: 2026-03-01T02:00:00Z"),
    )

    dry_run = TrueFalseFilter()

    class Meta:
        model = SyncRun
        fields = ["state", "trigger"]

    def queued_since(
        self, runs: QuerySet[SyncRun], name: str, moment: datetime
    ) -> QuerySet[SyncRun]:
        """Keep what was queued from `moment` on, and begin the walk by id there."""
        near = SyncRun.objects.filter(created_at__gte=moment - CLOCK_SLACK)
        first = near.order_by("created_at", "id").values("id")[:1]
        return runs.filter(created_at__gte=moment, id__gte=first)

    def queued_until(
        self, runs: QuerySet[SyncRun], name: str, moment: datetime
    ) -> QuerySet[SyncRun]:
        """Keep what was queued before `moment`, and begin the walk by id there.

        By the time alone PostgreSQL walks the ids from the newest and throws away what is later.
        """
        return runs.filter(created_at__lt=moment, id__lte=last_id_before(moment))
