"""Run the processes of an undoing: list what is there, send back, remove, put back.

What is done is decided in undo, what their messages mean in restore_reader.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import posixpath
import re
import time
import uuid
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filesync.engine import command, ini
from filesync.engine.command import RunFiles
from filesync.engine.drive import Driven, Driver, Stopped, Take, ticking
from filesync.engine.events import Action, Event, Totals
from filesync.engine.filters import render_folders
from filesync.engine.kept_files import UNDONE, stage_folder
from filesync.engine.outcome import GOES_ON, conclude
from filesync.engine.paths import folders_above
from filesync.engine.problems import Problems
from filesync.engine.request import Remote, UndoRequest
from filesync.engine.restore_reader import RestoreReader
from filesync.engine.standing import FileFacts
from filesync.engine.texts import Text
from filesync.engine.undo import UndoPlan

# What rclone shows for a control character, and how it marks one that is really in a name.
_PICTURE = re.compile("(\u201b?)([\u2401-\u241f\u2421])")
_DELETE_PICTURE = "\u2421"
_MOST_READ_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class RestoreStages:
    """The processes of one undoing; `places` are "src", "dst" and "kept" as rclone names them."""

    rclone: Path
    request: UndoRequest
    places: Mapping[str, str]
    files: RunFiles
    driver: Driver
    reader: RestoreReader

    def listed(
        self, place: str, only: Iterable[str] | None = None, *, by_hash: bool = False
    ) -> Generator[Event, None, dict[str, FileFacts]]:
        """List the files of a place, or some of them; a folder that is not there has none.

        `by_hash` asks for their hashes too, for which some storages read each file.

        Raises:
            Stopped: it cannot be listed.
        """
        answer = self.files.work_dir / "answer"
        flags = () if only is None else self._only(only)
        # Of an object store the time of the upload: it says more of a change, and needs no
        # request per file.
        if self.request.destination.remote.backend == "s3":
            flags += ("--use-server-modtime",)
        if by_hash:
            flags += ("--hash",)
        listing = ("lsjson", "-R", "--files-only", "--no-mimetype", *flags)
        problems = Problems()
        exit_code = yield from self._drive(listing, (self.places[place],), problems.note, answer)
        found: dict[str, FileFacts] = {}
        if problems.tell_of_missing_root(exit_code):
            return found
        if exit_code != 0:
            _, failure = conclude(exit_code, Totals(), problems)
            raise Stopped(failure)
        yield from ticking(_read(answer, found))
        return found

    def is_beginning(self, path: str, origin: str, size_bytes: int) -> Generator[Event, None, bool]:
        """Whether the source's file of so many bytes is how that of the destination begins.

        Such a one holds nothing that would be lost. Both are read; long ones are taken for others.
        """
        if size_bytes == 0:
            return True
        # Some storages tell no size, as a negative one.
        if not 0 < size_bytes <= _MOST_READ_BYTES:
            return False
        answer, digests = self.files.work_dir / "answer", set[bytes]()
        for place in (_below(self.places["src"], origin), _below(self.places["dst"], path)):
            words = ("cat", "--head", str(size_bytes))
            exit_code = yield from self._drive(words, (place,), Problems().note, answer)
            if exit_code != 0:
                return False
            with answer.open("rb") as contents:
                digests.add(hashlib.file_digest(contents, "sha256").digest())
        return len(digests) == 1

    def clock_ahead_s(self) -> Generator[Event, None, float]:
        """Give how far the destination's clock is ahead of this machine's, by a file made there.

        Where files keep the time that they are given, that is no time at all.
        """
        name = f".clock-{uuid.uuid4().hex[:8]}"
        sample, place = self.files.work_dir / name, _below(self.places["kept"], name)
        ini.write_private(sample, "It tells the time, and may be deleted.\n")
        begun_s = time.time()
        os.utime(sample, (begun_s, begun_s))
        exit_code = yield from self._drive(("copyto",), (str(sample), place), Problems().note)
        made = {} if exit_code != 0 else (yield from self.listed("kept", [name]))
        ended_s = time.time()
        yield from self._drive(("deletefile",), (place,), Problems().note)
        # Many storages tell whole seconds, and leave the rest of one out.
        if name not in made or made[name].changed_at_s <= ended_s + 1:
            return 0.0
        return made[name].changed_at_s + 1 - begun_s

    def carry_out(self, undo: UndoPlan, now: Mapping[str, FileFacts]) -> Driven:
        """Do what a plan says, and give the exit code of the first process that failed, or 0.

        `now` is what the plan was made of. Each file is for itself: one that fails keeps nothing
        from being done but what would go over it.
        """
        failed = 0
        for step in (
            self._send_back(undo, now),
            self._take_back_names(undo),
            self._remove(undo),
        ):
            exit_code = yield from step
            if exit_code not in GOES_ON:
                return exit_code
            failed = failed or exit_code
        stay: dict[str, FileFacts] = {}
        if failed or undo.send_back:
            going = {*undo.send_back, *undo.take_back, *undo.remove}
            stay = yield from self.listed("dst", going)
        if not failed:
            unseen = stay.keys() & undo.send_back.keys() - undo.conflicts.keys()
            told = dict.fromkeys(sorted(unseen), Text("it was sent back, and is here still"))
            undo.conflicts |= told
            yield from self.reader.leave(told, self.request.kept_dir)
        exit_code = yield from self._put_back(undo, stay)
        return failed or exit_code

    def _remove(self, undo: UndoPlan) -> Driven:
        """Delete what the run had added, as far as the steps before left it in the plan."""
        return (
            yield from self._act(Action.DELETED, ("delete",), (self.places["dst"],), undo.remove)
        )

    def _put_back(self, undo: UndoPlan, stay: Collection[str]) -> Driven:
        """Put kept files back, but over what stays, and make the folders as they were."""
        copy = ("copy", "--ignore-times", *_keeping_modes(self.request.destination.remote))
        aside = ("--backup-dir", _below(self.places["kept"], UNDONE))
        failed = yield from self._remove_folders(_in_the_way(undo))
        groups: dict[tuple[tuple[int, int], bool], list[str]] = {}
        for path, place in undo.put_back.items():
            if path not in stay:
                groups.setdefault((place, path in undo.doubtful), []).append(path)
        for ((attempt, stage), doubtful), chosen in sorted(groups.items()):
            folder = stage_folder(self.request.attempts[attempt][0], stage)
            where = _below(self.places["kept"], folder), self.places["dst"]
            words = (*copy, *aside) if doubtful else copy
            exit_code = yield from self._act(Action.RESTORED, words, where, chosen)
            if exit_code not in GOES_ON:
                return exit_code
            failed = failed or exit_code
        exit_code = yield from self._make_folders(undo.make_folders)
        if exit_code == 0:
            exit_code = yield from self._remove_folders(undo.remove_folders)
        return failed or exit_code

    def _act(
        self, action: Action, words: Sequence[str], where: Sequence[str], chosen: Sequence[str]
    ) -> Driven:
        """Do something to chosen files, with one process."""
        if not chosen:
            return 0
        yield from self.reader.begin(action)
        return (yield from self._drive((*words, *self._only(chosen)), where, self.reader.take))

    def _send_back(self, undo: UndoPlan, now: Mapping[str, FileFacts]) -> Driven:
        """Send moved files back: copy them, look again, and delete those that are as they were.

        It may have taken long: what else is not as it was any more is left alone from here on.
        """
        if not undo.send_back:
            return 0
        failed = yield from self._copy_back(undo)
        if failed not in GOES_ON:
            return failed
        again = yield from self.listed("dst", {*undo.send_back, *undo.remove, *undo.put_back})
        changed = {path for path in undo.send_back if path in again and not _same(again, now, path)}
        others = {*undo.remove, *undo.put_back} - undo.send_back.keys()
        changed |= {path for path in others if not _same(again, now, path)}
        undo.remove = [path for path in undo.remove if path not in changed]
        for path in changed:
            undo.put_back.pop(path, None)
        told = dict.fromkeys(sorted(changed), Text("it was changed while the run was undone"))
        undo.conflicts |= told
        yield from self.reader.leave(told, self.request.kept_dir)
        whole = [path for path in self.reader.sent_back if path in again and path not in changed]
        exit_code = yield from self._act(Action.MOVED, ("delete",), (self.places["dst"],), whole)
        return failed or exit_code

    def _copy_back(self, undo: UndoPlan) -> Driven:
        """Copy moved files to the source: what a rename rule named anew one by one."""
        dst, src, failed = self.places["dst"], self.places["src"], 0
        yield from self.reader.begin(Action.MOVED)
        for path, origin in undo.send_back.items():
            if path != origin:
                self.reader.folder = path.rpartition("/")[0]
                words, where = (
                    ("copyto", "--ignore-times"),
                    (_below(dst, path), _below(src, origin)),
                )
                exit_code = yield from self._drive(words, where, self.reader.take)
                if exit_code not in GOES_ON:
                    return exit_code
                failed = failed or exit_code
        self.reader.folder = ""
        same_name = [path for path, origin in undo.send_back.items() if path == origin]
        words = ("copy", "--ignore-times")
        exit_code = yield from self._act(Action.MOVED, words, (dst, src), same_name)
        return exit_code if exit_code not in GOES_ON else failed or exit_code

    def _take_back_names(self, undo: UndoPlan) -> Driven:
        """Give files their old names: those of a folder that was renamed all together."""
        yield from self.reader.begin(Action.RENAMED)
        failed = 0
        folders: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
        for new, old in undo.take_back.items():
            there, back, name = _folders_of(new, old.path)
            folders.setdefault((there, back), {})[name] = (old.path, new)
        for (there, back), names in folders.items():
            where = _below(self.places["dst"], there), _below(self.places["dst"], back)
            words = ("moveto",) if names.keys() == {""} else ("move", *self._only(names))
            self.reader.names = names if "" not in names else {posixpath.basename(there): names[""]}
            # Nothing was there when this was decided.
            exit_code = yield from self._drive(
                (*words, "--ignore-existing"), where, self.reader.take
            )
            if exit_code not in GOES_ON:
                return exit_code
            failed = failed or exit_code
        return failed

    def _make_folders(self, folders: Sequence[str]) -> Driven:
        """Make the folders that went, with one copy of a skeleton."""
        if not folders:
            return 0
        skeleton = self.files.work_dir / "skeleton"
        for folder in folders:
            (skeleton / _on_disk(folder)).mkdir(parents=True, exist_ok=True)
        words = ("copy", "--create-empty-src-dirs")
        where = str(skeleton), self.places["dst"]
        return (yield from self._drive(words, where, self.reader.take))

    def _remove_folders(self, folders: Sequence[str]) -> Driven:
        """Remove the folders that came, all in one folder together; one with files in it stays."""
        siblings: dict[str, list[str]] = {}
        for folder in folders:
            parent, _, name = folder.rpartition("/")
            siblings.setdefault(parent, []).append(name)
        for parent, names in siblings.items():
            self._write(self.files.filters, render_folders(names))
            words = ("rmdirs", "--leave-root", "--filter-from", str(self.files.filters))
            problems = Problems()
            place = _below(self.places["dst"], parent)
            exit_code = yield from self._drive(words, (place,), problems.note)
            if exit_code != 0 and not problems.tell_of_missing(exit_code):
                self.reader.folder = parent
                for problem in problems.first.values():
                    yield from self.reader.take(problem)
                return exit_code
        return 0

    def _only(self, chosen: Iterable[str]) -> tuple[str, ...]:
        """Limit a command to files; the list is written anew for each."""
        self._write(self.files.only, "".join(f"{path}\0" for path in chosen))
        return ("--files-from0", str(self.files.only))

    def _write(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        ini.write_private(path, text)

    def _drive(
        self, words: Sequence[str], where: Sequence[str], take: Take, stdout: Path | None = None
    ) -> Driven:
        request = self.request
        one, other = request.destination, request.source or request.destination
        speed = command.speed_flags(request.limits, one.remote, other.remote)
        argv = (str(self.rclone), *words, *command.base_flags(self.files), *speed, "--", *where)
        return (yield from self.driver.drive(argv, take, stdout))


def _keeping_modes(remote: Remote) -> tuple[str, ...]:
    """Let copies have the modes of the files: a private one must not come back for all to read.

    Of local files alone: what a server keeps beside a file may be nobody's to set. No folder is
    touched, and no owner by a worker that may give no file away, whose copies would fail.
    """
    if remote.backend != "local":
        return ()
    modes = ("--metadata", "--disable", "WriteDirMetadata,MkdirMetadata")
    if os.geteuid() == 0:
        return modes
    return (*modes, "--metadata-set", "uid=-1", "--metadata-set", "gid=-1")


def _read(answer: Path, found: dict[str, FileFacts]) -> Iterator[None]:
    """Read rclone's JSON list, which has a file per line: a million are never held as a whole."""
    with answer.open("rb") as lines:
        for line in lines:
            if line.startswith(b"{"):
                entry = json.loads(line.rstrip(b",\n"))
                hashes = tuple(entry.get("Hashes", {}).items())
                facts = FileFacts(int(entry["Size"]), _time_s(entry["ModTime"]), hashes)
                found[entry["Path"]] = facts
            yield


def _same(one: Mapping[str, FileFacts], other: Mapping[str, FileFacts], path: str) -> bool:
    """Whether two listings tell the same of a path: it may be in neither."""
    first, second = one.get(path), other.get(path)
    if first is None or second is None:
        return first is second
    return (first.size_bytes, first.changed_at_s) == (second.size_bytes, second.changed_at_s)


def _time_s(text: str) -> float:
    """Read a time as rclone writes it; infinity where the storage tells none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return math.inf


def _below(place: str, path: str) -> str:
    """Name what is below a place: a slash behind the colon alone would be another root."""
    return f"{place}{path}" if not path or place.endswith((":", "/")) else f"{place}/{path}"


def _folders_of(new: str, old: str) -> tuple[str, str, str]:
    """Give two folders in which a file has one name, as far up as possible, and that name.

    The two paths and "" where there are none of which neither holds the other: rclone moves
    nothing between such.
    """
    one, other = new.split("/"), old.split("/")
    common = 0
    while common < min(len(one), len(other)) and one[-1 - common] == other[-1 - common]:
        common += 1
    for shared in range(common, 0, -1):
        there, back = "/".join(one[:-shared]), "/".join(other[:-shared])
        inside = f"{there}/".startswith(f"{back}/") or f"{back}/".startswith(f"{there}/")
        if there and back and not inside:
            return there, back, "/".join(one[-shared:])
    return new, old, ""


def _in_the_way(undo: UndoPlan) -> list[str]:
    """Give the folders that came where a file is to be put back."""
    came = set(undo.remove_folders)
    for path in undo.remove:
        came.update(folders_above(path))
    return sorted(came.intersection(undo.put_back))


def _on_disk(path: str) -> str:
    """Give a path of a log as a local disk has it: control characters as they are."""
    return _PICTURE.sub(_control, path)


def _control(found: re.Match[str]) -> str:
    is_marked, picture = found.groups()
    if is_marked:
        return picture
    return "\x7f" if picture == _DELETE_PICTURE else chr(ord(picture) - 0x2400)
