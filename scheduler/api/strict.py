"""Serializers that refuse what they do not know, instead of ignoring a misspelt field."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, FieldDoesNotExist
from django.core.exceptions import ValidationError as ModelInvalid
from django.db import transaction
from django.db.models import ForeignObjectRel, Model
from django.http import QueryDict
from django.shortcuts import get_object_or_404
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.settings import api_settings

# What a JSON value must be for a field; DRF would take 1 for a text and "yes" for a boolean.
JSON_TYPES: tuple[tuple[type[serializers.Field[Any, Any, Any, Any]], type, Any], ...] = (
    (serializers.ChoiceField, str, _("This is not a text.")),
    (serializers.CharField, str, _("This is not a text.")),
    (serializers.BooleanField, bool, _("This is neither true nor false.")),
    (serializers.IntegerField, int, _("This is not a whole number.")),
    (serializers.FloatField, float, _("This is not a number.")),
    (serializers.PrimaryKeyRelatedField, int, _("This is not a whole number.")),
)


class StrictMixin:
    """Refuse unknown fields, values of another type and texts that are too long in a write.

    Mix it in before a Serializer. A text is as long as it was sent, which is what the schema says;
    DRF measures it without the spaces around it.

    HTML forms know texts only, so their values are read as DRF reads them; their
    `csrfmiddlewaretoken` is let through.
    """

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = set(self.fields) | {"csrfmiddlewaretoken"}  # type: ignore[attr-defined]
            unknown = sorted(str(name) for name in data if name not in known)
            if unknown:
                message = _("There is no such field.")
                raise serializers.ValidationError(
                    {
                        name: [serializers.ErrorDetail(str(message), code="unknown")]
                        for name in unknown
                    }
                )
            if not isinstance(data, QueryDict) and (wrong := self._wrong_values(data)):
                raise serializers.ValidationError(wrong)
        return super().to_internal_value(data)  # type: ignore[misc]

    def _wrong_values(self, data: Mapping[str, Any]) -> dict[str, list[serializers.ErrorDetail]]:
        wrong: dict[str, list[serializers.ErrorDetail]] = {}
        for name, field in self.fields.items():  # type: ignore[attr-defined]
            value = data.get(name)
            if value is None or field.read_only:
                continue
            for part, inner in _parts(field, value):
                for kind, wanted, message in JSON_TYPES:
                    if isinstance(inner, kind) and not _is_a(part, wanted):
                        wrong[name] = [serializers.ErrorDetail(str(message), code="invalid")]
                longest = inner.max_length if isinstance(inner, serializers.CharField) else None
                if longest is not None and isinstance(part, str) and len(part) > longest:
                    text = inner.error_messages["max_length"].format(max_length=longest)
                    wrong[name] = [serializers.ErrorDetail(text, code="max_length")]
        return wrong


def _parts(field: Any, value: object) -> Iterator[tuple[object, Any]]:
    """Yield the values of a field with the fields that read them: those in a list or a dict."""
    if isinstance(field, serializers.ListField) and isinstance(value, list):
        yield from ((part, field.child) for part in value if part is not None)
    elif isinstance(field, serializers.ManyRelatedField) and isinstance(value, list):
        yield from ((part, field.child_relation) for part in value if part is not None)
    elif isinstance(field, serializers.DictField) and isinstance(value, Mapping):
        yield from ((part, field.child) for part in value.values() if part is not None)
    else:
        yield value, field


def _is_a(value: object, wanted: type) -> bool:
    """Tell whether a JSON value is of a type; JSON knows no difference between 5 and 5.0."""
    if wanted is int:
        whole = isinstance(value, float) and value.is_integer()
        return whole or (isinstance(value, int) and not isinstance(value, bool))
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, wanted)


class StrictSerializer(StrictMixin, serializers.Serializer[Any]):
    """A plain serializer that refuses unknown fields."""


class StrictModelSerializer(StrictMixin, serializers.ModelSerializer[Any]):
    """A model serializer that refuses unknown fields, and whose errors come from the model too.

    `full_clean` runs on the instance that would be saved, so that the admin and the API refuse
    the same things in the same words. What changes a row is checked once more on the row as it
    stands when it is saved, which is locked for it: what others wrote meanwhile stays.

    The form of a page begins with the model's defaults: an empty field would say "no limit" where
    the default is a limit, and an empty box "no". A declared field is called as the model's.
    """

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields: dict[str, serializers.Field[Any, Any, Any, Any]] = super().get_fields()
        for name, field in fields.items():
            if field.label is None:
                field.label = self._model_label(name)
        return fields

    def _model_label(self, name: str) -> Any:
        model: type[Model] = self.Meta.model
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            return None
        if isinstance(field, ForeignObjectRel):
            # The other side of a relation has no name but that of what is there.
            return capfirst(field.related_model._meta.verbose_name_plural)
        return capfirst(field.verbose_name)

    def build_standard_field(self, field_name: str, model_field: Any) -> Any:
        field_class, kwargs = super().build_standard_field(field_name, model_field)
        if model_field.has_default():
            kwargs["initial"] = model_field.get_default()
        return field_class, kwargs

    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        self._given = dict(values)
        return values

    def save(self, **kwargs: Any) -> Any:
        if not isinstance(self.instance, Model):
            return super().save(**kwargs)
        with transaction.atomic():
            rows = type(self.instance)._default_manager.select_for_update(no_key=True)
            self.instance = get_object_or_404(rows, pk=self.instance.pk)
            try:
                self._validated_data = self.validate(dict(self._given))
            except serializers.ValidationError as error:
                raise serializers.ValidationError(serializers.as_serializer_error(error)) from None
            return super().save(**kwargs)

    def validate(self, attrs: Any) -> Any:
        attrs = super().validate(attrs)
        model: type[Model] = self.Meta.model
        candidate = copy.copy(self.instance) if isinstance(self.instance, Model) else model()
        for name, value in attrs.items():
            setattr(candidate, name, value)
        try:
            candidate.full_clean(validate_unique=False, validate_constraints=False)
        except ModelInvalid as error:
            errors = error.message_dict
            general = errors.pop(NON_FIELD_ERRORS, None)
            if general:
                errors[api_settings.NON_FIELD_ERRORS_KEY] = general
            raise serializers.ValidationError(errors) from None
        return attrs
