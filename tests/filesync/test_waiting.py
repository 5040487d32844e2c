"""Waiting for a run's end: it ends when the run does, holds nothing, and leaves threads free."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection

from filesync.models import SyncRun
from filesync.services import waiting
from filesync.services.finishing import cancel_run
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_config, make_run

pytestmark = pytest.mark.django_db

RESULT = "/api/v1/task/scheduler/task-result"


def nothing() -> None:
    pass


class Clock:
    """Stands in for `time` in `filesync.services.waiting`; `during` happens while it sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []
        self.held: list[bool] = []
        self.during: Callable[[], None] = nothing

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds
        self.held.append(connection.connection is not None)
        self.during()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    return clock


@pytest.mark.django_db(transaction=True)
def test_the_answer_comes_when_the_run_ends_and_no_connection_is_held_meanwhile(
    local_root: Path, clock: Clock
) -> None:
    run = make_run(make_config(local_root))
    client = client_of("viewer")

    def end_at_the_third_look() -> None:
        if len(clock.slept) == 3:
            cancel_run(run.pk)

    clock.during = end_at_the_third_look
    body = client.get(f"{RESULT}/{run.task_id}?wait=30").json()

    assert (body["ready"], body["status"]) == (True, "REVOKED")
    assert len(clock.slept) == 3
    assert clock.held == [False, False, False]


@pytest.mark.parametrize(("wait", "looks"), [("2", 4), ("0", 0), (None, 0)])
def test_it_waits_as_long_as_it_was_asked_to(
    local_root: Path, clock: Clock, wait: str | None, looks: int
) -> None:
    run = make_run(make_config(local_root))
    query = f"?wait={wait}" if wait is not None else ""

    body = client_of("viewer").get(f"{RESULT}/{run.task_id}{query}").json()

    assert (body["ready"], body["status"]) == (False, "PENDING")
    assert (len(clock.slept), sum(clock.slept)) == (looks, float(wait or 0))


@pytest.mark.parametrize("wait", ["31", "-1", "soon", "1.5"])
def test_a_wait_that_is_no_wait_is_400_and_named(local_root: Path, wait: str) -> None:
    run = make_run(make_config(local_root))

    answer = client_of("viewer").get(f"{RESULT}/{run.task_id}?wait={wait}")

    assert (answer.status_code, list(answer.json())) == (400, ["wait"])


def test_for_what_has_ended_or_never_was_nobody_waits(local_root: Path, clock: Clock) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.FAILED)
    client = client_of("viewer")

    assert client.get(f"{RESULT}/{run.task_id}?wait=30").json()["ready"] is True
    assert client.get(f"{RESULT}/11111111-2222-3333-4444-555555555555?wait=30").status_code == 404
    assert clock.slept == []


def test_where_too_many_wait_the_answer_comes_at_once(
    local_root: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_places", threading.BoundedSemaphore(1))
    run = make_run(make_config(local_root))
    client = client_of("viewer")
    inner: list[object] = []

    def ask_too() -> None:
        clock.during = nothing
        slept = len(clock.slept)
        inner.append(client.get(f"{RESULT}/{run.task_id}?wait=30").json()["ready"])
        inner.append(len(clock.slept) - slept)

    clock.during = ask_too
    client.get(f"{RESULT}/{run.task_id}?wait=1")

    assert inner == [False, 0]
    assert client.get(f"{RESULT}/{run.task_id}?wait=1").json()["ready"] is False
    assert len(clock.slept) == 4
