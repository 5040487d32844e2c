"""How lists are cut into pages: numbered where they are counted, by cursor where they are long."""

from __future__ import annotations

import re
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination, PageNumberPagination
from rest_framework.request import Request

PAGE_SIZE = 50
MAX_PAGE_SIZE = 500
# An id; DRF looks for whatever text a cursor holds.
POSITION = re.compile("[0-9]{1,18}")


class FromNearerEnd(Paginator):  # type: ignore[type-arg]
    """Reads a page of the second half backwards from the end of the list.

    To skip 99,950 configs took PostgreSQL 100 ms, and to read the last 50 of them 0.1 ms. Each
    order must be unique, as those of the models and of `KnownOrdering` are: with two equal rows
    the two ways may differ.
    """

    def page(self, number: int | str) -> Page[Any]:
        number = self.validate_number(number)
        first, rows = (number - 1) * self.per_page, self.object_list
        if first <= self.count / 2 or not isinstance(rows, QuerySet):
            return super().page(number)
        until_end = self.count - first
        backwards = rows.reverse()[max(0, until_end - self.per_page) : until_end]
        return Page(list(backwards)[::-1], number, self)


class NumberedPages(PageNumberPagination):
    """Pages with a number and a count of the whole; `page_size` up to 500."""

    django_paginator_class = FromNearerEnd
    page_size = PAGE_SIZE
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE_SIZE


class NewestFirst(CursorPagination):
    """Pages that begin where the last one ended, newest first, whatever comes in meanwhile.

    Neither counted nor skipped to: each costs the same in a history of a million rows.
    """

    ordering = "-id"
    template = "filesync/api_pager.html"
    page_size = PAGE_SIZE
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE_SIZE

    def decode_cursor(self, request: Request) -> Any:
        cursor = super().decode_cursor(request)
        position = cursor.position if cursor is not None else None
        if position is not None and not POSITION.fullmatch(str(position)):
            raise NotFound(self.invalid_cursor_message)
        return cursor

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        page: dict[str, Any] = super().get_paginated_response_schema(schema)
        page["description"] = "`next` is null on the last page; follow it, do not build it."
        return page
