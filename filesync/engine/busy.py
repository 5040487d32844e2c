"""Whether a process that says nothing is at work: what it reads, as Linux counts it."""

from __future__ import annotations

import re
from pathlib import Path

_LEAST_BYTES = 1 << 20
_READ = re.compile(r"^rchar: (\d+)$", re.MULTILINE)


class Reads:
    """How much a process has read. Elsewhere than on Linux it never seems to read.

    After a copy rclone reads a file once more for its checksum, and tells nothing meanwhile: of
    100 GB on a hard disk for a quarter of an hour.
    """

    def __init__(self, pid: int) -> None:
        self._file = Path(f"/proc/{pid}/io")
        self._seen: int | None = None

    def went_on(self) -> bool:
        """Whether a MiB was read since this was so, or since the first call."""
        try:
            found = _READ.search(self._file.read_text(encoding="ascii"))
        except OSError:
            return False
        read = int(found[1]) if found else 0
        if self._seen is not None and read - self._seen < _LEAST_BYTES:
            return False
        is_first, self._seen = self._seen is None, read
        return not is_first
