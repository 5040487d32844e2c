"""The API's own description: what drf-spectacular cannot find out by itself, for every route.

Imported by the URLs, after DRF is complete. Texts of single routes stand beside their views.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import override
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerFieldExtension,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from filesync.api.authentication import TokenAuthentication
from filesync.api.serializers.shared import IdList
from scheduler.api.query import check_parameters

Document = dict[str, Any]

COMPONENTS: Document = {
    "Error": {
        "type": "object",
        "description": "What was wrong, for people and for programs.",
        "properties": {
            "detail": {"type": "string", "description": "in words"},
            "code": {"type": "string", "description": "for programs; it does not change"},
            "task_id": {
                "type": "string",
                "format": "uuid",
                "description": "the task that is in the way, where one is",
            },
        },
        "required": ["detail", "code"],
        "example": {"detail": "there is no sync config 7", "code": "not_found"},
    },
    "FieldErrors": {
        "type": "object",
        "description": "Per field, what is wrong with it; `non_field_errors` for the whole.",
        "additionalProperties": {},
        "minProperties": 1,
        "example": {"cron": ["minute: 61 is not in 0-59"]},
    },
}
ERROR = {"$ref": "#/components/schemas/Error"}
INVALID = {"anyOf": [ERROR, {"$ref": "#/components/schemas/FieldErrors"}]}
RETRY_AFTER = {
    "Retry-After": {"schema": {"type": "integer"}, "description": "seconds until it may be tried"}
}
REASONS = {
    "400": "A field, a parameter or the body cannot be used.",
    "401": "No sign-in, or one that is unknown, expired or revoked.",
    "403": "The account may not do this, or the session's CSRF token is missing.",
    "404": "There is no such thing.",
    "406": "No answer is to be had in the media type that is asked for.",
    "408": "The body did not come in time.",
    "409": "Its state forbids it; the answer says why.",
    "413": "The body is larger than is taken.",
    "415": "The body's media type is not understood.",
    "429": "Too often; `Retry-After` says when to come back.",
    "503": "The database does not answer; nothing was done.",
}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the API's own documentation describes the token."""

    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class IdListShape(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """How a list of ids is described: with how many it may hold."""

    target_class = IdList
    match_subclasses = True

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> Document:
        shape: Document = {"type": "array", "items": {"type": "integer"}}
        return shape | ({"maxItems": self.target.most} if direction == "request" else {})


class SchemaView(SpectacularAPIView):
    """Serves the description, in English whoever asks: clients are generated from it.

    drf-spectacular puts a `version` that is asked for into a header.
    """

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        check_parameters(request, {"format"})
        with override("en"):
            answer: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        return answer


def complete(result: Document, **_: object) -> Document:
    """Add to every operation the errors it can answer with; close the bodies of writes.

    A postprocessing hook: whatever a view documents itself stays.
    """
    components = result.setdefault("components", {}).setdefault("schemas", {})
    components |= COMPONENTS
    for name, component in components.items():
        if name.endswith("Request") and component.get("type") == "object":
            component.setdefault("additionalProperties", False)
    for path, method, operation in _operations(result):
        operation["tags"] = [_resource(path)]
        for status in _errors_of(method, operation):
            operation["responses"].setdefault(status, _error(status))
        for status, answer in operation["responses"].items():
            if status in REASONS and not answer["description"]:
                operation["responses"][status] = _error(status)
        _speak_plainly(operation["responses"])
    return result


def _operations(result: Document) -> Iterator[tuple[str, str, Document]]:
    for path, item in result["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def _resource(path: str) -> str:
    """Return what an operation is listed under: `task`, or the resource that its path names."""
    _api, _version, area, *rest = path.strip("/").split("/")
    return rest[0] if area in ("sync", "notifications") else area


def _errors_of(method: str, operation: Document) -> list[str]:
    """Return what an operation answers whatever it does: to a query, a header or a body."""
    # 404 for a `format` that there is not, whatever else there is.
    statuses = ["400", "404", "406", "429", "503"]
    if operation.get("security"):
        statuses += ["401", "403", "408", "413"]
        if method != "get":
            statuses.append("415")
    return sorted(statuses)


def _speak_plainly(answers: Document) -> None:
    """Where the good answer is plain text, the others are too for who asks for that."""
    if any("text/plain" in answer.get("content", {}) for answer in answers.values()):
        for answer in answers.values():
            answer["content"].setdefault("text/plain", {"schema": {"type": "string"}})


def _error(status: str) -> Document:
    shape = INVALID if status == "400" else ERROR
    answer: Document = {
        "description": REASONS[status],
        "content": {"application/json": {"schema": shape}},
    }
    if status in ("429", "503"):
        answer["headers"] = RETRY_AFTER
    return answer
