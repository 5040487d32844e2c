"""No page of the admin is left out of the photographs, nor of what axe and a phone are shown."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.contrib import admin
from django.urls import resolve

from tests.browser.screenshots import PAGES, SIGNED_OUT
from tests.filesync.test_admin_permissions import addresses

STOCK = ("changelist", "add", "change", "delete", "history")
# What answers with no page of its own: data, a dialog on another page, an action, a way on.
NO_PAGE = {
    "None",
    "app_list",
    "autocomplete",
    "dashboard_demo",
    "dashboard_live",
    "filesync_hook_renew",
    "filesync_notificationchannel_send_test",
    "filesync_storage_browse_draft",
    "filesync_storage_test_draft",
    "filesync_storage_test_now",
    "filesync_syncconfig_dry_run_now",
    "filesync_syncconfig_duplicate",
    "filesync_syncconfig_force_now",
    "filesync_syncconfig_live",
    "filesync_syncconfig_run_all_enabled",
    "filesync_syncconfig_run_now",
    "filesync_syncconfig_show_runs",
    "filesync_syncconfig_switch",
    "filesync_syncrun_cancel_now",
    "filesync_syncrun_items_csv",
    "filesync_syncrun_live",
    "filesync_syncrun_log",
    "filesync_syncrun_restore_now",
    "filesync_syncrun_retry_failed_now",
    "filesync_syncrun_retry_now",
    "jsi18n",
    "logout",
    "password_change_done",
    "search",
    "view_on_site",
}


def photographed() -> set[str]:
    paths = [urlsplit(path).path for path in (PAGES | SIGNED_OUT).values()]
    return {str(resolve(path).url_name) for path in paths}


def test_every_list_and_form_and_every_page_of_our_own_is_photographed() -> None:
    seen = photographed()
    models = [f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry]
    stock = {f"{model}_{kind}" for model in models for kind in STOCK}

    assert [model for model in models if f"{model}_changelist" not in seen] == []
    assert [model for model in models if not {f"{model}_add", f"{model}_change"} & seen] == []
    assert set(addresses()) - stock - NO_PAGE - seen == set()
