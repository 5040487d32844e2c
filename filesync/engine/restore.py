"""Undo a run: list what is there, decide (undo), put back, remove, read what became of it."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from filesync.engine import command, ini, paths
from filesync.engine.binary import check_rclone
from filesync.engine.command import RunFiles
from filesync.engine.confine import confine
from filesync.engine.drive import Driven, Driver, Stopped, Take, empty_folder, ticking
from filesync.engine.errors import EngineError, Failure, FailureClass, PathRefused
from filesync.engine.events import (
    Action,
    Event,
    Finished,
    Outcome,
    Phase,
    PhaseChanged,
    Plan,
    PlanReady,
    StopSignal,
    SyncResult,
    Totals,
)
from filesync.engine.ini import TokensLeft
from filesync.engine.log import RunLog
from filesync.engine.outcome import conclude
from filesync.engine.prepare import check_encrypted_links, check_links_below, validate_remote
from filesync.engine.problems import Problems
from filesync.engine.request import KEPT_FOLDER, Endpoint, Method, UndoRequest
from filesync.engine.restore_reader import RestoreReader
from filesync.engine.sections import sections_of, target
from filesync.engine.texts import Text
from filesync.engine.undo import FileFacts, Touched, UndoPlan, as_plan, plan_undo

MOST_FOLDERS = 200
"""Folders that a run made are removed one by one, at most so many."""


def run_restore(
    request: UndoRequest,
    *,
    work_dir: Path,
    rclone: Path,
    local_roots: tuple[Path, ...],
    stop: StopSignal,
    log_path: Path | None = None,
    inherit: tuple[int, ...] = (),
    on_close: TokensLeft | None = None,
) -> Generator[Event, None, None]:
    """Undo a run and tell what happens, as `run_sync` does; conflicts are FAILED items.

    Put back are copies: the kept files stay where they are until they are over their time.
    """
    remotes = [request.destination.remote] + ([request.source.remote] if request.source else [])
    driver = Driver(work_dir, remotes=remotes, limits=request.limits, stop=stop, inherit=inherit)
    restore = _Restore(request, driver, RunFiles(work_dir), rclone, local_roots)
    try:
        yield from restore.execute(log_path)
    finally:
        driver.close()
        if on_close is not None:
            sides = {"src": request.source, "dst": request.destination}
            ends = {name: side.remote for name, side in sides.items() if side is not None}
            on_close(ini.refreshed_tokens(work_dir, ends))
        empty_folder(work_dir)


@dataclass(slots=True)
class _Restore:
    """The state of one undoing."""

    request: UndoRequest
    driver: Driver
    files: RunFiles
    rclone: Path
    local_roots: tuple[Path, ...]
    reader: RestoreReader = field(default_factory=RestoreReader)
    plan: Plan | None = None
    unknown: set[str] = field(default_factory=set)
    places: dict[str, str] = field(default_factory=dict)
    started_s: float = field(default_factory=time.monotonic)

    def execute(self, log_path: Path | None) -> Iterator[Event]:
        """Yield the events, Finished last."""
        try:
            self._begin(log_path)
            self.driver.rules = self._confined()
            for side in filter(None, (self.request.destination, self.request.source)):
                yield from ticking(check_encrypted_links(side, self.local_roots))
                yield from ticking(check_links_below(side, self.local_roots))
            yield PhaseChanged(Phase.PLANNING)
            undo = yield from self._decided()
            yield from self.reader.leave(undo.conflicts, self.request.kept_dir)
            exit_code = 0
            if not self.request.dry_run:
                exit_code = yield from self._carry_out(undo)
            yield self._finished(*self.reader.ended(exit_code, undo))
        except EngineError as error:
            yield self._finished(Outcome.FAILED, Failure.of(FailureClass.CONFIG, error.message))
        except Stopped as stopped:
            if stopped.failure is None:
                yield self._finished(Outcome.CANCELLED, None)
            else:
                yield self._finished(*self.reader.stopped(stopped.failure))

    def _confined(self) -> int | None:
        remotes = [self.request.destination.remote]
        if self.request.source is not None:
            remotes.append(self.request.source.remote)
        return confine(
            rclone=self.rclone,
            work_dir=self.files.work_dir,
            reads=remotes,
            writes=[] if self.request.dry_run else remotes,
            local_roots=self.local_roots,
        )

    def _begin(self, log_path: Path | None) -> None:
        check_rclone(self.rclone)
        kept = paths.validate_path(self.request.kept_dir)
        if kept.split("/")[0] != KEPT_FOLDER:
            raise PathRefused(
                Text("{kept!r} is not below {parent}", kept=kept, parent=KEPT_FOLDER),
                field="kept_dir",
            )
        sides = {"dst": self.request.destination}
        if self.request.source is not None:
            sides["src"] = self.request.source
        sections: dict[str, dict[str, str]] = {}
        for name, side in sides.items():
            validate_remote(side.remote, self.local_roots)
            self.places[name] = target(name, side, self.local_roots)
            sections |= sections_of(name, side.remote, Method.MOVE, self.local_roots)
        kept_side = Endpoint(self.request.destination.remote, kept)
        self.places["kept"] = target("dst", kept_side, self.local_roots)
        work_dir = self.files.work_dir
        work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        work_dir.chmod(0o700)
        empty_folder(work_dir)
        ini.write_private(self.files.config, ini.render_ini(sections))
        self.driver.log = RunLog(log_path)

    def _decided(self) -> Generator[Event, None, UndoPlan]:
        touched = Touched()
        for number, (_, lines) in enumerate(self.request.attempts):
            touched.read(number, lines)
        kept = yield from self._kept()
        concerned = {*touched.left_with, *kept}
        now = yield from self._listed(self.places["dst"], concerned)
        source = None
        if self.request.source is not None:
            source = yield from self._listed(self.places["src"], concerned)
        undo = plan_undo(touched, kept, now, ended_at_s=self.request.ended_at_s, source=source)
        if touched.incomplete:
            undo.conflicts[""] = Text(
                "the log of the run was cut: files that it added after that are not known, and stay"
            )
        for folder in self.unknown:
            undo.conflicts[f"{self.request.kept_dir}/{folder}"] = Text(
                "it holds files of an attempt whose log is lost; put them back by hand"
            )
        self.plan = as_plan(undo, now)
        yield PlanReady(self.plan)
        return undo

    def _kept(self) -> Generator[Event, None, dict[str, int]]:
        """List what was kept: each path with the first attempt that kept it."""
        numbers = {folder: number for number, (folder, _) in enumerate(self.request.attempts)}
        kept: dict[str, int] = {}
        for entry in (yield from self._lsjson(self.places["kept"])):
            folder, _, path = str(entry["Path"]).partition("/")
            number = numbers.get(folder)
            if number is None:
                self.unknown.add(folder)
            else:
                kept[path] = min(number, kept.get(path, number))
        return kept

    def _listed(
        self, place: str, concerned: Iterable[str]
    ) -> Generator[Event, None, dict[str, FileFacts]]:
        found = yield from self._lsjson(place, *self._only(concerned))
        return {
            str(entry["Path"]): FileFacts(
                int(str(entry["Size"])), datetime.fromisoformat(str(entry["ModTime"])).timestamp()
            )
            for entry in found
        }

    def _lsjson(self, place: str, *flags: str) -> Generator[Event, None, list[dict[str, object]]]:
        """List files; a folder that is not there has none."""
        answer = self.files.work_dir / "answer"
        # Of an object store the time of the upload: it says more of a change, and needs no
        # request per file.
        if self.request.destination.remote.backend == "s3":
            flags += ("--use-server-modtime",)
        listing = ("lsjson", "-R", "--files-only", "--no-mimetype", *flags)
        problems = Problems()
        exit_code = yield from self._drive(listing, (place,), problems.note, answer)
        if problems.tell_of_missing(exit_code):
            return []
        if exit_code != 0:
            _, failure = conclude(exit_code, Totals(), problems)
            raise Stopped(failure)
        listed: list[dict[str, object]] = json.loads(answer.read_bytes() or b"[]")
        return listed

    def _carry_out(self, undo: UndoPlan) -> Driven:
        yield PhaseChanged(Phase.TRANSFERRING)
        dst = self.places["dst"]
        stages: list[tuple[Action, tuple[str, ...], tuple[str, ...], Sequence[str]]] = []
        if undo.send_back:
            stages.append(
                (
                    Action.MOVED,
                    ("move", "--ignore-times"),
                    (dst, self.places["src"]),
                    undo.send_back,
                )
            )
        if undo.remove:
            stages.append((Action.DELETED, ("delete",), (dst,), undo.remove))
        for number, (folder, _) in enumerate(self.request.attempts):
            chosen = [path for path, keeper in undo.put_back.items() if keeper == number]
            if chosen:
                kept = f"{self.places['kept']}/{folder}"
                stages.append((Action.RESTORED, ("copy", "--ignore-times"), (kept, dst), chosen))
        for action, words, where, concerned in stages:
            self.reader.action = action
            limited = (*words, *self._only(concerned))
            exit_code = yield from self._drive(limited, where, self.reader.take)
            if exit_code != 0:
                return exit_code
        return (yield from self._folders(undo))

    def _folders(self, undo: UndoPlan) -> Driven:
        """Make the folders that went, with one copy of a skeleton, and remove those that came."""
        exit_code = 0
        if undo.make_folders:
            skeleton = self.files.work_dir / "skeleton"
            for folder in undo.make_folders:
                (skeleton / folder).mkdir(parents=True, exist_ok=True)
            words = ("copy", "--create-empty-src-dirs")
            exit_code = yield from self._drive(
                words, (str(skeleton), self.places["dst"]), self.reader.take
            )
        for folder in undo.remove_folders[:MOST_FOLDERS]:
            # One that is not empty, or gone, stays as it is.
            yield from self._drive(("rmdirs",), (f"{self.places['dst']}/{folder}",), lambda _: [])
        return exit_code

    def _only(self, chosen: Iterable[str]) -> tuple[str, ...]:
        """Limit a command to files; the list is written anew for each."""
        self.files.only.unlink(missing_ok=True)
        ini.write_private(self.files.only, "".join(f"{path}\0" for path in chosen))
        return ("--files-from0", str(self.files.only))

    def _drive(
        self, words: Sequence[str], where: Sequence[str], take: Take, stdout: Path | None = None
    ) -> Driven:
        request = self.request
        one, other = request.destination, request.source or request.destination
        speed = command.speed_flags(request.limits, one.remote, other.remote)
        argv = (str(self.rclone), *words, *command.base_flags(self.files), *speed, "--", *where)
        exit_code = yield from self.driver.drive(argv, take, stdout)
        return exit_code

    def _finished(self, outcome: Outcome, failure: Failure | None) -> Finished:
        self.driver.log.close()
        return Finished(
            SyncResult(
                outcome=outcome,
                totals=self.reader.totals,
                failure=failure,
                plan=self.plan,
                exit_code=self.driver.exit_code,
                log_tail=self.driver.log.tail,
                duration_s=time.monotonic() - self.started_s,
            )
        )
