"""What the attempts of one run did to which names, read from their logs: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from filesync.engine.lines import parse_line
from filesync.engine.log import CUT_MARK, ENDED_LINE, commanded
from filesync.engine.messages import (
    Copied,
    Deleted,
    DirMade,
    DirRemoved,
    Message,
    MovedServerSide,
    MovedToBackup,
    Renamed,
    Skipped,
)
from filesync.engine.renamed import MOVE_TO, OldName, RenameLog
from filesync.engine.set_aside import SetAside
from filesync.engine.standing import FileFacts

_ENDED = ENDED_LINE.rstrip()


@dataclass(slots=True)
class Touched:
    """What the attempts of one run did, read from their logs, oldest first.

    `first_arrival` has the attempt and its stage that first sent a file, as `KeptFile.place` does.
    `origins` are the names at the source of those files that a rename rule named anew, `shared`
    the names that several files took one after the other. `halfway` maps a new name to the old one
    where an attempt ended between the copy that begins a rename and what tells its end.
    `incomplete` says that a log ends before its attempt did, `ended_early` that files may have
    come just before an attempt was ended, without a line.
    """

    first_arrival: dict[str, tuple[int, int]] = field(default_factory=dict)
    left_with: dict[str, int | None] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    folders_made: set[str] = field(default_factory=set)
    folders_removed: set[str] = field(default_factory=set)
    renames: RenameLog = field(default_factory=RenameLog)
    halfway: dict[str, OldName] = field(default_factory=dict)
    aside: SetAside = field(default_factory=SetAside)
    incomplete: bool = False
    ended_early: bool = False

    def read(self, attempt: int, lines: Iterable[bytes]) -> None:
        """Add what the log of the attempt with this number says."""
        self.renames.begin_attempt()
        self.aside.begin_attempt()
        for line in lines:
            if line.startswith(CUT_MARK):
                self.incomplete = True
            elif line.rstrip() == _ENDED:
                self.ended_early = True
            elif (argv := commanded(line)) is not None:
                self.aside.begin(argv)
            elif self.aside.puts_back:
                self._came_back(parse_line(line), attempt)
            else:
                self._take(parse_line(line), attempt)
        for new, old in self.renames.begun.items():
            self._stayed_halfway(new, old, attempt)

    def _take(self, message: Message, attempt: int) -> None:
        if isinstance(message, Copied) and message.server_side:
            if not self.renames.begin(message):
                # Where a storage cannot rename, this begins to keep a file.
                self.aside.take_away(message.path, attempt, self.left_with)
        elif isinstance(message, Copied):
            self._arrived(message, attempt)
        elif isinstance(message, MovedServerSide):
            if not self.renames.is_planned(message.path, message.renamed_to):
                self.aside.take_away(message.path, attempt, self.left_with)
        elif isinstance(message, MovedToBackup) or (
            isinstance(message, Deleted) and self.aside.deletes
        ):
            self.aside.take_away(message.path, attempt, self.left_with)
            self.left_with[message.path] = None
        elif isinstance(message, Skipped):
            if self.aside.renames or not message.what.startswith(MOVE_TO):
                self.renames.plan(message)
        elif isinstance(message, Renamed) and self.renames.is_done(message):
            self._took_name(message, attempt)
        elif isinstance(message, DirMade):
            self._folder(message.path, self.folders_made, self.folders_removed)
        elif isinstance(message, DirRemoved):
            self._folder(message.path, self.folders_removed, self.folders_made)

    def _came_back(self, message: Message, attempt: int) -> None:
        """Forget a file, or a folder, that stands again as it did before the run."""
        if isinstance(message, DirMade):
            self.folders_removed.discard(message.path)
        # Where a storage cannot rename, a file is copied and then deleted.
        if isinstance(message, MovedServerSide | Deleted) and self.aside.give_back(
            message.path, attempt, self.left_with
        ):
            for known in (self.first_arrival, self.left_with, self.origins):
                known.pop(message.path, None)

    def _arrived(self, message: Copied, attempt: int) -> None:
        name = message.stored_as
        if not message.new:
            self.aside.take_away(name, attempt, self.left_with)
        self.renames.begun.pop(name, None)
        if name in self.first_arrival and self.origin(name) != message.path:
            self.shared.add(name)
        self.first_arrival.setdefault(name, (attempt, self.aside.stage))
        self.left_with[name] = message.size_bytes
        if name != message.path:
            self.origins[name] = message.path

    def _took_name(self, message: Renamed, attempt: int) -> None:
        old, new = message.old_path, message.path
        self.renames.begun.pop(new, None)
        self._made_folders_for(new)
        if old in self.halfway:
            # Both are one rename; whether that can be taken back is seen when it is undone.
            self.renames.taken[old] = self.halfway.pop(old)
            del self.first_arrival[old], self.left_with[old]
        if old in self.first_arrival:
            # An earlier attempt had sent it.
            self.first_arrival.setdefault(new, (attempt, self.aside.stage))
            self.left_with[new] = self.renames.size_of(message)
            self.left_with[old] = None
        else:
            self.renames.take(message)

    def _stayed_halfway(self, new: str, old: OldName, attempt: int) -> None:
        self._made_folders_for(new)
        if old.path in self.halfway or old.path not in self.first_arrival:
            self.halfway[new] = self.halfway.get(old.path, old)
        self.first_arrival.setdefault(new, (attempt, self.aside.stage))
        self.left_with[new] = old.size_bytes

    def _made_folders_for(self, new: str) -> None:
        for folder in self.renames.folders_made_for(new):
            self._folder(folder, self.folders_made, self.folders_removed)

    @property
    def names(self) -> set[str]:
        """The names of all files at the destination that the run touched."""
        renamed = self.renames.taken | self.halfway
        gone = self.aside.older
        return {*self.left_with, *gone, *renamed, *(old.path for old in renamed.values())}

    def doubled(self, now: Mapping[str, FileFacts], *, is_begun: bool) -> set[str]:
        """Give both names of each file that may stand under its new and its old one.

        A rename that was told is so only where an attempt at undoing the run has begun.
        """
        found: set[str] = set()
        renamed = self.renames.taken if is_begun else {}
        for new, old in (renamed | self.halfway).items():
            one, other = now.get(new), now.get(old.path)
            if one is not None and other is not None and one.size_bytes == other.size_bytes:
                found |= {new, old.path}
        return found

    def origin(self, path: str) -> str:
        """Return the name that a file of the destination has at the source."""
        return self.origins.get(path, path)

    def _folder(self, path: str, to: set[str], opposite: set[str]) -> None:
        """Note a folder; one that was made and removed, or the other way, is as it was."""
        if path in opposite:
            opposite.discard(path)
        else:
            to.add(path)
