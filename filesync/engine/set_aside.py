"""Which files from before a run it set aside or replaced, read from its logs: pure.

Of each of them a kept file must be there; where it is not, undoing must leave its path alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class SetAside:
    """What became of the files from before a run, and what its present process does to files.

    `older` maps the path of each that is gone from its place to the attempt that took it away.
    `puts_back` says that the process puts back what was set aside, `deletes` that what it deletes
    at the destination is kept nowhere, and `renames` that another name is that of a renamed file:
    elsewhere a rename rule gave it to a kept one.
    """

    older: dict[str, int] = field(default_factory=dict)
    puts_back: bool = False
    deletes: bool = False
    renames: bool = True
    _stages: int = 0
    _sizes: dict[str, int | None] = field(default_factory=dict)

    def begin_attempt(self) -> None:
        """Begin with the log of another attempt."""
        self._stages = 0
        self.puts_back = self.deletes = False
        self.renames = True

    def begin(self, argv: Sequence[str]) -> None:
        """Note what the process does that was started by this command."""
        verb = argv[1] if len(argv) > 1 else ""
        keeps = "--backup-dir" in argv
        is_rehearsal = "--dry-run" in argv
        self.puts_back = verb == "move" and "--ignore-existing" in argv
        # What is renamed is copied and deleted too.
        self.renames = "--track-renames" in argv
        self.deletes = verb == "sync" and not (keeps or is_rehearsal or self.renames)
        self._stages += keeps and not is_rehearsal

    @property
    def stage(self) -> int:
        """The number of the stage that keeps files now, or that is the first to do so."""
        return max(1, self._stages)

    def take_away(self, path: str, attempt: int, left_with: dict[str, int | None]) -> None:
        """Note a file that went from its place: one from before the run, or the run's own."""
        if path in left_with:
            self._sizes[path] = left_with[path]
        else:
            self.older.setdefault(path, attempt)

    def give_back(self, path: str, attempt: int, left_with: dict[str, int | None]) -> bool:
        """Note a file that is back in its place; say whether it is the one from before the run.

        An attempt puts back what it set aside itself at its end, and what earlier ones did, the
        oldest first, before it sets anything aside.
        """
        if path in self.older and (self.older[path] == attempt or not self._stages):
            del self.older[path]
            return True
        if path in self._sizes:
            left_with[path] = self._sizes[path]
        return False
