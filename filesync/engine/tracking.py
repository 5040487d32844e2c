"""Find the files of a plan that only need another name: of equal size, told to be equal by hash."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filesync.engine.command import RunFiles
from filesync.engine.drive import Stopped, Take, ticking
from filesync.engine.events import Action, Event, PlanItem
from filesync.engine.filters import is_speakable
from filesync.engine.messages import COPY, Message, Skipped
from filesync.engine.passes import Stage, hides_there, mirrors
from filesync.engine.plan import DELETE_WORDS, PlanTally
from filesync.engine.prepare import Prepared
from filesync.engine.problems import Problems
from filesync.engine.renamed import MOVE_TO
from filesync.engine.request import Method
from filesync.engine.stages import Stages
from filesync.engine.watch import STALL_TIMEOUT

_SEARCHING = Stage("sync", renaming=True, dry_run=True)
# A hash shows no progress until it is done: that of a large file must not look like a stall.
_MAX_SIZE_BYTES = 8 << 30
_SLOTS = 1 << 20
_ADDED, _DELETED = 1, 2
_BATCH = 1000
_READ_CHARS = 1 << 20


def may_rename(prepared: Prepared) -> bool:
    """Whether a run may rename files at the destination instead of sending them again.

    Between local disks both copies would be read twice for their hashes (2 GiB: 57 s, and 8 s to
    send it), within one storage the server copies by itself, and a rename rule makes of each name
    another, which rclone would look for in vain. Where rules can hide a file on one side alone,
    what is deleted is found by itself.
    """
    request = prepared.request
    backends = {request.source.remote.backend, request.destination.remote.backend}
    return (
        request.method is Method.FULL
        and mirrors(request)
        and not prepared.one_section
        and not request.rules.renames
        and not hides_there(request)
        and backends != {"local"}
    )


@dataclass(slots=True)
class RenameSearch:
    """Collect from a dry run what may be renamed; names lie on the disk, and memory is bounded.

    Of each size it is remembered whether a file of it would be added, and whether one would be
    deleted. Sizes may share a place: that costs a hash now and then.
    """

    files: RunFiles
    _sizes: bytearray = field(default_factory=lambda: bytearray(_SLOTS))
    _lines: list[str] = field(default_factory=list)

    def watching(self, take: Take) -> Take:
        """Give a `take` that notes what may be renamed too."""

        def both(message: Message) -> list[Event]:
            if isinstance(message, Skipped):
                self._note(message)
            return take(message)

        return both

    def find(self, stages: Stages, tally: PlanTally) -> Iterator[Event]:
        """Tell a plan what would be renamed, by a dry run over the candidates alone.

        Nothing is renamed where that fails: the files are sent and deleted then.
        """
        yield from ticking(self._write_candidates())
        if tally.problems or not self.files.renames.exists():
            return
        facts = yield from stages.pair_facts(by_hash=True)
        if facts.shares_hash and (yield from self._compared(stages)):
            yield from ticking(self._write_pairs(tally))

    def _note(self, message: Skipped) -> None:
        mark = _ADDED if message.what == COPY else _DELETED * (message.what in DELETE_WORDS)
        size_bytes = message.size_bytes or 0
        if mark and 0 < size_bytes <= _MAX_SIZE_BYTES and is_speakable(message.path):
            self._sizes[size_bytes % _SLOTS] |= mark
            self._keep(f"{size_bytes}\0{message.path}\0")

    def _keep(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        with self.files.found.open("a", encoding="utf-8", errors="replace") as found:
            found.writelines(self._lines)
        self._lines.clear()

    def _write_candidates(self) -> Iterator[None]:
        """Write the names of the files whose size is both added and deleted, if there are any."""
        self._flush()
        if _ADDED | _DELETED in self._sizes:
            with self.files.renames.open("w", encoding="utf-8") as candidates:
                texts = nul_ended(self.files.found)
                for size_bytes, path in zip(texts, texts, strict=True):
                    if self._sizes[int(size_bytes) % _SLOTS] == _ADDED | _DELETED:
                        candidates.write(f"{path}\0")
                    yield
        self.files.found.unlink()

    def _compared(self, stages: Stages) -> Generator[Event, None, bool]:
        """Let rclone find equal files; give whether it could look at all of them."""
        problems = Problems()

        def take(message: Message) -> list[Event]:
            if isinstance(message, Skipped) and message.what.startswith(MOVE_TO):
                new = message.what.removeprefix(MOVE_TO)
                self._keep(f"{message.size_bytes or 0}\0{message.path}\0{new}\0")
            return problems.note(message)

        try:
            exit_code = yield from stages.drive(_SEARCHING, take)
        except Stopped as stopped:
            if stopped.failure is None or stopped.failure.guard != STALL_TIMEOUT:
                raise
            return False
        return exit_code == 0 and not problems.counts

    def _write_pairs(self, tally: PlanTally) -> Iterator[None]:
        """Write the old and the new names for the run, and tell the plan of them."""
        self._flush()
        with self.files.renames.open("w", encoding="utf-8") as names:
            texts = nul_ended(self.files.found)
            for size_bytes, old, new in zip(texts, texts, texts, strict=True):
                names.write(f"{old}\0{new}\0")
                tally.rename(PlanItem(Action.RENAMED, new, int(size_bytes), old))
                yield


def nul_ended(path: Path) -> Iterator[str]:
    """Read the texts of a file, each ended by NUL."""
    rest = ""
    with path.open(encoding="utf-8", newline="") as file:
        while chars := file.read(_READ_CHARS):
            *texts, rest = (rest + chars).split("\0")
            yield from texts
