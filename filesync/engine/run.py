"""Carry one request out: check it, plan, guard, start rclone, read it, end in one result.

What to run, how to read it and what stops it are pure decisions made elsewhere (command,
lines, readers, plan, watch, outcome); how its stages follow one another is told in transfer.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

from filesync.engine.binary import check_rclone
from filesync.engine.check import compared
from filesync.engine.confine import confine
from filesync.engine.cut_short import remove_leftovers
from filesync.engine.drive import Driver, Stopped, empty_folder, ticking
from filesync.engine.errors import EngineError, Failure, FailureClass
from filesync.engine.events import (
    Event,
    Finished,
    Outcome,
    Phase,
    PhaseChanged,
    Plan,
    PlanReady,
    StopSignal,
    SyncResult,
)
from filesync.engine.guards import deletions_tolerated, guard_failure, reading_failure
from filesync.engine.ini import CONFIG_FILE, TokensLeft, refreshed, refreshed_tokens
from filesync.engine.linked_folders import check_unplanned
from filesync.engine.log import RunLog
from filesync.engine.lost_folders import check_folders, loses_folders
from filesync.engine.outcome import conclude, name_folders
from filesync.engine.partials import remove_partials
from filesync.engine.passes import comparison_remark, stages_to_run
from filesync.engine.plan import PlanTally
from filesync.engine.planning import look_first, needs_plan, planned
from filesync.engine.prepare import (
    Prepared,
    check_encrypted_links,
    check_links,
    limited,
    prepare,
    write_files,
)
from filesync.engine.put_back import put_back_earlier
from filesync.engine.readers import RunReader
from filesync.engine.request import Method, Remote, SyncRequest
from filesync.engine.source_names import missing_at_source
from filesync.engine.stages import Stages
from filesync.engine.texts import Text
from filesync.engine.transfer import Transfer
from filesync.engine.tuning import PairFacts
from filesync.engine.watch import files_reached


def run_sync(
    request: SyncRequest,
    *,
    work_dir: Path,
    rclone: Path,
    local_roots: tuple[Path, ...],
    stop: StopSignal,
    log_path: Path | None = None,
    inherit: tuple[int, ...] = (),
    on_close: TokensLeft | None = None,
) -> Generator[Event, None, None]:
    """Carry a request out and tell what happens; the last event is Finished.

    At least one event comes every 0.5 s while the caller keeps asking. Closing the iterator kills
    rclone's whole process group and empties `work_dir`, which must be this run's own. A refused
    or failed request raises nothing: its result says so. `log_path` becomes a gzip file.
    `inherit` are descriptors that rclone keeps open while it lives, such as a lock's. `on_close`
    is told the OAuth tokens that rclone changed, also where the iterator is closed early.
    """
    run = _Run(
        request,
        work_dir=work_dir,
        rclone=rclone,
        local_roots=local_roots,
        stop=stop,
        inherit=inherit,
    )
    try:
        yield from run.execute(log_path)
    finally:
        # rclone has ended by now, and so has what it wrote.
        if on_close is not None:
            ends = {"src": request.source.remote, "dst": request.destination.remote}
            on_close(refreshed_tokens(work_dir, ends))
        run.close()


class _Run:
    """The state of one run; its life is `execute`, then `close`."""

    def __init__(
        self,
        request: SyncRequest,
        *,
        work_dir: Path,
        rclone: Path,
        local_roots: tuple[Path, ...],
        stop: StopSignal,
        inherit: tuple[int, ...],
    ) -> None:
        self._request = request
        self._work_dir = work_dir
        self._rclone = rclone
        self._local_roots = local_roots
        self._started_s = time.monotonic()
        self._driver = Driver(
            work_dir,
            remotes=(request.source.remote, request.destination.remote),
            limits=request.limits,
            stop=stop,
            inherit=inherit,
        )
        self._reader = RunReader(request.method)
        self._plan: Plan | None = None
        self._transfer: Transfer | None = None
        self._sections: dict[str, dict[str, str]] = {}
        # Why the run is limited to a part of what its plan would send.
        self._limit: Failure | None = None

    def execute(self, log_path: Path | None) -> Iterator[Event]:
        """Yield the run's events, Finished last."""
        try:
            prepared = self._begin(log_path)
            self._driver.rules = self._confined(prepared.request)
            if self._driver.rules is None:
                yield from ticking(check_links(prepared.request, self._local_roots))
            else:
                # Told before anything is sent: later no name would say which link it was.
                for side in (prepared.request.source, prepared.request.destination):
                    yield from ticking(check_encrypted_links(side, self._local_roots))
            yield from self._carry_out(prepared)
        except EngineError as error:
            yield self._finished(Outcome.FAILED, _refused(error))
        except Stopped as stopped:
            if stopped.failure is None:
                yield self._finished(Outcome.CANCELLED, None)
            else:
                yield self._finished(*self._concluded(0, stopped.failure))

    def _begin(self, log_path: Path | None) -> Prepared:
        check_rclone(self._rclone)
        prepared = prepare(self._request, self._work_dir, self._local_roots)
        self._request, self._sections = prepared.request, prepared.sections
        try:
            self._work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._work_dir.chmod(0o700)
            empty_folder(self._work_dir)
            self._driver.log = RunLog(log_path)
        except OSError as error:
            raise EngineError(
                Text("the run's folder cannot be made: {error}", error=str(error))
            ) from error
        write_files(prepared)
        self._reader = RunReader(
            prepared.request.method,
            keeps_deleted=prepared.sides.backup is not None,
            one_section=prepared.one_section,
            renames=bool(prepared.request.rules.renames),
        )
        return prepared

    def _confined(self, request: SyncRequest) -> int | None:
        writes: list[Remote] = []
        if not request.dry_run and request.method is not Method.CHECK:
            writes.append(request.destination.remote)
            if request.method is Method.MOVE:
                writes.append(request.source.remote)
        return confine(
            rclone=self._rclone,
            work_dir=self._work_dir,
            reads=(request.source.remote, request.destination.remote),
            writes=writes,
            local_roots=self._local_roots,
        )

    def _carry_out(self, prepared: Prepared) -> Iterator[Event]:
        stages = Stages(self._rclone, prepared, self._driver, self._reader)
        yield from stages.check_passwords()
        facts = yield from stages.pair_facts()
        if (remark := comparison_remark(prepared.request, facts)) is not None:
            yield self._driver.warn(remark)
        yield from put_back_earlier(stages)
        yield from missing_at_source(stages)
        if prepared.request.method is Method.CHECK:
            exit_code = yield from compared(stages, facts)
            self._plan = Plan() if prepared.request.dry_run else None
            yield from self._end(exit_code)
            return
        clears = False
        if needs_plan(prepared.request):
            tally = yield from self._planned(stages, facts)
            if tally is None:
                return
            clears, first = tally.clears, tally.first_files
            if first is not None and first.more:
                self._limit = files_reached(first.most)
                stages = replace(stages, prepared=limited(prepared, first.names))
        else:
            yield from check_unplanned(stages, facts)
        is_limited = self._limit is not None
        known = None if is_limited else self._plan
        to_run = stages_to_run(stages.prepared.request, facts, known, clears=clears)
        self._transfer = Transfer(stages, facts, self._plan, is_limited)
        yield from self._end((yield from self._transfer.carry_out(to_run)))

    def _planned(
        self, stages: Stages, facts: PairFacts
    ) -> Generator[Event, None, PlanTally | None]:
        """Give what the plan was made of; None where the run ended with it."""
        request = stages.prepared.request
        yield PhaseChanged(Phase.PLANNING)
        tally, plan = yield from planned(stages, facts)
        self._plan, self._reader.dirs_to_go = plan, tally.dirs_to_go
        yield PlanReady(plan)
        failure = guard_failure(request, plan, tally)
        if request.dry_run and failure is None:
            failure = reading_failure(tally)
        if failure is not None:
            yield self._finished(Outcome.FAILED, failure)
            return None
        if request.dry_run and plan.adds and loses_folders(request) and not tally.clears:
            yield from check_folders(stages)
        if request.dry_run or tally.changes_nothing:
            self._reader.found_in_step(plan)
            yield self._finished(*self._concluded(0))
            return None
        self._reader.most_deletes = deletions_tolerated(request, plan)
        yield from look_first(stages, tally, plan)
        yield from remove_leftovers(stages, tally.leftovers)
        return tally

    def _end(self, exit_code: int) -> Iterator[Event]:
        if self._driver.rules is not None and self._reader.problems.counts:
            # A link that leads out makes errors of which none names it.
            yield from ticking(check_links(self._request, self._local_roots))
        stopped_by = self._limit if exit_code == 0 else None
        yield self._finished(*self._concluded(exit_code, stopped_by))

    def _concluded(
        self, exit_code: int, stopped_by: Failure | None = None
    ) -> tuple[Outcome, Failure | None]:
        reader = self._reader
        return conclude(exit_code, reader.totals, reader.problems, stopped_by=stopped_by)

    def _finished(self, outcome: Outcome, failure: Failure | None) -> Finished:
        self._driver.log.close()
        if failure is not None:
            folders = self._request.source.path, self._request.destination.path
            failure = name_folders(failure, self._reader.problems, *folders)
        cut_off = self._transfer is not None and self._transfer.cut_off
        result = SyncResult(
            outcome=outcome,
            totals=self._reader.totals,
            failure=failure,
            plan=self._plan,
            exit_code=self._driver.exit_code,
            log_tail=self._driver.log.tail,
            duration_s=time.monotonic() - self._started_s,
            changed_files=self._reader.changed_files or cut_off,
            refreshed=refreshed(self._sections, self._work_dir / CONFIG_FILE),
        )
        return Finished(result)

    def close(self) -> None:
        """Leave nothing behind: the log is finished and the private folder emptied."""
        self._driver.close()
        if self._transfer is not None and self._transfer.writes:
            remove_partials(self._request.destination)
        empty_folder(self._work_dir)


def _refused(error: EngineError) -> Failure:
    message = error.message
    if error.field:
        message = Text("{field}: {message}", field=error.field, message=message)
    return Failure.of(FailureClass.CONFIG, message)
