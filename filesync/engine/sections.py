"""Lay out what the configuration says of one remote, and name its places; writing it is in ini."""

from __future__ import annotations

from pathlib import Path

from filesync.engine import ini, paths
from filesync.engine.request import Encryption, Endpoint, Method, Remote
from filesync.engine.tuning import tuned_options

_CRYPT = "crypt"


def sections_of(
    side: str, remote: Remote, method: Method, local_roots: tuple[Path, ...]
) -> dict[str, dict[str, str]]:
    """Give the sections of a remote: its own, named `side`, and the encryption over it.

    Raises OptionRefused or PathRefused.
    """
    sections = {side: ini.section_of(remote, tuned_options(remote, method))}
    if remote.encryption is not None:
        root = f"{side}:{_location(Endpoint(remote), local_roots)}"
        sections[side + _CRYPT] = _crypt_section(remote.encryption, root)
    return sections


def target(side: str, endpoint: Endpoint, local_roots: tuple[Path, ...]) -> str:
    """Give a place as rclone names it ("src:/a"); raises PathRefused when it leaves its root."""
    location = _location(endpoint, local_roots)
    if endpoint.remote.encryption is None:
        return f"{side}:{location}"
    return f"{side}{_CRYPT}:{paths.validate_path(endpoint.path)}"


def _location(endpoint: Endpoint, local_roots: tuple[Path, ...]) -> str:
    if endpoint.remote.backend == "local":
        return str(paths.resolve_local(endpoint, local_roots))
    return paths.full_path(endpoint)


def _crypt_section(encryption: Encryption, root: str) -> dict[str, str]:
    section = {
        "type": "crypt",
        "remote": root,
        "filename_encryption": encryption.names.value,
        "directory_name_encryption": "true" if encryption.folders else "false",
        "password": ini.obscure(encryption.password),
        # Names that do not decrypt would be passed over in silence, and with a wrong password a
        # whole folder looks empty: then FULL would send everything again beside it.
        "strict_names": "true",
    }
    if encryption.salt:
        section["password2"] = ini.obscure(encryption.salt)
    return section
