"""Each error that an operation is said to answer with, as a real answer of it.

What every operation refuses alike is asked of each by one test; what has to do with its own state
stands in a table, of which a test sees that nothing is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from drf_spectacular.generators import SchemaGenerator
from pytest_django.fixtures import SettingsWrapper
from rest_framework.test import APIClient

from filesync.api import urls as urls  # registers the token's description
from filesync.models import Hook, RuleSet, SyncConfig, SyncRun
from filesync.services.rules import use_rule_sets
from tests.filesync.api.places import address_of
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_config, make_run, make_user

pytestmark = pytest.mark.django_db
# No row decides: asked on one database, they take minutes.
once = pytest.mark.only_on("sqlite")

DOCUMENT: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
DESCRIBED = {
    (method.upper(), path): {int(status) for status in operation["responses"] if status >= "300"}
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
JSON, XML = "application/json", "application/xml"
EXECUTE = "/api/v1/task/scheduler/execute-sync/{config_id}"
SYNC = "/api/v1/sync"


def superuser() -> APIClient:
    """Return a client with a session, which alone makes tokens."""
    client = APIClient()
    client.force_login(make_user("superuser"))
    return client


def asked(status: int, *, hooks: bool = True) -> pytest.MarkDecorator:
    """Ask it of every operation that is said to answer so."""
    found = [
        operation
        for operation, statuses in DESCRIBED.items()
        if status in statuses and (hooks or "/hooks/" not in operation[1])
    ]
    assert found
    return pytest.mark.parametrize(("method", "path"), found)


def coded(answer: Any) -> tuple[int, str]:
    """Return status and code of an error, which says in words what is wrong."""
    body = answer.json()
    assert body["detail"]
    return answer.status_code, body["code"]


# What every operation refuses alike --------------------------------------------------------------


@once
@asked(401)
def test_without_a_sign_in_it_is_401(local_root: Path, method: str, path: str) -> None:
    answer = client_of("anonymous").generic(method, address_of(path, local_root))

    assert coded(answer) == (401, "not_authenticated")


@once
@asked(403)
def test_without_the_right_it_is_403(local_root: Path, method: str, path: str) -> None:
    """A read without the permission, and a write of a session without its CSRF token."""
    client = client_of("nobody")
    if method != "GET":
        client = APIClient(enforce_csrf_checks=True)
        client.force_login(make_user("superuser"))

    assert coded(client.generic(method, address_of(path, local_root))) == (403, "permission_denied")


@once
@asked(400)
def test_a_query_that_nobody_wants_is_400(local_root: Path, method: str, path: str) -> None:
    query = "&".join(f"p{number}=1" for number in range(1_001))

    answer = superuser().generic(method, f"{address_of(path, local_root)}?{query}")

    assert coded(answer) == (400, "too_many_fields")


@once
@asked(404)
def test_a_format_that_there_is_not_is_404(local_root: Path, method: str, path: str) -> None:
    answer = superuser().generic(method, f"{address_of(path, local_root)}?format=xml")

    assert coded(answer) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for method, path in DESCRIBED if re.search("{(id|config_id|task_id)}", path)],
)
def test_what_is_not_there_is_404(method: str, path: str) -> None:
    address = re.sub(r"{\w+}", "999999", path)

    assert coded(client_of("superuser").generic(method, address)) == (404, "not_found")


@once
@pytest.mark.parametrize(
    ("method", "path"),
    [
        (method, path)
        for path in DOCUMENT["paths"]
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if (method, path) not in DESCRIBED
    ],
)
def test_a_method_that_it_does_not_have_is_405_and_those_it_has_are_named(
    local_root: Path, method: str, path: str
) -> None:
    answer = superuser().generic(method, address_of(path, local_root))

    assert coded(answer) == (405, "method_not_allowed")
    named = set(answer["Allow"].split(", ")) - {"HEAD", "OPTIONS"}
    assert named == {one for one, other in DESCRIBED if other == path}


@once
@asked(406)
def test_an_answer_that_it_cannot_give_is_406(local_root: Path, method: str, path: str) -> None:
    answer = superuser().generic(method, address_of(path, local_root), HTTP_ACCEPT=XML)

    assert coded(answer) == (406, "not_acceptable")


@once
@asked(413)
def test_a_body_over_the_limit_is_413(local_root: Path, method: str, path: str) -> None:
    body = "x" * 1_048_577

    answer = superuser().generic(method, address_of(path, local_root), body, JSON)

    assert coded(answer) == (413, "too_large")


@once
@asked(415)
def test_a_body_that_it_cannot_read_is_415(local_root: Path, method: str, path: str) -> None:
    answer = superuser().generic(method, address_of(path, local_root), "<a/>", XML)

    assert coded(answer) == (415, "unsupported_media_type")


@once
@asked(429)
def test_too_many_wrong_secrets_are_429(
    local_root: Path, settings: SettingsWrapper, method: str, path: str
) -> None:
    settings.FILESYNC_SIGN_INS_PER_MINUTE = settings.FILESYNC_EXECUTES_PER_MINUTE = 1
    client = APIClient(HTTP_AUTHORIZATION="Bearer sb_wrong")
    address = address_of(path, local_root)

    client.generic(method, address)
    answer = client.generic(method, address)

    assert coded(answer) == (429, "throttled")
    assert int(answer["Retry-After"]) > 0


@once
@asked(503)
def test_without_the_database_it_is_503(local_root: Path, method: str, path: str) -> None:
    client, address = client_of("superuser"), address_of(path, local_root)
    away = OperationalError("the connection is closed")

    with (
        patch("filesync.api.authentication.ApiToken.objects.select_related", side_effect=away),
        patch("filesync.api.hook_views.Hook.find", side_effect=away),
    ):
        answer = client.generic(method, address)

    assert coded(answer) == (503, "database_away")
    assert int(answer["Retry-After"]) > 0


# What its own state forbids ----------------------------------------------------------------------

# An address, a body, and headers.
Request = tuple[str, object, dict[str, Any]]


def storage_in_use(root: Path) -> Request:
    return f"{SYNC}/storages/{make_config(root).source_storage_id}", None, {}


def rules_in_use(root: Path) -> Request:
    rules = RuleSet.objects.create(name="junk", filters="- *.tmp")
    use_rule_sets(make_config(root), [rules])
    return f"{SYNC}/rule-sets/{rules.pk}", None, {}


def taken_row(root: Path) -> SyncConfig:
    """Return a config without a schedule, whose row, and those of the next, are another's."""
    config = make_config(root)
    every = IntervalSchedule.objects.create(every=1, period="hours")
    for pk in range(config.pk, config.pk + 5):
        name = f"filesync.syncconfig:{pk}"
        PeriodicTask.objects.create(name=name, task="someone.elses", interval=every)
    return config


def new_config_with_a_taken_row(root: Path) -> Request:
    config = taken_row(root)
    storage = config.source_storage_id
    body = {"name": "new", "source_storage": storage, "destination_storage": storage}
    paths = {"source_path": "a", "destination_path": "b", "cron": "0 2 * * *"}
    return f"{SYNC}/configs", body | paths, {}


def config_with_a_taken_row(root: Path) -> Request:
    address, body, _ = new_config_with_a_taken_row(root)
    return f"{address}/{SyncConfig.objects.get().pk}", body, {}


def switch_with_a_taken_row(root: Path) -> Request:
    config = make_config(root, cron="0 2 * * *", enable=False)
    PeriodicTask.objects.update(task="someone.elses")
    return f"{SYNC}/configs/bulk", {"ids": [config.pk], "enabled": True}, {}


def start_of_an_active_config(root: Path) -> Request:
    return EXECUTE.format(config_id=make_run(make_config(root)).config_id), None, {}


def start_with_a_spent_key(root: Path) -> Request:
    address = EXECUTE.format(config_id=make_config(root).pk)
    return address, {"dry_run": True}, {"HTTP_IDEMPOTENCY_KEY": "k1"}


def hook_of_an_active_config(root: Path) -> Request:
    config = make_config(root)
    make_run(config)
    return f"/api/v1/hooks/{Hook.issue(config)[1]}", None, {}


def of_an_ended_run(action: str) -> Callable[[Path], Request]:
    """Make a run that ended, and one of its config that goes on."""

    def make(root: Path) -> Request:
        config = make_config(root)
        ended = make_run(config, state=SyncRun.State.SUCCEEDED)
        make_run(config)
        return f"{SYNC}/runs/{ended.pk}/{action}", None, {}

    return make


REFUSALS: list[tuple[str, str, int, str, Callable[[Path], Request]]] = [
    ("DELETE", f"{SYNC}/storages/{{id}}", 409, "in_use", storage_in_use),
    ("DELETE", f"{SYNC}/rule-sets/{{id}}", 409, "in_use", rules_in_use),
    ("POST", f"{SYNC}/configs", 409, "schedule_conflict", new_config_with_a_taken_row),
    ("PUT", f"{SYNC}/configs/{{id}}", 409, "schedule_conflict", config_with_a_taken_row),
    ("PATCH", f"{SYNC}/configs/{{id}}", 409, "schedule_conflict", config_with_a_taken_row),
    ("POST", f"{SYNC}/configs/bulk", 409, "schedule_conflict", switch_with_a_taken_row),
    ("POST", EXECUTE, 409, "run_active", start_of_an_active_config),
    ("POST", EXECUTE, 422, "idempotency_key_reused", start_with_a_spent_key),
    ("POST", "/api/v1/hooks/{token}", 409, "run_active", hook_of_an_active_config),
    ("POST", f"{SYNC}/runs/{{id}}/cancel", 409, "run_finished", of_an_ended_run("cancel")),
    ("POST", f"{SYNC}/runs/{{id}}/retry", 409, "run_active", of_an_ended_run("retry")),
    ("POST", f"{SYNC}/runs/{{id}}/restore", 409, "nothing_to_undo", of_an_ended_run("restore")),
]


@pytest.mark.parametrize(("method", "path", "status", "code", "make"), REFUSALS)
def test_its_state_forbids_it(
    local_root: Path,
    method: str,
    path: str,
    status: int,
    code: str,
    make: Callable[[Path], Request],
) -> None:
    address, body, headers = make(local_root)
    client = client_of("superuser")
    if headers:
        client.generic(method, address, **headers)

    answer = getattr(client, method.lower())(address, body, **headers)

    assert coded(answer) == (status, code)


def test_the_tests_above_name_every_error_of_the_schema() -> None:
    alike = {400, 401, 403, 404, 406, 408, 413, 415, 429, 503}

    described = {
        (method, path, status)
        for (method, path), statuses in DESCRIBED.items()
        for status in statuses - alike
    }

    assert described == {(method, path, status) for method, path, status, _, _ in REFUSALS}
