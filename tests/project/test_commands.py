"""`manage.py up` and `manage.py demo` as a person meets them: real processes, all of them."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.project.system import (
    ANSWERS_WITHIN_S,
    STARTS_WITHIN_S,
    STOPS_WITHIN_S,
    System,
    own_environment,
    processes_of,
    run,
    run_command,
    start_command,
    still_alive,
    wait_until,
)
from tests.servers.process import HOST, REPOSITORY, free_port, short_temp_dir

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
# Until the next minute, the run, and the start and stop around them on a busy machine.
DEMO_WITHIN_S = 150.0
OWN_FILES = {
    "报告 2024.txt": "年度报告\n".encode() * 500,
    'sub/it\'s "quoted".bin': bytes(range(256)) * 64,
    "sub/empty": b"",
}

pytestmark = [pytest.mark.timeout(240)]


@dataclass(slots=True)
class Demo:
    """A `manage.py demo` under way or over, with what it printed."""

    data_dir: Path
    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self, *, within_s: float) -> int:
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs:\n{self.output()}") from None


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Return a folder for everything; whatever still works in it at the end is killed."""
    folder = short_temp_dir("sb-demo-")
    yield folder
    for process in processes_of(folder):
        process.kill()
    shutil.rmtree(folder)


def start_demo(place: Path, name: str, *arguments: str, **settings: str) -> Demo:
    data_dir = place / name
    environment = own_environment(data_dir, SYNCBEAT_PORT=str(free_port()), **settings)
    log = place / f"{name}.log"
    with log.open("ab") as output:
        process = start_command(["demo", *arguments], environment, output=output)
    return Demo(data_dir, process, log)


@pytest.fixture(scope="module")
def own_folders(place: Path) -> tuple[Path, Path]:
    source, destination = place / "own source", place / "自己的 目标"
    for name, content in OWN_FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    return source, destination


@pytest.fixture(scope="module")
def demos(place: Path, own_folders: tuple[Path, Path]) -> tuple[Demo, Demo]:
    """Return `demo --once` and one with folders of one's own; both waited for one minute."""
    source, destination = own_folders
    plain = start_demo(place, "plain", "--once")
    # The Makefile hands over its variables through the environment.
    own = start_demo(place, "own", SRC=str(source), DST=str(destination), ONCE="1")
    plain.end(within_s=DEMO_WITHIN_S)
    own.end(within_s=DEMO_WITHIN_S)
    return plain, own


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def assert_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """The command failed, and its errors are one line with all these words in it."""
    assert done.returncode not in (0, None), done.stdout
    line = done.stderr.strip()
    assert line, done.stdout
    assert "\n" not in line, line
    for part in parts:
        assert part in line


# --- what stops a start


def test_a_taken_port_ends_up_with_one_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        done = run_command(["up"], own_environment(tmp_path / "data", SYNCBEAT_PORT=str(port)))
    assert_one_line(done, f"{HOST}:{port}", "SYNCBEAT_PORT")


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_missing_rclone_ends_a_start_with_one_line(command: str, tmp_path: Path) -> None:
    environment = own_environment(
        tmp_path / "data", SYNCBEAT_PORT=str(free_port()), RCLONE_BINARY="/no/such/rclone"
    )
    done = run_command([command], environment)
    assert_one_line(done, "RCLONE_BINARY", "/no/such/rclone")
    assert processes_of(tmp_path / "data") == []


@pytest.mark.parametrize("keys", ["generated", "given"])
def test_an_unwritable_data_folder_ends_up_with_one_line(keys: str, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o500)
    environment = own_environment(data_dir, SYNCBEAT_PORT=str(free_port()))
    if keys == "given":
        environment["SYNCBEAT_SECRET_KEY"] = "k" * 60
        environment["FILESYNC_SECRET_KEYS"] = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    done = subprocess.run(
        [sys.executable, "manage.py", "up"],
        env=environment,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=obey_file_modes,
    )
    assert_one_line(done, str(data_dir), "cannot be written", "SYNCBEAT_DATA_DIR")


def obey_file_modes() -> None:
    """Make root obey file modes, as every other account does.

    Another account would not do: it may be kept from the Python that root installed for itself.
    """
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "the capability cannot be dropped")


def test_a_source_that_is_no_folder_ends_the_demo_with_one_line(tmp_path: Path) -> None:
    environment = own_environment(tmp_path / "data", SYNCBEAT_PORT=str(free_port()))
    done = run_command(["demo", "--src", str(tmp_path / "nowhere")], environment)
    assert_one_line(done, str(tmp_path / "nowhere"))


def test_a_second_start_on_one_data_folder_is_refused_and_disturbs_nothing() -> None:
    with System() as first:
        before = first.tree()
        second = first.environment | {"SYNCBEAT_PORT": str(free_port())}
        done = run_command(["up"], second)
        assert_one_line(done, "another `manage.py up`", str(first.data_dir), "SYNCBEAT_DATA_DIR")
        assert still_alive(before) == before
        assert first.anonymous().call("GET", "/health/live").status_code == 200


# --- the demo


def test_the_demo_succeeds_and_says_what_happened(demos: tuple[Demo, Demo]) -> None:
    demo = demos[0]
    said = demo.output()
    assert demo.process.returncode == 0, said
    assert re.search(r"run \d+: SUCCEEDED, fired for \d\d:\d\d:00 by the schedule", said)
    counted = re.search(r"([\d,]+) files, ([\d,]+) bytes, (\d+\.\d\d) s", said)
    assert counted is not None, said
    copied = tree(demo.data_dir / "files" / "demo" / "destination")
    assert int(counted[1].replace(",", "")) == len(copied) >= 200
    assert int(counted[2].replace(",", "")) == sum(map(len, copied.values()))
    assert re.search(r"API token: +sb_\S+", said)
    assert re.search(r"Sign in as admin with the password \S+", said)
    assert f"http://{HOST}:" in said


def test_the_demo_copies_the_tree_it_made(demos: tuple[Demo, Demo]) -> None:
    files = demos[0].data_dir / "files" / "demo"
    assert tree(files / "destination") == tree(files / "source")


def test_the_demo_copies_folders_of_one_s_own(
    demos: tuple[Demo, Demo], own_folders: tuple[Path, Path]
) -> None:
    source, destination = own_folders
    demo = demos[1]
    assert demo.process.returncode == 0, demo.output()
    assert tree(source) == OWN_FILES
    assert tree(destination) == OWN_FILES
    assert f"{len(OWN_FILES)} files, {sum(map(len, OWN_FILES.values())):,} bytes" in demo.output()


def test_the_demo_leaves_no_process(demos: tuple[Demo, Demo]) -> None:
    assert [process for demo in demos for process in processes_of(demo.data_dir)] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_stopped_while_it_waits_leaves_nothing(
    number: signal.Signals, place: Path
) -> None:
    demo = start_demo(place, f"stopped-{number.name}", "--once")
    assert wait_until(
        lambda: "waiting for the schedule" in demo.output() or demo.process.poll() is not None,
        timeout_s=STARTS_WITHIN_S,
    )
    below = psutil.Process(demo.process.pid).children(recursive=True)
    assert len(below) >= 4
    demo.process.send_signal(number)
    assert demo.end(within_s=STOPS_WITHIN_S + ANSWERS_WITHIN_S) != 0
    said = demo.output()
    assert "by the schedule" not in said
    assert "Traceback" not in said
    assert still_alive(below) == []
    assert processes_of(demo.data_dir) == []


# --- beside it


def test_a_command_with_a_typing_error_names_it(tmp_path: Path) -> None:
    done = run([sys.executable, "manage.py", "upp"], own_environment(tmp_path / "data"))
    assert done.returncode != 0
    assert "upp" in done.stderr
