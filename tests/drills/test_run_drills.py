"""Drills on real workers: killed, stopped, frozen; each run ends once, in a state that is true.

A lease of 60 s is wound back in the database where a drill would only wait for its end; the
drill of the frozen worker waits for it.
"""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from itertools import accumulate
from pathlib import Path

import psutil
import pytest
from django.contrib.auth.models import User

from filesync.models import ApiToken, Storage, SyncConfig
from filesync.services.finishing import cancel_run
from filesync.services.sweeping import RING_AGAIN_S
from filesync.services.undo import queue_restore
from tests.drills.kills import kill_something, lapse_the_dead
from tests.drills.run_lab import (
    ENDS_WITHIN_S,
    SLOW,
    STARTS_WITHIN_S,
    RecordProperty,
    Run,
    RunLab,
    age_bells,
    contents,
    hurry,
    lapse,
    name_of,
    parent_of,
    runs,
)
from tests.drills.run_lab import open_lab as open_lab
from tests.project.system import still_alive
from tests.servers.process import HOST
from tests.servers.sftp import SftpServer

pytestmark = [
    pytest.mark.drill,
    pytest.mark.each_database,
    pytest.mark.each_broker,
    pytest.mark.timeout(300),
]

CALLS_AT_ONCE = 100
ROUNDS = 20
CANCELS = 10
LIMIT = 2
KILLS = 50
# Without a third kill of any: that run would be given up.
RUNS_TO_KILL = 60
# A lease ends 60 s after the worker was frozen; then a sweep comes within 5 s.
FROZEN_S = 120.0
WORKER_STOPS_WITHIN_S = 15.0
SEED = 20_260_301


# --- workers


def test_a_killed_pool_process_costs_no_run(lab: RunLab, record_property: RecordProperty) -> None:
    lab.start_worker()
    config_ids = lab.add_syncs(1, seconds=20)
    [run_id] = lab.queue(config_ids)
    lab.wait_for_transfer(run_id)
    lab.ask(hurry, config_ids)
    lab.kill_transfer(run_id)
    killed_at = time.monotonic()
    [run] = lab.end()
    record_property("ended_after_s", time.monotonic() - killed_at)
    assert (run.state, run.attempt) == ("SUCCEEDED", 2)
    lab.assert_in_step(run)


def test_celery_says_of_a_killed_run_what_the_run_says(lab: RunLab) -> None:
    worker = lab.start_worker()
    config_ids = lab.add_syncs(1, seconds=10)
    [run_id] = lab.queue(config_ids)
    transfer = lab.wait_for_transfer(run_id)
    lab.ask(hurry, config_ids)
    parent_of(transfer).kill()
    lab.wait_for(
        lambda: "WorkerLostError" in worker.log() or "signal 9" in worker.log(),
        "the main process sees it",
        timeout_s=STARTS_WITHIN_S,
    )
    # What it makes of it follows at once, and would last until the next attempt.
    time.sleep(2.0)
    held = lab.run(run_id)
    assert (held.state, held.status) == ("RUNNING", "STARTED")
    lab.ask(lapse, [run_id])
    assert [run.state for run in lab.end()] == ["SUCCEEDED"]


def test_a_killed_worker_leaves_no_orphan_and_its_runs_go_on_elsewhere(
    lab: RunLab, record_property: RecordProperty
) -> None:
    worker = lab.start_worker()
    # Long enough for a busy machine to start another worker meanwhile.
    config_ids = lab.add_syncs(2, seconds=40)
    run_ids = lab.queue(config_ids)
    for run_id in run_ids:
        lab.wait_for_transfer(run_id)
    other = lab.start_worker()
    lab.ask(hurry, config_ids)
    worker.kill()
    assert lab.sampler.now() == frozenset()
    killed_at = time.monotonic()
    lab.ask(lapse, run_ids)
    ended = lab.end()
    record_property("ended_after_s", time.monotonic() - killed_at)
    for run in ended:
        assert (run.state, run.attempt) == ("SUCCEEDED", 2)
        assert lab.worker_of(run) is other
        lab.assert_in_step(run)


@pytest.mark.parametrize("blows", [[signal.SIGTERM], [signal.SIGQUIT, signal.SIGQUIT]])
def test_a_stopped_worker_gives_its_runs_back_and_the_attempt_does_not_count(
    lab: RunLab, blows: list[signal.Signals], record_property: RecordProperty
) -> None:
    worker = lab.start_worker()
    config_ids = lab.add_syncs(2, seconds=12)
    run_ids = lab.queue(config_ids)
    for run_id in run_ids:
        lab.wait_for_transfer(run_id)
    lab.ask(hurry, config_ids)
    told_at = time.monotonic()
    for number in blows:
        worker.send(number)
        time.sleep(0.5)
    worker.wait()
    record_property("stopped_after_s", time.monotonic() - told_at)
    assert lab.sampler.now() == frozenset()
    for run in lab.ask(runs):
        assert (run.state, run.reason, run.attempt) == ("QUEUED", "WORKER_STOPPED", 0)
    other = lab.start_worker()
    for run in lab.end():
        assert (run.state, run.attempt) == ("SUCCEEDED", 1)
        assert lab.worker_of(run) is other
        lab.assert_in_step(run)


def test_a_worker_under_load_stops_in_time_and_leaves_nothing_behind(
    lab: RunLab, record_property: RecordProperty
) -> None:
    with SftpServer() as server:
        worker = lab.start_worker()
        lab.ask(add_sftp, *credentials(server))
        config_ids = lab.add_syncs(3, seconds=12) + lab.add_syncs(1, seconds=12, remote="sftp")
        run_ids = lab.queue(config_ids)
        for run_id in run_ids:
            lab.wait_for_transfer(run_id)
        waiting = lab.queue(lab.add_syncs(8))
        lab.ask(hurry, config_ids)
        # The one to the frozen server cannot end by itself.
        server.pause()
        tree = worker.tree()
        told_at = time.monotonic()
        worker.send(signal.SIGTERM)
        worker.wait()
        stopped_after_s = time.monotonic() - told_at
        record_property("stopped_after_s", stopped_after_s)
        assert stopped_after_s < WORKER_STOPS_WITHIN_S
        assert still_alive(tree) == []
        told = {run.pk: (run.state, run.attempt) for run in lab.ask(runs)}
        assert told == dict.fromkeys(run_ids + waiting, ("QUEUED", 0))
        server.resume()
        lab.start_worker()
        for run in lab.end():
            assert (run.state, run.attempt) == ("SUCCEEDED", 1)


def test_a_killed_rclone_is_tried_again_and_goes_on_from_there(lab: RunLab) -> None:
    lab.start_worker()
    config_ids = lab.add_syncs(1, seconds=10)
    [run_id] = lab.queue(config_ids)
    transfer = lab.wait_for_transfer(run_id)
    wait_for_a_whole_file(lab, lab.run(run_id))
    lab.ask(hurry, config_ids)
    psutil.Process(transfer.pid).kill()
    waiting = lab.wait_for_state(run_id, "QUEUED", within_s=STARTS_WITHIN_S)
    assert (waiting.reason, waiting.status, waiting.failure_class) == ("RETRY", "RETRY", "INTERNAL")
    [run] = lab.end()
    assert (run.state, run.attempt) == ("SUCCEEDED", 2)
    assert run.files_transferred < len(lab.source(run)), "it began anew"
    lab.assert_in_step(run)


def test_a_worker_that_was_frozen_past_its_lease_stops_and_writes_nothing(
    lab: RunLab, record_property: RecordProperty
) -> None:
    frozen = lab.start_worker()
    [config_id] = lab.add_syncs(1, seconds=100)
    [run_id] = lab.queue([config_id])
    transfer = lab.wait_for_transfer(run_id)
    lab.ask(hurry, [config_id])
    # A data folder of its own stands for another host: there the config's lock is no help.
    other = lab.start_worker_elsewhere()
    frozen.send_to_all(signal.SIGSTOP)
    frozen_at = time.monotonic()
    # RabbitMQ hands the first bell to either of its two consumers: the frozen one answers none.
    ended = lab.wait_for_state(run_id, "SUCCEEDED", within_s=ENDS_WITHIN_S + RING_AGAIN_S)
    record_property("ended_elsewhere_after_s", time.monotonic() - frozen_at)
    assert lab.worker_of(ended) is other
    time.sleep(max(0.0, frozen_at + FROZEN_S - time.monotonic()))
    frozen.send_to_all(signal.SIGCONT)
    lab.wait_for(
        lambda: transfer not in lab.sampler.now(), "its rclone is gone", timeout_s=STARTS_WITHIN_S
    )
    assert lab.end() == [ended]
    assert ended.attempt == 2
    sent = lab.sent(ended)
    # Killed in the middle of a file, it may leave that one under the name of a partial file.
    partial = {name for name in sent if not whole_name(name)}
    record_property("left_behind", sorted(partial))
    assert {name: sent[name] for name in sent.keys() - partial} == lab.source(ended)
    assert "is no longer held by this worker" in frozen.log()


def test_a_config_that_kills_its_workers_is_lost_and_others_are_unharmed(lab: RunLab) -> None:
    lab.start_worker()
    [poison] = lab.add_syncs(1, seconds=30)
    others = lab.add_syncs(3, seconds=8)
    [poison_run, *_] = lab.queue([poison, *others])
    for attempt in (1, 2, 3):
        lab.kill_transfer(poison_run, attempt=attempt)
    [lost, *ended] = lab.end(given_up=[poison_run])
    assert (lost.pk, lost.state, lost.reason, lost.attempt) == (
        poison_run,
        "LOST",
        "LEASE_LOST",
        3,
    )
    assert lost.status == "FAILURE"
    for run in ended:
        assert (run.state, run.attempt) == ("SUCCEEDED", 1)


@pytest.mark.timeout(600)
def test_random_kills_lose_no_run(lab: RunLab, record_property: RecordProperty) -> None:
    chance = random.Random(SEED)
    for _ in range(2):
        lab.start_worker()
    config_ids = lab.add_syncs(RUNS_TO_KILL, seconds=16)
    run_ids = lab.queue(config_ids)
    kills: Counter[str] = Counter()
    while sum(kills.values()) < KILLS:
        kills.update(kill_something(lab, chance))
        time.sleep(chance.uniform(0.2, 1.0))
        lapse_the_dead(lab)
    record_property("kills", dict(kills))
    lab.ask(hurry, config_ids)
    lab.ask(age_bells)
    lab.wait_for(lambda: lapse_the_dead(lab), "all have ended", timeout_s=ENDS_WITHIN_S)
    ended = lab.end()
    assert [run.pk for run in ended] == run_ids
    assert {run.state for run in ended} == {"SUCCEEDED"}
    record_property("attempts", dict(Counter(run.attempt for run in ended)))
    for run in ended:
        lab.assert_in_step(run)


# --- undoing


def test_an_undoing_that_is_killed_halfway_ends_with_the_tree_before_the_run(lab: RunLab) -> None:
    lab.start_worker()
    [config_id] = lab.add_syncs(1, seconds=12)
    lab.ask(keep_files, config_id)
    name = lab.ask(name_of, config_id)
    source, destination = lab.files / f"from {name}", lab.files / f"to {name}"
    [first] = lab.queue([config_id])
    lab.wait_for_state(first, "SUCCEEDED")
    before = contents(destination)
    for number, path in enumerate(sorted(source.iterdir())):
        path.unlink() if number % 3 == 0 else path.write_bytes(b"another and shorter")
    (source / "added.bin").write_bytes(b"added")
    [changing] = lab.queue([config_id])
    lab.wait_for_state(changing, "SUCCEEDED")
    after = contents(destination)
    assert before.keys() != after.keys()

    undoing = lab.ask(undo_slowly, changing, SLOW)
    lab.wait_for(
        lambda: any(contents(destination).get(path) == data for path, data in before.items()),
        "a file is back",
        timeout_s=STARTS_WITHIN_S,
    )
    [transfer] = (seen for seen in lab.sampler.now() if seen.run_id == undoing)
    parent_of(transfer).kill()
    lab.wait_for(lambda: transfer not in lab.sampler.now(), "rclone dies with it", timeout_s=5.0)
    halfway = contents(destination)
    assert before != halfway != after
    lab.ask(hurry, [config_id])
    lab.ask(lapse, [undoing])

    undone = lab.wait_for_state(undoing, "SUCCEEDED", "PARTIAL", "FAILED")
    assert (undone.state, undone.attempt) == ("SUCCEEDED", 2)
    assert contents(destination) == before
    lab.end()


def keep_files(config_id: int) -> None:
    """Let a config keep what it deletes, delete what it will, and go as fast as it can."""
    SyncConfig.objects.filter(pk=config_id).update(
        method=SyncConfig.Method.FULL, keep_deleted_days=7, max_delete_percent=100, bandwidth=""
    )


def undo_slowly(run_id: int, bandwidth: str) -> int:
    SyncConfig.objects.filter(runs=run_id).update(bandwidth=bandwidth)
    return queue_restore(run_id).pk


# --- cancel


def test_a_running_run_is_cancelled(lab: RunLab, record_property: RecordProperty) -> None:
    lab.start_worker()
    config_ids = lab.add_syncs(3, seconds=20)
    took_s: list[float] = []
    for run_id in lab.queue(config_ids):
        wait_for_a_whole_file(lab, lab.run(run_id))
        took_s.append(cancel_and_wait(lab, run_id))
    record_property("cancelled_after_s", took_s)
    for run in lab.end():
        assert_cancelled_without_trace(lab, run)


def test_a_run_is_cancelled_at_any_moment(lab: RunLab, record_property: RecordProperty) -> None:
    chance = random.Random(SEED)
    lab.start_worker()
    took_s: dict[str, list[float]] = defaultdict(list)
    # Four run at once, and on a busy machine none may end before its turn to be cancelled.
    run_ids = lab.queue(lab.add_syncs(CANCELS, seconds=60))
    for run_id in chance.sample(run_ids, CANCELS):
        time.sleep(chance.uniform(0.0, 1.5))
        before = lab.run(run_id).state
        took_s[before].append(round(cancel_and_wait(lab, run_id), 1))
    record_property("cancelled_after_s", dict(took_s))
    assert took_s.keys() == {"QUEUED", "RUNNING"}, "nothing is shown of one of them"
    for run in lab.end():
        assert (run.state, run.reason, run.status) == ("CANCELLED", "CANCELLED_BY_USER", "REVOKED")
        source, sent = lab.source(run), lab.sent(run)
        assert {name: source[name] for name in sent} == sent


def test_a_run_is_cancelled_whatever_its_remote_does(
    lab: RunLab, record_property: RecordProperty
) -> None:
    with SftpServer() as server:
        lab.start_worker()
        lab.ask(add_sftp, *credentials(server))
        [config_id] = lab.add_syncs(1, seconds=30, remote="sftp")
        [run_id] = lab.queue([config_id])
        lab.wait_for_transfer(run_id)
        server.pause()
        record_property("cancelled_after_s", cancel_and_wait(lab, run_id))
        assert lab.sampler.now() == frozenset()
        server.resume()
        [run] = lab.end()
        assert (run.state, run.status) == ("CANCELLED", "REVOKED")
        source = lab.source(run)
        for path, data in contents(server.root).items():
            if whole_name(path):
                assert data == source[Path(path).name]


def wait_for_a_whole_file(lab: RunLab, run: Run) -> None:
    lab.wait_for(
        lambda: any(whole_name(path) for path in lab.sent(run)),
        "a file was sent",
        timeout_s=STARTS_WITHIN_S,
    )


def credentials(server: SftpServer) -> tuple[dict[str, str], str]:
    """Return the options of a storage on the server, and its password."""
    options = dict(server.remote.options)
    password = options.pop("pass")
    return options, password


def add_sftp(options: dict[str, str], password: str) -> None:
    storage = Storage(name="sftp", backend="sftp", options=options, max_concurrent_runs=8)
    storage.secrets = {"pass": password}
    storage.save()


def whole_name(path: str) -> bool:
    return path.endswith(".bin")


def cancel_and_wait(lab: RunLab, run_id: int) -> float:
    """Cancel a run and wait for its end; return the seconds that it took."""
    asked_at = time.monotonic()
    lab.ask(cancel, run_id)
    lab.wait_for_state(run_id, "CANCELLED", within_s=20.0)
    return time.monotonic() - asked_at


def cancel(run_id: int) -> None:
    cancel_run(run_id)


def assert_cancelled_without_trace(lab: RunLab, run: Run) -> None:
    """Assert that it says so, and that what was sent is whole."""
    assert (run.state, run.reason, run.status) == ("CANCELLED", "CANCELLED_BY_USER", "REVOKED")
    source, sent = lab.source(run), lab.sent(run)
    assert 0 < len(sent) < len(source)
    assert {name: source[name] for name in sent} == sent


# --- many at once


def test_a_storage_is_never_used_by_more_runs_than_it_allows(
    lab: RunLab, record_property: RecordProperty
) -> None:
    config_ids = lab.add_syncs(6, seconds=4, limit=LIMIT)
    [elsewhere] = lab.add_syncs(1)
    run_ids = lab.queue([*config_ids, elsewhere])
    # It has four places: two are left when as many run as the storage allows.
    lab.start_worker()
    lab.wait_for_state(run_ids[-1], "SUCCEEDED", within_s=STARTS_WITHIN_S)
    waiting = [run for run in lab.ask(runs) if run.state == "QUEUED"]
    assert waiting, "the other storage's run had to wait"
    ended = lab.end()
    assert {(run.state, run.attempt) for run in ended} == {("SUCCEEDED", 1)}
    limited = [run for run in ended if run.pk in run_ids[:-1]]
    edges = [(run.started_at, 1) for run in limited] + [(run.finished_at, -1) for run in limited]
    at_once = list(accumulate(step for _, step in sorted(edges)))
    assert max(at_once) == LIMIT
    started = [run.pk for run in sorted(limited, key=started_at)]
    record_property("started", started)
    # Who has a place may be quicker than the one before it who has one, too; nobody passes more.
    assert all(abs(started.index(pk) - place) < LIMIT for place, pk in enumerate(run_ids[:-1]))


def test_a_run_that_needs_two_crowded_storages_keeps_its_turn(
    lab: RunLab, record_property: RecordProperty
) -> None:
    def on_two(count: int) -> list[int]:
        return lab.add_syncs(count, seconds=3, limit=LIMIT)

    def on_one(count: int) -> list[int]:
        return lab.add_syncs(count, seconds=3, limit=1)

    before = on_two(3) + on_one(2)
    [both] = lab.add_syncs(1, seconds=3, limit=LIMIT, remote="disk of 1")
    after = [pk for _ in range(4) for pk in on_two(1) + on_one(1)]
    run_ids = lab.queue([*before, both, *after])
    lab.start_worker()
    ended = lab.end()
    assert {(run.state, run.attempt) for run in ended} == {("SUCCEEDED", 1)}
    started = [run.pk for run in sorted(ended, key=started_at)]
    record_property("started", started)
    # One place: the order of the queue, the run that needs another place too among them.
    line = [*run_ids[3:6], *run_ids[7::2]]
    assert [pk for pk in started if pk in line] == line


def started_at(run: Run) -> float:
    return run.started_at


def test_of_a_hundred_calls_at_once_one_makes_a_run(lab: RunLab) -> None:
    config_ids = lab.add_syncs(ROUNDS)
    token = lab.ask(operator_token)
    web = lab.start_web(SYNCBEAT_EXECUTES_PER_MINUTE="100000")
    for config_id in config_ids:
        answers = call_at_once(lab.web_port, token, config_id)
        [made] = [run for run in lab.ask(runs) if run.config_id == config_id]
        assert Counter(answers) == {
            (202, made.task_id): 1,
            (409, made.task_id): CALLS_AT_ONCE - 1,
        }
    assert web.end() == 0
    lab.start_worker()
    ended = lab.end()
    assert [run.config_id for run in ended] == config_ids
    assert {(run.state, run.attempt) for run in ended} == {("SUCCEEDED", 1)}


def operator_token() -> str:
    user = User.objects.create_superuser("caller")
    return ApiToken.issue(user, "drill")[1]


def call_at_once(port: int, token: str, config_id: int) -> list[tuple[int, str]]:
    """Ask for one config's run over a hundred connections; return status and task id of each."""
    barrier = threading.Barrier(CALLS_AT_ONCE)

    def call(_: int) -> tuple[int, str]:
        with closing(HTTPConnection(HOST, port, timeout=60)) as connection:
            connection.connect()
            barrier.wait()
            connection.request(
                "POST",
                f"/api/v1/task/scheduler/execute-sync/{config_id}",
                headers={"Authorization": f"Bearer {token}"},
            )
            answer = connection.getresponse()
            return answer.status, str(json.load(answer)["task_id"])

    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        return list(pool.map(call, range(CALLS_AT_ONCE)))
