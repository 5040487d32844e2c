"""Characters that would end a line or command a terminal, made harmless: pure."""

from __future__ import annotations

import re

# A tab stays; the others end a line for some reader, or move the cursor.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def escape_controls(text: str) -> str:
    """Return a text of one line: a file's name may hold any character."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
