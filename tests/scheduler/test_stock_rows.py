"""Rows that are not ours do under our scheduler what they do under django-celery-beat's own.

Both run as real beats at the same time, each on a database and a Redis of its own with the same
rows, and every promise is asked of both.
"""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
    SolarSchedule,
)

from tests.drills.conftest import databases as databases
from tests.drills.lab import OURS, STOCK, Broker, Databases, Lab
from tests.servers.process import short_temp_dir
from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.each_database, pytest.mark.timeout(180)]

STARTS_IN_S = 12
CLOCKED_IN_S = 10
EXPIRE_S = 90
STATIC = {
    "static": {
        "task": "lab.static",
        "schedule": 2,
        "args": [1, "zwei"],
        "kwargs": {"three": 3},
        "options": {"queue": "static"},
    }
}
FIRED = (
    "clocked",
    "crontab",
    "expire_seconds",
    "expires",
    "interval",
    "once",
    "routed",
    "starts",
    "static",
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the queue, and when it was first seen there."""

    seen_at: datetime
    queue: str
    priority: int
    headers: Mapping[str, object]
    args: list[object]
    kwargs: Mapping[str, object]

    @property
    def row(self) -> str:
        return str(self.headers["periodic_task_name"])


@dataclass(slots=True)
class Seen:
    """What one scheduler did in a minute: its messages `until` then, and its rows at the end."""

    began_at: datetime
    slot: datetime
    until: datetime
    messages: dict[str, Message] = field(default_factory=dict)
    enabled: dict[str, bool] = field(default_factory=dict)
    running: bool = False
    log: str = ""

    def of(self, row: str) -> list[Message]:
        return [message for message in self.messages.values() if message.row == row]

    def met_its_minute(self) -> bool:
        return any(message.seen_at >= self.slot for message in self.of("crontab"))


# --- what the labs' Django processes do


def add_rows() -> None:
    """Save one row of each kind; `name` and `task` say which."""
    now = timezone.now()
    second, two = (
        IntervalSchedule.objects.create(every=every, period="seconds") for every in (1, 2)
    )
    minute = CrontabSchedule.objects.create(timezone="UTC")
    soon = ClockedSchedule.objects.create(clocked_time=now + timedelta(seconds=CLOCKED_IN_S))
    noon = SolarSchedule.objects.create(event="solar_noon", latitude=52.5, longitude=13.4)
    rows: dict[str, dict[str, object]] = {
        "interval": {"interval": two},
        "crontab": {"crontab": minute},
        "clocked": {"clocked": soon, "one_off": True},
        "solar": {"solar": noon},
        "once": {"interval": second, "one_off": True},
        "disabled": {"interval": second, "enabled": False},
        "expired": {"interval": second, "expires": now - timedelta(seconds=1)},
        "expires": {"interval": two, "expires": now + timedelta(hours=1)},
        "expire_seconds": {"interval": two, "expire_seconds": EXPIRE_S},
        "starts": {"interval": second, "start_time": now + timedelta(seconds=STARTS_IN_S)},
        "starts later": {"interval": second, "start_time": now + timedelta(hours=1)},
        "routed": {
            "interval": two,
            "queue": "routed",
            "priority": 3,
            "headers": json.dumps({"tenant": "acme"}),
            "args": json.dumps([1, "zwei"]),
            "kwargs": json.dumps({"three": 3}),
        },
    }
    for name, columns in rows.items():
        PeriodicTask.objects.create(name=name, task=f"lab.{name}", **columns)


def enabled_rows() -> dict[str, bool]:
    return dict(PeriodicTask.objects.values_list("name", "enabled"))


def touch_schedules() -> None:
    """Do what any edit in the admin does: let beat read its rows again."""
    PeriodicTasks.update_changed()


# --- what the test process does


def read_messages(broker: Broker, seen: Seen) -> None:
    """Note the messages that are new in any queue."""
    assert isinstance(broker, RedisServer)
    client = broker.client()
    now = datetime.now(tz=UTC)
    for key in client.scan_iter(_type="list"):
        for text in client.lrange(key, 0, -1):
            message = json.loads(text)
            headers = message["headers"]
            if headers["id"] in seen.messages:
                continue
            args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
            properties = message["properties"]
            queue = properties["delivery_info"]["routing_key"]
            seen.messages[headers["id"]] = Message(
                now, queue, properties["priority"], headers, args, kwargs
            )
    client.close()


def watch(labs: Mapping[str, Lab]) -> dict[str, Seen]:
    """Let both schedulers run over a full minute, and return what was seen of them."""
    began_at = datetime.now(tz=UTC)
    for scheduler, lab in labs.items():
        lab.ask(add_rows)
        lab.start_beat(scheduler=scheduler, ready=False, CELERY_SCHEDULE=json.dumps(STATIC))
    # The slot must be one that both meet when they have started and all rows have had their time.
    slot = datetime.fromtimestamp((time.time() + STARTS_IN_S + 8) // 60 * 60 + 60, tz=UTC)
    seen = {scheduler: Seen(began_at, slot, began_at) for scheduler in labs}
    enough, at_most = slot + timedelta(seconds=4), slot + timedelta(seconds=40)
    # On a machine that is busy with other tests a beat may come late.
    while (now := datetime.now(tz=UTC)) < enough or (
        now < at_most and not all(one.met_its_minute() for one in seen.values())
    ):
        for scheduler, lab in labs.items():
            read_messages(lab.broker, seen[scheduler])
        time.sleep(0.1)
    for scheduler, lab in labs.items():
        lab.ask(touch_schedules)
        lab.wait_for(
            lambda lab=lab: not lab.ask(enabled_rows)["clocked"],  # type: ignore[misc]
            "the one that fired is disabled",
            timeout_s=20.0,
        )
        read_messages(lab.broker, seen[scheduler])
        seen[scheduler].until = datetime.now(tz=UTC)
        seen[scheduler].enabled = lab.ask(enabled_rows)
        seen[scheduler].running = lab.beats[0].running
        seen[scheduler].log = lab.beats[0].log()
    return seen


@pytest.fixture(scope="module")
def watched(databases: Databases) -> Iterator[dict[str, Seen]]:
    with ExitStack() as stack:
        labs: dict[str, Lab] = {}
        for scheduler in (OURS, STOCK):
            folder = short_temp_dir("sb-rows-")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            broker = stack.enter_context(RedisServer())
            labs[scheduler] = stack.enter_context(Lab(databases.fresh(folder), broker, folder))
        yield watch(labs)


@pytest.fixture(params=[OURS, STOCK], ids=["ours", "stock"])
def seen(request: pytest.FixtureRequest, watched: dict[str, Seen]) -> Seen:
    scheduler: str = request.param
    return watched[scheduler]


def test_exactly_the_rows_that_are_due_fire(seen: Seen) -> None:
    assert seen.running, seen.log
    assert sorted({message.row for message in seen.messages.values()}) == sorted(FIRED), seen.log


def test_an_interval_fires_again_and_again(seen: Seen) -> None:
    span_s = (seen.until - seen.began_at).total_seconds()
    assert len(seen.of("interval")) > span_s / 2 / 2
    assert len(seen.of("interval")) <= span_s / 2 + 2
    assert {message.headers["task"] for message in seen.of("interval")} == {"lab.interval"}


def test_a_crontab_fires_at_its_minute(seen: Seen) -> None:
    times = [message.seen_at for message in seen.of("crontab")]
    # The minute before may have begun while it started, which on a busy machine takes a while.
    assert len(times) <= 2, (times, seen.log)
    due = [seen_at for seen_at in times if seen_at >= seen.slot]
    assert len(due) == 1, (times, seen.log)
    assert due[0].replace(second=0, microsecond=0) == seen.slot


def test_a_clocked_one_off_fires_once_at_its_time_and_is_disabled(seen: Seen) -> None:
    [message] = seen.of("clocked")
    assert message.seen_at >= seen.began_at + timedelta(seconds=CLOCKED_IN_S)
    assert not seen.enabled["clocked"]


def test_a_one_off_interval_fires_once_and_is_disabled(seen: Seen) -> None:
    assert len(seen.of("once")) == 1
    assert not seen.enabled["once"]


def test_a_solar_row_is_loaded_and_stops_nothing(seen: Seen) -> None:
    assert seen.enabled["solar"]
    assert "Traceback" not in seen.log, seen.log


def test_a_row_past_its_expiry_is_disabled_without_firing(seen: Seen) -> None:
    assert not seen.enabled["expired"]


@pytest.mark.parametrize(
    ("row", "lives_s"), [("expires", timedelta(hours=1)), ("expire_seconds", timedelta(seconds=90))]
)
def test_the_message_carries_when_it_expires(seen: Seen, row: str, lives_s: timedelta) -> None:
    for message in seen.of(row):
        expires = datetime.fromisoformat(str(message.headers["expires"]))
        since = seen.began_at if row == "expires" else message.seen_at
        assert abs(expires - since - lives_s) < timedelta(seconds=30)


def test_a_row_does_not_fire_before_its_start(seen: Seen) -> None:
    start = seen.began_at + timedelta(seconds=STARTS_IN_S)
    times = [message.seen_at for message in seen.of("starts")]
    assert len(times) > 3
    assert min(times) >= start


def test_the_message_goes_where_the_row_says_with_what_it_says(seen: Seen) -> None:
    for message in seen.of("routed"):
        assert (message.queue, message.priority) == ("routed", 3)
        assert message.headers["tenant"] == "acme"
        assert (message.args, message.kwargs) == ([1, "zwei"], {"three": 3})


def test_a_static_entry_is_installed_as_a_row_and_fires(seen: Seen) -> None:
    assert seen.enabled["static"]
    assert len(seen.of("static")) > 3
    for message in seen.of("static"):
        assert message.queue == "static"
        assert (message.args, message.kwargs) == ([1, "zwei"], {"three": 3})
