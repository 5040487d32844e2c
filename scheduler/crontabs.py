"""CrontabSchedule rows by what they say: found, and made where there is none."""

from __future__ import annotations

from collections import defaultdict

from django.db.models import QuerySet
from django_celery_beat.models import CrontabSchedule

from scheduler import rows


def ids_by_key(crontabs: QuerySet[CrontabSchedule]) -> dict[rows.CrontabKey, list[int]]:
    """Return the ids of the rows that say each key, lowest first."""
    found: dict[rows.CrontabKey, list[int]] = defaultdict(list)
    for *values, pk in crontabs.order_by("pk").values_list(*rows.CrontabKey._fields, "pk"):
        found[rows.CrontabKey(*map(str, values))].append(pk)
    return dict(found)


def find_or_make(keys: set[rows.CrontabKey]) -> dict[rows.CrontabKey, list[int]]:
    """Return the CrontabSchedule rows of each key, lowest id first; make those missing.

    The table has no uniqueness: two saves at once may make equal rows.
    """
    columns = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    superset = {f"{column}__in": {getattr(key, column) for key in keys} for column in columns}
    ids = ids_by_key(CrontabSchedule.objects.filter(**superset))
    missing = sorted(keys - ids.keys(), key=str)
    made = CrontabSchedule.objects.bulk_create(
        [CrontabSchedule(**key._asdict()) for key in missing]
    )
    return ids | {key: [row.pk] for key, row in zip(missing, made, strict=True)}
