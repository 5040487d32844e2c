"""Write a small file into the destination, see where it turns up, and remove it: no decisions."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress

from filesync.engine import ini
from filesync.engine.command import base_flags
from filesync.engine.drive import Driver, Stopped
from filesync.engine.errors import Failure, FailureClass
from filesync.engine.events import Event, Totals
from filesync.engine.filters import MARKER_PREFIX
from filesync.engine.outcome import conclude
from filesync.engine.problems import Problems
from filesync.engine.request import Limits
from filesync.engine.stages import Stages
from filesync.engine.texts import Text

_LIMITS = Limits(max_runtime_s=60, stall_timeout_s=30)
_WORDS = "Syncbeat looks here which folders are one. This file may be deleted.\n"
_REMOVING_TRIES = 2


def new_name() -> str:
    """Give a name that no other file has; every run leaves files of such names alone."""
    return MARKER_PREFIX + secrets.token_hex(8)


def turns_up(
    stages: Stages, name: str, *, root: str, places: Sequence[str]
) -> Generator[Event, None, bool]:
    """Tell whether a marker in the destination's folder is seen at one of the places below `root`.

    `root` is in rclone's words ("src:/a"), each place a path with the name of a file.

    Raises:
        Stopped: it could not be found out, and the run must end.
    """
    files, destination = stages.prepared.files, stages.prepared.sides.destination
    ours, wanted = files.work_dir / "marker", files.work_dir / "marker-places"
    # No empty file: some storages take none.
    ini.write_private(ours, _WORDS)
    ini.write_private(wanted, "".join(f"{place}\0" for place in places))
    marker = f"{destination}{'' if destination.endswith((':', '/')) else '/'}{name}"
    try:
        yield from _ran(stages, stages.driver, ("copyto",), str(ours), marker)
        look = ("lsf", "-R", "--files-only", "--no-traverse", "--files-from0", str(wanted))
        yield from _ran(stages, stages.driver, look, root)
        seen = bool(files.answer.read_bytes().strip())
    except Stopped:
        with suppress(Stopped):
            yield from _removed(stages, marker)
        raise
    finally:
        ours.unlink(missing_ok=True)
        wanted.unlink(missing_ok=True)
    yield from _removed(stages, marker)
    return seen


def _removed(stages: Stages, marker: str) -> Iterator[Event]:
    for tries_left in reversed(range(_REMOVING_TRIES)):
        try:
            driver = stages.driver.for_tidying(_LIMITS)
            yield from _ran(stages, driver, ("deletefile",), marker)
        except Stopped:
            if not tries_left:
                raise
        else:
            return


def _ran(stages: Stages, driver: Driver, words: tuple[str, ...], *places: str) -> Iterator[Event]:
    """Run a short command; raises Stopped where it fails."""
    files, problems = stages.prepared.files, Problems()
    argv = (str(stages.rclone), *words, *base_flags(files), "--", *places)
    exit_code = yield from driver.drive(argv, problems.note, files.answer)
    if exit_code != 0:
        _, failure = conclude(exit_code, Totals(), problems)
        text = Text("exit code {exit_code}", exit_code=exit_code)
        raise Stopped(failure or Failure.of(FailureClass.INTERNAL, text))
