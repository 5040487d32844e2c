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
    return without_rights(rclone_binary, tmp_path, "dac_override", "dac_read_search")


def without_rights(rclone: Path, folder: Path, *rights: str) -> Path:
    """Return an rclone that root starts without some of its capabilities."""
    setpriv = shutil.which("setpriv")
    assert setpriv is not None, "setpriv (util-linux) is needed to run these tests as root"
    script = folder / "bound-rclone"
    taken = ",".join(f"-{right}" for right in rights)
    script.write_text(f'#!/bin/sh\nexec {setpriv} --bounding-set={taken} {rclone} "$@"\n')
    script.chmod(0o700)
    return script
