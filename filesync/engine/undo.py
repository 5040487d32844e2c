"""Decide how a run is undone from what it did and what stands there now: pure.

Only what nobody changed since is touched; everything else is a conflict that is told and left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from filesync.engine.filters import is_speakable
from filesync.engine.lines import parse_line
from filesync.engine.log import CUT_MARK
from filesync.engine.messages import Copied, DirMade, DirRemoved, MovedToBackup, Renamed, Skipped
from filesync.engine.renamed import OldName, RenameLog
from filesync.engine.texts import Text

# FAT keeps times in steps of two seconds; others round to one, or to less.
_SAME_TIME_S = 2.0


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file as a listing shows it; `changed_at_s` is a Unix time, hashes are seldom asked for."""

    size_bytes: int
    changed_at_s: float
    hashes: tuple[tuple[str, str], ...] = ()

    def equals(self, other: FileFacts) -> bool:
        """Whether both are one file, as far as size and time can say."""
        apart_s = abs(self.changed_at_s - other.changed_at_s)
        return self.size_bytes == other.size_bytes and apart_s <= _SAME_TIME_S

    def is_copy_of(self, other: FileFacts) -> bool:
        """Whether both have the same contents for sure, which hashes alone tell."""
        return self.size_bytes == other.size_bytes and self.hashes == other.hashes != ()


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A kept file, and the number of the first attempt that kept it."""

    attempt: int
    facts: FileFacts


@dataclass(slots=True)
class Touched:
    """What the attempts of one run did, read from their logs, oldest first.

    `origins` are the names at the source of those files that a rename rule named anew, `shared`
    the names that several files took one after the other. `halfway` maps a new name to the old one
    where an attempt ended between the copy that begins a rename and what tells its end.
    """

    first_arrival: dict[str, int] = field(default_factory=dict)
    left_with: dict[str, int | None] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    folders_made: set[str] = field(default_factory=set)
    folders_removed: set[str] = field(default_factory=set)
    renames: RenameLog = field(default_factory=RenameLog)
    halfway: dict[str, OldName] = field(default_factory=dict)
    incomplete: bool = False

    def read(self, attempt: int, lines: Iterable[bytes]) -> None:
        """Add what the log of the attempt with this number says."""
        self.renames.begin_attempt()
        for line in lines:
            if line.startswith(CUT_MARK):
                self.incomplete = True
                continue
            message = parse_line(line)
            if isinstance(message, Copied) and message.server_side:
                self.renames.begin(message)
            elif isinstance(message, Copied):
                self._arrived(message, attempt)
            elif isinstance(message, MovedToBackup):
                self.left_with[message.path] = None
            elif isinstance(message, Skipped):
                self.renames.plan(message)
            elif isinstance(message, Renamed) and self.renames.is_done(message):
                self._took_name(message, attempt)
            elif isinstance(message, DirMade):
                self._folder(message.path, self.folders_made, self.folders_removed)
            elif isinstance(message, DirRemoved):
                self._folder(message.path, self.folders_removed, self.folders_made)
        for new, old in self.renames.begun.items():
            self._stayed_halfway(new, old, attempt)

    def _arrived(self, message: Copied, attempt: int) -> None:
        name = message.stored_as
        self.renames.begun.pop(name, None)
        if name in self.first_arrival and self.origin(name) != message.path:
            self.shared.add(name)
        self.first_arrival.setdefault(name, attempt)
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
            self.first_arrival.setdefault(new, attempt)
            self.left_with[new] = self.renames.size_of(message)
            self.left_with[old] = None
        else:
            self.renames.take(message)

    def _stayed_halfway(self, new: str, old: OldName, attempt: int) -> None:
        self._made_folders_for(new)
        if old.path in self.halfway or old.path not in self.first_arrival:
            self.halfway[new] = self.halfway.get(old.path, old)
        self.first_arrival.setdefault(new, attempt)
        self.left_with[new] = old.size_bytes

    def _made_folders_for(self, new: str) -> None:
        for folder in self.renames.folders_made_for(new):
            self._folder(folder, self.folders_made, self.folders_removed)

    @property
    def names(self) -> set[str]:
        """The names of all files at the destination that the run touched."""
        renamed = self.renames.taken | self.halfway
        return {*self.left_with, *renamed, *(old.path for old in renamed.values())}

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


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand now, and since when.

    `now` is the destination; `source` is given for a MOVE, whose files go back there. Both times
    are by the clock of the destination: what changed after `ended_at_s` is not the run's, and what
    changed after `begun_at_s` may be the work of an earlier attempt at undoing the run.
    """

    now: Mapping[str, FileFacts]
    kept: Mapping[str, KeptFile]
    ended_at_s: float
    begun_at_s: float | None = None
    source: Mapping[str, FileFacts] | None = None


@dataclass(slots=True)
class UndoPlan:
    """What undoing does.

    `put_back` maps each path to the number of the attempt that kept it, `send_back` each path to
    its name at the source, `take_back` each name that the run gave to the one before.
    """

    remove: list[str] = field(default_factory=list)
    put_back: dict[str, int] = field(default_factory=dict)
    send_back: dict[str, str] = field(default_factory=dict)
    take_back: dict[str, OldName] = field(default_factory=dict)
    make_folders: list[str] = field(default_factory=list)
    remove_folders: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)


def plan_undo(touched: Touched, standing: Standing) -> UndoPlan:
    """Give what brings a destination back, and the source of a MOVE."""
    plan = UndoPlan()
    renamed = _take_back(plan, touched, standing)
    for path in sorted({*touched.left_with, *standing.kept} - renamed):
        conflict = _Path(path, touched, standing).decide(plan)
        if conflict is not None:
            plan.conflicts[path] = conflict
    _folders(plan, touched)
    return plan


def _take_back(plan: UndoPlan, touched: Touched, standing: Standing) -> set[str]:
    """Decide what gets its old name again; return all names of which that decides."""
    changed = touched.left_with.keys() | standing.kept.keys()
    for new, old in sorted(touched.renames.taken.items()):
        is_changed = not changed.isdisjoint({new, old.path})
        # What the run gave that name is another file, which loses it again: no copy to rely on.
        may_be_back = standing.begun_at_s is not None and old.path not in touched.renames.taken
        conflict = _rename_conflict(
            new, old, standing, is_changed=is_changed, may_be_back=may_be_back
        )
        if conflict is not None:
            plan.conflicts[new] = conflict
        elif new in standing.now and old.path in standing.now:
            plan.remove.append(new)
        elif new in standing.now:
            plan.take_back[new] = old
    taken = touched.renames.taken
    return {*taken, *(old.path for old in taken.values())}


def _rename_conflict(
    new: str, old: OldName, standing: Standing, *, is_changed: bool, may_be_back: bool
) -> Text | None:
    """Say why a renamed file must keep its new name; None too where it has the old one again."""
    now, there = standing.now.get(new), standing.now.get(old.path)
    if not (is_speakable(new) and is_speakable(old.path)):
        return Text("its name holds bytes that a log cannot show; put it back by hand")
    if is_changed:
        return Text("the run renamed it from {old}, and changed one of the two too", old=old.path)
    if now is None:
        is_back = there is not None and there.size_bytes == old.size_bytes
        return None if is_back else Text("it was deleted since the run")
    if now.changed_at_s > standing.ended_at_s:
        return Text("it was changed or made since the run")
    if now.size_bytes != old.size_bytes:
        return Text("its size is another than the run left")
    # An attempt before may have copied it back, and was to remove it next.
    if there is not None and not (may_be_back and there.is_copy_of(now)):
        return Text("the run renamed it from {old}, and there is such a file again", old=old.path)
    return None


class _Path:
    """One path that the run touched: how it stands, and what is to be done with it."""

    def __init__(self, path: str, touched: Touched, standing: Standing) -> None:
        arrived = touched.first_arrival.get(path)
        kept = standing.kept.get(path)
        self.path, self.touched, self.standing = path, touched, standing
        self.origin = touched.origin(path)
        self.left_with = touched.left_with.get(path)
        self.now = standing.now.get(path)
        # What a later attempt kept is what an earlier one of the same run had sent.
        self.kept = kept if kept and (arrived is None or kept.attempt <= arrived) else None
        self.goes_back = standing.source is not None and arrived is not None
        self.there = (standing.source or {}).get(self.origin) if self.goes_back else None

    def decide(self, plan: UndoPlan) -> Text | None:
        """Add what is to be done to the plan; return why nothing may be."""
        if not (is_speakable(self.path) and is_speakable(self.origin)):
            return Text("its name holds bytes that a log cannot show; put it back by hand")
        if self.path in self.touched.shared:
            return Text("a rename rule gave several files this name; put them back by hand")
        if self.there is not None and self.there.size_bytes == self.left_with:
            # It may be back at the source already, from an attempt before this one.
            if self.now is None:
                self._put_back(plan)
                return None
            if self._is_restored():
                return None
        conflict = self._conflict()
        if conflict is not None:
            return None if self._is_restored() else conflict
        if self.goes_back and self.now is not None:
            plan.send_back[self.path] = self.origin
            self._put_back(plan)
        elif self.path in self.touched.halfway:
            return self._end_rename(plan, self.touched.halfway[self.path])
        elif self.kept is not None:
            self._put_back(plan)
        elif self.now is not None:
            plan.remove.append(self.path)
        return None

    def _end_rename(self, plan: UndoPlan, old: OldName) -> Text | None:
        """Remove a copy if the file is safe without it; give it the old name if that is free."""
        there, kept = self.standing.now.get(old.path), self.standing.kept.get(old.path)
        # Else a later attempt kept the copy, and what stands here is another file that it sent.
        is_copy = self.path not in self.standing.kept
        if there is None and kept is None:
            return self._name_back(plan, old, is_copy=is_copy)
        if self.now is None:
            return None
        # What the run sent or gave to the old name is another file, which goes from it again.
        is_new = old.path in self.touched.first_arrival or old.path in self.touched.renames.taken
        is_there = there is not None and (there.is_copy_of(self.now) or not is_copy)
        if kept is None and (is_new or not is_there):
            return Text(
                "the run renamed it from {old}, and there is such a file again", old=old.path
            )
        plan.remove.append(self.path)
        return None

    def _name_back(self, plan: UndoPlan, old: OldName, *, is_copy: bool) -> Text | None:
        others = (*self.touched.renames.taken.values(), *plan.take_back.values())
        is_elsewhere = old.path in {other.path for other in others}
        if is_elsewhere and self.now is None:
            return None
        if is_elsewhere or not is_copy:
            return Text(
                "the run renamed it from {old}, and changed one of the two too", old=old.path
            )
        if self.now is None:
            return Text("it was deleted since the run")
        plan.take_back[self.path] = old
        return None

    def _put_back(self, plan: UndoPlan) -> None:
        if self.kept is not None:
            plan.put_back[self.path] = self.kept.attempt

    def _is_restored(self) -> bool:
        """Whether the old file stands there again: nothing is left to do then.

        A storage without times of its own shows when it was put back.
        """
        now, kept, begun_at_s = self.now, self.kept, self.standing.begun_at_s
        if now is None or kept is None or now.size_bytes != kept.facts.size_bytes:
            return False
        return now.equals(kept.facts) or (begun_at_s is not None and now.changed_at_s >= begun_at_s)

    def _conflict(self) -> Text | None:
        """Say why the path must be left alone; None where it stands as the run left it."""
        now, known = self.now, self.path in self.touched.left_with
        if now is not None and now.changed_at_s > self.standing.ended_at_s:
            return Text("it was changed or made since the run")
        if not known:
            return None if self.kept else Text("nothing is known about it")
        if self.left_with is None:
            return None if now is None else Text("the run deleted it, and it is there again")
        if now is None:
            # A file that the run added and that is gone needs nothing; an older one is missed.
            return Text("it was deleted since the run") if self.kept else None
        if now.size_bytes != self.left_with:
            return Text("its size is another than the run left")
        if self.there is not None and not self.there.equals(now):
            # An equal one is what an attempt before had sent, and was to remove next.
            return Text("the source has a file of that name again")
        return None


def _folders(plan: UndoPlan, touched: Touched) -> None:
    for path in sorted(touched.folders_removed | touched.folders_made):
        if not is_speakable(path):
            plan.conflicts[path] = Text("its name holds bytes that a log cannot show")
    plan.make_folders = sorted(filter(is_speakable, touched.folders_removed))
    made = set(filter(is_speakable, touched.folders_made))
    # The topmost only: what is empty below goes with it.
    plan.remove_folders = sorted(path for path in made if not _has_parent_in(path, made))


def _has_parent_in(path: str, folders: set[str]) -> bool:
    names = path.split("/")
    return any("/".join(names[:depth]) in folders for depth in range(1, len(names)))
