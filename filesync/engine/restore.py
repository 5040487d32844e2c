"""Undo a run from its request to its end: check, list, decide (undo), act (restore_stages)."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from filesync.engine import ini, paths
from filesync.engine.binary import check_rclone
from filesync.engine.command import RunFiles
from filesync.engine.confine import confine
from filesync.engine.drive import Driver, Stopped, empty_folder, ticking
from filesync.engine.errors import EngineError, Failure, FailureClass, PathRefused
from filesync.engine.events import (
    Action,
    Event,
    Finished,
    Outcome,
    Phase,
    PhaseChanged,
    Plan,
    PlanItem,
    PlanReady,
    StopSignal,
    SyncResult,
)
from filesync.engine.ini import TokensLeft
from filesync.engine.kept_files import UNDONE, read_kept
from filesync.engine.log import RunLog
from filesync.engine.plan import MAX_ITEMS
from filesync.engine.prepare import check_encrypted_links, check_links_below, validate_remote
from filesync.engine.request import KEPT_FOLDER, Endpoint, Method, UndoRequest
from filesync.engine.restore_reader import RestoreReader
from filesync.engine.restore_stages import RestoreStages
from filesync.engine.sections import sections_of, target
from filesync.engine.standing import FileFacts, KeptFile, Standing
from filesync.engine.texts import Text
from filesync.engine.touched import Touched
from filesync.engine.undo import UndoPlan, plan_undo


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
            stages = RestoreStages(
                self.rclone, self.request, self.places, self.files, self.driver, self.reader
            )
            yield PhaseChanged(Phase.PLANNING)
            undo, now = yield from self._decided(stages)
            yield from self.reader.leave(undo.conflicts, self.request.kept_dir)
            exit_code = 0
            if not self.request.dry_run:
                exit_code = yield from stages.carry_out(undo, now)
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

    def _decided(
        self, stages: RestoreStages
    ) -> Generator[Event, None, tuple[UndoPlan, Mapping[str, FileFacts]]]:
        touched = Touched()
        for number, (_, lines) in enumerate(self.request.attempts):
            touched.read(number, lines)
        folders = [folder for folder, _ in self.request.attempts]
        listed = yield from stages.listed("kept")
        found = read_kept(listed, folders, touched.aside.older)
        kept = found.files
        concerned = {*touched.names, *kept}
        now = yield from stages.listed("dst", concerned)
        is_begun = self.request.begun_at_s is not None
        if doubled := touched.doubled(now, is_begun=is_begun):
            now |= yield from stages.listed("dst", doubled, by_hash=True)
        source = None
        if self.request.source is not None:
            source = yield from stages.listed("src", map(touched.origin, concerned))
        ahead_s = yield from self._clock_ahead_s(stages, now)
        begun_at_s = self.request.begun_at_s
        standing = Standing(
            now,
            kept,
            ended_at_s=self.request.ended_at_s + ahead_s,
            begun_at_s=None if begun_at_s is None else begun_at_s + ahead_s,
            source=source,
            unclear=frozenset().union(*found.unknown.values()),
        )
        undo = plan_undo(touched, standing)
        cut_off: set[str] = set()
        for path in sorted(undo.shorter):
            origin = touched.origin(path)
            size_bytes = (source or {})[origin].size_bytes
            if (yield from stages.is_beginning(path, origin, size_bytes)):
                cut_off.add(origin)
        if source is not None and cut_off:
            whole = {path: facts for path, facts in source.items() if path not in cut_off}
            undo = plan_undo(touched, replace(standing, source=whole))
        if touched.incomplete:
            undo.conflicts[""] = Text(
                "the log of the run was cut: files that it added after that are not known, and stay"
            )
        if touched.ended_early:
            yield self.driver.warn(
                Text(
                    "The run was ended while it was at work: a file that it added at that moment "
                    "may have no line in its log, and stays."
                )
            )
        if undo.doubtful:
            yield self.driver.warn(
                Text(
                    "{count} file(s) are replaced that may not be the run's, the first: {path}. "
                    "They go to {folder}.",
                    count=len(undo.doubtful),
                    path=min(undo.doubtful),
                    folder=f"{self.request.kept_dir}/{UNDONE}",
                )
            )
        if self.request.logs_lost:
            undo.conflicts[self.request.kept_dir] = Text(
                "the log of {count} attempt(s) is lost: what they changed is not known, and stays",
                count=self.request.logs_lost,
            )
        for folder in found.unknown:
            undo.conflicts[f"{self.request.kept_dir}/{folder}"] = Text(
                "it holds files of an attempt whose log is lost; put them back by hand"
            )
        self.plan = _as_plan(undo, now, kept)
        self.reader.files_total = _steps(undo)
        self.reader.bytes_total = self.plan.bytes_to_send
        yield PlanReady(self.plan)
        return undo, now

    def _clock_ahead_s(
        self, stages: RestoreStages, now: Mapping[str, FileFacts]
    ) -> Generator[Event, None, float]:
        """Ask for the destination's clock where a file seems to be newer than the run.

        A dry run writes nothing, and so takes it for a change.
        """
        newer = any(facts.changed_at_s > self.request.ended_at_s for facts in now.values())
        is_local = self.request.destination.remote.backend == "local"
        if self.request.dry_run or is_local or not newer:
            return 0.0
        return (yield from stages.clock_ahead_s())

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


def _steps(undo: UndoPlan) -> int:
    """Count what is done to files, each of it once."""
    return len(undo.remove) + len(undo.take_back) + len(undo.send_back) + len(undo.put_back)


def _as_plan(undo: UndoPlan, now: Mapping[str, FileFacts], kept: Mapping[str, KeptFile]) -> Plan:
    """Show an undoing as the plan of a run: what is put back, replaced, removed."""
    items = [PlanItem(Action.DELETED, path) for path in undo.remove]
    items += [
        PlanItem(Action.RENAMED, old.path, old.size_bytes, new)
        for new, old in undo.take_back.items()
    ]
    items += [PlanItem(Action.MOVED, path) for path in undo.send_back]
    items += [PlanItem(Action.RESTORED, path) for path in undo.put_back]
    replaced = sum(path in now for path in undo.put_back)
    return Plan(
        adds=len(undo.put_back) - replaced,
        updates=replaced,
        deletes=len(undo.remove),
        renames=len(undo.take_back),
        bytes_to_send=sum(now[path].size_bytes for path in undo.send_back)
        + sum(kept[path].facts.size_bytes for path in undo.put_back),
        bytes_renamed=sum(old.size_bytes or 0 for old in undo.take_back.values()),
        items=tuple(items[:MAX_ITEMS]),
        items_left_off=max(0, len(items) - MAX_ITEMS),
    )
