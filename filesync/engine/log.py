"""Keep a run's log: secrets blanked, the whole compressed up to a cap, the end in memory."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from filesync.engine.controls import escape_controls
from filesync.engine.request import Remote
from filesync.engine.spellings import UNREAD_VALUE, parts_of, spellings

MAX_LOG_BYTES = 64 << 20
"""Of the compressed log of one attempt: it tells of some five million files."""

# Whoever reads a log while it grows is at most this and the next line behind. What a killed worker
# had not written nobody knows when its run is undone.
FLUSH_EVERY_S = 0.5
TAIL_LINES = 200
CUT_MARK = b"... the log was cut here"
_TAIL_LINE_CHARS = 2000
# A shorter secret would blank half of every path; nothing that short protects anything.
MIN_SECRET_CHARS = 4
_BLANK = b"[secret]"
_UNREAD = b"couldn't parse config item "
#: The level of the lines that say which command was started; rclone has none of that name.
COMMAND = "command"
_COMMAND_BEGINS = b'{"level": "command", '


def render_line(line: bytes) -> str:
    """Give a line of a kept log as people read it: time, level, path, message.

    What would end it or move the cursor is escaped: a file's name could else be a line of its own.
    """
    return escape_controls(_rendered(line.decode("utf-8", errors="replace")))


def _rendered(text: str) -> str:
    try:
        entry = json.loads(text)
    except ValueError:
        return text
    if not isinstance(entry, dict):
        return text
    where = f"{entry['object']}: " if "object" in entry else ""
    words = " ".join(str(entry.get("msg", "")).split())
    level = str(entry.get("level", "info")).upper()
    return f"{str(entry.get('time', ''))[:23]} {level:<8} {where}{words}"


class Redactor:
    """Blank secrets in bytes, in each spelling a log could show them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found = {
            spelling.encode("utf-8", errors="surrogateescape")
            for secret in secrets
            for spelling in spellings(secret)
            if len(secret) >= MIN_SECRET_CHARS
        }
        longest_first = sorted(found, key=len, reverse=True)
        self._spellings = tuple(longest_first)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))

    def __call__(self, text: bytes) -> bytes:
        """Give the text with every secret blanked, and the value of an option that was not read."""
        if _UNREAD in text:
            text = UNREAD_VALUE.sub(rb"\1\2 = " + _BLANK, text)
        # Plain searches are many times faster than the pattern, and nearly always find nothing.
        if any(spelling in text for spelling in self._spellings):
            return self._pattern.sub(_BLANK, text)
        return text


def secrets_of(remote: Remote) -> list[str]:
    """Give what must not be seen of a remote, the strings inside a JSON token included."""
    found: list[str] = []
    if remote.encryption is not None:
        found += [remote.encryption.password, remote.encryption.salt]
    for option, value in remote.secrets.items():
        found += [value, *value.splitlines(), *parts_of(option, value)]
        try:
            token = json.loads(value)
        except (ValueError, RecursionError):
            continue
        if isinstance(token, dict):
            found += [
                inner
                for name, inner in token.items()
                if isinstance(inner, str) and name not in ("token_type", "expiry", "type")
            ]
    return found


def command_line(argv: Sequence[str]) -> bytes:
    """Give the line of the log that says which command was started."""
    return own_line(COMMAND, shlex.join(argv))


def commanded(line: bytes) -> tuple[str, ...] | None:
    """Give the command that a line of the log says was started; None for every other line."""
    if not line.startswith(_COMMAND_BEGINS):
        return None
    try:
        return tuple(shlex.split(json.loads(line)["msg"]))
    except ValueError:
        # A blanked secret may have taken a quotation mark with it.
        return ()


def own_line(level: str, message: str) -> bytes:
    """Give a line of the log that is not rclone's."""
    return json.dumps({"level": level, "msg": message}).encode() + b"\n"


ENDED_LINE = own_line("warning", "rclone was ended before it was done")
"""Says in a log that the lines of its last files may be missing before this one."""


class RunLog:
    """The text log of one run; `path` None keeps only the end.

    A disk that is full costs the rest of the log, never the run. Such a log says that it was cut,
    or has no end: either tells its readers that more was done than it says.
    """

    def __init__(self, path: Path | None) -> None:
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._file: gzip.GzipFile | None = None
        self._raw: BinaryIO | None = None
        self._lines_left_out = 0
        self._is_cut = self._has_failed = False
        self._is_flushed = True
        self._flush_at_s = 0.0
        if path is not None:
            # Level 1: the log of 20,000 files must not cost more than copying them.
            self._raw = path.open("wb")
            self._file = gzip.GzipFile(fileobj=self._raw, mode="wb", compresslevel=1)

    def write(self, text: bytes) -> None:
        """Append text that ends with a newline; what is over the cap is counted and left out."""
        if self._file is None or self._raw is None:
            return
        if self._is_cut:
            self._lines_left_out += text.count(b"\n")
            return
        try:
            self._file.write(text)
            self._is_flushed = False
            if self._raw.tell() >= MAX_LOG_BYTES:
                self._is_cut = True
                # At once: a log of a killed process must not look whole.
                self._file.write(CUT_MARK + b": it had grown to %d MiB\n" % (MAX_LOG_BYTES >> 20))
        except OSError:
            self._has_failed = self._is_cut = True
            self._lines_left_out += text.count(b"\n")
        self.flush_when_due()

    def flush_when_due(self) -> None:
        """Let readers see what was written, now and then."""
        now_s = time.monotonic()
        if self._file is None or self._is_flushed or now_s < self._flush_at_s:
            return
        try:
            self._file.flush()
        except OSError:
            self._has_failed = self._is_cut = True
        self._is_flushed = True
        self._flush_at_s = now_s + FLUSH_EVERY_S

    def remember(self, lines: Sequence[bytes]) -> None:
        """Keep lines in the bounded end of the log."""
        self._tail.extend(line[: _TAIL_LINE_CHARS * 4] for line in lines[-TAIL_LINES:])

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, each cut to a bearable length."""
        return tuple(
            line.decode("utf-8", errors="replace")[:_TAIL_LINE_CHARS] for line in self._tail
        )

    def close(self) -> None:
        """Finish the compressed file; safe to call twice."""
        if self._file is None or self._raw is None:
            return
        with suppress(OSError), self._raw, self._file:
            if self._lines_left_out or self._has_failed:
                left_out = b": %d lines more are not in it\n" % self._lines_left_out
                self._file.write(CUT_MARK + left_out)
        self._file = None
