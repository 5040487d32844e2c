"""Make the plan of a run: drive its dry runs, count what they say, look for what they do not."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from dataclasses import replace

from filesync.engine import linked_folders
from filesync.engine.clashes import NewNames, check_cases
from filesync.engine.deletions import DeletionSearch
from filesync.engine.drive import Stopped, ticking
from filesync.engine.events import Event, Plan
from filesync.engine.folders import single_file
from filesync.engine.in_the_way import InTheWay, keeps_partials
from filesync.engine.most_files import FirstFiles, is_exact
from filesync.engine.passes import Stage, hides_there, mirrors, never_replaces, plan_stages
from filesync.engine.plan import PlanTally, ReportCounts
from filesync.engine.renamed_again import NamesInUse
from filesync.engine.request import Method, SyncRequest
from filesync.engine.same_folder import check_apart
from filesync.engine.stages import Stages
from filesync.engine.texts import Text
from filesync.engine.tracking import RenameSearch, may_rename
from filesync.engine.tuning import PairFacts


def needs_plan(request: SyncRequest) -> bool:
    """Whether a run is planned: where it may delete, gives new names, or sends exactly so many."""
    is_planned = request.dry_run or request.method.can_delete or bool(request.rules.renames)
    return is_planned or is_exact(request.limits)


def planned(stages: Stages, facts: PairFacts) -> Generator[Event, None, tuple[PlanTally, Plan]]:
    """Give the plan, and what the dry runs said beside it.

    Raises:
        Stopped: the source is no folder.
    """
    prepared = stages.prepared
    request, tally = prepared.request, PlanTally(prepared.request)
    source_bytes = None
    search = RenameSearch(prepared.files) if may_rename(prepared) else None
    take = tally.take if search is None else search.watching(tally.take)
    take = linked_folders.watching(request, take)
    in_use = None
    if request.rules.renames:
        in_use = NamesInUse(prepared.files.in_use, request.keep_deleted_dir is not None)
        take = in_use.watching(take)
    if is_exact(request.limits):
        tally.first_files = FirstFiles(request.limits.max_files or 0, request.failed_before)
        take = tally.first_files.watching(take)
    names = NewNames(prepared.files) if request.method is Method.MOVE else None
    if names is not None:
        take = names.watching(take)
    way = None
    if mirrors(request) and not request.rules.renames:
        way = InTheWay(prepared.files.in_the_way, partials=keeps_partials(request))
        take = way.watching(take)
    counts, seen = ReportCounts(), None
    for stage in plan_stages(request, facts):
        exit_code = yield from stages.drive(
            replace(stage, report=stage.report or in_use is not None), take
        )
        tally.ended(exit_code)
        if stage.report:
            yield from ticking(counts.read_file(prepared.files.report, tally.sample_paths))
        if in_use is not None:
            yield from ticking(in_use.overwritten(prepared.files.report))
    if (failure := single_file(request, tally, counts)) is not None:
        raise Stopped(failure)
    # A file that is in the way can't wait until it is known for another's.
    if search is not None and not (way is not None and way.found):
        yield from search.find(stages, tally)
    if mirrors(request) and hides_there(request) and tally.problems == 0:
        seen = yield from DeletionSearch(tally, take, prepared.files.deletions).find(stages)
    if in_use is not None and tally.problems == 0:
        tally.renamed_again = yield from in_use.changed_again(stages)
    if request.guards.max_shrink_percent is not None and tally.problems == 0:
        # One more listing of the source: a dry run tells no sizes of unchanged files.
        answer = yield from stages.ask(Stage("size"))
        source_bytes = int(json.loads(answer)["bytes"])
    if way is not None:
        way.flush()
        tally.clears = way.found
    if names is not None:
        yield from ticking(names.find_alike())
        tally.alike = names.alike
    if not hides_there(request):
        tally.is_miscounted = not tally.believes(counts)
    plan = tally.plan(counts, seen=seen, source_bytes=source_bytes)
    if request.dry_run:
        yield from _warned(stages, tally, plan)
    return tally, plan


def look_first(stages: Stages, tally: PlanTally, plan: Plan) -> Iterator[Event]:
    """See before anything is changed what no plan tells; it may write a marker.

    Raises:
        Stopped: a file would be lost, or it cannot be found out.
    """
    yield from check_apart(stages, plan)
    yield from check_cases(stages, tally.alike)


def _warned(stages: Stages, tally: PlanTally, plan: Plan) -> Iterator[Event]:
    """Tell of what a run would leave, which no count of a plan tells."""
    first = tally.first_files
    if first is not None and first.more:
        yield stages.driver.warn(
            Text("{count} file(s) would be sent, the limit of files for one run.", count=first.most)
        )
    if tally.duplicates:
        yield stages.driver.warn(
            Text(
                "{count} file(s) would be left out, the first: {path}. Another file of the source "
                "has the same name at the destination.",
                count=tally.duplicates,
                path=tally.first_duplicate,
            )
        )
    if tally.alike is not None:
        one, other = tally.alike
        yield stages.driver.warn(
            Text(
                "{one} and {other} have one name at the destination if capitals count as small "
                "letters there: then nothing would be moved.",
                one=one,
                other=other,
            )
        )
    if plan.updates and never_replaces(stages.prepared.request):
        yield stages.driver.warn(
            Text(
                "{count} file(s) would not be moved: a file of the new name is at the destination "
                "already, and may be another one that a rename rule gave this name.",
                count=plan.updates,
            )
        )
