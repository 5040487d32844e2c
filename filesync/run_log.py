"""A run's log as people read it: the engine's commands and the last lines; none is written here."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from filesync.engine.log import COMMAND
from filesync.models import SyncRun
from filesync.services.leases import log_folder

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
    """Return the log of the run's last attempt, also while it is being written."""
    path = log_folder(run.pk) / f"{run.pk}-{run.attempt}.jsonl.gz"
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return LogView(found=True, too_long=True)
        return _read(path)
    except FileNotFoundError:
        return LogView(found=False)


def _read(path: Path) -> LogView:
    commands: list[str] = []
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as log:
        try:
            for line in log:
                level, text = _spoken(line)
                if level == COMMAND:
                    commands.append(text)
                elif text:
                    tail.append(text)
        except (EOFError, zlib.error):
            # It is still being written, or its writer was killed: what came before is good.
            pass
    return LogView(found=True, commands=tuple(commands[:COMMANDS]), lines=tuple(tail))


def _spoken(line: str) -> tuple[str, str]:
    """Return the level and the words of a line; statistics have no words here."""
    try:
        entry = json.loads(line)
    except ValueError:
        return "", line.rstrip()
    if not isinstance(entry, dict) or "stats" in entry:
        return "", ""
    level, message = str(entry.get("level", "")), str(entry.get("msg", "")).rstrip()
    if level == COMMAND:
        return level, message
    at = str(entry.get("time", ""))[11:19]
    about = f"{entry['object']}: " if entry.get("object") else ""
    return level, f"{at} {level:<7} {about}{message}"
