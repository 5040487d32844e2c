"""Which storages can keep files, and deleting a folder of kept files that is over its time."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path

from filesync.engine import ini, paths
from filesync.engine.command import RunFiles, base_flags
from filesync.engine.confine import confine
from filesync.engine.drive import Driver, Stopped
from filesync.engine.errors import Failure, PathRefused
from filesync.engine.events import Event, StopSignal, Totals
from filesync.engine.outcome import conclude
from filesync.engine.prepare import validate_remote
from filesync.engine.problems import Problems
from filesync.engine.request import KEPT_FOLDER, Endpoint, Limits, Method, Remote
from filesync.engine.sections import sections_of, target
from filesync.engine.texts import Text

PURGE_LIMITS = Limits(max_runtime_s=600, stall_timeout_s=120)
# rclone's list of optional features: these neither move nor copy within themselves.
_CANNOT_KEEP = frozenset({"cloudinary", "doi", "google photos", "http", "netstorage", "sia"})


def can_keep(backend: str) -> bool:
    """Whether a storage can set files aside by itself, without sending them through us."""
    return backend not in _CANNOT_KEEP


def purge_kept(
    remote: Remote, folder: str, *, rclone: Path, local_roots: tuple[Path, ...]
) -> Failure | None:
    """Delete a folder of kept files with all that is in it; one that is gone is no failure.

    Raises:
        EngineError: the remote is refused, or the folder is not one below `KEPT_FOLDER`.
    """
    names = paths.validate_path(folder).split("/")
    if names[0] != KEPT_FOLDER or len(names) < 2:
        raise PathRefused(
            Text(
                "{folder!r} is no folder below {parent}",
                folder=folder,
                parent=KEPT_FOLDER,
            ),
            field="folder",
        )
    validate_remote(remote, local_roots)
    where = target("dst", Endpoint(remote, folder), local_roots)
    with tempfile.TemporaryDirectory(prefix="syncbeat-purge-") as name:
        files = RunFiles(Path(name))
        sections = sections_of("dst", remote, Method.FULL, local_roots)
        ini.write_private(files.config, ini.render_ini(sections))
        argv = (str(rclone), "purge", *base_flags(files), "--", where)
        driver = Driver(
            files.work_dir, remotes=(remote,), limits=PURGE_LIMITS, stop=StopSignal(), inherit=()
        )
        driver.rules = confine(
            rclone=rclone,
            work_dir=files.work_dir,
            reads=(),
            writes=(remote,),
            local_roots=local_roots,
        )
        try:
            return _failure(driver, argv)
        finally:
            driver.close()


def _failure(driver: Driver, argv: tuple[str, ...]) -> Failure | None:
    problems = Problems()
    events: Generator[Event, None, int] = driver.drive(argv, problems.note)
    try:
        for _ in events:
            pass
    except Stopped as stopped:
        return stopped.failure
    exit_code = driver.exit_code or 0
    if problems.tell_of_missing_root(exit_code):
        return None
    return conclude(exit_code, Totals(), problems)[1]
