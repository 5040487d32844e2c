"""Find names that rename rules change again once they made them: such files cannot be replaced.

rclone applies the rules to the name at the destination too where it writes over a file, or sets
one aside: the new file, or the kept one, would bear a name that its own file never had. Only rclone
knows what its expressions make of a name: it is asked.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filesync.engine import ini
from filesync.engine.command import RunFiles, rename_argv
from filesync.engine.drive import Driver, Stopped, Take
from filesync.engine.events import Event, StopSignal
from filesync.engine.filters import is_speakable
from filesync.engine.messages import Message, Skipped
from filesync.engine.name_examples import examples
from filesync.engine.passes import Stage
from filesync.engine.plan import DELETE_WORDS
from filesync.engine.renamed import MOVE_TO
from filesync.engine.request import Limits
from filesync.engine.stages import Stages

_BATCH = 1000
_LIMITS = Limits(max_runtime_s=10)


@dataclass(slots=True)
class NamesInUse:
    """Note from dry runs which names of the destination lose their file; they lie on the disk.

    Those of deleted files count where they are kept.
    """

    path: Path
    keeps_deleted: bool
    _names: list[str] = field(default_factory=list)

    def watching(self, take: Take) -> Take:
        """Give a `take` that notes what would be deleted too."""

        def both(message: Message) -> list[Event]:
            if isinstance(message, Skipped) and message.what in DELETE_WORDS:
                self._note(message.path, counts=self.keeps_deleted)
            return take(message)

        return both

    def overwritten(self, report: Path) -> Iterator[None]:
        """Note what a dry run's report says is to be overwritten; yields now and then."""
        with suppress(FileNotFoundError), report.open("rb") as lines:
            for number, line in enumerate(lines):
                if line[:1] == b"*":
                    self._note(line[2:].rstrip(b"\n").decode("utf-8", errors="replace"))
                if number % _BATCH == 0:
                    yield

    def changed_again(self, stages: Stages) -> Generator[Event, None, str | None]:
        """Give a name that the rules would change again, None where they leave all as they are.

        Raises:
            Stopped: the destination could not be asked.
        """
        self._flush()
        if not self.path.exists():
            return None
        taker = _FirstMove()
        yield from stages.ask(Stage("rename", at_destination=True), taker.take)
        return taker.old

    def _note(self, path: str, *, counts: bool = True) -> None:
        if counts and is_speakable(path):
            self._names.append(path)
        if len(self._names) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._names:
            with self.path.open("a", encoding="utf-8", errors="replace") as file:
                file.writelines(f"{name}\0" for name in self._names)
            self._names.clear()


@dataclass(slots=True)
class _FirstMove:
    """What rclone would name anew: the first old name, and all new ones."""

    old: str | None = None
    new: list[str] = field(default_factory=list)

    def take(self, message: Message) -> list[Event]:
        if isinstance(message, Skipped) and message.what.startswith(MOVE_TO):
            self.old = self.old or message.path
            self.new.append(message.what.removeprefix(MOVE_TO))
        return []


def never_rests(renames: Sequence[tuple[str, str]], *, rclone: Path) -> str | None:
    """Give a name that the rules make and change again, as far as the rules alone tell.

    Tried with names that the rules were written for. Takes two short processes.

    Raises:
        RcloneUnusable: rclone cannot be started.
    """
    made = _applied(renames, examples(renames), rclone).new
    return _applied(renames, made, rclone).old


def _applied(renames: Sequence[tuple[str, str]], names: Sequence[str], rclone: Path) -> _FirstMove:
    """Let rclone tell what the rules make of names, by empty files that bear them."""
    taker = _FirstMove()
    with tempfile.TemporaryDirectory(prefix="syncbeat-names-") as folder:
        files = RunFiles(Path(folder))
        tree = files.work_dir / "tree"
        tree.mkdir()
        for name in names:
            _make(tree, name)
        ini.write_private(files.config, "")
        driver = Driver(files.work_dir, remotes=(), limits=_LIMITS, stop=StopSignal(), inherit=())
        try:
            for _ in driver.drive(rename_argv(rclone, renames, files, str(tree)), taker.take):
                pass
        except Stopped:
            # Cut off: what was told until then counts, and the run looks again.
            pass
        finally:
            driver.close()
    return taker


def _make(tree: Path, name: str) -> None:
    """Make an empty file; a name that no file can have tells nothing."""
    try:
        descriptor = os.open(tree / Path(name).name, os.O_CREAT | os.O_WRONLY, 0o600)
    except (OSError, ValueError):
        return
    os.close(descriptor)
