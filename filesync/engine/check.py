"""Read the report of a CHECK: which paths differ, and on which side one is missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from filesync.engine.events import Action, Event, ItemDone, Tick
from filesync.engine.readers import RunReader

_MARKS = {
    b"+": Action.MISSING_ON_DESTINATION,
    b"-": Action.MISSING_ON_SOURCE,
    b"*": Action.DIFFERS,
}
_TICK_S = 0.25


def differences(report: Path, reader: RunReader, told: set[int]) -> Iterator[Event]:
    """Yield one item per difference, and count them into the reader's totals.

    `told` are the hashes of the paths that an earlier report told of, and takes these.
    """
    checked = 0
    last_s = time.monotonic()
    try:
        file = report.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            action = _MARKS.get(line[:1])
            checked += line[:1] != b"!"
            if action is not None and (key := hash(line[2:])) not in told:
                told.add(key)
                yield ItemDone(action, line[2:].rstrip(b"\n").decode("utf-8", errors="replace"))
            elif time.monotonic() - last_s >= _TICK_S:
                yield Tick()
                last_s = time.monotonic()
    reader.files_checked, reader.differences = checked, len(told)
