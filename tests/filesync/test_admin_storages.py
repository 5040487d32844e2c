"""The storage pages of the admin: test, browse, what a backend can be told, pasted secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.urls import reverse
from pytest_django.fixtures import SettingsWrapper

from filesync.models import Storage
from filesync.services import pausing
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_storage, sign_in

pytestmark = pytest.mark.django_db

SUBMITTED = {"_form_submitted": "True"}
NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}",
    "a&b",
    "\u202egnp",
]


def page(name: str, storage: Storage) -> str:
    return reverse(f"admin:filesync_storage_{name}", args=[storage.pk])


def test_the_test_button_tests_and_shows_the_result(local_root: Path) -> None:
    (local_root / "a").touch()
    storage = make_storage(local_root)
    pausing.pause(storage, "it did not work")
    client = sign_in("operator")

    client.get(page("test_now", storage))
    storage.refresh_from_db()
    assert storage.last_check_at is None

    answer = client.post(page("test_now", storage), SUBMITTED)
    assert answer.headers["HX-Redirect"] == page("change", storage)
    storage.refresh_from_db()
    assert (storage.last_check_class, storage.paused_at) == ("", None)
    html = client.get(page("change", storage)).content.decode()
    assert "1 entries in" in html


def test_the_last_test_is_told_by_the_servers_clock(
    local_root: Path, settings: SettingsWrapper
) -> None:
    settings.TIME_ZONE = "Asia/Shanghai"
    storage = make_storage(local_root)
    Storage.objects.filter(pk=storage.pk).update(last_check_at=datetime(2026, 3, 1, 18, tzinfo=UTC))

    html = sign_in("viewer").get(page("change", storage)).content.decode()

    assert "2026-03-02 02:00 CST: works" in html


def test_a_failed_test_shows_its_message_and_advice(local_root: Path) -> None:
    storage = make_storage(local_root / "not-there")
    client = sign_in("superuser")
    client.post(page("test_now", storage), SUBMITTED)
    storage.refresh_from_db()
    assert storage.last_check_class == "NOT_FOUND"
    html = client.get(page("change", storage)).content.decode()
    assert "directory not found" in html
    assert "check that the disk is mounted" in html
    listed = client.get(reverse("admin:filesync_storage_changelist")).content.decode()
    assert "Not found" in listed


def test_browsing_shows_folders_that_lead_on_and_escapes_names(local_root: Path) -> None:
    for name in NASTY:
        (local_root / "deep" / name.replace("/", "_")).mkdir(parents=True)
    client = sign_in("operator")
    storage = make_storage(local_root)

    html = client.get(page("browse_now", storage), {"path": "deep"}).content.decode()

    assert "<script>alert(1)<" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "?path=deep%2Fa%26b&amp;page=1" in html
    inside = client.get(page("browse_now", storage), {"path": "deep/a&b"})
    assert inside.status_code == 200


def test_browsing_outside_the_root_leads_back_with_the_reason(local_root: Path) -> None:
    client = sign_in("operator")
    storage = make_storage(local_root)
    answer = client.get(page("browse_now", storage), {"path": "../.."}, follow=True)
    # An operator may see the storage's page, and the message stands there.
    assert answer.redirect_chain
    assert "leads out of its root" in answer.content.decode()


@pytest.mark.parametrize("number", ["0", "-1", "x", "\u0664", "99999999999999999999"])
def test_a_page_number_that_is_none_is_no_error(local_root: Path, number: str) -> None:
    storage = make_storage(local_root)
    answer = sign_in("operator").get(page("browse_now", storage), {"page": number})
    assert answer.status_code == 200


@pytest.mark.parametrize("action", ["test_now", "browse_now"])
def test_a_viewer_may_neither_test_nor_browse(local_root: Path, action: str) -> None:
    storage = make_storage(local_root)
    answer = sign_in("viewer").post(page(action, storage), SUBMITTED)
    assert answer.status_code == 403
    storage.refresh_from_db()
    assert storage.last_check_at is None
