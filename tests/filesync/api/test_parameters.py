"""Parameters and bodies that an operation does not have: none is ignored."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from filesync.api import urls as urls  # registers the token's description
from tests.filesync.api.places import address_of
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import browser_of, client_of, make_user

pytestmark = pytest.mark.django_db
# No row decides: asked on one database, they would say the same on the other.
once = pytest.mark.only_on("sqlite")

DOCUMENT: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]


def with_a_session() -> APIClient:
    """Return a client of a superuser that may do all: a token makes no other."""
    client = APIClient()
    client.force_login(make_user("superuser"))
    return client


WRITES = [
    (method, path)
    for path, operations in DOCUMENT["paths"].items()
    for method in operations
    if method != "get" and "/hooks/" not in path
]


@once
@pytest.mark.parametrize(("method", "path"), WRITES)
def test_no_write_ignores_a_parameter_in_its_address(method: str, path: str) -> None:
    """`execute-all-enabled?dry_run=true` would run everything in earnest."""
    address = re.sub(r"{\w+}", "1", path)

    answer = with_a_session().generic(method.upper(), f"{address}?dry_run=true")

    assert answer.status_code == 400
    assert list(answer.json()) == ["dry_run"]


BODILESS = [
    (method, path)
    for method, path in WRITES
    if "requestBody" not in DOCUMENT["paths"][path][method]
]


@once
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"dry_run": true}', "dry_run"),
        ('{"config": 5}', "config"),
        ("[1]", "non_field_errors"),
        ("5", "non_field_errors"),
    ],
)
@pytest.mark.parametrize(("method", "path"), BODILESS)
def test_no_write_without_a_body_ignores_one(method: str, path: str, body: str, field: str) -> None:
    """A `clear-tasks` with `{"config": 5}` would clear all."""
    address = re.sub(r"{\w+}", "1", path)

    answer = client_of("superuser").generic(
        method.upper(), address, body, content_type="application/json"
    )

    assert answer.status_code == 400
    assert list(answer.json()) == [field]


def test_what_a_page_sends_along_is_no_field() -> None:
    form = {"csrfmiddlewaretoken": "x"}

    answer = browser_of("superuser").post("/api/v1/task/scheduler/refresh-tasks", form, "multipart")

    assert answer.status_code == 200


@once
@pytest.mark.parametrize(
    "path",
    [
        "sync/backends",
        "sync/backends/webdav",
        "sync/configs/1",
        "sync/configs/1/hook",
        "sync/configs/ahead",
        "sync/runs/1/items",
        "sync/runs/1/log",
        "sync/storages/1/browse",
        "task/scheduler/task-result/x",
        "task/scheduler/task-status",
    ],
)
def test_no_read_ignores_a_parameter_that_it_does_not_have(path: str) -> None:
    answer = client_of("superuser").get(f"/api/v1/{path}?colour=blue")

    assert answer.status_code == 400
    assert list(answer.json()) == ["colour"]


@once
@pytest.mark.parametrize("query", ["page=2&page=1", "page=1.0", "path=a&path=b"])
def test_a_page_of_a_folder_is_asked_for_once(query: str) -> None:
    answer = client_of("superuser").get(f"/api/v1/sync/storages/1/browse?{query}")

    assert answer.status_code == 400
    assert list(answer.json()) == [query.partition("=")[0]]


READS = {
    path: operations["get"]["parameters"]
    for path, operations in DOCUMENT["paths"].items()
    if "parameters" in operations.get("get", {})
}
# What is nothing by itself, and what it goes with.
TOGETHER: dict[str, dict[str, Any]] = {"day": {"window": "week"}}


@pytest.mark.parametrize("path", READS)
def test_every_parameter_that_a_read_is_said_to_have_is_taken(local_root: Path, path: str) -> None:
    address, client = address_of(path, local_root), client_of("superuser")

    refused = {
        parameter["name"]: answer.json()
        for parameter in READS[path]
        if parameter["in"] == "query"
        for value in values_of(parameter["schema"])
        for others in [TOGETHER.get(parameter["name"], {})]
        if (answer := client.get(address, others | {parameter["name"]: value})).status_code == 400
    }

    assert refused == {}


def values_of(schema: dict[str, Any]) -> list[object]:
    """Return values that a parameter is said to take: all that it names, else one of its kind."""
    if "enum" in schema:
        return list(schema["enum"])
    if schema.get("format") == "date-time":
        return ["2026-03-01T02:00:00Z"]
    return ["true"] if schema["type"] == "boolean" else ["1"]
