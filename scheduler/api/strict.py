"""Serializers that refuse what they do not know, instead of ignoring a misspelt field."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as ModelInvalid
from django.db.models import Model
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.settings import api_settings


class StrictMixin:
    """Refuse unknown fields in a write; mix it in before a Serializer class.

    `csrfmiddlewaretoken`, which the browsable API's HTML forms send along, is let through.
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
        return super().to_internal_value(data)  # type: ignore[misc]


class StrictSerializer(StrictMixin, serializers.Serializer[Any]):
    """A plain serializer that refuses unknown fields."""


class StrictModelSerializer(StrictMixin, serializers.ModelSerializer[Any]):
    """A model serializer that refuses unknown fields, and whose errors come from the model too.

    `full_clean` runs on the instance that would be saved, so that the admin and the API refuse
    the same things in the same words.
    """

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
