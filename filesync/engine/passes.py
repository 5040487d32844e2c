"""Choose the rclone processes of a request, and the flags by which each finds its files: pure.

The rest of a command line is written in command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count

from filesync.engine.events import Plan
from filesync.engine.request import Compare, Method, Rules, SyncRequest
from filesync.engine.tuning import PairFacts

NO_CHECKSUMS = (
    "The two storages have no checksum in common: files are compared by size and by the time of "
    "their last change."
)
NO_CONTENTS = (
    "The two storages have no checksum in common: sizes and times are compared, and not contents. "
    "Compared by checksum, each file is downloaded and its contents are compared."
)
NO_CONTENTS_OR_TIMES = (
    "The two storages have neither checksums nor times in common: sizes are compared, and whether "
    "a file changed after it was uploaded, and not contents. Compared by checksum, each file is "
    "downloaded and its contents are compared."
)
NO_CONTENTS_OF_RENAMED = (
    "The two storages have no checksum in common, and rename rules change names: sizes are "
    "compared, and not contents, as other rules may hide a file on one side."
)
ONLY_SIZE = ("--size-only",)
_BY_UPLOAD_TIME = ("--update", "--use-server-modtime")


@dataclass(frozen=True, slots=True)
class Stage:
    """One rclone process of a run; a run that fails in one stage does not enter the next.

    `deleting` limits it to what the plan found to delete, `clearing` to what of it stands in the
    way of copies, `alike` to the files that an earlier stage found to be alike, `part` to those of
    a part of a move; an `unseen` one sends what no comparison may see as changed, and may fail;
    without `sized` sizes and ages do not count. `number` counts those that may
    set files aside: each keeps them in a folder of its own.
    """

    verb: str
    flags: tuple[str, ...] = ()
    dry_run: bool = False
    report: bool = False
    at_destination: bool = False
    renaming: bool = False
    deleting: bool = False
    clearing: bool = False
    alike: bool = False
    part: bool = False
    unseen: bool = False
    sized: bool = True
    number: int = 1


DELETING = Stage("sync", ("--ignore-existing",), deleting=True)
"""Deletes what the plan found to delete, and the source still lacks if no rule changes names."""

RENAMING = Stage("sync", renaming=True)
"""Gives files their new names, before anything is sent or deleted."""

CLEARING = Stage("sync", ("--ignore-existing",), clearing=True)
"""Deletes what stands in the way of copies, before them."""


def numbered(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Give each stage that may set files aside its number."""
    numbers = count(1)
    return tuple(
        stage if stage.at_destination else replace(stage, number=next(numbers)) for stage in stages
    )


def plan_stages(request: SyncRequest, facts: PairFacts) -> tuple[Stage, ...]:
    """Give the dry runs whose messages make the plan; the first one writes the report."""
    apart = mirrors(request) and hides_there(request)
    verb = "sync" if mirrors(request) and not apart else _verb(request)
    if request.method is Method.OVERWRITE or request.method is Method.MOVE:
        return (Stage(verb, ("--ignore-times",), dry_run=True, report=True),)
    compare = _compare_passes(request, facts)
    first = Stage(verb, compare[0], dry_run=True, report=True)
    unseen = _unseen_changes(request, facts)
    return (first, *(Stage("copy", flags, dry_run=True) for flags in (*compare[1:], *unseen)))


def run_stages(request: SyncRequest, facts: PairFacts) -> tuple[Stage, ...]:
    """Give the processes that carry the request out, in order; only the last one deletes."""
    stages = _run_stages(request, facts)
    # What the destination did not have is cut short where less of it is there than was sent.
    report = writes_in_place(request) or request.method is Method.CHECK
    # Under rename rules the report alone says which file of the source failed, or was left.
    report = report or bool(request.rules.renames)
    return tuple(replace(stage, report=report) for stage in stages)


def stages_to_run(
    request: SyncRequest, facts: PairFacts, plan: Plan | None, *, clears: bool
) -> tuple[Stage, ...]:
    """Give the processes of a run, numbered: those that its plan, if it has one, gives work to.

    `clears` says that something stands in the way of its copies.
    """
    stages = run_stages(request, facts)
    if request.destination.remote.backend == "ftp" and request.method is not Method.CHECK:
        # A copy into a folder that is not there yet fails on FTP.
        stages = (Stage("mkdir", at_destination=True), *stages)
    if plan is not None and plan.renames:
        stages = (RENAMING, *stages)
    if clears:
        stages = (CLEARING, *stages)
    if plan is not None and not plan.deletes:
        stages = tuple(stage for stage in stages if not stage.deleting)
    return numbered(stages)


def hides_there(request: SyncRequest) -> bool:
    """Whether the rules can hide a file at the destination whose source they let through.

    Its size or age is another there, or its name. rclone would overwrite it without keeping it,
    and take a copy for one without a source where the rules hide that; so the destination is
    looked at without rules, and deletions are a stage of their own. A CHECK would take files for
    missing that are there, and finds in a stage of its own what only the destination has.
    """
    rules = request.rules
    if request.only_paths is not None:
        return bool(rules.renames)
    return is_sized(rules) or bool(rules.renames and rules.filters)


def is_sized(rules: Rules) -> bool:
    """Whether the size or the age of a file decides whether it counts."""
    bounds = (rules.min_size_bytes, rules.max_size_bytes, rules.min_age_s, rules.max_age_s)
    return any(bound is not None for bound in bounds)


def writes_in_place(request: SyncRequest) -> bool:
    """Whether what comes of a file stands under its final name at once."""
    return request.destination.remote.backend == "webdav"


def never_replaces(request: SyncRequest) -> bool:
    """Whether a file that stands at the destination is left, and the one of the source too.

    A rename rule can give two files one name, and which of them stands there nobody knows. Where
    what is replaced is kept, none is lost.
    """
    return (
        request.method is Method.MOVE
        and bool(request.rules.renames)
        and request.keep_deleted_dir is None
    )


def _run_stages(request: SyncRequest, facts: PairFacts) -> tuple[Stage, ...]:
    apart = mirrors(request) and hides_there(request)
    last = "sync" if mirrors(request) and not apart else _verb(request)
    if request.method is Method.CHECK:
        return _check_stages(request, facts)
    if request.method is Method.MOVE:
        # Equal size and time are no proof of an equal copy, and the source goes next: so every
        # file is sent, and removed after rclone compared the copy. --update would even remove a
        # source file that was never sent because the destination's is newer.
        # --ignore-existing leaves the source's file too.
        leaving = ("--ignore-existing",) if never_replaces(request) else ()
        return (Stage("move", ("--ignore-times", "--disable", "DirMove", *leaving)),)
    if request.method is Method.OVERWRITE:
        copy = Stage("copy", ("--ignore-times",))
        if apart:
            return (copy, DELETING)
        return (copy, Stage("sync", ONLY_SIZE)) if mirrors(request) else (copy,)
    passes = _compare_passes(request, facts)
    # What these send is in step for the passes after them.
    unseen = (Stage("copy", flags, unseen=True) for flags in _unseen_changes(request, facts))
    compared = (Stage("copy", flags) for flags in passes[:-1])
    stages = (*unseen, *compared, Stage(last, passes[-1]))
    return (*stages, DELETING) if apart else stages


def mirrors(request: SyncRequest) -> bool:
    """Whether what the source does not have is deleted at the destination."""
    return request.method in (Method.FULL, Method.OVERWRITE) and request.only_paths is None


def _verb(request: SyncRequest) -> str:
    return {Method.MOVE: "move", Method.CHECK: "check"}.get(request.method, "copy")


def _compare_passes(request: SyncRequest, facts: PairFacts) -> tuple[tuple[str, ...], ...]:
    """Give the flags that find changed files, one tuple per pass.

    With neither times nor hashes in common, sizes alone miss an edit of the same size, and
    --update alone skips a file that is older than the copy although its size differs: so first
    the one, then the other. Without a hash in common --checksum would compare sizes alone too.
    """
    if request.compare is Compare.SIZE:
        return (ONLY_SIZE,)
    if facts.sizes_only and request.only_paths is not None:
        # They are known to need sending, and not all of them by their sizes or upload times.
        return (("--ignore-times",),)
    if facts.sizes_only:
        return (ONLY_SIZE, _BY_UPLOAD_TIME)
    by_hash = request.compare is Compare.CHECKSUM and facts.shares_hash
    return (("--checksum",),) if by_hash or not facts.shares_mtime else ((),)


def _unseen_changes(request: SyncRequest, facts: PairFacts) -> tuple[tuple[str, ...], ...]:
    """Give the flags of a pass that sends what no comparison may see as changed.

    Of equal size, a change during an upload is older than the upload, and so is one that the
    destination's clock is ahead of.
    """
    since_s = request.unsure_since_s
    knows = facts.source.has_mtime and request.only_paths is None
    if since_s is None or not facts.sizes_only or request.compare is Compare.SIZE or not knows:
        return ()
    since = datetime.fromtimestamp(since_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # The copy has another age, and must be seen all the same: by its name, as they are few. Under
    # its new name it is found only in the destination's own listing.
    sees = "--delete-excluded" if request.rules.renames else "--no-traverse"
    return (("--ignore-times", "--max-age", since, sees),)


def harmless(stage: Stage) -> Stage | None:
    """Give a stage that deletes nothing, as an earlier one failed; None where it only deletes."""
    if stage.deleting:
        return None
    return replace(stage, verb="copy") if stage.verb == "sync" else stage


def is_first_of_two(stage: Stage, request: SyncRequest, facts: PairFacts) -> bool:
    """Whether a stage does nothing where all sizes are equal, and another follows it.

    Where files are kept each stage has its number, so that none is left out.
    """
    compares = facts.sizes_only and request.compare is not Compare.SIZE
    return compares and request.keep_deleted_dir is None and stage.flags == ONLY_SIZE


def lacks_checksums(request: SyncRequest, facts: PairFacts) -> bool:
    """Whether checksums were asked for where the sides have none in common to compare."""
    compares = request.method in (Method.INCREMENTAL, Method.FULL)
    return compares and request.compare is Compare.CHECKSUM and not facts.shares_hash


def comparison_remark(request: SyncRequest, facts: PairFacts) -> str | None:
    """Say what is compared where that is less than a person may think; None where it is not."""
    if lacks_checksums(request, facts):
        return NO_CHECKSUMS
    if request.method is not Method.CHECK or facts.shares_hash or request.compare is Compare.SIZE:
        return None
    if request.compare is Compare.CHECKSUM:
        reads = not (hides_there(request) and request.rules.renames)
        return None if reads else NO_CONTENTS_OF_RENAMED
    return NO_CONTENTS_OR_TIMES if facts.sizes_only else NO_CONTENTS


def _check_stages(request: SyncRequest, facts: PairFacts) -> tuple[Stage, ...]:
    """Give the processes of a CHECK, each with its report.

    rclone's check looks at sizes and hashes alone, and fails without a hash in common. What a copy
    would send tells then what differs by size and time. It alone can also look at the whole
    destination, where rules hide there what they let through at the source.
    """
    if hides_there(request):
        return _check_stages_of_copies(request, facts)
    if request.compare is Compare.SIZE:
        return (Stage("check", ONLY_SIZE),)
    if facts.shares_hash:
        return (Stage("check"),)
    if request.compare is Compare.CHECKSUM:
        return (Stage("check", ("--download",)),)
    if facts.sizes_only:
        return (Stage("check", ONLY_SIZE), Stage("copy", _BY_UPLOAD_TIME, dry_run=True))
    return (Stage("copy", dry_run=True),)


def _check_stages_of_copies(request: SyncRequest, facts: PairFacts) -> tuple[Stage, ...]:
    by_content = request.compare is Compare.CHECKSUM and not facts.shares_hash
    if request.compare is Compare.SIZE or by_content:
        sizes = Stage("copy", ONLY_SIZE, dry_run=True)
        # Under rename rules the one name would have to let two through, one on each side.
        reads = by_content and not request.rules.renames
        return (sizes, Stage("check", ("--download",), alike=True)) if reads else (sizes,)
    if facts.shares_hash:
        return (Stage("copy", ("--checksum",), dry_run=True),)
    return tuple(Stage("copy", flags, dry_run=True) for flags in _compare_passes(request, facts))


def skips_read_back(request: SyncRequest) -> bool:
    """Whether rclone may leave out reading a copy again to compare its hash.

    Only between local disks, where the copy is read from the page cache and proves nothing about
    the disk, at three quarters of the time (1 GiB: 4.1 to 1.08 times cp). Sizes are compared all
    the same. Never where the source is deleted next, nor where a person asked for checksums.
    """
    return (
        request.source.remote.backend == request.destination.remote.backend == "local"
        and request.source.remote.encryption is request.destination.remote.encryption is None
        and request.method is not Method.MOVE
        and request.compare is not Compare.CHECKSUM
    )
