"""Read from a run's log which files took another name at the destination: pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from filesync.engine.messages import Copied, Renamed, Skipped

MOVE_TO = "move to "
"""What a dry run skips where a file would take the name that follows."""


def moved_to(message: Skipped) -> str | None:
    """Give the path that a file would be moved to; None where it is no move."""
    if message.what == "move":
        return message.path
    return message.what.removeprefix(MOVE_TO) if message.what.startswith(MOVE_TO) else None


@dataclass(frozen=True, slots=True)
class OldName:
    """What a file was called, and its size where the plan told it."""

    path: str
    size_bytes: int | None


@dataclass(slots=True)
class RenameLog:
    """The renames of a run's attempts: `taken` maps each new name to the old one.

    `begun` does so for those of the latest attempt that are copied, and were not told to be done.
    Only the plan of an attempt tells the sizes, and which folders there were not.
    """

    taken: dict[str, OldName] = field(default_factory=dict)
    begun: dict[str, OldName] = field(default_factory=dict)
    _planned: dict[str, OldName] = field(default_factory=dict)
    _only_planned: set[str] = field(default_factory=set)
    _folders: set[str] = field(default_factory=set)

    def begin_attempt(self) -> None:
        """Forget what an earlier attempt planned and began."""
        self.begun, self._planned, self._only_planned, self._folders = {}, {}, set(), set()

    def plan(self, message: Skipped) -> None:
        """Note what a dry run says."""
        if message.what == "make directory":
            self._folders.add(message.path)
        elif message.what.startswith(MOVE_TO):
            new = message.what.removeprefix(MOVE_TO)
            self._planned[new] = OldName(message.path, message.size_bytes)
            self._only_planned.add(new)

    def begin(self, message: Copied) -> bool:
        """Note a copy that begins a rename where a storage cannot rename; say whether it does."""
        is_one = self.is_planned(message.path, message.stored_as)
        if is_one:
            self.begun[message.stored_as] = self._planned[message.stored_as]
        return is_one

    def is_planned(self, path: str, new: str | None) -> bool:
        """Whether the plan of this attempt gives a file that new name."""
        old = None if new is None else self._planned.get(new)
        return old is not None and old.path == path

    def is_done(self, message: Renamed) -> bool:
        """Whether a file was renamed in earnest: a dry run says so too, once."""
        planned = message.path in self._only_planned
        self._only_planned.discard(message.path)
        return not planned

    def take(self, message: Renamed) -> None:
        """Note a rename; with one of an earlier attempt it is one, or none: there and back."""
        before = self.taken.pop(message.old_path, None)
        old = before or OldName(message.old_path, self.size_of(message))
        if old.path != message.path:
            self.taken[message.path] = old

    def size_of(self, message: Renamed) -> int | None:
        """Return the size of a renamed file."""
        planned = self._planned.get(message.path)
        return None if planned is None else planned.size_bytes

    def folders_made_for(self, path: str) -> list[str]:
        """Return the folders that a new name needed, topmost first."""
        names = path.split("/")
        parents = ("/".join(names[:depth]) for depth in range(1, len(names)))
        made = [parent for parent in parents if parent in self._folders]
        self._folders.difference_update(made)
        return made
