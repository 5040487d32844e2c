"""Wishes with an Idempotency-Key: asked often, done once."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from filesync.models import ApiToken, IdempotencyKey, SyncRun
from filesync.services.finishing import cancel_run
from filesync.services.retention import delete_expired
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, close_connections, make_config, make_user

pytestmark = pytest.mark.django_db

EXECUTE = "/api/v1/task/scheduler/execute-sync"


def execute(
    client: APIClient, config_id: int, key: str, body: dict[str, object] | None = None
) -> tuple[int, dict[str, object], bool]:
    """Return status, body, and whether an answer of before was given again."""
    answer = client.post(f"{EXECUTE}/{config_id}", body, HTTP_IDEMPOTENCY_KEY=key)
    return answer.status_code, answer.json(), answer.get("Idempotent-Replayed") == "true"


def test_the_same_key_gives_the_same_run_and_answer(local_root: Path) -> None:
    config = make_config(local_root)
    client = client_of("operator")

    first = execute(client, config.pk, "k1", {"dry_run": True})
    again = execute(client, config.pk, "k1", {"dry_run": True})
    cancel_run(SyncRun.objects.get().pk)
    later = execute(client, config.pk, "k1", {"dry_run": True})

    assert first[0] == 202
    assert again == later == (202, first[1], True)
    assert SyncRun.objects.count() == 1


@pytest.mark.parametrize("other", ["body", "config"])
def test_the_same_key_with_another_wish_is_422_and_does_nothing(
    local_root: Path, other: str
) -> None:
    config, second = make_config(local_root), make_config(local_root)
    client = client_of("operator")
    execute(client, config.pk, "k1")

    status, body, _ = execute(
        client,
        second.pk if other == "config" else config.pk,
        "k1",
        {"dry_run": True} if other == "body" else None,
    )

    assert (status, body["code"]) == (422, "idempotency_key_reused")
    assert "k1" in str(body["detail"])
    assert SyncRun.objects.count() == 1


def test_another_account_s_key_is_its_own(local_root: Path) -> None:
    config, second = make_config(local_root), make_config(local_root)

    assert execute(client_of("operator"), config.pk, "k1")[0] == 202
    assert execute(client_of("operator"), second.pk, "k1")[0] == 202


def test_a_refusal_keeps_no_key(local_root: Path) -> None:
    config = make_config(local_root, enable=False)
    client = client_of("operator")

    refused = execute(client, config.pk, "k1")
    config.enable = True
    config.save()
    done = execute(client, config.pk, "k1")

    assert (refused[0], done[0], done[2]) == (409, 202, False)


def test_after_a_day_a_key_is_new_and_housekeeping_forgets_it(local_root: Path) -> None:
    config = make_config(local_root)
    client = client_of("operator")
    execute(client, config.pk, "k1")
    cancel_run(SyncRun.objects.get().pk)
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(days=1, seconds=1))

    assert execute(client, config.pk, "k1")[2] is False
    assert SyncRun.objects.count() == 2

    delete_expired()
    assert IdempotencyKey.objects.count() == 1
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(days=1, seconds=1))
    delete_expired()
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("key", ["", "a b", "\u00e9", "x" * 256, "a\tb"])
def test_a_key_that_is_no_key_is_400_and_named(local_root: Path, key: str) -> None:
    status, body, _ = execute(client_of("operator"), make_config(local_root).pk, key)

    assert (status, list(body)) == (400, ["Idempotency-Key"])
    assert not SyncRun.objects.exists()


def at_once(count: int, ask: Callable[[int], tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the answers to calls that begin together, each on a connection of its own."""
    together = Barrier(count)

    def one(number: int) -> tuple[int, str]:
        together.wait()
        try:
            return ask(number)
        finally:
            close_connections()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.mark.django_db(transaction=True)
def test_eight_that_come_at_once_with_one_key_queue_one_run(local_root: Path) -> None:
    config = make_config(local_root)
    _, text = ApiToken.issue(make_user("operator"), "script")

    def ask(number: int) -> tuple[int, str]:
        client = APIClient(HTTP_AUTHORIZATION=f"Bearer {text}")
        status, body, _ = execute(client, config.pk, "k1")
        return status, json.dumps(body, sort_keys=True)

    answers = at_once(8, ask)

    run = SyncRun.objects.get()
    assert len(set(answers)) == 1
    assert answers[0][0] == 202
    assert str(run.task_id) in answers[0][1]


@pytest.mark.django_db(transaction=True)
def test_eight_that_come_at_once_with_keys_of_their_own_queue_one_run(local_root: Path) -> None:
    config = make_config(local_root)
    _, text = ApiToken.issue(make_user("operator"), "script")

    def ask(number: int) -> tuple[int, str]:
        client = APIClient(HTTP_AUTHORIZATION=f"Bearer {text}")
        status, body, _ = execute(client, config.pk, f"k{number}")
        return status, str(body["task_id"])

    answers = at_once(8, ask)

    run = SyncRun.objects.get()
    assert sorted(status for status, _ in answers) == [202, *[409] * 7]
    assert {task_id for _, task_id in answers} == {str(run.task_id)}
    assert IdempotencyKey.objects.count() == 1
