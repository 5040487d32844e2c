"""Only a new enough rclone is used, and what is wrong is one clear line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filesync.engine import MIN_VERSION, Method, Outcome, RcloneUnusable, check_rclone, find_rclone
from tests.filesync.engine.lab import Lab, write_tree


def script(folder: Path, text: str) -> Path:
    path = folder / "rclone"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_wheels_rclone_is_found_and_new_enough(rclone_binary: Path) -> None:
    assert find_rclone(None) == rclone_binary
    assert check_rclone(rclone_binary) >= MIN_VERSION


def test_a_configured_binary_wins(tmp_path: Path) -> None:
    path = script(tmp_path, "exit 0")
    assert find_rclone(str(path)) == path


@pytest.mark.parametrize("configured", ["/nowhere/rclone", "no-such-program-at-all"])
def test_a_configured_binary_that_is_not_there_is_named(configured: str) -> None:
    with pytest.raises(RcloneUnusable, match=configured):
        find_rclone(configured)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("echo rclone v1.60.1-DEV", "1.60.1"),
        ("echo rclone v1.74.9", "1.75.0 or newer"),
        ("echo hello", "does not answer like rclone"),
        ("exit 3", "does not answer like rclone"),
    ],
)
def test_an_unusable_binary_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(RcloneUnusable, match=complaint) as refusal:
        check_rclone(script(tmp_path, text))
    assert "\n" not in refusal.value.message


def test_a_file_that_is_no_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rclone"
    path.write_text("not a program")
    for given in (path, tmp_path / "missing"):
        with pytest.raises(RcloneUnusable):
            check_rclone(given)


def test_a_replaced_binary_is_checked_again(tmp_path: Path) -> None:
    path = script(tmp_path, "echo rclone v1.75.2")
    assert check_rclone(path).patch == 2
    script(tmp_path, "echo rclone v1.60.1")
    os.utime(path, (1, 1))
    with pytest.raises(RcloneUnusable):
        check_rclone(path)


def test_a_run_with_an_old_rclone_fails_with_the_reason(lab: Lab, tmp_path: Path) -> None:
    write_tree(lab.source, {"a": "1"})
    ran = lab.run(lab.asking(Method.INCREMENTAL), rclone=script(tmp_path, "echo rclone v1.60.1"))
    assert ran.result.outcome is Outcome.FAILED
    assert ran.result.failure is not None
    assert "1.60.1" in ran.result.failure.message
