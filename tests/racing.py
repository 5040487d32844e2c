"""Calls that a test makes at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from tests.filesync.factories import close_connections


def race(calls: Sequence[Callable[[], object]]) -> list[BaseException]:
    """Make all calls at the same moment, a thread each; return what they raised."""
    start = threading.Barrier(len(calls))
    errors: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        try:
            start.wait()
            call()
        except BaseException as error:
            errors.append(error)
        finally:
            close_connections()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
