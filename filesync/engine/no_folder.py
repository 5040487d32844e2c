"""Say in plain words that a side of a run is a file, also where rclone says it in its own: pure."""

from __future__ import annotations

import re

from filesync.engine.filters import literal
from filesync.engine.texts import Text

# Only a destination must be a folder to rclone; a CHECK must have one on both sides.
_DESTINATION = re.compile(r'Failed to create file system for "\w+:(.*)": is a file not a directory')
_SOURCE = re.compile(r"can't limit to single files when using filters: \w+:(.*)")


IS_FILE = "is a file not a directory"
"""How rclone's words end where it asks for a folder and finds a file."""


def no_folder(message: str) -> Text | None:
    """Give the words for a side that is a file; None for every other message."""
    if found := _DESTINATION.fullmatch(message):
        return destination_is_file(found[1])
    if found := _SOURCE.fullmatch(message):
        return source_is_file(found[1])
    return None


def destination_is_file(path: str) -> Text:
    """Say what to do about a destination that is a file, or would be inside one."""
    return Text(
        "{path} is a file, and the destination must be a folder. Choose another destination, or "
        "move the file away.",
        path=path,
    )


def source_is_file(path: str) -> Text:
    """Say what to do about a source that is a file."""
    return Text(
        "The source {path} is a file, and must be a folder; nothing was done. Choose the folder "
        'that it is in, and the two filters "{keep}" and "- *".',
        path=path,
        keep=f"+ /{literal(path.rpartition('/')[2])}",
    )
