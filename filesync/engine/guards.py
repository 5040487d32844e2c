"""Decide whether a plan may be carried out: pure; counting it is in plan."""

from __future__ import annotations

from filesync.engine.errors import Failure, FailureClass
from filesync.engine.events import Plan
from filesync.engine.passes import mirrors
from filesync.engine.plan import PlanTally
from filesync.engine.request import Method, SyncRequest
from filesync.engine.texts import Text

# A folder that cannot be listed fails with one of these; the others concern the whole storage.
_LISTING_CLASSES = frozenset(
    {
        FailureClass.NOT_FOUND,
        FailureClass.PERMISSION,
        FailureClass.NAME_NOT_ALLOWED,
        FailureClass.INTERNAL,
    }
)


def deletions_allowed(plan: Plan, *, keeps_deleted: bool) -> int:
    """Give the most deletions rclone may make: the backstop behind the plan.

    Where a storage cannot rename (S3), keeping a file is a copy and a deletion: an overwritten
    one counts once, and a deleted one twice.
    """
    return 2 * plan.deletes + plan.updates if keeps_deleted else plan.deletes


def renames_allowed(plan: Plan, *, keeps_deleted: bool) -> int:
    """Give the most deletions rclone may make while it renames files.

    Where a storage cannot rename, a file is copied and the old one deleted; what turns out to be
    another file by then is deleted, or kept, as in `deletions_allowed`.
    """
    return 2 * plan.renames if keeps_deleted else plan.renames


def deletions_tolerated(request: SyncRequest, plan: Plan) -> int | None:
    """Give how many files may be gone before a run is ended; None where nothing limits it.

    More than planned is no reason to end as long as the guards would have let it pass in a plan.
    """
    if request.force:
        return plan.deletes
    limits: list[float] = []
    if request.guards.max_delete_files is not None:
        limits.append(request.guards.max_delete_files)
    if request.guards.max_delete_percent is not None and plan.destination_files:
        limits.append(plan.destination_files * request.guards.max_delete_percent / 100)
    return max(plan.deletes, int(min(limits))) if limits else None


def guard_failure(request: SyncRequest, plan: Plan, tally: PlanTally) -> Failure | None:
    """Tell what forbids carrying a plan out; None when nothing does.

    A MOVE deletes only what it has sent, so only its source is guarded, not counts.
    """
    if tally.renamed_again is not None:
        return _renamed_again(tally.renamed_again)
    if not request.method.can_delete:
        return None
    unreadable = reading_failure(tally)
    if unreadable is not None:
        return unreadable
    if request.method is Method.MOVE:
        return _same_name(tally)
    if not mirrors(request) or request.force:
        return None
    return (
        _empty_source(plan)
        or _link_in_the_way(tally)
        or _too_many_deletes(request, plan)
        or _shrunk(request, plan)
    )


def _same_name(tally: PlanTally) -> Failure | None:
    """Tell of files that a MOVE would put to one place: the next run would replace the first."""
    if not tally.duplicates:
        return None
    return Failure.of(
        FailureClass.GUARD,
        Text(
            "{count} file(s) have the same name at the destination as another file of the source, "
            "the first: {path}. One would replace the other, so nothing was moved.",
            count=tally.duplicates,
            path=tally.first_duplicate,
        ),
        guard="same_name",
    )


def _miscounted() -> Failure:
    return Failure.of(
        FailureClass.GUARD,
        Text(
            "The files cannot be counted: names with line breaks look like further files. Rename "
            "those; nothing was done."
        ),
        guard="source_unreadable",
    )


def reading_failure(tally: PlanTally) -> Failure | None:
    """Tell why a plan is not to be trusted: force does not help against it."""
    problem = tally.root_problem or tally.first_problem
    if problem is None:
        return _miscounted() if tally.is_miscounted else None
    if problem.failure_class is FailureClass.NOT_FOUND and not problem.path:
        return Failure.of(
            FailureClass.GUARD,
            Text("The source does not exist: {text}. Nothing was deleted.", text=problem.text),
            guard="source_missing",
        )
    if problem.failure_class not in _LISTING_CLASSES or (problem.critical and not problem.path):
        return Failure.of(
            problem.failure_class, Text("The plan could not be made: {text}", text=problem.text)
        )
    return Failure.of(
        FailureClass.GUARD,
        Text(
            "{count} path(s) could not be read while planning, the first: {path} ({text}). What "
            "cannot be seen must not be taken for deleted, so nothing was done.",
            count=tally.problems,
            path=problem.path or "/",
            text=problem.text,
        ),
        guard="source_unreadable",
    )


def _renamed_again(path: str) -> Failure:
    return Failure.of(
        FailureClass.CONFIG,
        Text(
            "The rename rules would change {path} once more, which is the name of a file at the "
            "destination: what comes in its place, or is kept of it, would bear another name. "
            "Nothing was done. Write the rules so that they leave the names they make alone.",
            path=path,
        ),
    )


def _empty_source(plan: Plan) -> Failure | None:
    if plan.source_files or not (plan.deletes or plan.dirs_removed):
        return None
    return Failure.of(
        FailureClass.GUARD,
        Text(
            "The source has no files, and {deletes} of the destination's "
            "{total} files ({size}) would be deleted.",
            deletes=plan.deletes,
            total=plan.destination_files or 0,
            size=_size(plan.bytes_to_delete),
        ),
        guard="source_empty",
    )


def _link_in_the_way(tally: PlanTally) -> Failure | None:
    if not tally.links.deletes:
        return None
    return Failure.of(
        FailureClass.GUARD,
        Text(
            "{path} is a symbolic link at the source, which is not followed; {count} file(s) of "
            "that name or below it would be deleted at the destination.",
            path=tally.links.first,
            count=tally.links.deletes,
        ),
        guard="source_link",
    )


def _too_many_deletes(request: SyncRequest, plan: Plan) -> Failure | None:
    guards = request.guards
    total = plan.destination_files or 0
    percent = 100 * plan.deletes / total if total else 0.0
    numbers = Text(
        "{deletes} of the destination's {total} files ({size}) would be deleted",
        deletes=plan.deletes,
        total=total,
        size=_size(plan.bytes_to_delete),
    )
    if guards.max_delete_files is not None and plan.deletes > guards.max_delete_files:
        return Failure.of(
            FailureClass.GUARD,
            Text(
                "{numbers}; the limit is {most}.",
                numbers=numbers,
                most=guards.max_delete_files,
            ),
            guard="max_delete_files",
        )
    if guards.max_delete_percent is not None and percent > guards.max_delete_percent:
        return Failure.of(
            FailureClass.GUARD,
            Text(
                "{numbers}, which is {percent:.1f} %; the limit is {most:g} %.",
                numbers=numbers,
                percent=percent,
                most=guards.max_delete_percent,
            ),
            guard="max_delete_percent",
        )
    return None


def _size(size_bytes: float) -> str:
    """Give a size as it is written in every language."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:
            # From 1000 on three digits would be written with an exponent.
            digits = ".3g" if size_bytes < 100 else ".0f"
            return f"{size_bytes:{digits}} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:,.1f} TiB"


def _shrunk(request: SyncRequest, plan: Plan) -> Failure | None:
    guards = request.guards
    if guards.max_shrink_percent is None:
        return None
    for what, before, now in (
        (Text("files"), guards.last_good_source_files, plan.source_files),
        (Text("bytes"), guards.last_good_source_bytes, plan.source_bytes),
    ):
        if not before or now is None or now >= before:
            continue
        percent = 100 * (before - now) / before
        if percent > guards.max_shrink_percent:
            return Failure.of(
                FailureClass.GUARD,
                Text(
                    "The source shrank from {before} to {now} {what} since the last good run, by "
                    "{percent:.1f} %; the limit is {most:g} %.",
                    before=before,
                    now=now,
                    what=what,
                    percent=percent,
                    most=guards.max_shrink_percent,
                ),
                guard="source_shrunk",
            )
    return None
