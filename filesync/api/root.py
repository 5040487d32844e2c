"""The root of the API: it names every address that needs no id."""

from __future__ import annotations

from typing import Any

from rest_framework.routers import APIRootView, DefaultRouter


class RootView(APIRootView):
    """Every address that needs no id; from there on the pages have links.

    The page of an address has a form for what you may do there.
    """

    name = "API"


class Router(DefaultRouter):
    """Routes whose root names the task routes too: they are no resources, which DRF lists alone."""

    def get_api_root_view(self, api_urls: Any = None) -> Any:
        patterns = {str(url.pattern): url.name for url in api_urls or ()}
        found = {
            path.strip("^$"): name for path, name in sorted(patterns.items()) if "(" not in path
        }
        return RootView.as_view(api_root_dict=found)
