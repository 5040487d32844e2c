"""Log lines: where they go, and how they look to people on a terminal or to what collects JSON."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from filesync.engine.controls import escape_controls
from scheduler.log_ids import ids_of

# A hook's address is a secret, and Django names every address that it refuses.
HOOK = re.compile(r"(/hooks/)[^\s/?\"']+")


def logging_settings(level: str, line_format: str) -> dict[str, object]:
    """Return Django's LOGGING: all lines from `level` on go to stderr, as `line` or `json`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": LineFormatter}, "json": {"()": JsonFormatter}},
        "filters": {"hide_hooks": {"()": HideHooks}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": line_format,
                "filters": ["hide_hooks"],
            },
            "nowhere": {"class": "logging.NullHandler"},
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # Celery's own start and stop lines are useful, each received message is not.
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            # In place of the handlers that gunicorn gives it.
            "gunicorn.error": {"handlers": [], "propagate": True},
            # What it says is kept with the message that failed; some of it names the target.
            "apprise": {"handlers": ["nowhere"], "level": "WARNING", "propagate": False},
        },
    }


class LineFormatter(logging.Formatter):
    """One line for people; the ids stand at its end.

    What would end it or move the cursor is escaped, so that no name can write a line of its own;
    the lines of an exception are indented for the same reason.
    """

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname:<7} {name}: {message}", style="{")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = escape_controls(super().formatMessage(record))
        ids = " ".join(f"{k}={v}" for k, v in ids_of(record).items() if k != "event")
        return f"{line} [{ids}]" if ids else line

    def formatException(self, ei: Any) -> str:
        lines = super().formatException(ei).split("\n")
        return "\n".join("    " + escape_controls(line) for line in lines)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time in UTC, level, logger, message, event, run, config, task."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **ids_of(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False, default=str)


def json_line(logger: str, message: str) -> str:
    """Return what is said past `logging` as a line of JSON."""
    record = logging.LogRecord(logger, logging.INFO, "", 0, message, None, None)
    return JsonFormatter().format(record)


class HideHooks(logging.Filter):
    """Cuts the secret out of a hook's address, in the text of a line and in what fills it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, str):
            record.msg = HOOK.sub(r"\1...", record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(
                HOOK.sub(r"\1...", value) if isinstance(value, str) else value
                for value in record.args
            )
        return True
