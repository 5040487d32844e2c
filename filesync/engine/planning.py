"""Make the plan of a run: drive its dry runs, and count what they say."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace

from filesync.engine.deletions import DeletionSearch
from filesync.engine.drive import ticking
from filesync.engine.events import Event, Plan
from filesync.engine.passes import Stage, hides_there, mirrors, plan_stages
from filesync.engine.plan import PlanTally, ReportCounts
from filesync.engine.renamed_again import NamesInUse
from filesync.engine.stages import Stages
from filesync.engine.tracking import RenameSearch, may_rename
from filesync.engine.tuning import PairFacts


def planned(stages: Stages, facts: PairFacts) -> Generator[Event, None, tuple[PlanTally, Plan]]:
    """Give the plan, and what the dry runs said beside it."""
    prepared = stages.prepared
    request, tally = prepared.request, PlanTally(prepared.request)
    source_bytes = None
    search = RenameSearch(prepared.files) if may_rename(prepared) else None
    take = tally.take if search is None else search.watching(tally.take)
    names = None
    if request.rules.renames:
        names = NamesInUse(prepared.files.in_use, request.keep_deleted_dir is not None)
        take = names.watching(take)
    counts, seen = ReportCounts(), None
    for stage in plan_stages(request, facts):
        exit_code = yield from stages.drive(
            replace(stage, report=stage.report or bool(names)), take
        )
        tally.ended(exit_code)
        if stage.report:
            yield from ticking(counts.read_file(prepared.files.report, tally.sample_paths))
        if names is not None:
            yield from ticking(names.overwritten(prepared.files.report))
    if search is not None:
        yield from search.find(stages, tally)
    if mirrors(request) and hides_there(request) and tally.problems == 0:
        seen = yield from DeletionSearch(tally, take, prepared.files.deletions).find(stages)
    if names is not None and tally.problems == 0:
        tally.renamed_again = yield from names.changed_again(stages)
    if request.guards.max_shrink_percent is not None and tally.problems == 0:
        # One more listing of the source: a dry run tells no sizes of unchanged files.
        answer = yield from stages.ask(Stage("size"))
        source_bytes = int(json.loads(answer)["bytes"])
    return tally, tally.plan(counts, seen=seen, source_bytes=source_bytes)
