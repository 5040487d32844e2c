"""The celery result backend: django-celery-results, which leaves the rows of runs to the runs.

Celery's main process writes results of its own when a pool process dies (FAILURE) or a worker is
stopped (RETRY). For a run both would be guesses: its row says what becomes of it.
"""

from __future__ import annotations

import uuid
from typing import Any

from django_celery_results.backends import DatabaseBackend


class RunResultBackend(DatabaseBackend):
    """Stores results as `django-db` does, except celery's guesses about runs."""

    def mark_as_failure(self, task_id: str, exc: BaseException, *args: Any, **kwargs: Any) -> None:
        if not _is_run(task_id):
            super().mark_as_failure(task_id, exc, *args, **kwargs)

    def mark_as_retry(self, task_id: str, exc: BaseException, *args: Any, **kwargs: Any) -> None:
        if not _is_run(task_id):
            super().mark_as_retry(task_id, exc, *args, **kwargs)

    def mark_as_revoked(self, task_id: str, *args: Any, **kwargs: Any) -> None:
        if not _is_run(task_id):
            super().mark_as_revoked(task_id, *args, **kwargs)


def _is_run(task_id: str) -> bool:
    # Celery builds the backend before Django's models can be imported.
    from filesync.models import SyncRun

    try:
        key = uuid.UUID(task_id)
    except ValueError:
        return False
    return SyncRun.objects.filter(task_id=key).exists()
