"""The API's description of itself: complete, true to its examples, and served without outside."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from typing import Any

import jsonschema
import pytest
from django.contrib.staticfiles import finders
from drf_spectacular.generators import SchemaGenerator

from filesync import engine
from filesync.api import urls as urls  # registers the token's description
from filesync.api.quick_rows import QuickRows
from filesync.services.documents import plan_document
from scheduler.api.strict import StrictModelSerializer, StrictSerializer
from tests.filesync.factories import browser_of, client_of

Document = dict[str, Any]

DOCUMENT: Document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
OPERATIONS: dict[str, Document] = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


def bodies_of(operation: Document) -> list[tuple[str, Document]]:
    """Return what an operation takes and what it answers where it succeeds, with media types."""
    good = [answer for status, answer in operation["responses"].items() if status < "300"]
    parts = [operation.get("requestBody", {}), *good]
    return [(kind, shape) for part in parts for kind, shape in part.get("content", {}).items()]


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_operation_is_described_in_words(label: str) -> None:
    operation = OPERATIONS[label]

    assert operation["summary"]
    assert operation["description"].strip() not in ("", operation["summary"])
    for parameter in operation.get("parameters", []):
        assert parameter["schema"]


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_operation_names_the_errors_it_answers_with(label: str) -> None:
    operation = OPERATIONS[label]
    statuses = set(operation["responses"])

    assert {"400", "404", "406", "429", "503"} <= statuses
    for status in ("429", "503"):
        assert operation["responses"][status]["headers"]["Retry-After"]
    if "/hooks/" not in label:
        assert {"401", "403", "408", "413"} <= statuses
        assert ("415" in statuses) is not label.startswith("GET")
    for status, answer in operation["responses"].items():
        assert answer["description"] or status.startswith("2")


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_operation_has_an_example_that_fits_its_schema(label: str) -> None:
    for kind, shape in bodies_of(OPERATIONS[label]):
        shown = [example["value"] for example in shape.get("examples", {}).values()]
        assert shown, f"{label} shows no example of {kind}"
        for example in shown:
            schema = {**shape["schema"], "components": DOCUMENT["components"]}
            jsonschema.validate(example, as_json_schema(schema))


def as_json_schema(schema: Any) -> Any:
    """Return OpenAPI's words as JSON Schema's; answers may be shown without all their fields."""
    if isinstance(schema, list):
        return [as_json_schema(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: as_json_schema(value) for name, value in schema.items() if name != "required"}
    if kept.pop("nullable", False):
        return {"anyOf": [kept, {"type": "null"}]}
    return kept


@pytest.mark.parametrize(
    "name", [name for name in DOCUMENT["components"]["schemas"] if name.endswith("Request")]
)
def test_every_body_is_closed_to_unknown_fields(name: str) -> None:
    component = DOCUMENT["components"]["schemas"][name]

    if component.get("type") == "object":
        assert component["additionalProperties"] is False


@pytest.mark.parametrize(
    "name", [name for name in DOCUMENT["components"]["schemas"] if name.endswith("Request")]
)
def test_every_list_in_a_body_says_how_long_it_may_be(name: str) -> None:
    fields = DOCUMENT["components"]["schemas"][name].get("properties", {})

    endless = [
        field
        for field, shape in fields.items()
        if shape.get("type") == "array" and "maxItems" not in shape
    ]

    assert endless == []


def test_no_component_is_described_by_what_its_serializer_is_made_of() -> None:
    inner = [inspect.getdoc(made) for made in (StrictSerializer, StrictModelSerializer, QuickRows)]

    described = {
        name
        for name, component in DOCUMENT["components"]["schemas"].items()
        if component.get("description") in inner
    }

    assert described == set()


def test_operations_are_listed_by_resource() -> None:
    groups = Counter(tag for one in OPERATIONS.values() for tag in one["tags"])

    assert set(groups) == {
        "backends",
        "channels",
        "configs",
        "hooks",
        "messages",
        "rule-sets",
        "runs",
        "storages",
        "task",
        "tokens",
    }
    assert groups.total() == len(OPERATIONS)


@pytest.mark.django_db
def test_the_description_is_the_same_for_all() -> None:
    told = {role: client_of(role).get("/api/schema").content for role in ("nobody", "superuser")}

    assert told["nobody"] == told["superuser"]
    assert b"force:" in told["nobody"]


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["docs", "redoc"])
def test_the_documentation_pages_ask_no_other_host(page: str) -> None:
    text = browser_of("viewer").get(f"/api/{page}").content.decode()

    links = re.findall(r"""(?:src|href)=["']([^"']+)""", text)
    assert links
    assert [link for link in links if "//" in link] == []
    for link in links:
        if link.startswith("/static/"):
            assert finders.find(link.removeprefix("/static/")), link


def test_the_plan_of_a_run_is_described_as_it_is_stored() -> None:
    stored = plan_document(engine.Plan(items=(engine.PlanItem(engine.Action.ADDED, "a", 1),)))
    of_before = {"adds": 1, "items": [{"action": "ADDED", "path": "a", "size_bytes": None}]}
    (plan,) = DOCUMENT["components"]["schemas"]["SyncRun"]["properties"]["plan"]["allOf"]
    shape = {**plan, "components": DOCUMENT["components"]}

    described = DOCUMENT["components"]["schemas"]["Plan"]["properties"]
    assert described.keys() == stored.keys()
    for document in (stored, of_before):
        jsonschema.validate(document, as_json_schema(shape))


def test_all_that_force_skips_is_said() -> None:
    force = DOCUMENT["components"]["schemas"]["ExecuteRequest"]["properties"]["force"]
    assert force["description"] == (
        "run once past the guards on deletions, also where the config is disabled"
    )
