"""Callers who send slowly keep no thread for long, and never all of them."""

from __future__ import annotations

import select
import shutil
import socket
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress

import pytest

from project.slow_callers import HURRIED_S, LONGEST_S, QUICK_S, Reading, judge
from tests.project.system import own_environment, run_command, wait_until
from tests.project.test_services import GUNICORN
from tests.servers.process import HOST, GuardedProcess, answers_tcp, free_port, short_temp_dir

THREADS = 4
STARTS_WITHIN_S = 60.0

HEAD = "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
FORM = "application/x-www-form-urlencoded"
LOGIN = HEAD.format(path="/admin/login/", kind=FORM)
HOOK = HEAD.format(path="/api/v1/hooks/nothing", kind="application/json")


@pytest.fixture(scope="module", name="port")
def serve() -> Iterator[int]:
    """Start the web server as `manage.py up` does, with few threads; return its port."""
    folder = short_temp_dir("sb-slow-")
    port = free_port()
    environment = own_environment(
        folder / "data", SYNCBEAT_PORT=str(port), SYNCBEAT_WEB_THREADS=str(THREADS)
    )
    (folder / "data").mkdir()
    done = run_command(["migrate"], environment)
    assert done.returncode == 0, done.stderr
    argv = [word for word in GUNICORN if word not in ("--print-config", "--check-config")]
    web = GuardedProcess(argv, log_file=folder / "web.log", environment=environment)
    try:
        started = wait_until(lambda: answers_tcp(port), timeout_s=STARTS_WITHIN_S)
        assert started, (folder / "web.log").read_text()
        yield port
    finally:
        web.kill()
        shutil.rmtree(folder)


def open_with(stack: ExitStack, port: int, sent: str) -> socket.socket:
    connection = stack.enter_context(socket.create_connection((HOST, port), timeout=10))
    connection.sendall(sent.encode())
    return connection


def is_alive(port: int) -> bool:
    with urllib.request.urlopen(f"http://{HOST}:{port}/health/live", timeout=QUICK_S + 3) as answer:
        return bool(answer.status == 200)


@pytest.mark.parametrize(
    "sent",
    [
        f"{LOGIN}Content-Length: 1000\r\n\r\nx",
        f"{LOGIN}Transfer-Encoding: chunked\r\n\r\n5\r\nx",
        f"{HOOK}Content-Length: 1000\r\n\r\nx",
        f"{HOOK}Transfer-Encoding: chunked\r\n\r\n5\r\nx",
        "GET / HTTP/1.1\r\nHost: loc",
    ],
    ids=["login", "login in chunks", "hook", "hook in chunks", "head"],
)
def test_as_many_slow_callers_as_threads_stop_nobody(port: int, sent: str) -> None:
    with ExitStack() as stack:
        slow = [open_with(stack, port, sent) for _ in range(2 * THREADS)]
        time.sleep(QUICK_S / 2)
        assert is_alive(port)
        for connection in slow:
            # It may be cut off already.
            with suppress(OSError):
                connection.sendall(b"x")
        assert is_alive(port)


def test_who_is_cut_off_is_told_so(port: int) -> None:
    with ExitStack() as stack:
        slow = [
            open_with(stack, port, f"{LOGIN}Content-Length: 9\r\n\r\nx") for _ in range(THREADS)
        ]
        answered, _, _ = select.select(slow, [], [], QUICK_S + 3)
        assert answered[0].recv(1000).startswith(b"HTTP/1.1 408")


def test_an_unknown_hook_is_answered_before_its_body_is_there(port: int) -> None:
    with ExitStack() as stack:
        caller = open_with(stack, port, f"{HOOK}Content-Length: 1000\r\n\r\nx")
        assert caller.recv(1000).startswith(b"HTTP/1.1 404")


def test_a_body_that_comes_in_pieces_but_in_time_is_read(port: int) -> None:
    with ExitStack() as stack:
        caller = open_with(stack, port, f"{LOGIN}Content-Length: 10\r\n\r\n")
        for _ in range(5):
            time.sleep(QUICK_S / 2)
            caller.sendall(b"a=")
        assert caller.recv(1000).startswith(b"HTTP/1.1 403")


# Who is cut off ----------------------------------------------------------------------------------


@pytest.fixture(name="plug")
def make_plug() -> Iterator[socket.socket]:
    one, other = socket.socketpair()
    with one, other:
        yield one


def aged(plug: socket.socket, *ages_s: float, slow: int = 0) -> Sequence[Reading]:
    return [
        Reading(plug, 1000 - age_s, is_slow=number < slow) for number, age_s in enumerate(ages_s)
    ]


def test_only_so_many_may_be_slow_at_once(plug: socket.socket) -> None:
    readings = aged(plug, 4, 3, 2, HURRIED_S + 0.1, HURRIED_S - 0.1)
    assert judge(readings, now_s=1000, most_slow=2) == readings[2:4]
    assert [reading.is_slow for reading in readings] == [True, True, False, False, False]


def test_nobody_is_hurried_while_there_is_room(plug: socket.socket) -> None:
    readings = aged(plug, 4, QUICK_S - 0.1)
    assert judge(readings, now_s=1000, most_slow=2) == []
    assert not readings[1].is_slow


def test_who_is_slow_too_long_makes_room_for_another(plug: socket.socket) -> None:
    readings = aged(plug, LONGEST_S + 1, 2, slow=1)
    assert judge(readings, now_s=1000, most_slow=1) == [readings[0]]
    assert readings[1].is_slow


def test_who_was_cut_off_counts_no_more(plug: socket.socket) -> None:
    readings = aged(plug, LONGEST_S + 1, 2, slow=1)
    readings[0].is_cut = True
    assert judge(readings, now_s=1000, most_slow=1) == []
    assert readings[1].is_slow
