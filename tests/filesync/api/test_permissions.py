"""Who may call what: every route, once as each role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from filesync.api.urls import urlpatterns
from filesync.models import ApiToken, Delivery, NotificationChannel, RuleSet, SyncRun
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import browser_of, client_of, make_config, make_run, make_user

pytestmark = pytest.mark.django_db
once = pytest.mark.only_on("sqlite")

TASK = "task/scheduler"
ROLES = ("anonymous", "nobody", "viewer", "operator", "editor", "superuser")
NEW_CONFIG: dict[str, object] = {
    "name": "new",
    "source_storage": "{storage}",
    "destination_storage": "{storage}",
    "source_path": "a",
    "destination_path": "b",
}
NEW_RULES: dict[str, object] = {"name": "new", "filters": "- *.tmp"}
NEW_STORAGE: dict[str, object] = {
    "name": "new",
    "backend": "webdav",
    "options": {"url": "http://127.0.0.1:1"},
}
NEW_CHANNEL: dict[str, object] = {"name": "new", "url": "ntfys://93.184.216.34/topic"}

EVERYBODY = (401, 200, 200, 200, 200, 200)
VIEWERS = (401, 403, 200, 200, 200, 200)
OPERATORS = (401, 403, 403, 202, 202, 202)
EDITORS = (401, 403, 403, 403, 200, 200)
SUPERUSERS = (401, 403, 403, 403, 403, 200)

MATRIX: list[tuple[str, str, dict[str, object] | None, tuple[int, ...]]] = [
    ("GET", f"{TASK}/task-status", None, VIEWERS),
    ("GET", f"{TASK}/task-result/{{task}}", None, VIEWERS),
    ("POST", f"{TASK}/validate-cron", {"cron": "* * * * *"}, EVERYBODY),
    ("POST", f"{TASK}/refresh-tasks", None, EDITORS),
    ("DELETE", f"{TASK}/clear-tasks", None, EDITORS),
    ("POST", f"{TASK}/execute-sync/{{config}}", None, OPERATORS),
    ("POST", f"{TASK}/execute-sync/{{config}}", {"force": True}, (401, 403, 403, 403, 403, 202)),
    ("POST", f"{TASK}/execute-all-enabled", None, OPERATORS),
    ("GET", "sync/configs", None, VIEWERS),
    ("OPTIONS", "sync/configs", None, VIEWERS),
    ("GET", "sync/configs/ahead", None, VIEWERS),
    ("GET", "sync/configs/{config}", None, VIEWERS),
    ("POST", "sync/configs", NEW_CONFIG, (401, 403, 403, 403, 201, 201)),
    ("PUT", "sync/configs/{config}", NEW_CONFIG, EDITORS),
    ("PATCH", "sync/configs/{config}", {"remark": "x"}, EDITORS),
    ("POST", "sync/configs/bulk", {"ids": [1], "enabled": False}, EDITORS),
    ("GET", "sync/configs/{config}/hook", None, EDITORS),
    ("POST", "sync/configs/{config}/hook", None, (401, 403, 403, 403, 201, 201)),
    ("DELETE", "sync/configs/{config}/hook", None, (401, 403, 403, 403, 204, 204)),
    ("POST", "hooks/hk_unknown", None, (404, 404, 404, 404, 404, 404)),
    ("DELETE", "sync/configs/{config}", None, (401, 403, 403, 403, 204, 204)),
    ("GET", "sync/storages", None, VIEWERS),
    ("GET", "sync/storages/{storage}", None, VIEWERS),
    ("POST", "sync/storages", NEW_STORAGE, (401, 403, 403, 403, 403, 201)),
    ("PUT", "sync/storages/{storage}", NEW_STORAGE, SUPERUSERS),
    ("PATCH", "sync/storages/{storage}", {"remark": "x"}, SUPERUSERS),
    ("DELETE", "sync/storages/{storage}", None, (401, 403, 403, 403, 403, 409)),
    ("POST", "sync/storages/{storage}/test", None, (401, 403, 403, 200, 200, 200)),
    ("GET", "sync/storages/{storage}/browse", None, (401, 403, 403, 200, 200, 200)),
    ("POST", "sync/storages/test", NEW_STORAGE, SUPERUSERS),
    ("GET", "sync/backends", None, VIEWERS),
    ("GET", "sync/backends/google cloud storage", None, VIEWERS),
    ("GET", "sync/rule-sets", None, VIEWERS),
    ("GET", "sync/rule-sets/{rules}", None, VIEWERS),
    ("POST", "sync/rule-sets", NEW_RULES, (401, 403, 403, 403, 201, 201)),
    ("PUT", "sync/rule-sets/{rules}", NEW_RULES, EDITORS),
    ("PATCH", "sync/rule-sets/{rules}", {"remark": "x"}, EDITORS),
    ("DELETE", "sync/rule-sets/{rules}", None, (401, 403, 403, 403, 204, 204)),
    ("POST", "sync/rule-sets/try", {"paths": ["a"]}, VIEWERS),
    ("GET", "sync/runs", None, VIEWERS),
    ("GET", "sync/runs/{run}", None, VIEWERS),
    ("GET", "sync/runs/{run}/items", None, VIEWERS),
    ("GET", "sync/runs/{run}/log", None, (401, 403, 404, 404, 404, 404)),
    ("POST", "sync/runs/{run}/cancel", None, OPERATORS),
    ("POST", "sync/runs/{run}/restore", None, (401, 403, 403, 409, 409, 409)),
    ("POST", "sync/runs/{run}/retry", None, OPERATORS),
    ("GET", "notifications/channels", None, VIEWERS),
    ("GET", "notifications/channels/{channel}", None, VIEWERS),
    ("POST", "notifications/channels", NEW_CHANNEL, (401, 403, 403, 403, 403, 201)),
    ("PUT", "notifications/channels/{channel}", NEW_CHANNEL, SUPERUSERS),
    ("PATCH", "notifications/channels/{channel}", {"remark": "x"}, SUPERUSERS),
    ("DELETE", "notifications/channels/{channel}", None, (401, 403, 403, 403, 403, 204)),
    ("POST", "notifications/channels/{channel}/test", None, SUPERUSERS),
    ("GET", "tokens", None, VIEWERS),
    # Those of others are a superuser's; a token makes no other.
    ("GET", "tokens/{token}", None, (401, 403, 404, 404, 404, 200)),
    ("POST", "tokens", {"name": "new"}, (401, 403, 403, 403, 403, 403)),
    ("DELETE", "tokens/{token}", None, (401, 403, 404, 404, 404, 204)),
    ("GET", "notifications/messages", None, VIEWERS),
    ("GET", "notifications/messages/{message}", None, VIEWERS),
]


def places_of(run: SyncRun) -> dict[str, object]:
    assert run.config is not None
    channel = NotificationChannel(name="dead")
    # Refused before anything is sent: it lies in a private network.
    channel.url = "json://127.0.0.1:1/"
    channel.save()
    message = Delivery.objects.create(
        channel=channel, event="FAILURE", dedupe_key="x", state="SENT"
    )
    return {
        "channel": channel.pk,
        "message": message.pk,
        "config": run.config_id,
        "storage": run.config.source_storage_id,
        "run": run.pk,
        "task": run.task_id,
        "token": ApiToken.issue(make_user("viewer"), "script")[0].pk,
        "rules": RuleSet.objects.create(name="junk", filters="- *.tmp").pk,
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "role", "status"),
    [
        # On PostgreSQL as a superuser alone, who reaches the rows: the rest is refused before them.
        pytest.param(
            *(method, path, body, role, status),
            id=f"{method}-{path or 'root'}-{role}",
            marks=() if role == "superuser" else once,
        )
        for method, path, body, statuses in MATRIX
        for role, status in zip(ROLES, statuses, strict=True)
    ],
)
def test_each_role_may_do_what_it_should_and_no_more(
    local_root: Path,
    method: str,
    path: str,
    body: dict[str, object] | None,
    role: str,
    status: int,
) -> None:
    state = SyncRun.State.QUEUED if path.endswith("cancel") else SyncRun.State.SUCCEEDED
    places = places_of(make_run(make_config(local_root), state=state))
    filled = {
        key: places["storage"] if value == "{storage}" else value
        for key, value in (body or {}).items()
    }

    send = getattr(client_of(role), method.lower())
    answer = send(f"/api/v1/{path.format(**places)}", filled, format="json")

    assert answer.status_code == status


def test_the_matrix_names_every_operation_of_the_schema(local_root: Path) -> None:
    places = places_of(make_run(make_config(local_root)))
    tried = {
        (resolve(f"/api/v1/{path.format(**places)}").url_name, method)
        for method, path, _, _ in MATRIX
    }
    document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]

    described = {
        (resolve(re.sub(r"{\w+}", "1", path)).url_name, method.upper())
        for path, operations in document["paths"].items()
        for method in operations
    }

    assert described == {(name, method) for name, method in tried if method != "OPTIONS"}


def test_every_route_is_described_by_the_schema() -> None:
    document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    described = {resolve(re.sub(r"{\w+}", "1", path)).url_name for path in document["paths"]}

    served = {pattern.name for pattern in urlpatterns if isinstance(pattern, URLPattern)}

    assert served - described == {"api-root", "unknown"}


@pytest.mark.parametrize("role", ROLES)
def test_the_list_of_routes_needs_a_login(role: str) -> None:
    answer = client_of(role).get("/api/v1/")

    assert answer.status_code == (401 if role == "anonymous" else 200)


@once
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
@pytest.mark.parametrize("path", ["sync/photos", "sync/configs/", "task/scheduler/run/1"])
def test_an_address_that_is_no_route_is_404_as_the_api_says_it(method: str, path: str) -> None:
    answer = client_of("viewer").generic(method.upper(), f"/api/v1/{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert path in answer.json()["detail"]


@pytest.fixture
def migrated_back(transactional_db: None) -> Iterator[None]:
    """Bring the database back to the newest migration, whatever a test did to it."""
    yield
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


@pytest.mark.usefixtures("migrated_back")
def test_the_migration_makes_the_roles_and_takes_them_back() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate([("filesync", "0001_initial")])
    assert not Group.objects.filter(name__in=("viewer", "operator", "editor")).exists()

    executor = MigrationExecutor(connection)
    executor.migrate([("filesync", "0002_roles")])

    groups = {
        group.name: set(group.permissions.values_list("codename", flat=True))
        for group in Group.objects.all()
    }
    assert groups["viewer"] < groups["operator"] < groups["editor"]
    assert groups["operator"] - groups["viewer"] == {"run_syncconfig"}
    assert "change_syncconfig" in groups["editor"]
    assert not {name for name in groups["editor"] if "storage" in name} - {"view_storage"}
    assert "force_syncconfig" not in groups["editor"]
    ours = Permission.objects.filter(content_type__app_label="filesync")
    reading = set(ours.filter(codename__startswith="view_").values_list("codename", flat=True))
    assert reading - groups["viewer"] == {
        "view_hook",
        "view_idempotencykey",
        "view_runlog",
        "view_runtotal",
        "view_story",
        "view_watch",
    }


@pytest.mark.parametrize("path", ["schema", "docs", "redoc"])
def test_the_documentation_needs_a_login_too(path: str) -> None:
    assert client_of("anonymous").get(f"/api/{path}").status_code == 401
    assert client_of("nobody").get(f"/api/{path}").status_code == 200


OPEN = {"/", "/api-auth/login/", "/api-auth/logout/", "/i18n/setlang/"}


def test_nothing_but_signing_in_is_open_beside_admin_and_api() -> None:
    """The admin's addresses and the API's have tests of their own; `/` only leads to the admin."""
    found: dict[str, int] = {}
    for pattern in get_resolver().url_patterns:
        inner = pattern.url_patterns if isinstance(pattern, URLResolver) else [None]
        for last in inner:
            path = f"/{pattern.pattern}{last.pattern if last else ''}"
            if not path.startswith(("/admin/", "/api/v1/")):
                found[path] = APIClient().get(path).status_code

    assert found.keys() >= OPEN | {"/api/schema", "/api/docs", "/api/redoc"}
    assert {path for path, status in found.items() if status != 401} == OPEN


def test_a_page_without_the_right_to_write_offers_no_form(local_root: Path) -> None:
    make_config(local_root)

    read = browser_of("viewer").get("/api/v1/sync/storages").content.decode()
    write = browser_of("superuser").get("/api/v1/sync/storages").content.decode()

    assert "Raw data" in write
    assert "Raw data" not in read
