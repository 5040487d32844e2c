"""What each backend needs to be fast and correct when a person sets nothing.

The numbers were measured against real servers: 2,000 small files took 73 s to WebDAV with
rclone's defaults and 6.6 s with these, 5.8 s and 2.0 s to S3.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from filesync.engine.request import Limits, Method, Remote

# rclone's "no modification times": a hundred years in nanoseconds.
_NO_MTIME_NS = 3_153_600_000_000_000_000
_NETDISK_PORT = 5244
_FAST_TRANSFERS = 16
_CAREFUL_TRANSFERS = 2


@dataclass(frozen=True, slots=True)
class RemoteFacts:
    """What a remote can tell about its files."""

    has_mtime: bool
    hashes: frozenset[str]


# The same for every server of the backend; WebDAV and FTP depend on the server and are asked.
_KNOWN: Mapping[str, RemoteFacts] = {
    "local": RemoteFacts(True, frozenset({"md5", "sha1", "sha256", "dropbox", "quickxor"})),
    "s3": RemoteFacts(True, frozenset({"md5"})),
    "sftp": RemoteFacts(True, frozenset()),
    "smb": RemoteFacts(True, frozenset()),
    "drive": RemoteFacts(True, frozenset({"md5", "sha1", "sha256"})),
    "onedrive": RemoteFacts(True, frozenset({"quickxor"})),
    "dropbox": RemoteFacts(True, frozenset({"dropbox"})),
}


# Whether an SFTP server hashes files depends on the shell behind it.
_MAY_HASH = frozenset({"sftp"})


def known_facts(remote: Remote, *, by_hash: bool = False) -> RemoteFacts | None:
    """Give what every server of a backend has in common; None when the server must be asked.

    `by_hash` says that files are to be compared by hashes, so that it matters who has any.
    """
    known = _KNOWN.get(remote.backend)
    if known is not None and remote.encryption is not None:
        return replace(known, hashes=frozenset())
    return None if by_hash and remote.backend in _MAY_HASH else known


def read_features(answer: bytes) -> RemoteFacts:
    """Read what `rclone backend features` printed."""
    features = json.loads(answer)
    return RemoteFacts(
        has_mtime=int(features["Precision"]) < _NO_MTIME_NS,
        hashes=frozenset(str(name) for name in features.get("Hashes") or ()),
    )


@dataclass(frozen=True, slots=True)
class PairFacts:
    """What both sides of a run have in common."""

    source: RemoteFacts
    destination: RemoteFacts

    @property
    def shares_mtime(self) -> bool:
        """Whether a file's modification time can be compared between the sides."""
        return self.source.has_mtime and self.destination.has_mtime

    @property
    def shares_hash(self) -> bool:
        """Whether a checksum can be compared between the sides."""
        return bool(self.source.hashes & self.destination.hashes)

    @property
    def sizes_only(self) -> bool:
        """Whether nothing but sizes and upload times is left to see an edit by."""
        return not (self.shares_mtime or self.shares_hash)


def is_careful(remote: Remote) -> bool:
    """Whether a remote is, or looks like, a WebDAV front of a netdisk (AList, OpenList).

    They serve below /dav, on port 5244 unless moved, and name no vendor; the netdisks behind
    them ban clients that are too fast.
    """
    if remote.careful is not None:
        return remote.careful
    if remote.backend != "webdav" or remote.options.get("vendor", "other") not in ("", "other"):
        return False
    address = urlsplit(remote.options.get("url", ""))
    try:
        port = address.port
    except ValueError:
        return False
    return port == _NETDISK_PORT or address.path.rstrip("/").split("/")[1:2] == ["dav"]


def tuned_options(remote: Remote, method: Method) -> dict[str, str]:
    """Give the options a remote's section gets unless the user set them."""
    if remote.backend == "local":
        # Reserving space before each file takes half the time of a copy of small files, and left
        # large ones in as many pieces; cp and rsync do not do it either.
        return {"no_preallocate": "true"}
    if remote.backend == "webdav" and not is_careful(remote):
        return {"pacer_min_sleep": "0s"}
    if remote.backend == "s3":
        # A MOVE deletes the source next: there the uploaded object is looked at once more.
        head = {} if method is Method.MOVE else {"no_head": "true"}
        return {"no_check_bucket": "true", **head, **_unsigned_over_http(remote)}
    return {}


def _unsigned_over_http(remote: Remote) -> dict[str, str]:
    """Have no body signed where that can't be done, so that no file could be uploaded.

    With some providers, AWS among them, rclone 1.75 signs bodies unless the way is encrypted, and
    fails on those it reads as it sends: "request stream is not seekable". It signs no body for the
    others. What is sent is held against its MD5 by the server either way.
    """
    over_http = remote.options.get("endpoint", "").lower().startswith("http://")
    return {"use_unsigned_payload": "true"} if over_http else {}


def transfers(source: Remote, destination: Remote) -> int:
    """Give how many files go at once."""
    remotes = (source, destination)
    if any(is_careful(remote) for remote in remotes):
        return _CAREFUL_TRANSFERS
    return _FAST_TRANSFERS if any(r.backend in ("webdav", "s3") for r in remotes) else 4


def checkers(source: Remote, destination: Remote) -> int:
    """Give how many folders and files are compared at once."""
    return max(4, min(16, 2 * transfers(source, destination)))


def go_runtime(remotes: Collection[Remote]) -> dict[str, str]:
    """Give the variables of Go's runtime that rclone runs with.

    Between local disks rclone holds little and collects it after every few MiB: with 10,000 small
    files a fifth of its time went into that, as much as its log costs. The limit keeps a folder
    with a million entries from growing to five times its size. Buffers of uploads are large, so
    runs with a server stay as rclone comes.
    """
    if all(remote.backend == "local" for remote in remotes):
        return {"GOGC": "400", "GOMEMLIMIT": "384MiB"}
    return {}


def timetable_clock(limits: Limits) -> dict[str, str]:
    """Give the variable by which rclone reads the times of a timetable in the zone they are of."""
    if limits.timezone is None or "," not in (limits.bandwidth or ""):
        return {}
    return {"TZ": limits.timezone}
