"""The browsable pages: they lead everywhere, and show an account the forms that it may send."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client
from rest_framework.test import APIClient

from filesync.models import RunItem, SyncRun
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import browser_of, client_of, make_config, make_run, make_user

pytestmark = pytest.mark.django_db

API = "/api/v1"
TASK = f"{API}/task/scheduler"
FORMS = re.compile(r'(?:id="(post|put)-(?:object|generic-content)-form"|id="(delete)Modal")')
ACTIONS = re.compile(r'<ul class="dropdown-menu" aria-labelledby="extra-actions.*?</ul>', re.DOTALL)


def page_of(role: str, path: str, status: int = 200) -> str:
    answer = browser_of(role).get(path)
    assert answer.status_code == status, path
    return str(answer.content.decode())


def forms_of(role: str, path: str) -> set[str]:
    return {post or delete for post, delete in FORMS.findall(page_of(role, path))}


def actions_of(role: str, path: str) -> list[str]:
    found = ACTIONS.search(page_of(role, path))
    return re.findall(r"<a [^>]*>([^<]+)</a>", found[0]) if found else []


def links_of(page: str) -> dict[str, str]:
    found = re.search(r'<nav aria-label="Links">(.*?)</nav>', page, re.DOTALL)
    assert found, "the page has no links"
    return {label: url for url, label in re.findall(r'<a href="([^"]+)">([^<]+)</a>', found[1])}


def test_the_root_names_every_address_that_needs_no_id() -> None:
    named = client_of("viewer").get(f"{API}/").json()

    assert set(named) == {
        "notifications/channels",
        "notifications/messages",
        "sync/backends",
        "sync/configs",
        "sync/configs/ahead",
        "sync/configs/bulk",
        "sync/rule-sets",
        "sync/rule-sets/try",
        "sync/runs",
        "sync/storages",
        "sync/storages/test",
        "task/scheduler/clear-tasks",
        "task/scheduler/execute-all-enabled",
        "task/scheduler/refresh-tasks",
        "task/scheduler/task-status",
        "task/scheduler/validate-cron",
        "tokens",
    }
    assert all(url == f"http://testserver{API}/{path}" for path, url in named.items())


def test_the_rows_of_a_list_and_what_they_name_are_links(local_root: Path) -> None:
    config = make_config(local_root, name="photos <b>")
    run = make_run(config, state=SyncRun.State.FAILED)
    RunItem.objects.create(run=run, action="FAILED", path="a")

    rows = links_of(page_of("viewer", f"{API}/sync/configs"))
    assert rows == {f"{config.pk} photos &lt;b&gt;": f"{API}/sync/configs/{config.pk}"}
    assert links_of(page_of("viewer", f"{API}/sync/configs/{config.pk}")) == {
        "source_storage": f"{API}/sync/storages/{config.source_storage_id}",
        "destination_storage": f"{API}/sync/storages/{config.source_storage_id}",
    }
    assert links_of(page_of("viewer", f"{API}/sync/runs/{run.pk}")) == {
        "task_id": f"{TASK}/task-result/{run.task_id}",
        "config": f"{API}/sync/configs/{config.pk}",
    }
    assert links_of(page_of("viewer", f"{TASK}/task-result/{run.task_id}")) == {
        "task_id": f"{TASK}/task-result/{run.task_id}",
        "run": f"{API}/sync/runs/{run.pk}",
    }
    assert links_of(page_of("viewer", f"{API}/sync/backends"))["webdav"].endswith("/webdav")
    # An item is no run.
    assert 'aria-label="Links"' not in page_of("viewer", f"{API}/sync/runs/{run.pk}/items")


def test_what_was_started_is_a_link(local_root: Path) -> None:
    config = make_config(local_root)
    browser = browser_of("operator")

    executed = browser.post(f"{TASK}/execute-sync/{config.pk}", {}, format="multipart")

    run = SyncRun.objects.get()
    assert executed.status_code == 202
    assert links_of(executed.content.decode())["task_id"] == f"{TASK}/task-result/{run.task_id}"
    cancelled = browser.post(f"{API}/sync/runs/{run.pk}/cancel", {}, format="multipart")
    assert f"{API}/sync/runs/{run.pk}" in links_of(cancelled.content.decode()).values()


def test_the_page_of_a_config_leads_to_what_can_be_done_with_it(local_root: Path) -> None:
    config = make_config(local_root)
    page = page_of("editor", f"{API}/sync/configs/{config.pk}")

    assert f'href="{TASK}/execute-sync/{config.pk}"' in page
    assert f'href="{API}/sync/runs?config={config.pk}"' in page
    assert f'href="{API}/sync/configs/{config.pk}/hook"' in page
    assert "</html>" in page_of("editor", f"{API}/sync/configs/photos", 404)


@pytest.mark.parametrize(
    ("role", "on_config", "on_run"),
    [
        ("viewer", ["Runs"], ["Items", "Log"]),
        ("operator", ["Run now", "Runs"], ["Cancel", "Items", "Log", "Restore", "Retry"]),
        ("editor", ["Run now", "Runs", "Hook"], ["Cancel", "Items", "Log", "Restore", "Retry"]),
    ],
)
def test_only_actions_that_an_account_may_take_are_offered(
    local_root: Path, role: str, on_config: list[str], on_run: list[str]
) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.FAILED)

    assert actions_of(role, f"{API}/sync/configs/{run.config_id}") == on_config
    assert actions_of(role, f"{API}/sync/runs/{run.pk}") == on_run


@pytest.mark.parametrize(
    ("path", "viewer", "superuser"),
    [
        ("sync/configs", set(), {"post"}),
        ("sync/configs/{config}", set(), {"put", "delete"}),
        ("sync/storages", set(), {"post"}),
        ("sync/storages/{storage}", set(), {"put", "delete"}),
        ("sync/rule-sets", set(), {"post"}),
        ("sync/runs/{run}", set(), set()),
        ("notifications/channels", set(), {"post"}),
        ("sync/rule-sets/try", {"post"}, {"post"}),
        ("task/scheduler/validate-cron", {"post"}, {"post"}),
    ],
)
def test_a_viewer_is_shown_no_form_that_would_be_refused(
    local_root: Path, path: str, viewer: set[str], superuser: set[str]
) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.FAILED)
    assert run.config is not None
    places = {"config": run.config_id, "run": run.pk, "storage": run.config.source_storage_id}
    url = f"{API}/{path.format(**places)}"

    assert forms_of("viewer", url) == viewer
    assert forms_of("superuser", url) == superuser


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("task/scheduler/execute-sync/{config}", "post"),
        ("task/scheduler/execute-all-enabled", "post"),
        ("task/scheduler/clear-tasks", "delete"),
        ("sync/runs/{run}/cancel", "post"),
    ],
)
def test_an_address_that_takes_no_get_is_the_page_of_its_form(
    local_root: Path, path: str, form: str
) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.FAILED)
    url = f"{API}/{path.format(config=run.config_id, run=run.pk)}"

    page = page_of("superuser", url)

    assert forms_of("superuser", url) == {form}
    assert f"This address takes {form.upper()}" in page
    assert "not allowed" not in page
    assert client_of("superuser").get(url).status_code == 405
    assert "This address" not in page_of("viewer", url, 403)


def test_the_crumbs_name_only_pages_that_are_there(local_root: Path) -> None:
    page = page_of("viewer", f"{API}/sync/configs/{make_config(local_root).pk}")

    crumbs = re.search(r'<ul class="breadcrumb">(.*?)</ul>', page, re.DOTALL)
    assert crumbs
    assert re.findall(r">([^<>]+)</a>", crumbs[1]) == [
        "API",
        "Sync Config List",
        "Sync Config Instance",
    ]


def test_a_person_signs_out_by_a_form_and_without_a_script() -> None:
    browser = Client(enforce_csrf_checks=True, HTTP_ACCEPT="text/html")
    browser.force_login(make_user("viewer"))
    page = browser.get(f"{API}/sync/runs").content.decode()
    form = re.search(r'<form[^>]* action="(/api-auth/logout/[^"]*)">(.*?)</form>', page, re.DOTALL)
    assert form
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form[2])
    assert token

    answer = browser.post(form[1], {"csrfmiddlewaretoken": token[1]})

    assert "onclick" not in page
    assert (answer.status_code, answer["Location"]) == (302, f"{API}/sync/runs")
    assert browser.get(f"{API}/sync/runs").status_code == 401


def test_who_is_not_signed_in_is_shown_where_to() -> None:
    page = APIClient(HTTP_ACCEPT="text/html").get(f"{API}/sync/runs").content.decode()

    assert f"/api-auth/login/?next={API}/sync/runs" in page
    assert "Links" not in page
