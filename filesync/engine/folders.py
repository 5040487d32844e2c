"""See that both sides of a run are folders: one that is a file is refused before anything is done.

rclone copies a single file too, but it neither compares nor counts one as it does a folder's, and
what it moved could not be sent back.
"""

from __future__ import annotations

from pathlib import Path

from filesync.engine.errors import Failure, FailureClass, PathRefused
from filesync.engine.no_folder import destination_is_file, source_is_file
from filesync.engine.paths import full_path, resolve_local
from filesync.engine.plan import PlanTally, ReportCounts
from filesync.engine.request import Endpoint, Method, SyncRequest


def check_local_folders(request: SyncRequest, local_roots: tuple[Path, ...]) -> None:
    """Raise PathRefused where a local side is a file, or the destination would be inside one."""
    if request.method is not Method.INCREMENTAL and _is_plain_local(request.source):
        source = resolve_local(request.source, local_roots)
        if source.is_file():
            raise PathRefused(source_is_file(full_path(request.source)))
    if _is_plain_local(request.destination):
        destination = resolve_local(request.destination, local_roots)
        there = next(each for each in (destination, *destination.parents) if each.exists())
        if there.is_file():
            raise PathRefused(destination_is_file(str(there)))


def single_file(request: SyncRequest, tally: PlanTally, report: ReportCounts) -> Failure | None:
    """Tell of a source on a server that is a file: a dry run finds one and lists nothing.

    Files that a run is limited to are asked for by name.
    """
    found = tally.told_copies + report.added + report.both
    if (
        request.method is Method.INCREMENTAL
        or request.only_paths is not None
        or tally.problems
        or tally.listed
        or not found
    ):
        return None
    return Failure.of(FailureClass.CONFIG, source_is_file(full_path(request.source)))


def _is_plain_local(endpoint: Endpoint) -> bool:
    return endpoint.remote.backend == "local" and endpoint.remote.encryption is None
