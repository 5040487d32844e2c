"""Partial files: whose they are, and what a stopped rclone left of them between local folders.

rclone writes to a name of its own beside the final one and removes that when it is stopped. A file
that it begins in that moment stays: 2 of 40 stops left one.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from filesync.engine.paths import full_path
from filesync.engine.request import Endpoint

# A stop has its own time limit, and a tree can have any number of folders.
SEARCHED_FOR_S = 2.0
PARTIAL = ".partial"
# What rclone adds to a name while it writes the file, with our suffix or its own.
_ADDED = re.compile(r"\.[0-9a-f]{8}(?:\.[0-9a-f]{7})?\.partial$")
# Of a longer name rclone takes the beginning, from which the name cannot be told.
_WHOLE_NAME_BYTES = 100


def partial_suffix(destination: Endpoint) -> str | None:
    """Give the end of the names of a destination's partial files; None where rclone's own serves.

    It is the destination's own, so that a file of a person is not taken for one, and the same in
    every run, so that the next one overwrites what a killed one left. rclone takes 16 characters.
    """
    if destination.remote.backend != "local" or destination.remote.encryption is not None:
        return None
    return f".{hashlib.sha256(os.fsencode(full_path(destination))).hexdigest()[:7]}.partial"


def final_path(path: str, suffix: str | None = None) -> str:
    """Give the path of the file whose partial file is named; one that was cut stays as it is.

    With a `suffix` of ours every other name is a person's, and stays too.
    """
    added = _ADDED if suffix is None else re.compile(rf"\.[0-9a-f]{{8}}{re.escape(suffix)}$")
    final = added.sub("", path)
    name_bytes = len(os.fsencode(final.rpartition("/")[2]))
    return final if 0 < name_bytes < _WHOLE_NAME_BYTES else path


def remove_partials(destination: Endpoint) -> None:
    """Remove the partial files of a local destination; gives up after `SEARCHED_FOR_S`.

    No rclone may write there. Links are not followed.
    """
    suffix = partial_suffix(destination)
    if suffix is None:
        return
    until_s = time.monotonic() + SEARCHED_FOR_S
    # Of a destination that was never made, or is no folder, there is nothing to remove.
    with suppress(FileNotFoundError, NotADirectoryError):
        for _folder, _folders, names, folder_fd in os.fwalk(Path(full_path(destination))):
            for name in names:
                if name.endswith(suffix):
                    with suppress(OSError):
                        os.unlink(name, dir_fd=folder_fd)
            if time.monotonic() > until_s:
                return
