"""A child process is read line by line, bounded, and ended for sure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from filesync.engine import RcloneUnusable
from filesync.engine import process as engine_process
from filesync.engine.process import MAX_LINE_BYTES, RcloneProcess

ROOT = Path(__file__).parents[3]


def shell(text: str, folder: Path) -> RcloneProcess:
    return RcloneProcess(["/bin/sh", "-c", text], work_dir=folder)


def all_lines(process: RcloneProcess) -> list[bytes]:
    lines: list[bytes] = []
    while not process.ended:
        lines += process.read_lines(0.1)
    return lines


def test_lines_come_whole_and_the_last_needs_no_newline(tmp_path: Path) -> None:
    with shell("printf 'a\\nb' >&2; sleep 0.1; printf 'c\\n\\nd' >&2; exit 7", tmp_path) as process:
        assert all_lines(process) == [b"a", b"bc", b"d"]
        assert process.wait() == 7


def test_the_last_words_of_a_process_that_ends_after_a_wait_are_read(tmp_path: Path) -> None:
    with shell("echo last words >&2", tmp_path) as process:
        process.wait()
        really = process._poll.poll
        # The first wait is over just before the words come.
        waited = iter([True])
        process._poll = SimpleNamespace(  # type: ignore[assignment]
            poll=lambda timeout_ms: [] if next(waited, False) else really(timeout_ms)
        )

        assert all_lines(process) == [b"last words"]


def test_lines_are_gathered_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a wait of a day only its end can end it."""
    monkeypatch.setattr(engine_process, "_GATHER_MS", 86_400_000)
    with shell("echo a >&2; sleep 0.2; echo b >&2", tmp_path) as process:
        assert process.read_lines(10) == [b"a", b"b"]
        assert process.wait() == 0


def test_a_line_without_end_is_cut_and_the_next_one_read(tmp_path: Path) -> None:
    text = f"head -c {3 * MAX_LINE_BYTES} /dev/zero | tr '\\0' x >&2; printf 'y\\nnext\\n' >&2"
    with shell(text, tmp_path) as process:
        lines = all_lines(process)
    assert len(lines) == 2
    assert MAX_LINE_BYTES <= len(lines[0]) < 2 * MAX_LINE_BYTES
    assert lines[1] == b"next"


def test_leaving_kills_the_whole_group(tmp_path: Path) -> None:
    with shell("sleep 60 & echo $! >&2; wait", tmp_path) as process:
        lines: list[bytes] = []
        while not lines:
            lines += process.read_lines(0.1)
        grandchild = psutil.Process(int(lines[0]))
    gone, _ = psutil.wait_procs([grandchild], timeout=10)
    assert gone == [grandchild]
    assert not psutil.pid_exists(process.pid)


def test_a_child_that_ignores_the_request_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filesync.engine.process.KILL_AFTER_S", 0.3)
    with shell("trap '' TERM; echo ready >&2; while :; do sleep 0.05; done", tmp_path) as process:
        while not process.read_lines(0.1):
            pass
        process.terminate()
        all_lines(process)
        assert process.wait() == -signal.SIGKILL


def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_run(tmp_path: Path) -> None:
    with shell("sleep 60 & exit 5", tmp_path) as process:
        assert all_lines(process) == []
        assert process.wait() == 5


def test_a_program_that_cannot_start_is_named(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(RcloneUnusable, match="nowhere"):
        RcloneProcess(["/nowhere/rclone"], work_dir=tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with shell("exit 0", tmp_path) as process:
            all_lines(process)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_child_dies_with_its_killed_parent(tmp_path: Path) -> None:
    code = f"""
        import sys, time
        from pathlib import Path
        from filesync.engine.process import RcloneProcess
        process = RcloneProcess(["/bin/sleep", "60"], work_dir=Path({str(tmp_path)!r}))
        print(process.pid, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone == [child]
