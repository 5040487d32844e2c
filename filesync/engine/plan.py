"""Count from a dry run's messages what a run would do: pure; what forbids it is in guards."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filesync.engine.errors import FailureClass
from filesync.engine.events import Action, Event, Plan, PlanItem, Progress
from filesync.engine.messages import (
    COPY,
    Duplicate,
    LastWords,
    Message,
    Problem,
    Remark,
    Skipped,
    Stats,
)
from filesync.engine.most_files import FirstFiles
from filesync.engine.partials import PARTIAL, final_path, partial_suffix
from filesync.engine.passes import mirrors
from filesync.engine.renamed import moved_to
from filesync.engine.request import Method, SyncRequest
from filesync.engine.source_links import SourceLinks
from filesync.engine.texts import Text

MAX_ITEMS = 1000
_MAX_REMEMBERED = 200_000
_BATCH_LINES = 20_000
DELETE_WORDS = frozenset({"delete", "move into backup dir"})


@dataclass(slots=True)
class PlanTally:
    """Count what the dry runs of one request say; memory stays bounded.

    In a further pass only files that no earlier pass would send are counted; beyond 200,000
    remembered ones they count again, so that the plan may say more than will happen, never less.
    `duplicates` are files of the source that another one's name at the destination leaves out,
    `alike` two whose names there differ in capitals alone.
    `leftovers` are partial files that a killed rclone left, of files that are sent again now:
    with our own suffix, or where nothing is kept. Others may be a person's (see in_the_way).
    `clears` says that something to be deleted stands in the way of a copy.
    `renamed_again` is a name that loses its file, and that the rename rules change once more.
    """

    request: SyncRequest
    copies: int = 0
    deletes: int = 0
    renames: int = 0
    dirs_made: int = 0
    dirs_removed: int = 0
    times_updated: int = 0
    bytes_to_send: int = 0
    bytes_to_delete: int = 0
    bytes_renamed: int = 0
    other_changes: int = 0
    duplicates: int = 0
    alike: tuple[str, str] | None = None
    first_duplicate: str = ""
    problems: int = 0
    checks: int = 0
    listed: int = 0
    told_copies: int = 0
    is_miscounted: bool = False
    clears: bool = False
    first_problem: Problem | None = None
    root_problem: Problem | None = None
    destination_missing: bool = False
    last_words: LastWords | None = None
    renamed_again: str | None = None
    first_files: FirstFiles | None = None
    leftovers: list[str] = field(default_factory=list)
    dirs_to_go: set[int] = field(default_factory=set)
    links: SourceLinks = field(default_factory=SourceLinks)
    _seen: set[int] = field(default_factory=set)
    _items: dict[str, PlanItem] = field(default_factory=dict)

    def take(self, message: Message) -> list[Event]:
        """Count one message; statistics become progress in checks, for nothing is sent yet."""
        if isinstance(message, Stats):
            self.checks = max(self.checks, message.checks_done)
            self.listed = max(self.listed, message.listed)
            return [_checks(message)]
        if isinstance(message, Skipped):
            self._skipped(message)
        elif isinstance(message, Remark):
            self.links.note(message)
        elif isinstance(message, Duplicate):
            self.duplicates += 1
            self.first_duplicate = self.first_duplicate or message.path
        elif isinstance(message, LastWords):
            self.last_words = message
        elif isinstance(message, Problem):
            if _is_missing_destination(message):
                self.destination_missing = True
                return []
            self.problems += 1
            self.first_problem = self.first_problem or message
            if not message.path:
                self.root_problem = self.root_problem or message
        return []

    def ended(self, exit_code: int) -> None:
        """Note how a dry run ended: a failure that named no problem must not look like a plan."""
        if exit_code != 0 and self.first_problem is None and not self.destination_missing:
            text: str = Text("exit code {exit_code}", exit_code=exit_code)
            failure_class = FailureClass.INTERNAL
            if self.last_words is not None:
                text, failure_class = self.last_words.text, self.last_words.failure_class
            self.take(Problem(text, None, failure_class, critical=True))

    def _skipped(self, message: Skipped) -> None:
        what = message.what
        moves = self.request.method is Method.MOVE
        if what == COPY and not moves:
            self._copy(message, message.path)
        elif moves and (new := moved_to(message)) is not None:
            self._copy(message, new)
        elif what in DELETE_WORDS:
            self.deletes += 1
            self.bytes_to_delete += max(0, message.size_bytes or 0)
            self._note_leftover(message.path)
            self.links.deleted(message.path)
            self._keep(PlanItem(Action.DELETED, message.path, message.size_bytes))
        elif what == "remove directory":
            self.dirs_removed += 1
            if len(self.dirs_to_go) < _MAX_REMEMBERED:
                self.dirs_to_go.add(hash(message.path))
            self._keep(PlanItem(Action.DIR_REMOVED, message.path))
        elif what == "make directory":
            self.dirs_made += 1
            self._keep(PlanItem(Action.DIR_MADE, message.path))
        elif what == "update modification time":
            self.times_updated += 1
            self._keep(PlanItem(Action.TIME_UPDATED, message.path, message.size_bytes))
        else:
            self.other_changes += 1

    def _note_leftover(self, path: str) -> None:
        """Note a partial file of a file that is to be sent: rclone tells copies first."""
        if not path.endswith(PARTIAL) or len(self.leftovers) >= MAX_ITEMS:
            return
        suffix = partial_suffix(self.request.destination)
        if suffix is None and self.request.keep_deleted_dir is not None:
            return
        final = final_path(path, suffix)
        if final != path and hash(final) in self._seen and mirrors(self.request):
            self.leftovers.append(path)

    def _copy(self, message: Skipped, stored_as: str) -> None:
        self.told_copies += 1
        key = hash(stored_as)
        if key in self._seen:
            return
        if len(self._seen) < _MAX_REMEMBERED:
            self._seen.add(key)
        self.copies += 1
        self.bytes_to_send += max(0, message.size_bytes or 0)
        action = Action.ADDED if message.what == COPY else Action.MOVED
        self._keep(PlanItem(action, message.path, message.size_bytes))

    def rename(self, item: PlanItem) -> None:
        """Count a file that only takes another name, which was counted as added and as deleted."""
        size_bytes = item.size_bytes or 0
        self.renames += 1
        self.copies -= 1
        self.deletes -= 1
        self.bytes_renamed += size_bytes
        self.bytes_to_send -= size_bytes
        self.bytes_to_delete -= size_bytes
        for path in (item.old_path, item.path):
            self._items.pop(path, None)
        self._keep(item)

    def _keep(self, item: PlanItem) -> None:
        """Keep a sample; a deletion pushes out something harmless when the sample is full."""
        if len(self._items) < MAX_ITEMS:
            self._items[item.path] = item
        elif item.action is Action.DELETED:
            for path in reversed(self._items):
                if self._items[path].action is not Action.DELETED:
                    del self._items[path]
                    self._items[item.path] = item
                    return

    @property
    def changes_nothing(self) -> bool:
        """Whether a run would find nothing to do."""
        # Where FTP has no destination yet, not every dry run looks at the source.
        left = self.duplicates or self.problems or self.destination_missing
        return not (self._items_in_all or self.other_changes or left)

    @property
    def _items_in_all(self) -> int:
        files = self.copies + self.deletes + self.renames + self.times_updated
        return files + self.dirs_made + self.dirs_removed

    def believes(self, report: ReportCounts) -> bool:
        """Whether a report says no more paths than the dry runs did, for a run that mirrors.

        It has a line for each path, so a name with line breaks adds what looks like more paths:
        the more files there seem to be, the fewer deletions seem to be many.
        """
        return not mirrors(self.request) or (
            report.unmarked == 0
            and report.added <= self.told_copies
            and report.removed <= self.deletes + self.renames
            # rclone counts comparisons and deletions alike.
            and report.both + report.removed <= self.checks
        )

    def plan(
        self,
        report: ReportCounts,
        *,
        seen: ReportCounts | None = None,
        source_bytes: int | None = None,
    ) -> Plan:
        """Give the plan, with the counts of both sides: of `seen`, where that is another report."""
        seen = seen or report
        adds = min(report.added - self.renames, self.copies)
        items = sorted(self._items.values(), key=lambda item: item.action is not Action.DELETED)
        return Plan(
            adds=adds,
            updates=self.copies - adds,
            deletes=self.deletes,
            renames=self.renames,
            dirs_made=self.dirs_made,
            dirs_removed=self.dirs_removed,
            times_updated=self.times_updated,
            bytes_to_send=self.bytes_to_send,
            bytes_to_delete=self.bytes_to_delete,
            bytes_renamed=self.bytes_renamed,
            source_files=seen.added + seen.both,
            source_bytes=source_bytes,
            destination_files=seen.both + seen.removed,
            items=tuple(report.corrected(item) for item in items),
            items_left_off=self._items_in_all - len(items),
        )

    @property
    def sample_paths(self) -> frozenset[str]:
        """The paths whose marks in the report are wanted."""
        return frozenset(item.path for item in self._items.values() if item.action is Action.ADDED)


def _is_missing_destination(problem: Problem) -> bool:
    """Tell a destination that the run will make; only FTP counts it as an error."""
    return problem.failure_class is FailureClass.NOT_FOUND and problem.text.startswith(
        "error reading destination root directory"
    )


def _checks(stats: Stats) -> Progress:
    return Progress(
        bytes_done=0,
        bytes_total=0,
        files_done=0,
        files_total=0,
        checks_done=stats.checks_done,
        checks_total=stats.checks_total,
        deletes=0,
        errors=stats.errors,
        speed_bytes_per_s=0.0,
        eta_s=None,
    )


@dataclass(slots=True)
class ReportCounts:
    """How many paths rclone's report puts on each side."""

    added: int = 0
    both: int = 0
    removed: int = 0
    unmarked: int = 0
    updated_paths: set[str] = field(default_factory=set)

    def read(self, lines: Iterable[bytes], wanted: frozenset[str] = frozenset()) -> ReportCounts:
        """Count the lines, and remember which of the `wanted` paths exist on both sides."""
        for line in lines:
            mark = line[:1]
            if mark == b"+":
                self.added += 1
            elif mark == b"=":
                self.both += 1
            elif mark == b"*":
                self.both += 1
                if wanted:
                    path = line[2:].rstrip(b"\n").decode("utf-8", errors="replace")
                    if path in wanted:
                        self.updated_paths.add(path)
            elif mark == b"-":
                self.removed += 1
            elif mark != b"!":
                self.unmarked += 1
        return self

    def read_file(self, path: Path, wanted: frozenset[str] = frozenset()) -> Iterator[None]:
        """Read a report slowly; one that was never written says nothing."""
        with suppress(FileNotFoundError), path.open("rb") as lines:
            yield from self.read_slowly(lines, wanted)

    def read_slowly(
        self, lines: Iterable[bytes], wanted: frozenset[str] = frozenset()
    ) -> Iterator[None]:
        """Read like `read`, and yield now and then: a million lines take half a second."""
        rest = iter(lines)
        while batch := list(itertools.islice(rest, _BATCH_LINES)):
            self.read(batch, wanted)
            yield

    def corrected(self, item: PlanItem) -> PlanItem:
        """Tell an update from an addition, which a dry run's message does not."""
        if item.action is Action.ADDED and item.path in self.updated_paths:
            return PlanItem(Action.UPDATED, item.path, item.size_bytes)
        return item
