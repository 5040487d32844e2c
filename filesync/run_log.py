"""A run's log as people read it: the engine's commands and the last lines; none is written here."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from filesync.engine.log import COMMAND, render_line
from filesync.models import RunLog, SyncRun
from filesync.services.run_logs import PART_BYTES, files_of, raw_lines, running_lines

TAIL_LINES = 200
COMMANDS = 12
# Some 30 MB of text, which take a third of a second to read: a page may not take longer.
MAX_FILE_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class LogView:
    """What a page shows of a log: `found` is False where this host has none of it."""

    found: bool
    commands: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    too_long: bool = False


def read_log(run: SyncRun) -> LogView:
    """Return the log of the run's last attempt, also while it is being written on this host."""
    latest = RunLog.objects.filter(run=run).order_by("-started_at").first()
    running = next(iter(files_of(run.pk)), None)
    if running is not None:
        with contextlib.suppress(FileNotFoundError):
            if running.stat().st_size > MAX_FILE_BYTES:
                return LogView(found=True, too_long=True)
            return _read(running_lines(running))
    if latest is None:
        return LogView(found=False)
    parts = RunLog.objects.filter(run=run, claim=latest.claim)
    if parts.count() * PART_BYTES > MAX_FILE_BYTES:
        return LogView(found=True, too_long=True)
    return _read(raw_lines(parts))


def _read(lines: Iterable[bytes]) -> LogView:
    commands: list[str] = []
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    for line in lines:
        entry = _entry(line)
        if entry.get("level") == COMMAND:
            commands.append(str(entry.get("msg", "")).rstrip())
        elif "stats" not in entry:
            tail.append(render_line(line))
    return LogView(found=True, commands=tuple(commands[:COMMANDS]), lines=tuple(tail))


def _entry(line: bytes) -> dict[str, object]:
    """Return what a line says; nothing where it is no message of rclone or the engine."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
