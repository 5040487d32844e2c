"""The supervisor with tiny real processes: order, restarts, stops, and that nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from project import supervisor as subject
from project.supervisor import Service, ServiceNotReady, Supervisor
from tests.project.system import still_alive, wait_until
from tests.servers.process import REPOSITORY

ENVIRONMENT = {"PATH": os.environ["PATH"]}
ENDS_WITHIN_S = 10.0

# Takes a name and a journal; says when it is there and when it was asked to end.
POLITE = """
import pathlib, signal, sys
name, journal = sys.argv[1], sys.argv[2]
def tell(what):
    with open(journal, "a") as file:
        file.write(f"{what} {name}\\n")
def end(*_):
    tell("stopped")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
tell("started")
while True:
    signal.pause()
"""
# Ignores SIGTERM, as does its child.
STUBBORN = "trap '' TERM; sleep 300 & touch \"$1\"; while :; do wait; done"
# Ends at once and leaves a child behind in its group.
LEAVES_A_CHILD = 'sleep 300 & echo $! > "$1"; exit 3'

SUPERVISE = """
import json, sys
from project.supervisor import Service, Supervisor
services = [
    Service(str(number), [sys.executable, "-c", "import time; time.sleep(300)"], {})
    for number in range(3)
]
supervisor = Supervisor(services, lambda name, line: None)
supervisor.start()
print(json.dumps([child.process.pid for child in supervisor._children]), flush=True)
supervisor.watch()
"""


class Journal:
    """What services said through the supervisor, and what they wrote themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[tuple[str, str]] = []

    def say(self, name: str, line: str) -> None:
        self.said.append((name, line))

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def polite(self, name: str) -> Service:
        return Service(
            name,
            [sys.executable, "-I", "-S", "-c", POLITE, name, str(self.path)],
            ENVIRONMENT,
            ready=lambda: f"started {name}" in self.lines(),
            stop_s=ENDS_WITHIN_S,
        )


# The session's servers, which are children of the test process too.
BEFORE: set[int] = set()


@pytest.fixture(autouse=True)
def note_children_before() -> None:
    BEFORE.clear()
    BEFORE.update(child.pid for child in psutil.Process().children(recursive=True))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@contextmanager
def watched(supervisor: Supervisor) -> Iterator[None]:
    """Let it restart what ends while the block runs, as `manage.py up` does, then stop all."""
    supervisor.start()
    thread = threading.Thread(target=supervisor.watch)
    thread.start()
    try:
        yield
    finally:
        supervisor.request_stop()
        thread.join()
        supervisor.stop()


def shell(name: str, script: str, *arguments: str) -> Service:
    return Service(name, ["sh", "-c", script, "sh", *arguments], ENVIRONMENT, stop_s=1.0)


def children() -> list[psutil.Process]:
    """Return the living children that this test has started."""
    below = psutil.Process().children(recursive=True)
    return still_alive([child for child in below if child.pid not in BEFORE])


def eventually(probe: Callable[[], bool]) -> bool:
    return bool(wait_until(probe, timeout_s=ENDS_WITHIN_S))


def test_starts_each_when_the_one_before_is_ready(journal: Journal, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    slow = shell("slow", f'sleep 0.4; touch "{ready}"; exec sleep 300')
    slow = replace(slow, ready=ready.exists)
    after = shell("after", f'ls "{ready}" >> "{journal.path}"; echo there; exec sleep 300')
    after = replace(after, ready=lambda: ("after", "there") in journal.said)
    supervisor = Supervisor([slow, after], journal.say)
    try:
        supervisor.start()
        assert journal.lines() == [str(ready)]
    finally:
        supervisor.stop()


def test_stops_in_reverse_order(journal: Journal) -> None:
    names = ["redis", "web", "worker", "beat"]
    supervisor = Supervisor([journal.polite(name) for name in names], journal.say)
    supervisor.start()
    supervisor.stop()
    assert journal.lines() == [f"started {name}" for name in names] + [
        f"stopped {name}" for name in reversed(names)
    ]


def test_stops_with_the_signal_of_the_service(journal: Journal) -> None:
    service = shell("odd", "trap 'echo interrupted; exit' INT; echo there; while :; do wait; done")
    service = replace(
        service,
        stop_signal=signal.SIGINT,
        ready=lambda: ("odd", "there") in journal.said,
        argv=[*service.argv[:2], service.argv[2].replace("wait;", "sleep 0.05;"), "sh"],
    )
    supervisor = Supervisor([service], journal.say)
    supervisor.start()
    supervisor.stop()
    assert eventually(lambda: ("odd", "interrupted") in journal.said)


def test_restarts_what_ends_with_a_growing_pause(journal: Journal) -> None:
    with watched(Supervisor([shell("web", "exit 3")], journal.say)):
        assert eventually(lambda: len(journal.said) >= 3)
    assert journal.said[:3] == [
        ("web", "ended with 3, starts again in 1 s"),
        ("web", "ended with 3, starts again in 2 s"),
        ("web", "ended with 3, starts again in 4 s"),
    ]


def test_the_pause_never_outgrows_the_longest(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "LONGEST_BACKOFF_S", 1.0)
    with watched(Supervisor([shell("web", "exit 3")], journal.say)):
        assert eventually(lambda: len(journal.said) >= 3)
    assert {line for _, line in journal.said} == {"ended with 3, starts again in 1 s"}


def test_what_lived_long_starts_again_after_the_first_pause(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "HEALTHY_S", 0.0)
    with watched(Supervisor([shell("web", "exit 3")], journal.say)):
        assert eventually(lambda: len(journal.said) >= 3)
    assert {line for _, line in journal.said} == {"ended with 3, starts again in 1 s"}


def test_one_that_ends_does_not_disturb_the_others(journal: Journal) -> None:
    with watched(Supervisor([journal.polite("redis"), shell("web", "exit 3")], journal.say)):
        assert eventually(lambda: len(journal.said) >= 2)
        assert journal.lines() == ["started redis"]


def test_kills_what_will_not_stop_and_says_so(journal: Journal, tmp_path: Path) -> None:
    started = tmp_path / "started"
    service = replace(shell("deaf", STUBBORN, str(started)), ready=started.exists)
    supervisor = Supervisor([service], journal.say)
    supervisor.start()
    supervisor.stop()
    assert journal.said == [("deaf", "did not stop in 1 s, killed")]
    assert children() == []


def test_ends_what_an_ended_service_left_behind(journal: Journal, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with watched(Supervisor([shell("web", LEAVES_A_CHILD, str(pid_file))], journal.say)):
        assert eventually(lambda: bool(journal.said))
        left = int(pid_file.read_text())
        assert eventually(
            lambda: not psutil.pid_exists(left) or not still_alive([psutil.Process(left)])
        )
    assert children() == []


def test_a_stop_leaves_no_process(journal: Journal) -> None:
    supervisor = Supervisor([journal.polite(name) for name in "abc"], journal.say)
    supervisor.start()
    assert len(children()) == 3
    supervisor.stop()
    assert children() == []


def test_nothing_is_revived_after_a_stop(journal: Journal) -> None:
    supervisor = Supervisor([journal.polite("web")], journal.say)
    supervisor.start()
    supervisor.stop()
    supervisor.watch()
    assert journal.lines() == ["started web", "stopped web"]
    assert children() == []


def test_children_die_with_a_killed_supervisor() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pids: list[int] = json.loads(process.stdout.readline())
    below = [psutil.Process(pid) for pid in pids]
    assert len(still_alive(below)) == 3
    process.kill()
    process.communicate()
    assert eventually(lambda: not still_alive(below))


def test_a_service_that_ends_while_starting_is_not_ready(journal: Journal) -> None:
    failing = replace(shell("web", "exit 1"), ready=lambda: False)
    supervisor = Supervisor([journal.polite("redis"), failing], journal.say)
    with pytest.raises(ServiceNotReady, match="web ended while starting"):
        supervisor.start()
    assert len(children()) == 1
    supervisor.stop()
    assert children() == []


def test_a_service_that_does_not_answer_is_not_ready(journal: Journal) -> None:
    silent = replace(shell("web", "exec sleep 300"), ready=lambda: False)
    supervisor = Supervisor([silent, journal.polite("worker")], journal.say)
    with pytest.raises(ServiceNotReady, match="web was not ready in 1 s"):
        supervisor.start(timeout_s=1.0)
    assert journal.lines() == []
    supervisor.stop()
    assert children() == []


def test_a_stop_that_is_asked_for_ends_the_start(journal: Journal) -> None:
    waiting = replace(shell("web", "exec sleep 300"), ready=lambda: False)
    supervisor = Supervisor([waiting, journal.polite("worker")], journal.say)
    supervisor.request_stop()
    supervisor.start()
    assert journal.lines() == []
    supervisor.stop()
    assert children() == []


def test_output_is_passed_on_line_by_line_with_the_name(journal: Journal) -> None:
    service = shell("web", "echo one; echo two >&2; printf '\\377 three\\n'; exec sleep 300")
    supervisor = Supervisor([service], journal.say)
    supervisor.start()
    try:
        assert eventually(lambda: len(journal.said) == 3)
    finally:
        supervisor.stop()
    assert journal.said == [("web", "one"), ("web", "two"), ("web", "\ufffd three")]
