"""Carry out the stages of a run that may change something: what one needs before, what it leaves.

What a stage set aside for files that did not come is put back, and a failed one keeps the later
ones from deleting.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from filesync.engine.byte_limit import ByteLimit
from filesync.engine.changed import taker
from filesync.engine.clashes import tell_of_left
from filesync.engine.cut_short import remove_cut_short
from filesync.engine.drive import Driven, Stopped
from filesync.engine.events import Event, Plan
from filesync.engine.guards import deletions_allowed, renames_allowed
from filesync.engine.lost_folders import check_folders, loses_folders
from filesync.engine.moving import PartedMove, moves_in_parts
from filesync.engine.outcome import GOES_ON
from filesync.engine.passes import Stage, harmless, is_first_of_two
from filesync.engine.put_back import put_back
from filesync.engine.source_names import named_at_source
from filesync.engine.stages import Stages
from filesync.engine.tuning import PairFacts
from filesync.engine.watch import deleted_too_many


@dataclass(slots=True)
class Transfer:
    """The stages of one run in order, with what each leaves for the next to know.

    `plan` is None where none was made; `is_limited` says that the run sends only a part of it.
    `writes` tells whether rclone may have left partial files: from a stage's begin until it ended
    well. `cut_off` tells whether it ended in a way that left something untold.
    """

    run: Stages
    facts: PairFacts
    plan: Plan | None
    is_limited: bool
    writes: bool = False
    cut_off: bool = False
    _move: PartedMove | None = None
    # How a stage ended that may fail, 0 while none has.
    _left: int = 0
    # The number of the last stage whose kept files are not to come back.
    _done: int = 0
    # Whether every file was found at the destination, None while nobody looked.
    _in_step: bool | None = None

    def carry_out(self, to_run: Sequence[Stage]) -> Driven:
        """Run the stages until one fails, and give the exit code of the whole.

        Raises:
            Stopped: nothing may be sent, or the run was ended; what was set aside is back.
        """
        in_order = iter(to_run)
        if moves_in_parts(self.run.prepared, self.facts):
            self._move = PartedMove(self.run)
            yield from self._move.list_source(None if self.is_limited else self.plan)
            in_order = self._move.stages(to_run)
        exit_code = 0
        for one in in_order:
            stage = harmless(one) if self._left else one
            if stage is None:
                continue
            yield from self._look_for_folders(stage)
            if self._in_step and is_first_of_two(stage, self.run.prepared.request, self.facts):
                continue
            exit_code = yield from self._carry_out(stage)
            if exit_code != 0:
                break
        yield from tell_of_left(self.run)
        return exit_code or self._left or self._moved

    @property
    def _moved(self) -> int:
        return 0 if self._move is None else self._move.exit_code

    def _look_for_folders(self, stage: Stage) -> Iterator[Event]:
        if self._in_step is not None or stage.clearing or stage.at_destination:
            return
        sends_new = self.plan is None or self.plan.adds > 0
        looks = sends_new and loses_folders(self.run.prepared.request)
        self._in_step = (yield from check_folders(self.run)) if looks else False

    def _carry_out(self, stage: Stage) -> Driven:
        """Run one stage; gives 0 where the next one may begin."""
        reader = self.run.reader
        deletes = stage.deleting or stage.clearing
        yield from reader.begin_stage(renaming=stage.renaming, deleting=deletes)
        self.writes = True
        try:
            exit_code = yield from self._driven(stage)
        except Exception:
            # Stopped, or something that nobody foresaw: what was set aside must come back.
            self.cut_off = True
            if not self.run.driver.must_end_at_once:
                yield from remove_cut_short(self.run)
                yield from put_back(self.run, stage, after=self._done)
            yield from self._name_at_source()
            raise
        yield from self._name_at_source()
        failed = exit_code or self._moved
        if failed and reader.set_aside:
            yield from put_back(self.run, stage, after=self._done)
        if stage.unseen and exit_code in GOES_ON:
            # The others have passes of their own, after which nothing is deleted.
            self._left, exit_code = exit_code, 0
        if exit_code == 0:
            self.writes = bool(failed)
            if stage.clearing or stage.part:
                self._done = stage.number
        return exit_code

    def _driven(self, stage: Stage) -> Driven:
        run, bytes_limit = self.run, ByteLimit()
        take = taker(run.prepared.request, self.facts, run.reader, now_s=time.time())
        most = self._most_renames if stage.renaming else self._most_deletes
        exit_code = yield from run.drive(stage, bytes_limit.watching(take), max_delete=most)
        exit_code = bytes_limit.exit_code(exit_code)
        if self._move is not None and not stage.at_destination:
            exit_code = yield from self._move.settle(exit_code)
        if over := deleted_too_many(run.reader):
            raise Stopped(over)
        return exit_code

    @property
    def _most_deletes(self) -> int | None:
        keeps = self.run.reader.keeps_deleted
        return None if self.plan is None else deletions_allowed(self.plan, keeps_deleted=keeps)

    @property
    def _most_renames(self) -> int | None:
        keeps = self.run.reader.keeps_deleted
        return None if self.plan is None else renames_allowed(self.plan, keeps_deleted=keeps)

    def _name_at_source(self) -> Iterator[Event]:
        return named_at_source(self.run.prepared.files.report, self.run.reader)
