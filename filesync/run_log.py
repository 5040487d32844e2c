"""A run's log as people read it: the engine's commands and the last lines; none is written here."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from filesync.engine.log import COMMAND, render_line
from filesync.models import RunLog, SyncRun
from filesync.services.run_logs import attempts_of, files_of, raw_lines, running_lines

TAIL_LINES = 200
COMMANDS = 12
# They take half a second to read: a page may not take longer.
MAX_LINES = 100_000


@dataclass(frozen=True, slots=True)
class LogView:
    """What a page shows of a log: `found` is False where none is stored."""

    found: bool
    commands: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    too_long: bool = False


def read_log(run: SyncRun) -> LogView:
    """Return the log of the run's last attempt, also while it is being written on this host."""
    running = next(iter(files_of(run.pk)), None)
    if running is not None:
        with contextlib.suppress(FileNotFoundError):
            return _read(running_lines(running))
    attempts = attempts_of(run.pk)
    if not attempts:
        return LogView(found=False)
    latest, _ = attempts[-1]
    return _read(raw_lines(RunLog.objects.filter(run=run, claim=latest)))


def _read(lines: Iterable[bytes]) -> LogView:
    commands: list[str] = []
    tail: deque[bytes] = deque(maxlen=TAIL_LINES)
    for number, line in enumerate(lines, start=1):
        if number > MAX_LINES:
            return LogView(found=True, too_long=True)
        entry = _entry(line)
        if entry.get("level") == COMMAND:
            commands.append(str(entry.get("msg", "")).rstrip())
        elif "stats" not in entry:
            tail.append(line)
    shown = tuple(map(render_line, tail))
    return LogView(found=True, commands=tuple(commands[:COMMANDS]), lines=shown)


def _entry(line: bytes) -> dict[str, object]:
    """Return what a line says; nothing where it is no message of rclone or the engine."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
