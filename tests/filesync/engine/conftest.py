"""Fixtures of the engine's tests: a lab of local folders, and an rclone without root's rights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.filesync.engine.lab import Lab


@pytest.fixture
def lab(tmp_path: Path, rclone_binary: Path) -> Lab:
    """Return a fresh source and destination below one allowed root."""
    return Lab(tmp_path, rclone_binary)


@pytest.fixture
def bound_rclone(tmp_path: Path, rclone_binary: Path) -> Path:
    """Return an rclone that file permissions bind even when the tests run as root."""
    if os.geteuid() != 0:
        return rclone_binary
    setpriv = shutil.which("setpriv")
    assert setpriv is not None, "setpriv (util-linux) is needed to run these tests as root"
    script = tmp_path / "bound-rclone"
    script.write_text(
        "#!/bin/sh\n"
        f'exec {setpriv} --bounding-set=-dac_override,-dac_read_search {rclone_binary} "$@"\n'
    )
    script.chmod(0o700)
    return script
