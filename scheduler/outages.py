"""Which errors mean that the database is away and may be back, and when to ask again."""

from __future__ import annotations

from django.db import InterfaceError, InternalError, OperationalError
from django.db.transaction import TransactionManagementError

# The last two are what a lock timeout becomes when a library tries again inside the transaction
# that it broke: django-celery-results does.
DATABASE_AWAY = (OperationalError, InterfaceError, InternalError, TransactionManagementError)

# What Retry-After tells callers.
DATABASE_BACK_S = 10
