"""Looking at storages keeps no more than half of the web server's threads."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from django.urls import reverse

from filesync.errors import TooManyLooks
from filesync.models import Storage
from filesync.services import looks, storages
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_storage, sign_in

pytestmark = pytest.mark.django_db
BUSY = "too many storages are being tested or listed"


@pytest.fixture(name="places", autouse=True)
def take_the_last_place(monkeypatch: pytest.MonkeyPatch) -> threading.BoundedSemaphore:
    places = threading.BoundedSemaphore(1)
    monkeypatch.setattr(looks, "_places", places)
    places.acquire()
    return places


@pytest.mark.parametrize(("method", "what"), [("post", "test"), ("get", "browse")])
def test_the_api_says_that_others_look_already(
    method: str, what: str, local_root: Path, places: threading.BoundedSemaphore
) -> None:
    storage = make_storage(local_root)
    address = f"/api/v1/sync/storages/{storage.pk}/{what}"
    ask = getattr(client_of("operator"), method)

    answer = ask(address)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_looks")
    assert answer.headers["Retry-After"] == "10"
    storage.refresh_from_db()
    assert (storage.last_check_at, storage.last_check_class) == (None, "")

    places.release()
    assert [ask(address).status_code for _ in range(3)] == [200] * 3


def test_a_draft_and_the_folders_to_choose_from_wait_too(local_root: Path) -> None:
    draft = Storage(name="draft", backend="local", root=str(local_root))
    for look in (storages.probe_unsaved, storages.folders_of):
        with pytest.raises(TooManyLooks, match=BUSY):
            look(draft)


def test_the_admin_says_that_others_look_already(local_root: Path) -> None:
    storage = make_storage(local_root)
    page = reverse("admin:filesync_storage_browse_now", args=[storage.pk])
    answer = sign_in("operator").get(page, follow=True)
    assert BUSY in answer.content.decode()
