"""What `manage.py up` prints: the lines of its services under their names, or as JSON."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Sequence

from django.conf import settings

from project.logs import json_line

COLOURS = {"redis": "31", "web": "34", "worker": "32", "beat": "35", "up": "36"}
TROUBLE = ("ERROR", "CRITICAL", "Traceback", "Error:", "ended with")
TROUBLE_LEVELS = ("error", "critical")


def printer(*, quiet: bool) -> Callable[[str, str], None]:
    """Return what prints a line of a service; `quiet` leaves out what is no trouble."""
    lock = threading.Lock()
    shown = _as_json if settings.LOG_FORMAT == "json" else _for_people

    def say(name: str, line: str) -> None:
        text = shown(name, line)
        if quiet and name != "up" and not _is_trouble(text):
            return
        with lock:
            print(text, flush=True)

    return say


def print_block(lines: Sequence[str]) -> None:
    """Print lines that are no service's, between blank ones for people."""
    if settings.LOG_FORMAT == "json":
        text = "\n".join(json_line("up", line) for line in lines)
    else:
        text = "\n".join(["", *lines, ""])
    print(text, flush=True)


def _for_people(name: str, line: str) -> str:
    prefix = f"{name:>6} | "
    if sys.stdout.isatty():
        prefix = f"\033[{COLOURS.get(name, '0')}m{prefix}\033[0m"
    return prefix + line


def _as_json(name: str, line: str) -> str:
    """Leave what a service wrote as JSON, and wrap what it, or what it calls, said otherwise."""
    return json_line(name, line) if _level_of(line) is None else line


def _is_trouble(text: str) -> bool:
    level = _level_of(text)
    return level in TROUBLE_LEVELS or any(word in text for word in TROUBLE)


def _level_of(line: str) -> str | None:
    """Return the level of a line of JSON, "" where it names none; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        return str(json.loads(line).get("level", ""))
    except json.JSONDecodeError:
        return None
