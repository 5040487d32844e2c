"""Find what must go before anything comes: a folder with the name of a file, or the reverse.

A mirror deletes last, and only where nothing failed; but a file cannot come where a folder stands,
nor a folder where a file does; and what has the name of a partial file of a copy is overwritten by
it. So these are deleted by a stage of their own, before the copies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from filesync.engine.drive import Take
from filesync.engine.events import Event
from filesync.engine.filters import is_speakable
from filesync.engine.messages import COPY, Message, Skipped
from filesync.engine.partials import PARTIAL, final_path, partial_suffix
from filesync.engine.paths import folders_above
from filesync.engine.plan import DELETE_WORDS
from filesync.engine.request import SyncRequest

_MAX_REMEMBERED = 100_000
_BATCH = 1000
_REMOVE_DIR = "remove directory"
# A folder is emptied and removed where the list of files leads into it, so one is made up.
_NOBODY = ".syncbeat-in-the-way"


@dataclass(slots=True)
class InTheWay:
    """Note from dry runs which deletions stand in the way of copies; the names lie on the disk.

    rclone tells copies first, then deleted files, then folders. Beyond 100,000 copies or folders
    nothing is noted of them: such a copy fails, and says why. With `partials`, a file that may be
    a killed rclone's partial one is in the way of the copy with its name: it may be a person's too.
    """

    path: Path
    partials: bool = False
    found: bool = False
    _files: set[int] = field(default_factory=set)
    _folders: set[int] = field(default_factory=set)
    _last_folder: str = ""
    _lines: list[str] = field(default_factory=list)

    def watching(self, take: Take) -> Take:
        """Give a `take` that notes what is in the way too."""

        def both(message: Message) -> list[Event]:
            if isinstance(message, Skipped):
                self._note(message.what, message.path)
            return take(message)

        return both

    def flush(self) -> None:
        """Write what was noted."""
        if self._lines:
            with self.path.open("a", encoding="utf-8") as names:
                names.writelines(self._lines)
        self._lines.clear()

    def _note(self, what: str, path: str) -> None:
        if what == COPY:
            self._note_copy(path)
        elif not is_speakable(path):
            return
        elif what in DELETE_WORDS:
            folder_comes = hash(path) in self._folders or self._lies_in_a_file(path)
            if folder_comes or (self.partials and self._is_partial(path)):
                self._add(path)
        elif what == _REMOVE_DIR and (hash(path) in self._files or self._lies_in_a_file(path)):
            self._add(f"{path}/{_NOBODY}")

    def _note_copy(self, path: str) -> None:
        if len(self._files) < _MAX_REMEMBERED:
            self._files.add(hash(path))
        folder = path.rpartition("/")[0]
        if folder == self._last_folder:
            return
        self._last_folder = folder
        if len(self._folders) < _MAX_REMEMBERED:
            self._folders.update(map(hash, folders_above(path)))

    def _is_partial(self, path: str) -> bool:
        final = final_path(path) if path.endswith(PARTIAL) else path
        return final != path and hash(final) in self._files

    def _lies_in_a_file(self, path: str) -> bool:
        return any(hash(folder) in self._files for folder in folders_above(path))

    def _add(self, path: str) -> None:
        self.found = True
        self._lines.append(f"{path}\0")
        if len(self._lines) >= _BATCH:
            self.flush()


def keeps_partials(request: SyncRequest) -> bool:
    """Whether what looks like a partial file is kept: where no suffix of ours tells whose it is."""
    return request.keep_deleted_dir is not None and partial_suffix(request.destination) is None
