"""A file that changes while it is copied is told as failed, and sent again."""

from __future__ import annotations

import os
import threading
import time

import pytest

from filesync.engine import Action, Event, ItemDone, Limits, Method, Outcome, Progress
from filesync.engine.changed import LEAST_BYTES, ChangeWatch
from filesync.engine.messages import Copied
from filesync.engine.readers import RunReader
from tests.filesync.engine.lab import Lab, write_tree


@pytest.mark.parametrize("size_bytes", [1 << 20, 32 << 20])
@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL])
def test_a_file_rewritten_at_its_size_while_it_is_copied_has_failed_and_is_sent_again(
    lab: Lab, method: Method, size_bytes: int
) -> None:
    first, second = os.urandom(size_bytes), os.urandom(size_bytes)
    write_tree(lab.destination, {"file": "old"})
    file = lab.source / "file"
    file.write_bytes(first)
    rewritten: list[bool] = []

    def rewrite(event: Event) -> None:
        if isinstance(event, Progress) and event.bytes_done and not rewritten:
            rewritten.append(True)
            file.write_bytes(second)

    limits = Limits(transfers=1, bandwidth=f"{size_bytes >> 11}K")
    ran = lab.run(lab.asking(method, limits=limits), on_event=rewrite)

    assert rewritten
    assert ran.result.outcome is not Outcome.SUCCEEDED
    assert [item.path for item in ran.items if item.action is Action.FAILED] == ["file"]
    copy = lab.destination / "file"
    assert [path.name for path in lab.destination.iterdir()] == ["file"]
    assert lab.run(lab.asking(method)).result.outcome is Outcome.SUCCEEDED
    assert copy.read_bytes() == second


def test_a_file_that_is_written_all_the_while_has_failed(lab: Lab) -> None:
    """It was written before the run began, too."""
    size_bytes = 64 << 20
    file = lab.source / "file"
    file.write_bytes(bytes(size_bytes))
    ended = threading.Event()

    def write() -> None:
        version = 0
        with file.open("r+b") as written:
            while not ended.is_set():
                version = (version + 1) % 256
                written.seek(0)
                for _ in range(16):
                    written.write(bytes([version]) * (size_bytes // 16))
                    written.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.2)
        ran = lab.run(lab.asking(Method.FULL, limits=Limits(bandwidth="32M")))
    finally:
        ended.set()
        writer.join()

    assert ran.result.outcome is not Outcome.SUCCEEDED
    assert [item.path for item in ran.items if item.action is Action.FAILED] == ["file"]
    assert lab.run(lab.asking(Method.FULL)).result.outcome is Outcome.SUCCEEDED
    assert (lab.destination / "file").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("copied_ns", "changed_ns", "changed"),
    [
        (1_700_000_000_123_456_789, 1_700_000_000_123_456_789, False),
        # What NTFS, exFAT and FAT leave of a time.
        (1_700_000_000_123_456_700, 1_700_000_000_123_456_789, False),
        (1_700_000_000_120_000_000, 1_700_000_000_123_456_789, False),
        (1_700_000_000_000_000_000, 1_700_000_001_987_654_321, False),
        (1_700_000_000_000_000_000, 1_700_000_002_000_000_001, True),
        (1_700_000_000_123_456_789, 1_700_000_000_133_456_789, True),
    ],
)
def test_a_time_that_was_rounded_is_no_change(
    lab: Lab, copied_ns: int, changed_ns: int, changed: bool
) -> None:
    write_tree(lab.source, {"file": "1"})
    write_tree(lab.destination, {"file": "1"})
    os.utime(lab.destination / "file", ns=(copied_ns, copied_ns))
    os.utime(lab.source / "file", ns=(changed_ns, changed_ns))
    watch = ChangeWatch(RunReader(Method.FULL), lab.source, lab.destination, 1_700_000_000)
    events = watch.take(Copied("file", LEAST_BYTES, new=True))

    assert any(isinstance(event, ItemDone) and event.error for event in events) is changed
