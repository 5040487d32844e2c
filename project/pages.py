"""The API's browsable pages: what a person may do is a form, and what an answer names is a link."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.urls import NoReverseMatch, get_script_prefix, resolve, reverse
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException
from rest_framework.fields import DateTimeField, DictField, ListField
from rest_framework.renderers import BrowsableAPIRenderer, HTMLFormRenderer, JSONRenderer
from rest_framework.request import Request, clone_request

from scheduler.outages import DATABASE_AWAY

logger = logging.getLogger(__name__)

# What the fields of answers name by an id.
ROUTES = {
    "channel": "notificationchannel-detail",
    "config": "syncconfig-detail",
    "config_id": "syncconfig-detail",
    "destination_storage": "storage-detail",
    "restore_of": "syncrun-detail",
    "retry_of": "syncrun-detail",
    "run": "syncrun-detail",
    "source_storage": "storage-detail",
    "task_id": "task-task-result",
}
# What a row of a list is called, as far as it has them.
WORDS = ("id", "name", "config_name", "state", "title")

Link = tuple[str, str]


class FormRenderer(HTMLFormRenderer):
    """DRF's forms, which show again what was refused: also a time or a list that is none."""

    def render_field(self, field: Any, parent_style: Any) -> str:
        kind, value = field._field, field.value
        if isinstance(kind, DateTimeField) and not _is_time(value):
            field.value = None
        if isinstance(kind, ListField | DictField) and not isinstance(value, list | dict):
            field.value = None
        return str(super().render_field(field, parent_style))


def _is_time(value: object) -> bool:
    try:
        return bool(datetime.fromisoformat(str(value)))
    except ValueError:
        return False


class PageRenderer(BrowsableAPIRenderer):
    """DRF's pages, without links and forms that would be refused, and with links to what is named.

    The page of an address that takes no GET is that of its form, and no error.
    """

    template = "project/api.html"
    filter_template = "project/api_filters.html"
    form_renderer_class = FormRenderer

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the page; where the database is away, which it asks for forms, the bare answer."""
        try:
            return super().render(data, accepted_media_type, renderer_context)
        except DATABASE_AWAY as error:
            logger.error("a page is left out, the database does not answer: %s", error)
            renderer = JSONRenderer()
            (renderer_context or {})["response"]["Content-Type"] = renderer.media_type
            return renderer.render(data)

    def get_raw_data_form(self, data: Any, view: Any, method: str, request: Request) -> Any:
        form = super().get_raw_data_form(data, view, method, request)
        if form:
            form.fields["_content_type"].label = _("Media type")
            form.fields["_content"].label = _("Content")
        return form

    def get_extra_actions(self, view: Any, status_code: int) -> dict[str, str] | None:
        actions = super().get_extra_actions(view, status_code)
        return {n: url for n, url in (actions or {}).items() if _may_call(view.request, url)}

    def get_breadcrumbs(self, request: Request) -> list[Link]:
        crumbs = super().get_breadcrumbs(request)
        return [(name, url) for name, url in crumbs if _resolve(url).url_name != "unknown"]

    def get_context(
        self, data: Any, accepted_media_type: str | None, renderer_context: Mapping[str, Any]
    ) -> dict[str, Any]:
        context = super().get_context(data, accepted_media_type, renderer_context)
        view, response = renderer_context["view"], renderer_context["response"]
        if response.status_code < 400:
            context["links"] = list(dict.fromkeys(links(view, data, response.status_code)))
        forms = [context[name] for name in ("post_form", "raw_data_post_form", "delete_form")]
        # Not of a hook, which asks for no sign-in: there a 405 says that nothing was started.
        person = view.request.method == "GET" and view.request.user.is_authenticated
        if response.status_code == 405 and person and any(forms):
            response.status_code = 200
            context["content"] = _("This address takes %s: use the form of this page.") % (
                "POST" if context["raw_data_post_form"] else "DELETE"
            )
        return context


def links(view: Any, data: Any, status: int) -> Iterator[Link]:
    """Yield a label and an address for each thing that an answer names."""
    route = f"{getattr(view, 'basename', '')}-detail"
    if getattr(view, "action", "") == "list":
        for row in data.get("results") or data.get("backends") or ():
            yield from _link(_words(row), route, row.get("id") or row.get("name"))
        return
    if status in (201, 202) and isinstance(data, Mapping):
        yield from _link(_words(data), route, data.get("id"))
    yield from _named(data)


def _named(data: Any, owner: str = "") -> Iterator[Link]:
    if isinstance(data, list):
        for row in data:
            yield from _named(row, _words(row) if isinstance(row, Mapping) else "")
    elif isinstance(data, Mapping):
        for field, value in data.items():
            if field in ROUTES:
                key = value.get("id") if isinstance(value, Mapping) else value
                yield from _link(f"{owner} {field}".strip(), ROUTES[field], key)
            elif isinstance(value, list):
                yield from _named(value)


def _words(row: Mapping[str, Any]) -> str:
    return " ".join(str(row[word]) for word in WORDS if row.get(word))


def _link(label: str, route: str, key: Any) -> Iterator[Link]:
    if key is not None:
        try:
            yield label, reverse(route, args=[key])
        except NoReverseMatch:
            return


def _may_call(request: Request, url: str) -> bool:
    """Tell whether the account may do anything at an address, as far as permissions say."""
    route = _resolve(url).func
    methods: Mapping[str, str] = getattr(route, "actions", None) or {"get": ""}
    for method, action in methods.items():
        view = route.cls(**route.initkwargs)
        view.request, view.action = clone_request(request, method.upper()), action
        view.kwargs = {}
        try:
            view.check_permissions(view.request)
        except APIException:
            continue
        return True
    return False


def _resolve(url: str) -> Any:
    prefix = get_script_prefix().rstrip("/")
    return resolve(urlsplit(url).path.removeprefix(prefix))
