"""Drills on who tells: a sender that is killed in the middle, and whoever still lives."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import psutil
import psycopg
import pytest
from django.db.models import F

from filesync.models import Delivery, NotificationChannel, SyncConfig, Watch
from filesync.notifications.watch import SILENT_AFTER
from scheduler.clock import from_now
from scheduler.models import Heartbeat
from tests.drills.run_lab import ENDS_WITHIN_S, RunLab, Worker, hurry, runs
from tests.drills.run_lab import open_lab as open_lab
from tests.servers.process import HOST
from tests.servers.webhook import MailServer, WebhookReceiver

pytestmark = [
    pytest.mark.drill,
    pytest.mark.each_database,
    pytest.mark.each_broker,
    pytest.mark.timeout(300),
]

ASKS_WITHIN_S = 60.0
# Far longer than an answer on loopback takes to be read.
READ_WITHIN_S = 1.0
# A message that a worker was rung for is sent by whoever watches after 30 s.
SENT_WITHIN_S = 60.0
# Two more passes of the watch, each 3 s.
QUIET_S = 8.0


def test_a_mail_whose_sender_is_killed_before_the_server_has_it_arrives_once(lab: RunLab) -> None:
    with MailServer() as mail:
        mail.gate.clear()
        sender = sender_of(lab, mail.url, mail.port)
        sender.kill()
        mail.gate.set()
        sends_again(lab)
        assert [str(one["Subject"]) for one in mail.mails] == ["1 failed"]
    lab.end()


def test_a_message_whose_sender_is_killed_before_it_is_answered_comes_at_most_twice(
    lab: RunLab,
) -> None:
    with WebhookReceiver() as hook:
        hook.gate.clear()
        sender = sender_of(lab, f"json://{hook.address}/", hook.port)
        sender.kill()
        hook.gate.set()
        sends_again(lab)
        assert hook.titles == ["1 failed"] * 2
    lab.end()


def test_a_message_whose_sender_is_killed_between_answer_and_commit_comes_twice(
    lab: RunLab,
) -> None:
    with WebhookReceiver() as hook:
        hook.gate.clear()
        sender = sender_of(lab, f"json://{hook.address}/", hook.port)
        with deliveries_locked(lab.database_url):
            hook.gate.set()
            time.sleep(READ_WITHIN_S)
            sender.kill()
        sends_again(lab)
        assert hook.titles == ["1 failed"] * 2
    lab.end()


def test_the_web_server_tells_of_beat_and_workers_that_are_all_dead(lab: RunLab) -> None:
    with WebhookReceiver() as hook:
        worker, beat = lab.start_worker(), lab.start_beat()
        [config_id] = lab.add_syncs(1)
        lab.ask(let_it_fire_once_a_year, config_id)
        lab.ask(add_channel, f"json://{hook.address}/", ["SILENT", "RECOVERED"])
        web = lab.start_web(SYNCBEAT_NOTIFY_NETWORKS=HOST)
        time.sleep(QUIET_S)
        assert hook.titles == []

        worker.kill()
        beat.kill()
        lab.ask(let_time_pass, SILENT_AFTER, "beat", "worker")
        wait_for_titles(lab, hook, 2)
        assert sorted(title.partition(" for ")[0] for title in hook.titles) == [
            "No beat",
            "No worker",
        ]
        lab.start_worker(SYNCBEAT_NOTIFY_NETWORKS=HOST)
        lab.start_beat(SYNCBEAT_NOTIFY_NETWORKS=HOST)
        wait_for_titles(lab, hook, 4)
        assert sorted(title.partition(" is back")[0] for title in hook.titles[2:]) == [
            "A worker",
            "Beat",
        ]
        assert web.end() == 0
    lab.end()


@pytest.mark.parametrize(
    ("survivor", "silence", "is_back"),
    [
        ("beat", "No worker for ", "A worker is back"),
        ("worker", "No beat for ", "Beat is back"),
    ],
)
def test_of_beat_and_worker_the_one_that_lives_tells_of_the_other(
    lab: RunLab, survivor: str, silence: str, is_back: str
) -> None:
    """No web server is there: nobody else can tell."""
    with WebhookReceiver() as hook:
        worker = lab.start_worker(SYNCBEAT_NOTIFY_NETWORKS=HOST)
        beat = lab.start_beat(SYNCBEAT_NOTIFY_NETWORKS=HOST)
        [config_id] = lab.add_syncs(1)
        lab.ask(let_it_fire_once_a_year, config_id)
        lab.ask(add_channel, f"json://{hook.address}/", ["SILENT", "RECOVERED"])
        time.sleep(QUIET_S)
        assert hook.titles == []

        if survivor == "beat":
            worker.kill()
        else:
            beat.kill()
        lab.ask(let_time_pass, SILENT_AFTER, "worker" if survivor == "beat" else "beat")
        wait_for_titles(lab, hook, 1)
        assert hook.titles[0].startswith(silence)

        if survivor == "beat":
            lab.start_worker(SYNCBEAT_NOTIFY_NETWORKS=HOST)
        else:
            lab.start_beat(SYNCBEAT_NOTIFY_NETWORKS=HOST)
        wait_for_titles(lab, hook, 2)
        assert hook.titles[1].startswith(is_back)
    lab.end()


def test_a_target_that_hangs_takes_one_process_of_the_pool_and_holds_up_no_run(
    lab: RunLab,
) -> None:
    with WebhookReceiver() as hook:
        hook.gate.clear()
        worker = lab.start_worker(SYNCBEAT_NOTIFY_NETWORKS=HOST)
        lab.ask(add_channel, f"json://{hook.address}/", ["FAILURE"])
        failing, good = lab.add_syncs(12), lab.add_syncs(12)
        for number in range(1, 13):
            shutil.rmtree(lab.files / f"from {number}")
        lab.ask(set_ping_urls, f"http://{hook.address}")
        lab.queue(failing)
        lab.wait_for(
            lambda: senders(worker, hook.port), "a pool process sends", timeout_s=ASKS_WITHIN_S
        )

        run_ids = lab.queue(good)
        most = 0

        def all_ended() -> bool:
            nonlocal most
            most = max(most, senders(worker, hook.port))
            ended = {run.pk for run in lab.ask(runs) if run.finished_at}
            return ended >= set(run_ids)

        lab.wait_for(all_ended, "the runs end", timeout_s=ENDS_WITHIN_S)
        assert most == 1
        assert {state for state, _ in lab.ask(deliveries)} <= {"WAITING", "SENDING"}
        hook.gate.set()
    assert Counter(run.state for run in lab.end()) == {"SUCCEEDED": 12, "FAILED": 12}


def test_a_monitor_is_pinged_by_a_worker_as_its_runs_go(lab: RunLab) -> None:
    with WebhookReceiver() as hook:
        worker = lab.start_worker(SYNCBEAT_NOTIFY_NETWORKS=HOST)
        [good, failing], [killed] = lab.add_syncs(2), lab.add_syncs(1, seconds=20)
        shutil.rmtree(lab.files / "from 2")
        lab.ask(set_ping_urls, f"http://{hook.address}")
        *_, cut = lab.queue([good, failing, killed])
        lab.kill_transfer(cut)
        lab.ask(hurry, [killed])
        lab.wait_for_state(cut, "SUCCEEDED")

        expected = {
            good: ["/start", ""],
            failing: ["/start", "/fail"],
            # Each attempt is a start: a monitor counts from the latest.
            killed: ["/start", "/start", ""],
        }
        lab.wait_for(
            lambda: len(hook.paths) >= sum(map(len, expected.values())),
            "the monitor is pinged",
            timeout_s=SENT_WITHIN_S,
        )
        time.sleep(QUIET_S)
        pinged = {
            pk: [path.removeprefix(f"/{pk}") for path in hook.paths if path.startswith(f"/{pk}")]
            for pk in expected
        }
        assert pinged == expected
        assert worker.running
    lab.end()


def senders(worker: Worker, port: int) -> int:
    """Return how many processes of a worker's pool are connected to a port."""
    _, *pool = worker.tree()
    return sum(connects_to(process, port) for process in pool)


def connects_to(process: psutil.Process, port: int) -> bool:
    # rclone comes and goes.
    with suppress(psutil.NoSuchProcess):
        return any(
            connection.raddr and connection.raddr.port == port
            for connection in process.net_connections("tcp")
        )
    return False


def set_ping_urls(address: str) -> None:
    """Let each config ping a path of its own."""
    for config in SyncConfig.objects.all():
        config.ping_url = f"{address}/{config.pk}"
        config.save()


def wait_for_titles(lab: RunLab, hook: WebhookReceiver, count: int) -> None:
    """Wait until so many messages have come, and see that no more do."""
    lab.wait_for(lambda: len(hook.titles) >= count, "it is told", timeout_s=SENT_WITHIN_S)
    time.sleep(QUIET_S)
    assert len(hook.titles) == count


def let_it_fire_once_a_year(config_id: int) -> None:
    config = SyncConfig.objects.get(pk=config_id)
    config.cron = "0 0 1 1 *"
    config.save()


def let_time_pass(passed: timedelta, *roles: str) -> None:
    """Wind back when the dead of these roles were seen, instead of waiting so long."""
    columns = {"beat": "beat_seen_at", "worker": "workers_seen_at"}
    for role in roles:
        Heartbeat.objects.filter(role=role).update(seen_at=F("seen_at") - passed)
        Watch.objects.update(**{columns[role]: F(columns[role]) - passed})


def sender_of(lab: RunLab, url: str, port: int) -> Worker:
    """Let a run fail, and return which of two workers tells it, while its target holds it."""
    workers = [lab.start_worker(SYNCBEAT_NOTIFY_NETWORKS=HOST) for _ in range(2)]
    lab.ask(add_channel, url, ["FAILURE"])
    config_ids = lab.add_syncs(1)
    shutil.rmtree(lab.files / "from 1")
    lab.queue(config_ids)

    def sender() -> Worker | None:
        return next((worker for worker in workers if senders(worker, port)), None)

    return lab.wait_for(sender, "a pool process sends", timeout_s=ASKS_WITHIN_S)


def sends_again(lab: RunLab) -> None:
    """End the dead sender's claim, and wait until another has sent the message, once."""
    assert lab.ask(deliveries) == [("SENDING", 1)], "the kill came too late to matter"
    lab.ask(lapse_claims)
    lab.wait_for(
        lambda: lab.ask(deliveries) == [("SENT", 2)], "it is sent", timeout_s=SENT_WITHIN_S
    )
    time.sleep(QUIET_S)
    assert lab.ask(deliveries) == [("SENT", 2)]


def add_channel(url: str, events: list[str]) -> None:
    channel = NotificationChannel(name="drill", events=events)
    channel.url = url
    channel.save()


def deliveries() -> list[tuple[str, int]]:
    return list(Delivery.objects.values_list("state", "attempts"))


def lapse_claims() -> None:
    """Let the claims of messages end now instead of within two minutes."""
    Delivery.objects.filter(state=Delivery.State.SENDING).update(claimed_until=from_now(-1))


@contextmanager
def deliveries_locked(database_url: str) -> Iterator[None]:
    """Keep every process from writing a delivery's row; none that waits for it writes it later."""
    if database_url.startswith("sqlite:"):
        database = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")
        database.close()
        return
    with psycopg.connect(database_url) as blocker:
        blocker.execute("SELECT 1 FROM filesync_delivery FOR UPDATE")
        yield
        # A server that waits for a lock does not see that its client died, and goes on.
        [waited] = blocker.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchone() or [0]
        assert waited == 1, "the sender was killed before it read the answer"
