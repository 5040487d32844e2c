"""Turn what rclone says while it undoes a run into events, exact totals and an outcome: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from filesync.engine.errors import Failure, FailureClass
from filesync.engine.events import (
    Action,
    Event,
    ItemDone,
    Outcome,
    Phase,
    PhaseChanged,
    Progress,
    Totals,
)
from filesync.engine.messages import (
    Copied,
    Deleted,
    LastWords,
    Message,
    MovedServerSide,
    Problem,
    Stats,
)
from filesync.engine.outcome import conclude
from filesync.engine.problems import Problems
from filesync.engine.texts import Text
from filesync.engine.undo import UndoPlan


@dataclass(slots=True)
class RestoreReader:
    """Read the messages of an undoing.

    `action` is what the running process does to its files, and `folder` the one that it names
    them in; of those that it renames, `names` has the name then and the one before. `files_total`
    and `bytes_total` are what the plan has to be done. `sent_back` are the files that were copied
    back to the source, by their names at the destination.
    """

    action: Action = Action.RESTORED
    folder: str = ""
    names: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    files_total: int = 0
    bytes_total: int = 0
    phase: Phase | None = None
    problems: Problems = field(default_factory=Problems)
    sent_back: list[str] = field(default_factory=list)
    _done: dict[Action, int] = field(default_factory=dict)
    _bytes_done: int = 0
    _failed: int = 0

    @property
    def totals(self) -> Totals:
        """What was done so far; what was put back or sent back counts as transferred."""
        done = self._done
        return Totals(
            files_transferred=done.get(Action.RESTORED, 0) + done.get(Action.MOVED, 0),
            bytes_transferred=self._bytes_done,
            files_deleted=done.get(Action.DELETED, 0),
            files_renamed=done.get(Action.RENAMED, 0),
            files_failed=self._failed,
        )

    def leave(self, conflicts: Mapping[str, str], kept_dir: str) -> Iterator[Event]:
        """Tell what is not touched and why; a conflict of no path is about the kept folder."""
        for path, why in conflicts.items():
            self._failed += 1
            yield ItemDone(
                Action.FAILED, path or kept_dir, error=Text("left as it is: {why}", why=why)
            )

    def begin(self, action: Action) -> list[Event]:
        """Start reading processes that do this; tell where the undoing stands."""
        self.action = action
        phase = Phase.DELETING if action is Action.DELETED else Phase.TRANSFERRING
        told: list[Event] = [] if phase is self.phase else [PhaseChanged(phase)]
        self.phase = phase
        return [*told, self._progress()]

    def take(self, message: Message) -> list[Event]:
        """Turn what rclone did into items."""
        if isinstance(message, Problem):
            return self._problem(message)
        if isinstance(message, Stats):
            return [self._progress(message)]
        if isinstance(message, LastWords):
            self.problems.last_words = message
        if self.action is Action.RENAMED:
            # Where a storage cannot rename, a file is copied and then deleted.
            return self._renamed(message)
        if isinstance(message, Copied) and self.action is not Action.DELETED:
            if self.action is Action.MOVED:
                self.sent_back.append(self._whole(message.path))
            return [self._item(message.path, message.size_bytes)]
        if isinstance(message, Deleted) and self.action is Action.DELETED:
            return [self._item(message.path, None)]
        return []

    def _progress(self, stats: Stats | None = None) -> Progress:
        """Tell what is done of the plan; rclone's own counters are those of one process."""
        flying = () if stats is None else stats.in_flight
        speed = 0.0 if stats is None else stats.speed_bytes_per_s
        on_their_way = sum(file.bytes_done for file in flying)
        bytes_done = min(self._bytes_done + on_their_way, self.bytes_total)
        return Progress(
            bytes_done=bytes_done,
            bytes_total=self.bytes_total,
            files_done=sum(self._done.values()),
            files_total=self.files_total,
            checks_done=0,
            checks_total=0,
            deletes=self._done.get(Action.DELETED, 0),
            errors=self._failed,
            speed_bytes_per_s=speed,
            eta_s=(self.bytes_total - bytes_done) / speed if speed else None,
            in_flight=flying,
        )

    def _problem(self, problem: Problem) -> list[Event]:
        self.problems.add(problem)
        if not problem.path:
            return []
        self._failed += 1
        return [ItemDone(Action.FAILED, self._whole(problem.path), error=problem.text)]

    def _renamed(self, message: Message) -> list[Event]:
        if not isinstance(message, MovedServerSide | Deleted) or message.path not in self.names:
            return []
        name, before = self.names[message.path]
        self._done[Action.RENAMED] = self._done.get(Action.RENAMED, 0) + 1
        return [ItemDone(Action.RENAMED, name, old_path=before)]

    def _item(self, path: str, size_bytes: int | None) -> ItemDone:
        self._done[self.action] = self._done.get(self.action, 0) + 1
        self._bytes_done += size_bytes or 0
        return ItemDone(self.action, self._whole(path), size_bytes)

    def _whole(self, path: str) -> str:
        return f"{self.folder}/{path}" if self.folder else path

    def stopped(self, failure: Failure) -> tuple[Outcome, Failure | None]:
        """Give the end of an undoing that was ended for a reason."""
        return conclude(0, self.totals, self.problems, stopped_by=failure)

    def ended(self, exit_code: int, undo: UndoPlan) -> tuple[Outcome, Failure | None]:
        """Give the end of an undoing; what was left alone keeps it from having succeeded."""
        if not undo.conflicts or self.problems.counts or exit_code != 0:
            return conclude(exit_code, self.totals, self.problems)
        path, why = next(iter(undo.conflicts.items()))
        failure = Failure.of(
            FailureClass.GUARD,
            Text(
                "{count} path(s) are not as the run left them and were left alone, "
                "the first: {path} ({why}).",
                count=len(undo.conflicts),
                path=path,
                why=why,
            ),
            guard="changed_since",
        )
        something = self._done or undo.put_back or undo.remove or undo.take_back
        return (Outcome.PARTIAL if something else Outcome.FAILED), failure
