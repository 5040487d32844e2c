"""How bodies and the queries of lists are read: nothing too deep, unknown or empty passes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db.models import Model, QuerySet
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from rest_framework.exceptions import ErrorDetail, ParseError, ValidationError
from rest_framework.filters import BaseFilterBackend, OrderingFilter, SearchFilter
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

from scheduler.api.query import check_parameters

if TYPE_CHECKING:
    # DRF's views import this module by the settings, before they are complete themselves.
    from rest_framework.views import APIView


class StrictJSONParser(JSONParser):
    """Reads JSON; refuses what only Python's reader takes, or what makes it give up.

    A number such as 1e400 becomes infinite, which no field expects; a body of brackets only
    exhausts the stack.
    """

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        encoding = str((parser_context or {}).get("encoding", "utf-8"))
        try:
            text = stream.read().decode(encoding)
            return json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        except RecursionError:
            raise ParseError(_("JSON parse error - it is nested too deeply")) from None
        except LookupError:
            raise ParseError(_("The charset %s is not known.") % encoding) from None
        except ValueError as error:
            raise ParseError(_("JSON parse error - %s") % error) from None


class KnownParameters(BaseFilterBackend):
    """Refuses query parameters that a list does not have, or that say nothing.

    A misspelt filter that is ignored answers with everything. The filter form of a browsable page
    sends its empty fields along: there they mean nothing.
    """

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        is_page = getattr(request.accepted_renderer, "format", "") == "api"
        known = self.known(view)
        check_parameters(request, known, may_be_empty=known if is_page else ())
        return queryset

    @staticmethod
    def known(view: APIView) -> set[str]:
        names = {"format"}
        if filterset := getattr(view, "filterset_class", None):
            names |= set(filterset.base_filters)
        names |= set(getattr(view, "filterset_fields", None) or ())
        if getattr(view, "search_fields", None):
            names.add("search")
        if getattr(view, "ordering_fields", None):
            names.add("ordering")
        paginator = getattr(view, "paginator", None)
        for attribute in ("page_query_param", "page_size_query_param", "cursor_query_param"):
            if name := getattr(paginator, attribute, None):
                names.add(name)
        return names


class KnownSearch(SearchFilter):
    """Searches the lists that can be searched; DRF would name `search` among those of each."""

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        if not getattr(view, "search_fields", None):
            return []
        found: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        return found


class KnownOrdering(OrderingFilter):
    """Orders by the fields that a list offers, and refuses others instead of ignoring them.

    Rows made at the same moment follow by their ids: no page repeats what another has shown.
    """

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: APIView) -> Any:
        asked = super().get_ordering(request, queryset, view)
        column = queryset.model._meta.get_field
        if not asked or any(column(field.removeprefix("-")).unique for field in asked):
            return asked
        return [*asked, "-id" if asked[-1].startswith("-") else "id"]

    def remove_invalid_fields(
        self, queryset: QuerySet[Model], fields: Any, view: APIView, request: Request
    ) -> list[str]:
        wanted = [str(field) for field in fields]
        offered = self.choices(view)
        for field in wanted:
            if field not in offered:
                message = _("It is one of %s.") % ", ".join(offered)
                raise ValidationError({"ordering": [ErrorDetail(message, "invalid_choice")]})
        return wanted

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        if not (offered := self.choices(view)):
            return []
        return [
            {
                "name": "ordering",
                "in": "query",
                "description": "The field to order by; with a minus from the last to the first.",
                "schema": {"type": "string", "enum": offered},
            }
        ]

    def get_valid_fields(
        self, queryset: QuerySet[Model], view: APIView, context: Any = None
    ) -> list[tuple[str, Any]]:
        """Return the fields of a list with what the page of it calls them."""
        column = queryset.model._meta.get_field
        fields = getattr(view, "ordering_fields", None) or []
        return [(field, capfirst(column(field).verbose_name)) for field in fields]  # type: ignore[union-attr]

    @staticmethod
    def choices(view: APIView) -> list[str]:
        fields = getattr(view, "ordering_fields", None) or []
        return [sign + field for field in fields for sign in ("", "-")]


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
