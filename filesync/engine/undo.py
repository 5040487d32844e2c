"""Decide how a run is undone from what it did and what stands there now: pure.

Only what nobody changed since is touched; everything else is a conflict that is told and left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from filesync.engine.events import Action, Plan, PlanItem
from filesync.engine.lines import parse_line
from filesync.engine.log import CUT_MARK
from filesync.engine.messages import Copied, DirMade, DirRemoved, MovedToBackup
from filesync.engine.plan import MAX_ITEMS
from filesync.engine.texts import Text

# A log shows these for bytes that are no UTF-8 and for control characters: which bytes they
# were it does not tell, and rclone cannot be given the name.
_UNSPEAKABLE = re.compile("[\ufffd\u2400-\u2421]")


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file as a listing shows it; `changed_at_s` is a Unix time."""

    size_bytes: int
    changed_at_s: float


@dataclass(slots=True)
class Touched:
    """What the attempts of one run did, read from their logs, oldest first."""

    first_arrival: dict[str, int] = field(default_factory=dict)
    left_with: dict[str, int | None] = field(default_factory=dict)
    folders_made: set[str] = field(default_factory=set)
    folders_removed: set[str] = field(default_factory=set)
    incomplete: bool = False

    def read(self, attempt: int, lines: Iterable[bytes]) -> None:
        """Add what the log of the attempt with this number says."""
        for line in lines:
            if line.startswith(CUT_MARK):
                self.incomplete = True
                continue
            message = parse_line(line)
            if isinstance(message, Copied) and not message.server_side:
                self.first_arrival.setdefault(message.stored_as, attempt)
                self.left_with[message.stored_as] = message.size_bytes
            elif isinstance(message, MovedToBackup):
                self.left_with[message.path] = None
            elif isinstance(message, DirMade):
                self._folder(message.path, self.folders_made, self.folders_removed)
            elif isinstance(message, DirRemoved):
                self._folder(message.path, self.folders_removed, self.folders_made)

    def _folder(self, path: str, to: set[str], opposite: set[str]) -> None:
        """Note a folder; one that was made and removed, or the other way, is as it was."""
        if path in opposite:
            opposite.discard(path)
        else:
            to.add(path)


@dataclass(slots=True)
class UndoPlan:
    """What undoing does; `put_back` maps each path to the number of the attempt that kept it."""

    remove: list[str] = field(default_factory=list)
    put_back: dict[str, int] = field(default_factory=dict)
    send_back: list[str] = field(default_factory=list)
    make_folders: list[str] = field(default_factory=list)
    remove_folders: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)


def plan_undo(
    touched: Touched,
    kept: Mapping[str, int],
    now: Mapping[str, FileFacts],
    *,
    ended_at_s: float,
    source: Mapping[str, FileFacts] | None = None,
) -> UndoPlan:
    """Give what brings a destination back.

    `kept` maps each path that was kept to the first attempt that kept it, `now` is the
    destination as it stands. `source` is given for a MOVE, whose files go back there.
    """
    plan = UndoPlan()
    for path in sorted({*touched.left_with, *kept}):
        conflict = _conflict(path, touched, now.get(path), ended_at_s, known=path in kept)
        if conflict is None and source is not None and path in now and path in source:
            conflict = Text("the source has a file of that name again")
        if conflict is not None:
            plan.conflicts[path] = conflict
            continue
        arrived = touched.first_arrival.get(path)
        if source is not None and arrived is not None and path in now:
            plan.send_back.append(path)
        if path in kept and (arrived is None or kept[path] <= arrived):
            plan.put_back[path] = kept[path]
        elif path in now and path not in plan.send_back:
            plan.remove.append(path)
    _folders(plan, touched)
    return plan


def _conflict(
    path: str, touched: Touched, now: FileFacts | None, ended_at_s: float, *, known: bool
) -> str | None:
    """Say why a path must be left alone; None where it stands as the run left it."""
    if _UNSPEAKABLE.search(path):
        return Text("its name holds bytes that a log cannot show; put it back by hand")
    if now is not None and now.changed_at_s > ended_at_s:
        return Text("it was changed or made since the run")
    if path not in touched.left_with:
        return None if known else Text("nothing is known about it")
    left_with = touched.left_with[path]
    if left_with is None:
        return None if now is None else Text("the run deleted it, and it is there again")
    if now is None:
        # A file that the run added and that is gone needs nothing; an older one is missed.
        return Text("it was deleted since the run") if known else None
    return None if now.size_bytes == left_with else Text("its size is another than the run left")


def _folders(plan: UndoPlan, touched: Touched) -> None:
    for path in sorted(touched.folders_removed):
        if _UNSPEAKABLE.search(path):
            plan.conflicts[path] = Text("its name holds bytes that a log cannot show")
        else:
            plan.make_folders.append(path)
    made = touched.folders_made
    # The topmost only: what is empty below goes with it.
    plan.remove_folders = sorted(path for path in made if not _has_parent_in(path, made))


def _has_parent_in(path: str, folders: set[str]) -> bool:
    names = path.split("/")
    return any("/".join(names[:depth]) in folders for depth in range(1, len(names)))


def as_plan(undo: UndoPlan, now: Mapping[str, FileFacts]) -> Plan:
    """Show an undoing as the plan of a run: what is put back, replaced, removed."""
    items = [PlanItem(Action.DELETED, path) for path in undo.remove]
    items += [PlanItem(Action.MOVED, path) for path in undo.send_back]
    items += [PlanItem(Action.RESTORED, path) for path in undo.put_back]
    replaced = sum(path in now for path in undo.put_back)
    return Plan(
        adds=len(undo.put_back) - replaced,
        updates=replaced,
        deletes=len(undo.remove),
        items=tuple(items[:MAX_ITEMS]),
        items_left_off=max(0, len(items) - MAX_ITEMS),
    )
