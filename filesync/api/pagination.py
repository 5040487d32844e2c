"""How lists are cut into pages: numbered where they are counted, by cursor where they are long."""

from __future__ import annotations

from typing import Any

from rest_framework.pagination import CursorPagination, PageNumberPagination

PAGE_SIZE = 50
MAX_PAGE_SIZE = 500


class NumberedPages(PageNumberPagination):
    """Pages with a number and a count of the whole; `page_size` up to 500."""

    page_size = PAGE_SIZE
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE_SIZE


class NewestFirst(CursorPagination):
    """Pages that begin where the last one ended, newest first, whatever comes in meanwhile.

    Neither counted nor skipped to: each costs the same in a history of a million rows.
    """

    ordering = "-id"
    page_size = PAGE_SIZE
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE_SIZE

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        page: dict[str, Any] = super().get_paginated_response_schema(schema)
        page["description"] = "`next` is null on the last page; follow it, do not build it."
        return page
