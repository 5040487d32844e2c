"""What the serializers of all resources share: their examples, and the answer that refuses."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

from filesync.texts import say


def asked(value: object, name: str = "A request") -> OpenApiExample:
    return OpenApiExample(name, value, request_only=True)


def answered(value: object) -> OpenApiExample:
    # Without the codes only the answers with 200 and 201 would show it.
    codes = ["200", "201", "202"]
    return OpenApiExample("An answer", value, response_only=True, status_codes=codes)


class SaidField(serializers.CharField):
    """A text of the engine or the services, in the reader's language."""

    def to_representation(self, value: str) -> str:
        return say(value)


class TranslatedField(serializers.CharField):
    """A text that a catalogue has in English, in the reader's language."""

    def to_representation(self, value: str) -> str:
        return gettext(value) if value else ""


class IdList(serializers.ManyRelatedField):
    """A list of ids, up to `most`, looked up together: one by one each would take a query.

    An object in its place, which DRF takes for an empty list, is refused.
    """

    default_error_messages = {"too_many": _("At most {most} ids.")}

    def __init__(self, *, queryset: QuerySet[Any], most: int, **kwargs: Any) -> None:
        self.most = most
        self.known = queryset
        child = serializers.PrimaryKeyRelatedField(queryset=queryset)
        super().__init__(child_relation=child, **kwargs)

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        if len(data) > self.most:
            self.fail("too_many", most=self.most)
        ids = [self._id(value) for value in data]
        found = self.known.all().in_bulk(ids)
        for pk in ids:
            if pk not in found:
                self.child_relation.fail("does_not_exist", pk_value=pk)
        return [found[pk] for pk in ids]

    def _id(self, value: object) -> int:
        """Return an id from JSON or a form."""
        try:
            pk = int(value)  # type: ignore[call-overload]
        except (TypeError, ValueError):
            self.child_relation.fail("incorrect_type", data_type=type(value).__name__)
        if not 0 < pk < 2**63:
            self.child_relation.fail("does_not_exist", pk_value=pk)
        return int(pk)


class ErrorSerializer(serializers.Serializer[Any]):
    detail = serializers.CharField()
    code = serializers.CharField()
    task_id = serializers.UUIDField(required=False)
