"""Turn a stage of a request into rclone's command line: pure; which there are is in passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filesync.engine import tuning
from filesync.engine.filters import OWN_RULE, is_speakable
from filesync.engine.ini import CONFIG_FILE
from filesync.engine.kept_files import stage_folder
from filesync.engine.partials import partial_suffix
from filesync.engine.passes import Stage, hides_there, skips_read_back
from filesync.engine.renames import name_transforms
from filesync.engine.request import Limits, Method, Remote, SyncRequest

_NO_TRAVERSE_FILES = 100
_ONE_SIDED = {
    "features": ("backend", "features"),
    "listed": (
        *("lsf", "-R", "--files-only", "--use-server-modtime", "--format", "stp"),
        *("--time-format", "2006-01-02T15:04:05.999999999Z07:00"),
    ),
    "mkdir": ("mkdir",),
    "names": ("lsf", "--max-depth", "1"),
    "remove": ("delete",),
    "size": ("size", "--json"),
    "sizes": ("lsjson", "-R", "--files-only", "--no-mimetype", "--no-modtime"),
}
_OF_SOME_FILES = frozenset({"remove", "sizes"})


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run, all below its private folder."""

    work_dir: Path

    @property
    def config(self) -> Path:
        """The configuration with the secrets."""
        return self.work_dir / CONFIG_FILE

    @property
    def cache(self) -> Path:
        """Where rclone may cache."""
        return self.work_dir / "cache"

    @property
    def filters(self) -> Path:
        """The ordered filter lines."""
        return self.work_dir / "filter"

    @property
    def only(self) -> Path:
        """The files a run is limited to, each ended by NUL."""
        return self.work_dir / "only"

    @property
    def answer(self) -> Path:
        """What a short command printed."""
        return self.work_dir / "answer"

    @property
    def renames(self) -> Path:
        """The old and new names of the files that may be renamed, each ended by NUL."""
        return self.work_dir / "renames"

    @property
    def deletions(self) -> Path:
        """The files that are to be deleted, each ended by NUL, where a stage deletes only those."""
        return self.work_dir / "deletions"

    @property
    def nothing(self) -> Path:
        """An empty folder."""
        return self.work_dir / "nothing"

    @property
    def in_the_way(self) -> Path:
        """What must be deleted before anything is copied, each ended by NUL."""
        return self.work_dir / "in-the-way"

    @property
    def part(self) -> Path:
        """The files of a part of a move, each ended by NUL."""
        return self.work_dir / "part"

    @property
    def alike(self) -> Path:
        """The files that a CHECK found to be alike so far, each ended by NUL."""
        return self.work_dir / "alike"

    @property
    def in_use(self) -> Path:
        """The names of the destination that lose their file, each ended by NUL."""
        return self.work_dir / "in-use"

    @property
    def found(self) -> Path:
        """What was found while looking for renamed files."""
        return self.work_dir / "found"

    @property
    def report(self) -> Path:
        """What rclone found about each path: a mark, a space, the path."""
        return self.work_dir / "report"


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides as rclone names them ("src:/a"), and where kept files go.

    `earlier` is the folder of those that earlier attempts of the run kept.
    """

    source: str
    destination: str
    backup: str | None = None
    earlier: str | None = None


def build_argv(
    rclone: Path,
    stage: Stage,
    request: SyncRequest,
    *,
    sides: Sides,
    files: RunFiles,
    max_delete: int | None = None,
    sent_bytes: int = 0,
) -> tuple[str, ...]:
    """Give the whole command line of a stage; it holds no secret.

    `sent_bytes` is what earlier stages sent: the limit of bytes is the run's, not each stage's.
    """
    if stage.verb in _ONE_SIDED:
        side = sides.destination if stage.at_destination else sides.source
        if stage.verb == "names":
            side = side.partition(":")[0] + ":"
        return (
            *(str(rclone), *_ONE_SIDED[stage.verb], *base_flags(files)),
            *_some_of_one_side(request, stage, files),
            *("--", side),
        )
    if stage.verb == "rename" and not stage.at_destination:
        words = (str(rclone), "convmv", *base_flags(files), *_rules(request, files))
        return (*words, "--dry-run", "--", sides.source)
    if stage.verb == "rename":
        renames, named = request.rules.renames, ("--files-from0", str(files.in_use))
        return rename_argv(rclone, renames, files, sides.destination, *named)
    return (
        str(rclone),
        stage.verb,
        *base_flags(files),
        *_limits(request, stage, sent_bytes),
        *_files_of(request, stage, files),
        *_copying(request, stage, sides, max_delete),
        *stage.flags,
        *(("--combined", str(files.report)) if stage.report else ()),
        *(("--dry-run",) if stage.dry_run else ()),
        "--",
        # The names to delete would let files of the source through, which get other names.
        str(files.nothing) if stage.deleting and request.rules.renames else sides.source,
        sides.destination,
    )


def _some_of_one_side(request: SyncRequest, stage: Stage, files: RunFiles) -> tuple[str, ...]:
    if stage.part:
        return ("--files-from0", str(files.part), "--no-traverse")
    if stage.verb in ("size", "listed"):
        return _rules(request, files)
    return ("--files-from0", str(files.only)) if stage.verb in _OF_SOME_FILES else ()


def rename_argv(
    rclone: Path, renames: Sequence[tuple[str, str]], files: RunFiles, side: str, *flags: str
) -> tuple[str, ...]:
    """Give the command line that only tells what rename rules would make of a folder's names."""
    transforms = _transforms(renames)
    return (str(rclone), "convmv", *base_flags(files), *flags, *transforms, "--dry-run", "--", side)


def put_back_argv(
    rclone: Path, request: SyncRequest, *, sides: Sides, files: RunFiles, kept: str
) -> tuple[str, ...]:
    """Give the command that moves kept files to where nothing stands at the destination."""
    return (
        *(str(rclone), "move", *base_flags(files), *_speed(request)),
        # The kept folder may be inside the destination, and is no part of it.
        *("--filter", OWN_RULE, "--ignore-existing", "--disable", "DirMove"),
        *("--", kept, sides.destination),
    )


def base_flags(files: RunFiles) -> tuple[str, ...]:
    """Give the flags that every rclone process has."""
    return (
        *("--config", str(files.config), "--cache-dir", str(files.cache)),
        *("--temp-dir", str(files.work_dir), "--ask-password=false"),
        *("--use-json-log", "--log-level", "INFO"),
        *("--stats", "1s", "--stats-log-level", "NOTICE", "--stats-file-name-length", "0"),
        # rclone's own retry would reset its error count and write the report anew.
        *("--retries", "1", "--low-level-retries", "3"),
        *("--contimeout", "15s", "--timeout", "60s"),
    )


def speed_flags(limits: Limits, source: Remote, destination: Remote) -> list[str]:
    """Give the flags that say how much goes at once and how fast."""
    flags = [
        "--transfers",
        str(limits.transfers or tuning.transfers(source, destination)),
        "--checkers",
        str(limits.checkers or tuning.checkers(source, destination)),
    ]
    if limits.bandwidth is not None:
        flags += ["--bwlimit", limits.bandwidth]
    if limits.calls_per_s is not None:
        flags += ["--tpslimit", f"{limits.calls_per_s:g}"]
    return flags


def _speed(request: SyncRequest) -> list[str]:
    return speed_flags(request.limits, request.source.remote, request.destination.remote)


def _limits(request: SyncRequest, stage: Stage, sent_bytes: int) -> tuple[str, ...]:
    limits = request.limits
    flags = _speed(request)
    if limits.max_bytes is not None and not stage.dry_run and stage.verb != "check":
        left_bytes = max(0, limits.max_bytes - sent_bytes)
        flags += ["--max-transfer", f"{left_bytes}B", "--cutoff-mode", "SOFT"]
    return tuple(flags)


def _files_of(request: SyncRequest, stage: Stage, files: RunFiles) -> tuple[str, ...]:
    if stage.renaming:
        return _tracking(files)
    if stage.clearing:
        return ("--files-from0", str(files.in_the_way))
    if stage.deleting:
        return ("--files-from0", str(files.deletions))
    if stage.alike:
        return ("--files-from0", str(files.alike), *_renames(request))
    if stage.part:
        # Under its new name rclone finds a file only in the destination's own listing.
        looks_at_all = ("--delete-excluded",) if request.rules.renames else ("--no-traverse",)
        return ("--files-from0", str(files.part), *looks_at_all, *_renames(request))
    rules = _rules(request, files, sized=stage.sized)
    # Nothing is deleted by these two: they only see the whole destination then.
    sees_all = stage.verb in ("copy", "move") and hides_there(request)
    return (*rules, "--delete-excluded") if sees_all else rules


def _rules(request: SyncRequest, files: RunFiles, *, sized: bool = True) -> tuple[str, ...]:
    if request.only_paths is not None and not all(map(is_speakable, request.only_paths)):
        return ("--filter-from", str(files.filters), *_renames(request))
    if request.only_paths is not None:
        flags = ["--files-from0", str(files.only)]
        few = len(request.only_paths) <= _NO_TRAVERSE_FILES
        # Asked for by name, a file is found behind a link to a folder too; a walk skips links.
        walks = request.source.remote.backend == "local" or request.method is Method.CHECK
        # Under its new name rclone finds a file only in the destination's own listing.
        if few and not walks and not request.rules.renames:
            flags.append("--no-traverse")
        return tuple(flags + _renames(request))
    rules = request.rules
    flags = ["--filter-from", str(files.filters)]
    for flag, value, unit in (
        ("--min-size", rules.min_size_bytes, "B"),
        ("--max-size", rules.max_size_bytes, "B"),
        ("--min-age", rules.min_age_s, "s"),
        ("--max-age", rules.max_age_s, "s"),
    ):
        if value is not None and sized:
            flags += [flag, f"{value}{unit}"]
    return tuple(flags + _renames(request))


def _tracking(files: RunFiles) -> tuple[str, ...]:
    """Look at the files alone that may have been renamed: rclone hashes every one it looks at.

    By hash, which is rclone's default: size and time alone could take a wrong file for the same.
    """
    return ("--files-from0", str(files.renames), "--track-renames")


def _renames(request: SyncRequest) -> list[str]:
    return _transforms(request.rules.renames)


def _transforms(renames: Sequence[tuple[str, str]]) -> list[str]:
    flags: list[str] = []
    for transform in name_transforms(renames):
        flags += ["--name-transform", transform]
    return flags


def _copying(
    request: SyncRequest, stage: Stage, sides: Sides, max_delete: int | None
) -> tuple[str, ...]:
    if stage.verb == "check":
        return ()
    flags: list[str] = []
    if request.only_paths is None and not (stage.renaming or stage.deleting or stage.clearing):
        flags.append("--create-empty-src-dirs")
    if suffix := partial_suffix(request.destination):
        flags += ["--partial-suffix", suffix]
    if sides.backup is not None:
        flags += ["--backup-dir", stage_folder(sides.backup, stage.number)]
    if stage.verb == "sync" and max_delete is not None:
        flags += ["--max-delete", str(max_delete)]
    if skips_read_back(request):
        flags.append("--ignore-checksum")
        if sides.backup is not None:
            # With equal hashes rclone would only set the new time, and the old one would be lost:
            # so the file is kept and sent again, which reads no more than comparing hashes does.
            flags += ["--local-hashes", "none"]
    return tuple(flags)
