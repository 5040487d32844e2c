"""What a run's rclone may read and write on this machine: its folders, and what any program needs.

A link in a synced folder, whenever it was made, then leads to nothing else: not to the server's
keys or database, nor to a file of another storage.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from filesync.engine import paths
from filesync.engine.binary import find_rclone
from filesync.engine.errors import PathRefused, RcloneUnusable
from filesync.engine.landlock import ruleset
from filesync.engine.request import Remote
from filesync.engine.texts import Text

# Names, certificates, time zones, types of files, libraries. Not /etc as a whole, nor /proc: there
# are passwords, and the environments of other processes.
_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/nix/store", "/gnu/store"),
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/protocols", "/etc/passwd", "/etc/group", "/etc/localtime"),
    *("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem", "/etc/ssl/openssl.cnf"),
    *("/etc/pki/tls", "/etc/pki/ca-trust", "/etc/ca-certificates", "/var/lib/ca-certificates"),
    *("/etc/mime.types", "/etc/ld.so.cache"),
    *("/dev/null", "/dev/urandom", "/dev/random"),
    *("/sys/kernel/mm/transparent_hugepage", "/proc/sys"),
)
_NAMED_BY = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def confine(
    *,
    rclone: Path,
    work_dir: Path,
    reads: Iterable[Remote],
    writes: Iterable[Remote],
    local_roots: tuple[Path, ...],
) -> int | None:
    """Return Landlock's rules for the processes of a run; None where the kernel has none.

    Raises:
        PathRefused: a local root that is written to is outside the allowed ones, is not there
            together with the allowed one above it, or became a link this moment.
    """
    readable = [paths.real_root(remote, local_roots) for remote in reads if _is_local(remote)]
    writable = [
        _there(paths.real_root(remote, local_roots), local_roots)
        for remote in writes
        if _is_local(remote)
    ]
    named = [path for name in _NAMED_BY for path in os.environ.get(name, "").split(":") if path]
    # Where a file is a link, what it leads to is read.
    readable += [Path(os.path.realpath(place)) for place in (*_SYSTEM, *named)]
    readable += [Path(os.path.realpath(program)).parent for program in _programs(rclone)]
    try:
        return ruleset(writable=[work_dir.resolve(), *writable], readable=readable)
    except OSError as error:
        raise PathRefused(
            Text(
                "{folder} cannot be used: {why}",
                folder=str(error.filename),
                why=str(error.strerror),
            ),
            field="root",
        ) from error


def _programs(rclone: Path) -> Iterator[Path]:
    """Yield what may be started: the configured one may be a script before the usual one."""
    yield rclone
    with suppress(RcloneUnusable):
        yield find_rclone()


def _is_local(remote: Remote) -> bool:
    return remote.backend == "local"


def _there(root: Path, local_roots: tuple[Path, ...]) -> Path:
    """Return the folder itself, or where it is still to be made the nearest allowed one above."""
    allowed = [os.path.realpath(path) for path in local_roots]
    for folder in (root, *root.parents):
        if folder.is_dir():
            return folder
        if str(folder) in allowed:
            break
    raise PathRefused(
        Text("{folder} is not there: make it, or mount what belongs there", folder=str(root)),
        field="root",
    )
