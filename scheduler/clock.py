"""The database's clock, in expressions: it alone decides about leases, whatever hosts believe."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.expressions import Combinable
from django.db.models.functions import Now


def from_now(seconds: float) -> Combinable:
    """Return the database's own time plus `seconds`, which may be negative."""
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=DateTimeField())
