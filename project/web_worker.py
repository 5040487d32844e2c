"""gunicorn's worker with threads, whose waits for a caller have an end."""

from __future__ import annotations

from threading import local
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from project import slow_callers


class PatientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Serves as its base does; `project.limits` reads the body of a request.

    What it left is read by the base after the answer, to find the next request.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._here = local()

    def handle(self, conn: Any) -> Any:
        self._here.reading = slow_callers.begin(conn.sock)
        try:
            return super().handle(conn)
        finally:
            slow_callers.end(self._here.reading)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request whose head is there."""
        slow_callers.end(self._here.reading)
        try:
            return super().handle_request(req, conn)
        finally:
            self._here.reading = slow_callers.begin(conn.sock)
