"""The celery result backend: django-celery-results, which leaves the rows of runs to the runs.

Celery's main process writes results of its own when a pool process dies (FAILURE) or a worker is
stopped (RETRY). For a run both would be guesses: its row says what becomes of it.

A skipped run ends as IGNORED, which celery does not count among the ends: whoever waited for one
waited for ever. Here it is an end, and its result the run's summary with the reason.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from celery import states
from celery.exceptions import TimeoutError as CeleryTimeout
from django_celery_results.backends import DatabaseBackend


class RunResultBackend(DatabaseBackend):
    """Stores results as `django-db` does, except celery's guesses about runs."""

    READY_STATES = states.READY_STATES | {states.IGNORED}

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Any = None,
    ) -> dict[str, Any]:
        """Wait for a task's end, of which IGNORED is one, and return its meta.

        Raises:
            celery.exceptions.TimeoutError: it has not ended within `timeout` seconds.
        """
        self._ensure_not_eager()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            meta: dict[str, Any] = self.get_task_meta(task_id)
            if meta["status"] in self.READY_STATES:
                return meta
            if on_interval:
                on_interval()
            left_s = interval if deadline is None else deadline - time.monotonic()
            if left_s <= 0:
                raise CeleryTimeout("The operation timed out.")
            time.sleep(min(interval, left_s))

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
