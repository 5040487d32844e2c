"""What a run is asked to do: plain values only, nothing that reads, writes or decides."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_NO_VALUES: Mapping[str, str] = MappingProxyType({})

KEPT_FOLDER = ".syncbeat-kept"
"""Folder for deleted and overwritten files; every run leaves it alone, on both sides."""


class Method(enum.StrEnum):
    """How the destination follows the source; only INCREMENTAL and CHECK never delete."""

    INCREMENTAL = "INCREMENTAL"
    FULL = "FULL"
    OVERWRITE = "OVERWRITE"
    MOVE = "MOVE"
    CHECK = "CHECK"

    @property
    def can_delete(self) -> bool:
        """Whether a run of this method is planned and guarded before it starts."""
        return self in (Method.FULL, Method.OVERWRITE, Method.MOVE)


class Compare(enum.StrEnum):
    """What makes two files equal."""

    SIZE_TIME = "SIZE_TIME"
    CHECKSUM = "CHECKSUM"
    SIZE = "SIZE"


class NameEncryption(enum.StrEnum):
    """What encryption makes of file names, in rclone's words; OFF adds ".bin" and hides nothing."""

    STANDARD = "standard"
    OBFUSCATE = "obfuscate"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Encryption:
    """How files are encrypted before they leave this server, in the format of rclone's crypt.

    `folders` says whether folder names are encrypted as file names are.
    """

    password: str = field(repr=False)
    salt: str = field(default="", repr=False)
    names: NameEncryption = NameEncryption.STANDARD
    folders: bool = True


@dataclass(frozen=True, slots=True)
class Remote:
    """A place that rclone can reach.

    `secrets` are plain text here and never leave memory except in the run's private
    configuration. `careful` keeps the pace low for a WebDAV front of a netdisk, whose API bans
    fast clients; None decides from the address (see `tuning.is_careful`).
    """

    backend: str
    root: str = ""
    options: Mapping[str, str] = field(default_factory=lambda: _NO_VALUES)
    secrets: Mapping[str, str] = field(default_factory=lambda: _NO_VALUES, repr=False)
    careful: bool | None = None
    encryption: Encryption | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A folder below a remote's root; `path` is relative, "" is the root itself."""

    remote: Remote
    path: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which files count, on both sides, and how they are named at the destination.

    `filters` are ordered lines "+ pattern" or "- pattern"; `renames` are (regular expression,
    replacement) pairs in Go's syntax: the first that matches a file's name decides.
    """

    filters: tuple[str, ...] = ()
    min_size_bytes: int | None = None
    max_size_bytes: int | None = None
    min_age_s: int | None = None
    max_age_s: int | None = None
    renames: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use; None leaves it to the tuning of the backend.

    `bandwidth` is a rate ("512K") or a timetable ("08:00,512K 23:00,off"), whose times are those of
    `timezone`, None for this process's own. `max_bytes`
    ends the run early once reached; what is on its way then comes on top. Of `max_files` up to
    100,000 no more are sent; a higher limit ends the run once more have been.
    """

    transfers: int | None = None
    checkers: int | None = None
    bandwidth: str | None = None
    calls_per_s: float | None = None
    max_bytes: int | None = None
    max_files: int | None = None
    max_runtime_s: float | None = None
    stall_timeout_s: float = 600
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Guards:
    """When a plan must not be carried out.

    Percentages are of the destination's files; `last_good_source_*` describe the last run that
    succeeded and are compared only when `max_shrink_percent` is set.
    """

    max_delete_files: int | None = 1000
    max_delete_percent: float | None = 50
    max_shrink_percent: float | None = None
    last_good_source_files: int | None = None
    last_good_source_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """One run.

    `force` carries out once what the count guards would stop; a missing or unreadable source
    stops it all the same. `keep_deleted_dir` is a folder below the destination remote's root that
    takes what the run deletes or overwrites: outside the destination, or in its `KEPT_FOLDER`,
    and this run's own, for what it set aside and did not replace goes back from there.
    `put_back_from` is the folder below which earlier attempts of the run have theirs: what is not
    at the destination goes back from there before anything is planned.
    `only_paths` limits the run to these files (relative, as in ItemDone) and then nothing is
    deleted at the destination.
    `unsure_since_s` (a Unix time) is when the last run began that sent what had changed: a file
    that was changed later is sent again where nothing but the time of an upload would tell, which
    lies after a change that was made during it. No earlier than `rules.max_age_s` lets through, and
    earlier by `rules.min_age_s`, until when nobody looked at the change.
    `failed_before` are files that failed lately: where `limits.max_files` leaves some out, these,
    so that a run whose first files fail each time goes on to others.
    """

    source: Endpoint
    destination: Endpoint
    method: Method = Method.INCREMENTAL
    compare: Compare = Compare.SIZE_TIME
    rules: Rules = Rules()
    limits: Limits = Limits()
    guards: Guards = Guards()
    dry_run: bool = False
    force: bool = False
    keep_deleted_dir: str | None = None
    put_back_from: str | None = None
    only_paths: tuple[str, ...] | None = None
    unsure_since_s: float | None = None
    failed_before: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class UndoRequest:
    """A run to undo.

    `attempts` are its attempts, oldest first: the folder below `kept_dir` that each kept files
    in, and the lines of its log. `source` is given for a MOVE. `ended_at_s` is a Unix time: what
    changed later is left alone, unless it is what an earlier attempt at undoing the run has done,
    the first of which began at `begun_at_s`. `logs_lost` counts attempts that left no log.
    """

    destination: Endpoint
    kept_dir: str
    attempts: tuple[tuple[str, Iterable[bytes]], ...]
    ended_at_s: float
    limits: Limits
    source: Endpoint | None = None
    begun_at_s: float | None = None
    logs_lost: int = 0
    dry_run: bool = False
