"""Put back what a run set aside for files that then did not come.

rclone moves an old file to the kept folder before it sends the new one, and does so for a whole
backlog ahead: a run that ends early would leave the destination without files that it had.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from filesync.engine.command import base_flags, put_back_argv
from filesync.engine.drive import Driver, Stopped
from filesync.engine.events import Event
from filesync.engine.kept_files import stage_folder
from filesync.engine.messages import Deleted, Message, MovedServerSide
from filesync.engine.passes import Stage
from filesync.engine.problems import Problems
from filesync.engine.request import Limits
from filesync.engine.stages import MISSING_EXIT, Stages
from filesync.engine.texts import Text

LIMITS = Limits(max_runtime_s=600, stall_timeout_s=60)


@dataclass(slots=True)
class _Reader:
    """Which files came back."""

    back: set[str] = field(default_factory=set)

    def take(self, message: Message) -> list[Event]:
        # Where a storage cannot rename, a file is copied and then deleted.
        if isinstance(message, MovedServerSide | Deleted):
            self.back.add(message.path)
        return []


def put_back(stages: Stages, last: Stage, *, after: int = 0) -> Iterator[Event]:
    """Move kept files to where nothing stands at the destination; tell of those that stay away.

    All that lie there, not those that the log told of: a killed rclone tells of some no more. Of
    two stages, of which `last` was the last, the first one has the older file. Those up to the
    number `after` are done with, and what they kept stays.
    """
    prepared = stages.prepared
    kept_dir = prepared.request.keep_deleted_dir
    if kept_dir is None:
        return
    assert prepared.sides.backup is not None
    numbers = range(after + 1, last.number + 1)
    folders = [stage_folder(prepared.sides.backup, number) for number in numbers]
    driver, reader = stages.driver.for_tidying(LIMITS), _Reader()
    exit_codes = yield from _moved_back(stages, driver, reader, folders)
    yield from stages.reader.back_again(reader.back)
    left = stages.reader.set_aside - reader.back
    stages.reader.set_aside.clear()
    # A stage that set nothing aside has no folder. At the name of what did not move then stands
    # something: the new file, come without a word.
    is_done = 0 in exit_codes <= {0, MISSING_EXIT}
    if is_done or stages.driver.must_end_at_once:
        return
    for path in sorted(left):
        yield from stages.reader.missing(path, kept_dir)


def put_back_earlier(stages: Stages) -> Iterator[Event]:
    """Move back what earlier attempts of the run set aside and did not replace, the oldest first.

    Their worker had no time for it. Without it this attempt would find files missing that it must
    not miss, and where it ends early or is refused they would stay away.
    """
    prepared = stages.prepared
    earlier = prepared.sides.earlier
    if earlier is None:
        return
    answer = prepared.files.answer
    listing = (str(stages.rclone), "lsf", "--dirs-only", *base_flags(prepared.files), "--", earlier)
    driver = stages.driver.for_tidying(LIMITS)
    exit_codes: set[int | None] = {None}
    with suppress(Stopped):
        exit_code = yield from driver.drive(listing, Problems().note, answer)
        exit_codes = {exit_code}
        names = sorted(os.fsdecode(answer.read_bytes()).split("/\n")) if exit_code == 0 else ()
        folders = [f"{earlier}/{name}" for name in names if name]
        exit_codes |= yield from _moved_back(stages, driver, _Reader(), folders)
    if not exit_codes <= {0, MISSING_EXIT}:
        yield stages.driver.warn(
            Text(
                "What an earlier attempt had set aside is not all back: files that are missing at "
                "the destination may be in {folder}.",
                folder=prepared.request.put_back_from or "",
            )
        )


def _moved_back(
    stages: Stages, driver: Driver, reader: _Reader, folders: Sequence[str]
) -> Generator[Event, None, set[int | None]]:
    """Move back what lies in these folders, one after the other; give how rclone ended."""
    prepared = stages.prepared
    exit_codes: set[int | None] = set()
    for kept in folders:
        argv = put_back_argv(
            stages.rclone,
            prepared.request,
            sides=prepared.sides,
            files=prepared.files,
            kept=kept,
        )
        driver.exit_code = None
        with suppress(Stopped):
            yield from driver.drive(argv, reader.take)
        exit_codes.add(driver.exit_code)
    return exit_codes
