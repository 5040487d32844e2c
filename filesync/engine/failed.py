"""Remember which files and folders failed, so that each counts once; memory is bounded."""

from __future__ import annotations

from dataclasses import dataclass, field

from filesync.engine.paths import folders_above

# Of one file rclone may tell several errors: when it is compared, sent, put in its place. No more
# than its backlog of 10,000 files lies between them.
_MAX_REMEMBERED = 100_000


@dataclass(slots=True)
class FailedPaths:
    """The paths that failed, and how many; of very many the oldest are forgotten."""

    count: int = 0
    _keys: dict[int, None] = field(default_factory=dict)

    def add(self, path: str) -> bool:
        """Count a path, a folder with its slash, and say whether this was its first failure."""
        key = hash(path)
        if key in self._keys:
            return False
        if len(self._keys) >= _MAX_REMEMBERED:
            del self._keys[next(iter(self._keys))]
        self._keys[key] = None
        self.count += 1
        return True

    def hold(self, path: str) -> bool:
        """Whether a path lies in a folder that failed."""
        if not self._keys:
            return False
        return any(hash(f"{folder}/") in self._keys for folder in folders_above(path))
