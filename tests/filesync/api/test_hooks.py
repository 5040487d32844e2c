"""Hooks: made and ended by editors, shown once, and good for starting one config only."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from filesync.models import Hook, SyncRun
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_config, make_run

pytestmark = pytest.mark.django_db


def hook_path(config_id: int) -> str:
    return f"/api/v1/sync/configs/{config_id}/hook"


def test_a_hook_starts_its_config_and_nothing_else(local_root: Path) -> None:
    config = make_config(local_root)
    other = make_config(local_root)
    made = client_of("editor").post(hook_path(config.pk))

    answer = APIClient().post(made.json()["url"], {"config_id": other.pk, "force": True})

    assert (made.status_code, answer.status_code) == (201, 202)
    run = SyncRun.objects.get()
    assert answer.json() == {
        "task_id": str(run.task_id),
        "config_id": config.pk,
        "status": "PENDING",
    }
    assert (run.config_id, run.trigger, run.force, run.requested_by) == (
        config.pk,
        "HOOK",
        False,
        None,
    )


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"{not json", "application/json"),
        (b"\xff", "application/octet-stream"),
        (b"a=1", "application/x-www-form-urlencoded"),
        (b"<a/>", "text/xml"),
        (b"x" * 3_000_000, "application/json"),
        (b"a=" + b"x" * 3_000_000, "application/x-www-form-urlencoded"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_hook_does_not_read_what_it_is_sent(
    local_root: Path, body: bytes, content_type: str, accept: str
) -> None:
    _, text = Hook.issue(make_config(local_root))
    client = APIClient(HTTP_ACCEPT=accept)

    answer = client.post(f"/api/v1/hooks/{text}", body, content_type=content_type)

    assert answer.status_code == 202


def test_a_hook_is_shown_once_and_only_its_hash_is_kept(local_root: Path) -> None:
    config = make_config(local_root)
    client = client_of("editor")
    before = client.get(hook_path(config.pk)).json()

    text = client.post(hook_path(config.pk)).json()["token"]

    after = client.get(hook_path(config.pk))
    assert before == {"exists": False, "created_at": None, "last_used_at": None}
    assert after.json()["exists"] is True
    assert text not in after.content.decode()
    stored = str(list(Hook.objects.values_list()))
    assert text not in stored
    assert text.removeprefix("hk_") not in stored


def test_a_new_hook_ends_the_one_before(local_root: Path) -> None:
    config = make_config(local_root)
    client = client_of("editor")
    old, new = (client.post(hook_path(config.pk)).json()["url"] for _ in range(2))

    assert APIClient().post(old).status_code == 404
    assert APIClient().post(new).status_code == 202
    assert Hook.objects.count() == 1


def test_a_hook_that_was_ended_starts_nothing(local_root: Path) -> None:
    config = make_config(local_root)
    _, text = Hook.issue(config)

    ended = client_of("editor").delete(hook_path(config.pk))

    assert ended.status_code == 204
    answer = APIClient().post(f"/api/v1/hooks/{text}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert text not in answer.content.decode()


def test_the_hook_of_a_config_that_was_deleted_starts_nothing(local_root: Path) -> None:
    config = make_config(local_root)
    _, text = Hook.issue(config)
    config.delete()

    assert APIClient().post(f"/api/v1/hooks/{text}").status_code == 404


def test_the_hook_of_a_disabled_config_says_so(local_root: Path) -> None:
    _, text = Hook.issue(make_config(local_root, enable=False))

    answer = APIClient().post(f"/api/v1/hooks/{text}")

    assert (answer.status_code, answer.json()["code"]) == (409, "config_disabled")


def test_the_hook_of_an_active_config_names_the_task(local_root: Path) -> None:
    active = make_run(make_config(local_root))
    assert active.config is not None
    _, text = Hook.issue(active.config)

    answer = APIClient().post(f"/api/v1/hooks/{text}")

    assert (answer.status_code, answer.json()["task_id"]) == (409, str(active.task_id))


@pytest.mark.parametrize("config_id", [999_999, 10**30])
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_an_unknown_config_has_no_hook(config_id: int, method: str) -> None:
    answer = client_of("editor").generic(method.upper(), hook_path(config_id))

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_use_of_a_hook_is_noted_at_most_once_a_minute(local_root: Path) -> None:
    hook, text = Hook.issue(make_config(local_root))
    APIClient().post(f"/api/v1/hooks/{text}")
    hook.refresh_from_db()
    first = hook.last_used_at
    assert first is not None

    APIClient().post(f"/api/v1/hooks/{text}")
    hook.refresh_from_db()
    assert hook.last_used_at == first

    long_ago = timezone.now() - timedelta(minutes=2)
    Hook.objects.filter(pk=hook.pk).update(last_used_at=long_ago)
    APIClient().post(f"/api/v1/hooks/{text}")
    hook.refresh_from_db()
    assert hook.last_used_at is not None
    assert hook.last_used_at > first


def test_a_hook_has_a_page_for_the_browser(local_root: Path) -> None:
    _, text = Hook.issue(make_config(local_root))

    answer = APIClient(HTTP_ACCEPT="text/html").get(f"/api/v1/hooks/{text}")

    assert answer.status_code == 405
