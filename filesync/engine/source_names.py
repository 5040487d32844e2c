"""Tell which files of the source failed where rclone does not: those nobody saw, those named anew.

What failed is what the next run can be limited to, so that it must bear its name at the source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filesync.engine.errors import FailureClass
from filesync.engine.events import Event
from filesync.engine.filters import is_speakable
from filesync.engine.messages import Problem
from filesync.engine.passes import Stage
from filesync.engine.readers import RunReader
from filesync.engine.request import Method
from filesync.engine.stages import Stages
from filesync.engine.texts import Text

# A log shows these for control characters, a listing the characters themselves.
_PICTURED = re.compile("[\u0000-\u001f\u007f\u201b\u2400-\u2421]")


def missing_at_source(stages: Stages) -> Iterator[Event]:
    """Tell of files that a run is limited to and the source does not have; asks it for all.

    Of a MOVE those count as sent that the destination has: an earlier attempt can have moved them.

    Raises:
        Stopped: the source could not be asked.
    """
    request = stages.prepared.request
    wanted = [path for path in request.only_paths or () if _can_be_told(path)]
    if not wanted:
        return
    there = _listed((yield from stages.ask(Stage("sizes"))))
    if request.method is Method.MOVE and not there.issuperset(wanted):
        there |= _listed((yield from stages.ask(Stage("sizes", at_destination=True))))
    for path in wanted:
        if path not in there:
            text = Text("the source has no such file, so that nothing was sent of it")
            yield from stages.reader.take(Problem(text, path, FailureClass.NOT_FOUND, False))


def _can_be_told(path: str) -> bool:
    return is_speakable(path) and not _PICTURED.search(path)


def _listed(answer: bytes) -> set[str]:
    return {entry["Path"] for entry in json.loads(answer or b"[]")}


def named_at_source(report: Path, reader: RunReader) -> Iterator[Event]:
    """Tell of files that failed under their new names, by what the report calls them."""
    held = dict(reader.unplaced)
    reader.unplaced.clear()
    if not held:
        return
    text, told = next(iter(held.values())), False
    with suppress(FileNotFoundError), report.open("rb") as lines:
        for line in lines:
            if line[:1] == b"!":
                path = line[2:].rstrip(b"\n").decode("utf-8", errors="replace")
                yield from reader.fail(path, held.get(path, text))
                told = True
    if not told:
        # Nobody knows whose they are.
        for path, text in held.items():
            yield from reader.fail(path, text)
