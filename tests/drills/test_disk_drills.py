"""Drills on disks that fill up under real workers: the run says so, and the next one goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from filesync.services.queueing import retry_run
from tests.drills.run_lab import RecordProperty, RunLab
from tests.drills.run_lab import open_lab as open_lab

pytestmark = [
    pytest.mark.drill,
    pytest.mark.each_database,
    pytest.mark.each_broker,
    pytest.mark.timeout(300),
]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Put a disk of that size at a folder while the block runs."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder.mkdir()
    if not mounted("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)):
        pytest.skip("this machine does not let us mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mounted(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


def test_a_full_destination_fails_the_run_and_the_next_one_goes_on(
    lab: RunLab, record_property: RecordProperty
) -> None:
    lab.start_worker()
    [config_id] = lab.add_syncs(1, seconds=8)
    name = next(iter(lab.files.glob("from *"))).name.removeprefix("from ")
    destination = lab.files / f"to {name}"
    with small_disk(destination, "1M"):
        [run_id] = lab.queue([config_id])
        full = lab.wait_for_state(run_id, "PARTIAL", "FAILED", "SUCCEEDED")
        sent = [path for path in destination.iterdir() if path.suffix == ".bin"]
        record_property("sent_before_it_was_full", len(sent))
        assert (full.state, full.failure_class, full.attempt) == ("PARTIAL", "DISK_FULL", 1)
        source = lab.source(full)
        assert 0 < len(sent) < len(source)
        assert all(path.read_bytes() == source[path.name] for path in sent)
        assert mounted("-o", "remount,size=16M", str(destination))
        lab.ask(run_again, run_id)
        [_, run] = lab.end()
        assert (run.state, run.attempt) == ("SUCCEEDED", 1)
        assert run.files_transferred == len(source) - len(sent)
        lab.assert_in_step(run)


def run_again(run_id: int) -> None:
    retry_run(run_id)
