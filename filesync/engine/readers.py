"""Turn a running rclone's messages into events and exact totals; no process is touched here."""

from __future__ import annotations

from dataclasses import dataclass, field

from filesync.engine.counters import EarlierCounts
from filesync.engine.errors import FailureClass
from filesync.engine.events import (
    Action,
    Event,
    ItemDone,
    LogLine,
    Phase,
    PhaseChanged,
    Plan,
    Totals,
)
from filesync.engine.failed import FailedPaths
from filesync.engine.messages import (
    Copied,
    Crash,
    Deleted,
    DirMade,
    DirRemoved,
    Duplicate,
    LastWords,
    Message,
    MovedServerSide,
    MovedToBackup,
    Problem,
    Remark,
    Renamed,
    Stats,
    TimeUpdated,
)
from filesync.engine.problems import Problems
from filesync.engine.request import Method
from filesync.engine.texts import Text

MAX_LOG_EVENTS = 1000
SAME_NAME = Text("another file of the source has the same name at the destination; left out")
_LOUD = frozenset({"notice", "warning", "error", "critical", "plain"})
_PHASE_OF = {
    Action.ADDED: Phase.TRANSFERRING,
    Action.UPDATED: Phase.TRANSFERRING,
    Action.MOVED: Phase.TRANSFERRING,
    Action.RENAMED: Phase.TRANSFERRING,
    Action.DELETED: Phase.DELETING,
    Action.DIR_REMOVED: Phase.DELETING,
}


@dataclass(slots=True)
class RunReader:
    """Read the messages of the stages that carry a request out.

    `most_deletes` is how many deletions are tolerated. `one_section` says that both sides are one
    remote, so that a server-side move or copy is the transfer itself and not the keeping of an old
    file. `dirs_to_go` are the hashes of the folders that the plan removes. `moving` are the files
    of a MOVE that arrived and are still at the source, with their sizes. `set_aside` are the files
    of the destination that were moved to the kept folder, as long as nothing came in their place.
    With `renames`, rules give files new names, and `unplaced` are those that failed under
    one, with the error.
    """

    method: Method
    keeps_deleted: bool = False
    one_section: bool = False
    most_deletes: int | None = None
    renames: bool = False
    files_transferred: int = 0
    bytes_transferred: int = 0
    files_deleted: int = 0
    dirs_removed: int = 0
    files_renamed: int = 0
    files_checked: int = 0
    differences: int = 0
    set_aside: set[str] = field(default_factory=set)
    moving: dict[str, int | None] = field(default_factory=dict)
    unplaced: dict[str, str] = field(default_factory=dict)
    dirs_to_go: set[int] = field(default_factory=set)
    failed: FailedPaths = field(default_factory=FailedPaths)
    problems: Problems = field(default_factory=Problems)
    phase: Phase | None = None
    stats: Stats | None = None
    earlier: EarlierCounts = field(default_factory=EarlierCounts)
    _keeps: bool = False
    # Since the last statistics.
    _arrived: set[str] = field(default_factory=set)
    _log_events: int = 0
    _renaming: bool = False
    _tries_dirs: bool = False
    _leaving: set[str] = field(default_factory=set)
    _dirs_gone: set[int] = field(default_factory=set)

    @property
    def changed_files(self) -> bool:
        """Whether a file at the destination was sent, deleted or set aside, as far as was told."""
        done = self.files_transferred or self.files_deleted or self.files_renamed
        return bool(done or self.moving or self._keeps)

    @property
    def unfinished(self) -> dict[str, int]:
        """The files that were on their way when rclone last told, with their sizes."""
        flying = () if self.stats is None else self.stats.in_flight
        return {file.name: file.size_bytes for file in flying if file.name not in self._arrived}

    @property
    def totals(self) -> Totals:
        """What was done so far; plain counters, for they change with every file."""
        return Totals(
            files_transferred=self.files_transferred,
            bytes_transferred=self.bytes_transferred,
            files_deleted=self.files_deleted,
            dirs_removed=self.dirs_removed,
            files_renamed=self.files_renamed,
            files_checked=self.files_checked,
            files_failed=self.failed.count,
            differences=self.differences,
        )

    def found_in_step(self, plan: Plan) -> None:
        """Note that a plan's comparisons are all there was to do."""
        compared = (plan.source_files or 0) - plan.adds
        self.files_checked = max(0, compared)

    def begin_stage(self, *, renaming: bool = False, deleting: bool = False) -> list[Event]:
        """Start reading another process: its counters begin at nothing."""
        self._renaming, self._tries_dirs = renaming, renaming or deleting
        if self.stats is not None:
            self.earlier.add(self.stats)
            self.stats = None
        return self._enter(Phase.LISTING)

    def take(self, message: Message) -> list[Event]:
        """Give the events that a message means, often none."""
        item = self._item(message)
        if item is not None:
            self.problems.in_a_row = 0
            phase = _PHASE_OF.get(item.action, self.phase)
            return [item] if phase is None or phase is self.phase else [*self._enter(phase), item]
        if isinstance(message, Stats):
            return self._stats(message)
        if isinstance(message, Problem):
            return self._problem(message)
        if isinstance(message, Duplicate):
            return self.left_out(message.path, SAME_NAME)
        if isinstance(message, Remark):
            return self._remark(message)
        if isinstance(message, Crash):
            return self._log("critical", message.text, None)
        if isinstance(message, LastWords):
            self.problems.last_words = message
            return self._log("error", message.text, None)
        return []

    def _item(self, message: Message) -> ItemDone | None:
        if isinstance(message, Copied):
            return self._copied(message)
        if isinstance(message, Deleted):
            return self._deleted(message.path)
        if isinstance(message, MovedServerSide):
            return self._moved_server_side(message.path)
        if isinstance(message, MovedToBackup):
            self._keeps = True
            self.set_aside.discard(message.path)
            return self.count_delete(message.path)
        if isinstance(message, Renamed):
            self.files_renamed += 1
            return ItemDone(Action.RENAMED, message.path, old_path=message.old_path)
        if isinstance(message, TimeUpdated):
            return ItemDone(Action.TIME_UPDATED, message.path)
        if isinstance(message, DirMade):
            return ItemDone(Action.DIR_MADE, message.path)
        if isinstance(message, DirRemoved):
            return self._dir_removed(message.path)
        return None

    def _dir_removed(self, path: str) -> ItemDone | None:
        """Tell of a folder once: of some files rclone tries each it saw, full ones in vain."""
        key = hash(path)
        if key in self._dirs_gone or (self._tries_dirs and key not in self.dirs_to_go):
            return None
        if self._tries_dirs:
            self._dirs_gone.add(key)
        self.dirs_removed += 1
        return ItemDone(Action.DIR_REMOVED, path)

    def _copied(self, message: Copied) -> ItemDone | None:
        if message.server_side and not self.one_section:
            # Where a storage cannot rename: the old file goes next.
            self._keeps = True
            if self._renaming:
                self._leaving.add(message.path)
            return None
        self._arrived.add(message.path)
        new = message.new
        if self.set_aside:
            new = new and message.stored_as not in self.set_aside
            self.set_aside.discard(message.stored_as)
        if self.method is Method.MOVE:
            self.moving[message.path] = message.size_bytes
            return None
        self._count_transfer(message.size_bytes)
        return ItemDone(Action.ADDED if new else Action.UPDATED, message.path, message.size_bytes)

    def _deleted(self, path: str) -> ItemDone | None:
        if self.method is Method.MOVE:
            if path not in self.moving:
                # The storage cannot rename over a file, or to the kept folder: the old one went.
                if self.keeps_deleted:
                    self._set_aside(path)
                return None
            return self.moved(path)
        if path in self._leaving:
            self._leaving.discard(path)
            return None
        if self.keeps_deleted:
            # Keeping a file is a copy and a deletion where the storage cannot move.
            self._set_aside(path)
            return None
        return self.count_delete(path)

    def moved(self, path: str) -> ItemDone:
        """Count a file that is at the destination, and no longer at the source."""
        size_bytes = self.moving.pop(path)
        self._count_transfer(size_bytes)
        return ItemDone(Action.MOVED, path, size_bytes)

    def _moved_server_side(self, path: str) -> ItemDone | None:
        if self.method is Method.MOVE and self.one_section:
            self._count_transfer(None)
            return ItemDone(Action.MOVED, path)
        if not self._renaming:
            self._set_aside(path)
        return None

    def _set_aside(self, path: str) -> None:
        self._keeps = True
        self.set_aside.add(path)

    def back_again(self, paths: set[str]) -> list[Event]:
        """Take back what was told of files that were deleted and stand there again."""
        deleted = sorted(paths - self.set_aside)
        self.files_deleted = max(0, self.files_deleted - len(deleted))
        return [ItemDone(Action.RESTORED, path) for path in deleted]

    def missing(self, path: str, kept_dir: str) -> list[Event]:
        """Tell of a file that was set aside, not replaced, and could not be put back."""
        self.failed.add(path)
        error = Text("the new file did not come, and the old one is in {folder}", folder=kept_dir)
        return [ItemDone(Action.FAILED, path, error=error)]

    def _count_transfer(self, size_bytes: int | None) -> None:
        self.files_transferred += 1
        self.bytes_transferred += max(0, size_bytes or 0)

    def count_delete(self, path: str) -> ItemDone:
        """Count a file that was deleted at the destination."""
        self.files_deleted += 1
        return ItemDone(Action.DELETED, path)

    def _problem(self, problem: Problem) -> list[Event]:
        self.problems.add(problem)
        if not problem.path:
            return self._log("critical" if problem.critical else "error", problem.text, None)
        if problem.unplaced and self.renames:
            self.unplaced.setdefault(problem.path, problem.text)
            return []
        return self.fail(problem.path, problem.text)

    def fail(self, path: str, text: str) -> list[Event]:
        """Tell of a file that failed, once."""
        return [ItemDone(Action.FAILED, path, error=text)] if self.failed.add(path) else []

    def changed_meanwhile(self, path: str) -> list[Event]:
        """Tell of a file whose copy may hold a part of what it was and a part of what it is."""
        error = Text("it was changed while it was copied; the next run sends it again")
        return self._problem(Problem(error, path, FailureClass.INTERNAL, critical=False))

    def left_out(self, path: str, why: str) -> list[Event]:
        """Tell of a file of the source that was looked at, and left for its name."""
        told = self.fail(path, why)
        if told:
            self.earlier.checks += 1
            self.files_checked += 1
            self.problems.add(Problem(why, path, FailureClass.NAME_NOT_ALLOWED, critical=False))
        return told

    def _remark(self, remark: Remark) -> list[Event]:
        if remark.level not in _LOUD or not remark.text:
            return []
        return self._log(remark.level, remark.text, remark.path)

    def _log(self, level: str, text: str, path: str | None) -> list[Event]:
        self._log_events += 1
        return [LogLine(level, text, path)] if self._log_events <= MAX_LOG_EVENTS else []

    def _stats(self, stats: Stats) -> list[Event]:
        self.stats = stats
        self._arrived.clear()
        deletes = 0 if self.method is Method.MOVE else stats.deletes
        self.files_checked = self.earlier.files_checked(stats)
        started = self._enter(Phase.TRANSFERRING) if self._transfers_begun(stats) else []
        return [*started, self.earlier.progress(stats, deletes=deletes)]

    def _transfers_begun(self, stats: Stats) -> bool:
        if self.method is Method.CHECK:
            return False
        return self.phase is Phase.LISTING and bool(stats.in_flight or stats.transfers_done)

    def _enter(self, phase: Phase) -> list[Event]:
        if self.phase is phase:
            return []
        self.phase = phase
        return [PhaseChanged(phase)]
