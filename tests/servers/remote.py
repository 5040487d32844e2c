"""How rclone reaches a test server: the remote section, and rclone itself; no server is here."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RCLONE = Path(sysconfig.get_path("scripts")) / "rclone"
# The options among those used here that rclone wants obscured.
OBSCURED_OPTIONS = frozenset({"pass"})


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote in rclone's words, its secrets in the clear."""

    backend: str
    options: Mapping[str, str]
    # What stands after the colon to reach the folder or bucket that tests may write to.
    path: str = ""


def write_rclone_config(file: Path, remotes: Mapping[str, Remote]) -> Path:
    """Write a configuration with one section per remote; returns the file."""
    lines: list[str] = []
    for name, remote in remotes.items():
        lines += [f"[{name}]", f"type = {remote.backend}"]
        lines += [
            f"{option} = {obscure(value) if option in OBSCURED_OPTIONS else value}"
            for option, value in remote.options.items()
        ]
    file.write_text("\n".join(lines) + "\n")
    file.chmod(0o600)
    return file


def run_rclone(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run rclone to its end with a clean environment; a failed command raises with its output."""
    done = subprocess.run(
        [str(RCLONE), "--config", str(config), "--retries", "1", *arguments],
        env={"HOME": str(config.parent), "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode != 0:
        raise AssertionError(f"rclone {' '.join(arguments)}: {done.stderr}")
    return done


def obscure(secret: str) -> str:
    """Return a password in the form rclone keeps it."""
    done = subprocess.run(
        [str(RCLONE), "obscure", "-"], input=secret, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
