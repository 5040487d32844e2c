"""The admin: forms, lists and buttons; each button calls one service."""

from __future__ import annotations

from django.contrib import admin

from filesync.admin import (  # noqa: F401
    accounts,
    dashboard,
    hooks,
    notifications,
    rule_sets,
    run_items,
    runs,
    storages,
    sync_configs,
    third_party,
)

admin.site.index_template = "filesync/dashboard.html"
admin.site.extra_urls = dashboard.urls  # type: ignore[attr-defined]  # unfold's site reads it
