"""Remove at the destination what uploads left that were cut off, in this run or before it.

rclone writes to a name of its own first, or the storage takes a file whole or not at all; on plain
WebDAV it writes under the final name, and some servers (wsgidav) keep what has come of a file when
the connection ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from filesync.engine import ini
from filesync.engine.command import build_argv
from filesync.engine.drive import Driven, Driver, Stopped, Take
from filesync.engine.events import Event
from filesync.engine.messages import Deleted, Message
from filesync.engine.passes import Stage, writes_in_place
from filesync.engine.problems import Problems
from filesync.engine.request import Limits
from filesync.engine.stages import Stages

LIMITS = Limits(max_runtime_s=60, stall_timeout_s=30)


def remove_cut_short(stages: Stages) -> Iterator[Event]:
    """Remove files that were on their way, are shorter than they should be, and were not there.

    What stood there before the run and was not set aside is left: it may be the old file, to
    which nothing has come yet. The next run sends it again, for its size differs. Under rename
    rules all are left: what rclone tells of are names at the source.
    """
    prepared, reader = stages.prepared, stages.reader
    if not writes_in_place(prepared.request) or prepared.request.rules.renames:
        return
    unfinished = reader.unfinished
    fresh = reader.set_aside | _new_ones(prepared.files.report, unfinished)
    wanted = {path: size for path, size in unfinished.items() if path in fresh}
    if not wanted:
        return
    driver = stages.driver.for_tidying(LIMITS)
    with suppress(Stopped):
        yield from _drive(stages, driver, "sizes", wanted)
        if driver.exit_code == 0:
            short = _short(prepared.files.answer, wanted)
            if short:
                yield from _drive(stages, driver, "remove", short)


def remove_leftovers(stages: Stages, paths: Sequence[str]) -> Iterator[Event]:
    """Remove partial files that the plan would delete, of files that will be sent.

    rclone gives the same file the same partial name again: it would send it, rename it, and then
    fail for there is no such file to delete.
    """
    reader = stages.reader

    def take(message: Message) -> list[Event]:
        return [reader.count_delete(message.path)] if isinstance(message, Deleted) else []

    if paths:
        yield from _drive(stages, stages.driver, "remove", paths, take)


def _new_ones(report: Path, wanted: Mapping[str, int]) -> set[str]:
    """Give those of the files that the destination did not have when rclone looked."""
    found: set[str] = set()
    with suppress(FileNotFoundError), report.open("rb") as lines:
        for line in lines:
            if line[:1] == b"+" and (path := os.fsdecode(line[2:].rstrip(b"\n"))) in wanted:
                found.add(path)
    return found


def _short(answer: Path, wanted: Mapping[str, int]) -> list[str]:
    listed = json.loads(answer.read_bytes() or b"[]")
    return [entry["Path"] for entry in listed if 0 <= entry["Size"] < wanted[entry["Path"]]]


def _drive(
    stages: Stages, driver: Driver, verb: str, paths: Iterable[str], take: Take | None = None
) -> Driven:
    prepared = stages.prepared
    prepared.files.only.unlink(missing_ok=True)
    ini.write_private(prepared.files.only, "".join(f"{path}\0" for path in paths))
    stage = Stage(verb, at_destination=True)
    argv = build_argv(
        stages.rclone, stage, prepared.request, sides=prepared.sides, files=prepared.files
    )
    return (yield from driver.drive(argv, take or Problems().note, prepared.files.answer))
