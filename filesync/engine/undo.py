"""Decide how a run is undone from what it did and what stands there now: pure.

Only what nobody changed since is touched; everything else is a conflict that is told and left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from filesync.engine.filters import is_speakable
from filesync.engine.renamed import OldName
from filesync.engine.standing import Standing
from filesync.engine.texts import Text
from filesync.engine.touched import Touched

SENT_IN_PART = Text(
    "the source has a shorter file of that name, which may be what came of it when an earlier "
    "undoing was ended: if so, remove that one"
)


@dataclass(slots=True)
class UndoPlan:
    """What undoing does.

    `put_back` maps each path to the place of the file that was kept of it (`KeptFile.place`),
    `send_back` each path to its name at the source, `take_back` each name that the run gave to the
    one before. Of what is put back, `doubtful` paths hold a file now that may not be the run's; of
    the conflicts `shorter` ones have a file at the source that may be the beginning of theirs.
    """

    remove: list[str] = field(default_factory=list)
    put_back: dict[str, tuple[int, int]] = field(default_factory=dict)
    send_back: dict[str, str] = field(default_factory=dict)
    take_back: dict[str, OldName] = field(default_factory=dict)
    make_folders: list[str] = field(default_factory=list)
    remove_folders: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    shorter: set[str] = field(default_factory=set)


def plan_undo(touched: Touched, standing: Standing) -> UndoPlan:
    """Give what brings a destination back, and the source of a MOVE."""
    plan = UndoPlan()
    renamed = _take_back(plan, touched, standing)
    concerned = {*touched.left_with, *touched.aside.older, *standing.kept}
    for path in sorted(concerned - renamed):
        conflict = _Path(path, touched, standing).decide(plan)
        if conflict is not None:
            plan.conflicts[path] = conflict
    _folders(plan, touched)
    return plan


def _take_back(plan: UndoPlan, touched: Touched, standing: Standing) -> set[str]:
    """Decide what gets its old name again; return all names of which that decides."""
    changed = touched.left_with.keys() | touched.aside.older.keys() | standing.kept.keys()
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
    if math.isinf(now.changed_at_s):
        return Text("the storage does not tell when it was changed")
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
        # What a later attempt or stage kept is what an earlier one of the same run had sent.
        self.kept = kept if kept and (arrived is None or kept.place <= arrived) else None
        self.goes_back = standing.source is not None and arrived is not None
        self.there = (standing.source or {}).get(self.origin) if self.goes_back else None

    def decide(self, plan: UndoPlan) -> Text | None:
        """Add what is to be done to the plan; return why nothing may be."""
        if not (is_speakable(self.path) and is_speakable(self.origin)):
            return Text("its name holds bytes that a log cannot show; put it back by hand")
        if self.path in self.touched.shared:
            return Text("a rename rule gave several files this name; put them back by hand")
        if self.kept is None and self.path in self.touched.aside.older:
            # Without it the run's own file is all there is.
            return Text("the file that stood there before the run is not kept any more")
        if self.there is not None and self.there.size_bytes == self.left_with:
            # It may be back at the source already, from an attempt before this one.
            if self.now is None:
                self._put_back(plan)
                return None
            if self._is_restored():
                return None
        conflict = self._conflict()
        if conflict is not None and self._is_restored():
            return None
        if conflict is SENT_IN_PART:
            plan.shorter.add(self.path)
        if conflict is not None:
            return conflict
        if self.goes_back and self.now is not None:
            plan.send_back[self.path] = self.origin
            self._put_back(plan)
        elif self.path in self.touched.halfway:
            return self._end_rename(plan, self.touched.halfway[self.path])
        elif self.kept is not None:
            if self.path not in self.touched.left_with and self.now is not None:
                if self._is_restored():
                    return None
                plan.doubtful.add(self.path)
            self._put_back(plan)
        elif self.now is not None and self.path in self.standing.unclear:
            return Text("an attempt whose log is lost kept a file of that name")
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
            plan.put_back[self.path] = self.kept.place

    def _is_restored(self) -> bool:
        """Whether the old file stands there again: nothing is left to do then.

        A storage without times of its own shows when it was put back.
        """
        now, kept, begun_at_s = self.now, self.kept, self.standing.begun_at_s
        if now is None or kept is None or now.size_bytes != kept.facts.size_bytes:
            return False
        if math.isinf(now.changed_at_s):
            return False
        return now.equals(kept.facts) or (begun_at_s is not None and now.changed_at_s >= begun_at_s)

    def _conflict(self) -> Text | None:
        """Say why the path must be left alone; None where it stands as the run left it."""
        now, known = self.now, self.path in self.touched.left_with
        if now is not None and math.isinf(now.changed_at_s):
            return Text("the storage does not tell when it was changed")
        if now is not None and now.changed_at_s > self.standing.ended_at_s:
            return Text("it was changed or made since the run")
        if not known and self.kept is None:
            return Text("nothing is known about it")
        if not known:
            is_told = not (self.touched.incomplete or self.touched.ended_early)
            return Text("it was made since the run") if now is not None and is_told else None
        if self.left_with is None:
            return None if now is None else Text("the run deleted it, and it is there again")
        if now is None:
            # A file that the run added and that is gone needs nothing; an older one is missed.
            return Text("it was deleted since the run") if self.kept else None
        if now.size_bytes != self.left_with:
            return Text("its size is another than the run left")
        if self.there is None or self.there.equals(now):
            # An equal one is what an attempt before had sent, and was to remove next.
            return None
        if self.standing.begun_at_s is not None and self.there.size_bytes < now.size_bytes:
            return SENT_IN_PART
        return Text("the source has a file of that name again")


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
