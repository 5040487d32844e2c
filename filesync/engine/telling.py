"""What is told of rclone's lines: names as they are, and its words without secrets; pure.

A password may be a part of a file's name. Blanked there too, it would hide which file is meant, and
nothing could be undone or sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from filesync.engine.lines import parse_line
from filesync.engine.messages import Crash, Difference, LastWords, Message, Problem, Remark

# All others hold names and numbers only.
_WORDED = (Crash, Difference, LastWords, Problem, Remark)


def told(
    lines: Sequence[bytes], blank: Callable[[bytes], bytes]
) -> Iterator[tuple[bytes, Message]]:
    """Yield each line as the log may keep it, and what it means."""
    joined = b"\n".join(lines)
    found = blank(joined)
    if found == joined:
        # Nearly always: no line holds a secret.
        for line in lines:
            yield line, parse_line(line)
        return
    blanked = found.split(b"\n")
    if len(blanked) != len(lines):
        # A secret of several lines took some with it.
        blanked = [blank(line) for line in lines]
    for line, safe in zip(lines, blanked, strict=True):
        message = parse_line(line)
        if line == safe or not isinstance(message, _WORDED):
            yield line, message
            continue
        words = parse_line(safe)
        if isinstance(words, _WORDED):
            yield safe, replace(message, text=words.text)
        else:
            yield safe, words
