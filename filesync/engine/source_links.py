"""Links at the source that rclone does not follow, and what would be deleted in their place: pure.

A folder that was moved elsewhere and replaced by a link looks deleted to rclone, with all below it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from filesync.engine.messages import Remark

NOT_FOLLOWED = "Can't follow symlink"
_MAX_LINKS = 10_000


@dataclass(slots=True)
class SourceLinks:
    """The links that a dry run passed by, and how many deletions stand in the place of one.

    rclone tells the links of a folder before what it would delete there. A link at the destination
    is told alike, but nothing below it is listed, so that nothing of it is deleted.
    """

    deletes: int = 0
    first: str = ""
    _paths: set[str] = field(default_factory=set)

    def note(self, remark: Remark) -> None:
        """Remember a link that was not followed, of very many the first ones."""
        if remark.path and remark.text.startswith(NOT_FOLLOWED) and len(self._paths) < _MAX_LINKS:
            self._paths.add(remark.path)

    def deleted(self, path: str) -> None:
        """Count a file that would be deleted where the source has a link in its path."""
        if not self._paths:
            return
        names = path.split("/")
        for depth in range(1, len(names) + 1):
            link = "/".join(names[:depth])
            if link in self._paths:
                self.deletes += 1
                self.first = self.first or link
                return
