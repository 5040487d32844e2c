"""How many queries an answer takes: pinned, and the same however much there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from filesync import engine
from filesync.models import (
    ApiToken,
    Delivery,
    NotificationChannel,
    RuleSet,
    RunItem,
    SyncRun,
)
from filesync.services.finishing import finish_run
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, client_of, make_config, make_run, make_user
from tests.filesync.factories import use_broker as use_broker

pytestmark = pytest.mark.django_db

TASK = "/api/v1/task/scheduler"
# The token with its user, the count, the page.
COUNTED = 3
LISTS = {
    "notifications/channels": COUNTED + 1,  # their syncs
    "notifications/messages": COUNTED,
    "sync/rule-sets": COUNTED,
    "tokens": COUNTED,
    "sync/runs/{run}/items": 4,  # the token, the run, what failed, the others
}


def add_one_of_each(root: Path, run: SyncRun, number: int) -> None:
    config = make_config(root)
    channel = NotificationChannel(name=f"channel {number}")
    channel.url = "json://127.0.0.1:1/"
    channel.save()
    channel.configs.add(config)
    Delivery.objects.create(channel=channel, event="FAILURE", dedupe_key=f"{number}", state="SENT")
    RuleSet.objects.create(name=f"rules {number}", filters="- *.tmp")
    ApiToken.issue(make_user("viewer"), "script")
    for action in ("ADDED", "FAILED"):
        RunItem.objects.create(run=run, action=action, path=f"{number}")


def queries_of(client: APIClient, method: str, path: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        answer = client.generic(method, path)
    assert answer.status_code in (200, 202)
    return len(asked)


@pytest.mark.parametrize(("path", "queries"), LISTS.items())
def test_a_list_takes_so_many_queries_however_long_it_is(
    local_root: Path, path: str, queries: int
) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.PARTIAL)
    client, address = client_of("superuser"), f"/api/v1/{path.format(run=run.pk)}"
    client.get(address)  # notes the use of the token, once

    for number in range(20):
        add_one_of_each(local_root, run, number)
        if number in (0, 19):
            assert queries_of(client, "GET", address) == queries


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize(("role", "queries"), [("operator", 4), ("superuser", 3)])
def test_a_start_takes_so_many_queries_however_long_the_history_is(
    local_root: Path, role: str, queries: int
) -> None:
    client = client_of(role)
    client.get("/api/v1/")  # notes the use of the token, once
    first, second = make_config(local_root), make_config(local_root)
    for _ in range(20):
        make_run(second, state=SyncRun.State.SUCCEEDED)

    counted = [
        queries_of(client, "POST", f"{TASK}/execute-sync/{config.pk}") for config in (first, second)
    ]

    assert counted == [queries, queries]


def test_a_result_takes_so_many_queries(local_root: Path) -> None:
    client = client_of("superuser")
    client.get("/api/v1/")  # notes the use of the token, once
    config = make_config(local_root)
    for _ in range(20):
        run = make_run(config)
        done = engine.SyncResult(engine.Outcome.SUCCEEDED, engine.Totals())
        finish_run(claim(run), done)

    # The token with its user, the run, its result.
    assert queries_of(client, "GET", f"{TASK}/task-result/{run.task_id}") == 3
