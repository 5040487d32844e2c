"""Tell from how two sides are written whether they are one place, or one contains the other."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filesync.engine.errors import PathRefused
from filesync.engine.paths import full_path, validate_path
from filesync.engine.request import Endpoint, Remote
from filesync.engine.texts import Text

_SCHEME_PORTS = {"http": 80, "https": 443}
_PORTS = {"ftp": "21", "sftp": "22", "smb": "445"}
# What makes two remotes the same place beside their address, whatever they are called.
_PLACE_OPTIONS = ("user", "drive_id", "team_drive")
# Where a path without a leading slash begins at the home of the user.
_WITH_HOMES = frozenset({"ftp", "sftp"})


def check_no_overlap(source: Endpoint, destination: Endpoint) -> None:
    """Raise PathRefused when one side certainly contains the other; asks no network."""
    if place(source.remote) != place(destination.remote):
        return
    if source.remote.encryption != destination.remote.encryption:
        # Where a path lies below an encrypted root, only rclone knows: the whole root counts.
        source, destination = _readable(source), _readable(destination)
    if not _overlap(source, destination):
        return
    raise PathRefused(
        Text(
            "source {source} and destination {destination} overlap",
            source=_shown(source),
            destination=_shown(destination),
        ),
        field="destination",
    )


def only_a_look_tells(source: Endpoint, destination: Endpoint) -> bool:
    """Whether two sides that do not overlap as they are written may be one place all the same.

    Another user or host name may lead to the same folder, and so may another path where the
    server has links or takes capitals for small letters. S3 has neither. Names that one side alone
    encrypts are never those of the other.
    """
    one, other = source.remote, destination.remote
    if one.backend != other.backend or one.backend == "local":
        return False
    if (one.encryption is None) != (other.encryption is None):
        return False
    return one.backend != "s3" or place(one) != place(other)


def names_of(endpoint: Endpoint) -> tuple[str, ...]:
    """Give the names on the way to a folder, from the root of its server."""
    lead = ""
    if endpoint.remote.backend == "webdav":
        lead = unquote(urlsplit(endpoint.remote.options.get("url", "")).path)
    path = f"{lead}/{full_path(endpoint)}"
    return tuple(name for name in path.split("/") if name not in ("", "."))


def place(remote: Remote) -> tuple[str, ...]:
    """Tell where a remote is, the same for two remotes with other credentials for one place."""
    options = remote.options
    values = [options.get(name, "").lower() for name in _PLACE_OPTIONS]
    values += [options.get("host", "").lower().rstrip(".")]
    values += [options.get("port", "") or _PORTS.get(remote.backend, "")]
    values += [_address(options.get(name, ""), remote.backend) for name in ("url", "endpoint")]
    if not options.get("endpoint"):
        # Who provides it decides the address only where none is given.
        values.append(options.get("provider", "").lower())
    return (remote.backend, *values)


def _address(url: str, backend: str) -> str:
    """Give an address in one spelling; the path of a WebDAV one belongs to the folder."""
    if not url:
        return ""
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        port = parts.port or _SCHEME_PORTS.get(parts.scheme)
    except ValueError:
        return url.rstrip("/").lower()
    path = "" if backend == "webdav" else parts.path.rstrip("/").lower()
    host = (parts.hostname or "").rstrip(".")
    return f"{parts.scheme}://{host}:{port}{path}"


def _readable(endpoint: Endpoint) -> Endpoint:
    return endpoint if endpoint.remote.encryption is None else Endpoint(endpoint.remote)


def _shown(endpoint: Endpoint) -> str:
    if endpoint.remote.backend == "local":
        return str(_real(endpoint))
    return full_path(endpoint).rstrip("/") or "/"


def _real(endpoint: Endpoint) -> Path:
    joined = os.path.join(endpoint.remote.root, validate_path(endpoint.path))
    return Path(os.path.realpath(joined))


def _overlap(source: Endpoint, destination: Endpoint) -> bool:
    if source.remote.backend == "local":
        one, other = _identities(_real(source)), _identities(_real(destination))
        return one[0] in other or other[0] in one
    names, others = names_of(source), names_of(destination)
    if _from_home(source) != _from_home(destination):
        # Where a home is, only its server knows; it is below the root of all at least.
        return not (others if _from_home(source) else names)
    shorter = min(len(names), len(others))
    return names[:shorter] == others[:shorter]


def _from_home(endpoint: Endpoint) -> bool:
    remote = endpoint.remote
    return remote.backend in _WITH_HOMES and not remote.root.startswith("/")


Identity = tuple[int, int, tuple[str, ...]]


def _identities(folder: Path) -> list[Identity]:
    """Give what a local folder and each one above it is to the kernel, its own first.

    A bind mount, or a disk that takes capitals for small letters, gives one folder two spellings,
    and its device and inode are the same. Of one that is not there yet the names that are missing
    stand behind those of the nearest one above.
    """
    found: list[Identity] = []
    missing: list[Path] = []
    for each in (folder, *folder.parents):
        try:
            is_at = each.stat()
        except OSError:
            missing.append(each)
            continue
        if not found:
            for absent in missing:
                found.append((is_at.st_dev, is_at.st_ino, absent.relative_to(each).parts))
        found.append((is_at.st_dev, is_at.st_ino, ()))
    return found
