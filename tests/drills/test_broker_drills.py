"""Drills on the broker under real workers: it forgets, it freezes; no run is lost or doubled.

The bells of queued runs are wound back where a drill would only wait a minute for the sweep to
ring again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from filesync.services.queueing import queue_run
from tests.drills.lab import Broker
from tests.drills.run_lab import (
    ENDS_WITHIN_S,
    RecordProperty,
    RunLab,
    age_bells,
    runs,
)
from tests.drills.run_lab import open_lab as open_lab
from tests.filesync.factories import point_broker_at
from tests.servers.installed import skip_unless_installed
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer
from tests.servers.silent import SilentServer

pytestmark = [pytest.mark.drill, pytest.mark.each_database, pytest.mark.timeout(300)]

QUEUED = 100
ANSWERS_WITHIN_S = 6.0
FROZEN_S = 60.0
# Both brokers give a message to another worker after so long without an acknowledgement.
PATIENCE_S = 5


@pytest.fixture
def broker(pytestconfig: pytest.Config) -> Iterator[Broker]:
    """Return a broker of the test's own; a RabbitMQ's patience is shorter than a run."""
    if pytestconfig.getoption("broker") == "redis":
        server: Broker = RedisServer()
    else:
        skip_unless_installed("rabbitmq")
        server = RabbitmqServer(consumer_timeout_s=PATIENCE_S)
    with server:
        yield server


def test_a_broker_that_forgets_everything_twice_loses_and_doubles_no_run(
    lab: RunLab, record_property: RecordProperty
) -> None:
    assert isinstance(lab.broker, RedisServer)
    run_ids = lab.queue(lab.add_syncs(QUEUED))
    lab.broker.kill()
    lab.broker.start()
    assert lab.broker.client().llen("celery") == 0, "it kept them: nothing is shown"
    lab.start_worker()
    lab.ask(age_bells)
    began_at = time.monotonic()
    lab.wait_for(lambda: finished(lab) > QUEUED // 3, "a third is done", timeout_s=ENDS_WITHIN_S)
    lab.broker.client().flushall()
    record_property("finished_at_the_flush", finished(lab))
    lab.ask(age_bells)
    ended = lab.end()
    record_property("all_ended_after_s", time.monotonic() - began_at)
    assert [run.pk for run in ended] == run_ids
    assert {(run.state, run.attempt) for run in ended} == {("SUCCEEDED", 1)}
    for run in ended:
        lab.assert_in_step(run)


def finished(lab: RunLab) -> int:
    return sum(run.finished_at > 0 for run in lab.ask(runs))


@pytest.mark.each_broker
def test_under_a_frozen_broker_runs_go_on_and_new_ones_are_recorded(
    lab: RunLab, record_property: RecordProperty
) -> None:
    lab.start_worker()
    [before] = lab.queue(lab.add_syncs(1, seconds=10))
    lab.wait_for_transfer(before)
    [config_id] = lab.add_syncs(1)
    lab.broker.pause()
    frozen_at = time.monotonic()
    answered_after_s = lab.ask(seconds_of_a_call, config_id)
    record_property("answered_after_s", answered_after_s)
    assert answered_after_s < ANSWERS_WITHIN_S
    [_, recorded] = lab.ask(runs)
    assert (recorded.config_id, recorded.state) == (config_id, "QUEUED")
    lab.wait_for_state(before, "SUCCEEDED", within_s=FROZEN_S)
    time.sleep(max(0.0, frozen_at + FROZEN_S - time.monotonic()))
    lab.broker.resume()
    resumed_at = time.monotonic()
    ended = lab.end()
    record_property("ended_after_thaw_s", time.monotonic() - resumed_at)
    assert [(run.state, run.attempt) for run in ended] == [("SUCCEEDED", 1)] * 2


def seconds_of_a_call(config_id: int, address: str = "") -> float:
    """Queue a run as an execute call does, where told at another broker; return what it took."""
    if address:
        point_broker_at(address)
    began_at = time.monotonic()
    queue_run(config_id)
    return time.monotonic() - began_at


@pytest.mark.each_broker
def test_a_call_is_answered_in_time_whatever_the_broker_does(
    lab: RunLab, record_property: RecordProperty
) -> None:
    warm, frozen, frozen_again, refused, silent, thawed = lab.add_syncs(6)
    scheme = lab.broker.url.partition("://")[0]
    took_s = {"well": lab.ask(seconds_of_a_call, warm)}
    lab.broker.pause()
    took_s["frozen"] = lab.ask(seconds_of_a_call, frozen)
    took_s["frozen, second call"] = lab.ask(seconds_of_a_call, frozen_again)
    lab.broker.kill()
    took_s["refused"] = lab.ask(seconds_of_a_call, refused)
    with SilentServer() as black_hole:
        address = f"{scheme}://127.0.0.1:{black_hole.port}/0"
        took_s["silent"] = lab.ask(seconds_of_a_call, silent, address)
        assert black_hole.connections > 0
    lab.broker.start()
    took_s["back again"] = lab.ask(seconds_of_a_call, thawed, lab.broker.url)
    record_property("answered_after_s", {what: round(s, 2) for what, s in took_s.items()})
    assert max(took_s.values()) < ANSWERS_WITHIN_S
    assert [run.state for run in lab.ask(runs)] == ["QUEUED"] * len(took_s)
    lab.start_worker()
    lab.ask(age_bells)
    ended = lab.end()
    assert {(run.state, run.attempt) for run in ended} == {("SUCCEEDED", 1)}


@pytest.mark.each_broker
def test_a_run_longer_than_the_brokers_patience_is_not_doubled(
    lab: RunLab, record_property: RecordProperty
) -> None:
    workers = [
        lab.start_worker(DJANGO_SETTINGS_MODULE="tests.drills.short_visibility") for _ in range(2)
    ]
    run_ids = lab.queue(lab.add_syncs(3, seconds=5 * PATIENCE_S))
    for run_id in run_ids:
        lab.wait_for_transfer(run_id)
    ended = lab.end()
    record_property("lasted_s", [round(run.finished_at - run.started_at) for run in ended])
    assert {(run.state, run.attempt) for run in ended} == {("SUCCEEDED", 1)}
    assert [len(lab.sampler.of(run.pk)) for run in ended] == [1] * len(run_ids)
    assert [worker.log().count("PRECONDITION_FAILED") for worker in workers] == [0, 0]
