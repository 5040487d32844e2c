"""Put back what a run set aside for files that then did not come.

rclone moves an old file to the kept folder before it sends the new one, and does so for a whole
backlog ahead: a run that ends early would leave the destination without files that it had.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from filesync.engine.command import build_argv
from filesync.engine.drive import Stopped
from filesync.engine.events import Event
from filesync.engine.messages import Deleted, Message, MovedServerSide
from filesync.engine.passes import Stage
from filesync.engine.request import Limits
from filesync.engine.stages import MISSING_EXIT, Stages

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


def put_back(stages: Stages, last: Stage) -> Iterator[Event]:
    """Move kept files to where nothing stands at the destination; tell of those that stay away.

    All that lie there, not those that the log told of: a killed rclone tells of some no more. Of
    two stages, of which `last` was the last, the first one has the older file.
    """
    prepared = stages.prepared
    kept_dir = prepared.request.keep_deleted_dir
    if kept_dir is None:
        return
    driver, reader = stages.driver.for_tidying(LIMITS), _Reader()
    exit_codes: set[int | None] = set()
    for number in range(1, last.number + 1):
        argv = build_argv(
            stages.rclone,
            Stage("put_back", number=number),
            prepared.request,
            sides=prepared.sides,
            files=prepared.files,
        )
        driver.exit_code = None
        with suppress(Stopped):
            yield from driver.drive(argv, reader.take)
        exit_codes.add(driver.exit_code)
    yield from stages.reader.back_again(reader.back)
    # A stage that set nothing aside has no folder. At the name of what did not move then stands
    # something: the new file, come without a word.
    is_done = 0 in exit_codes <= {0, MISSING_EXIT}
    if is_done or stages.driver.must_end_at_once:
        return
    for path in sorted(stages.reader.set_aside - reader.back):
        yield from stages.reader.missing(path, kept_dir)
