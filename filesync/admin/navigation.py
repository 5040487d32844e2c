"""The menu at the side and the tabs above the runs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from filesync.models import ApiToken, Hook, RunItem, Storage, SyncConfig, SyncRun

ICONS = {
    "syncconfig": "sync",
    "syncrun": "history",
    "storage": "cloud",
    "ruleset": "rule",
    "notificationchannel": "notifications",
    "apitoken": "key",
    "hook": "webhook",
    "user": "person",
    "group": "group",
}
OURS = ("filesync",)
# What stands first, in this order; pages that are added later follow by themselves.
FIRST: tuple[type[Model], ...] = (SyncConfig, SyncRun, Storage)
ACCESS: tuple[type[Model], ...] = (ApiToken, Hook, User, Group)

TABS = (
    (gettext_lazy("All"), ""),
    (gettext_lazy("Active"), "state__in=QUEUED,RUNNING"),
    (gettext_lazy("Succeeded"), "state__in=SUCCEEDED"),
    (gettext_lazy("Failed"), "state__in=FAILED,PARTIAL,LOST"),
    (gettext_lazy("Cancelled"), "state__in=CANCELLED"),
    (gettext_lazy("Skipped or missed"), "state__in=SKIPPED,MISSED"),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the menu: daily work first, then access, and all other pages under Advanced."""
    seen = [
        model
        for model, model_admin in admin.site._registry.items()
        if model is not RunItem and model_admin.has_view_permission(request)
    ]
    ours = [model for model in seen if model._meta.app_label in OURS and model not in ACCESS]
    ours.sort(key=lambda model: FIRST.index(model) if model in FIRST else len(FIRST))
    access = [model for model in seen if model in ACCESS]
    others = [model for model in seen if model not in ours and model not in access]
    sync = [_entry(model) for model in ours]
    if SyncConfig in ours:
        ahead = _ahead()
        # The address of the page lies below that of the configs, which is all that unfold looks at.
        if request.path == ahead["link"]:
            sync[ours.index(SyncConfig)]["active"] = False
        sync.insert(sum(model in ours for model in FIRST[:2]), ahead)
    overview = {"title": _("Overview"), "icon": "dashboard", "link": reverse("admin:index")}
    return [
        {"title": _("Sync"), "items": [overview, *sync]},
        {"title": _("Access"), "separator": True, "items": [_entry(model) for model in access]},
        {
            "title": _("Advanced"),
            "collapsible": True,
            "separator": True,
            "items": [_entry(model) for model in others],
        },
    ]


def _ahead() -> dict[str, Any]:
    return {
        "title": _("A day ahead"),
        "icon": "calendar_month",
        "link": reverse("admin:filesync_syncconfig_ahead"),
    }


def _entry(model: type[Model]) -> dict[str, Any]:
    meta = model._meta
    name = str(meta.verbose_name_plural)
    return {
        "title": name[:1].upper() + name[1:],
        "icon": ICONS.get(str(meta.model_name), "settings"),
        "link": reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"),
    }


def tabs(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the tabs of the list of runs; each keeps the other filters that are set."""
    url = reverse("admin:filesync_syncrun_changelist")
    kept = request.GET.copy()
    state = kept.pop("state__in", [""])[-1]
    for gone in ("p", "e"):
        kept.pop(gone, None)
    items = []
    for title, query in TABS:
        link = "&".join(part for part in (query, kept.urlencode()) if part)
        active = query.removeprefix("state__in=") == state
        items.append({"title": title, "link": f"{url}?{link}", "active": active})
    return [{"models": ["filesync.syncrun"], "items": items}]
