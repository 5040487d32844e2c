"""A stored secret goes to the place it was entered for and to no other."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pytest_django.fixtures import SettingsWrapper

from filesync.models import Storage
from filesync.models.storage import ENCRYPTION_PASSWORD
from filesync.services import storages
from filesync.services.logins import SecretsNeeded, merged_secrets
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_storage
from tests.servers.http import HttpServer, QuietHandler

pytestmark = pytest.mark.django_db

STORAGES = "/api/v1/sync/storages"
URL = "http://dav.example"


@pytest.fixture
def stored(local_root: Path) -> Storage:
    options = {"url": URL, "user": "kim"}
    return make_storage(
        local_root,
        backend="webdav",
        options=options,
        secrets={"pass": "old", ENCRYPTION_PASSWORD: "vault"},
    )


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("webdav", {"url": "http://evil.example", "user": "kim"}),
        ("webdav", {"url": f"{URL}/other", "user": "kim"}),
        ("webdav", {"url": URL, "user": "kim", "auth_redirect": "true"}),
        ("webdav", {"user": "kim"}),
        ("sftp", {"host": "dav.example"}),
        ("smb", {"url": URL, "user": "kim"}),
    ],
)
@pytest.mark.parametrize("given", [{}, {"bearer_token": "new"}])
def test_a_stored_secret_does_not_follow_to_another_place(
    stored: Storage, backend: str, options: dict[str, str], given: dict[str, str]
) -> None:
    with pytest.raises(SecretsNeeded) as refusal:
        merged_secrets(stored, given, backend=backend, options=options)
    assert refusal.value.names == ["pass"]
    assert "old" not in str(refusal.value).replace("the old place", "")


@pytest.mark.parametrize(
    ("options", "given", "merged"),
    [
        ({"url": URL, "user": "lee"}, {}, {"pass": "old"}),
        ({"url": URL, "user": "kim", "encoding": "Slash,Dot"}, {}, {"pass": "old"}),
        ({"url": URL, "user": "kim", "auth_redirect": ""}, {}, {"pass": "old"}),
        ({"url": URL}, {"bearer_token": "b"}, {"pass": "old", "bearer_token": "b"}),
        ({"url": URL}, {"pass": ""}, {}),
        ({"url": "http://new.example"}, {"pass": "again"}, {"pass": "again"}),
        ({"url": "http://new.example"}, {"pass": ""}, {}),
        ({"url": "http://new.example"}, {"pass": "", "bearer_token": "b"}, {"bearer_token": "b"}),
    ],
)
def test_secrets_stay_where_the_place_stays_or_are_entered_again(
    stored: Storage, options: dict[str, str], given: dict[str, str], merged: dict[str, str]
) -> None:
    found = merged_secrets(stored, given, backend="webdav", options=options)
    assert found == merged | {ENCRYPTION_PASSWORD: "vault"}


def test_a_folder_of_sugarsync_which_is_an_address_is_another_place(local_root: Path) -> None:
    options = {"access_key_id": "a", "root_id": "https://api.sugarsync.com/folder/1"}
    storage = make_storage(
        local_root, backend="sugarsync", options=options, secrets={"authorization": "old"}
    )

    with pytest.raises(SecretsNeeded):
        merged_secrets(
            storage,
            {},
            backend="sugarsync",
            options={**options, "root_id": "http://evil.example/f"},
        )


def test_a_new_proxy_is_another_place_too(local_root: Path) -> None:
    options = {"host": "sftp.example"}
    storage = make_storage(local_root, backend="sftp", options=options, secrets={"pass": "p"})
    with pytest.raises(SecretsNeeded, match="http_proxy changed"):
        merged_secrets(storage, {"http_proxy": "http://x"}, backend="sftp", options=options)


def test_secrets_that_cannot_be_read_do_not_follow_either(
    stored: Storage, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_SECRET_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(SecretsNeeded, match="all of them"):
        merged_secrets(stored, {}, backend="webdav", options={"url": "http://new.example"})


class Elsewhere(HttpServer):
    """What another person would put in a storage's place; `heard` are the logins sent to it."""

    def __init__(self) -> None:
        self.heard: list[str | None] = []
        heard = self.heard

        class Handler(QuietHandler):
            def do_PROPFIND(self) -> None:
                heard.append(self.headers.get("Authorization"))
                self.send_error(404)

        super().__init__(Handler)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as server:
        yield server


def test_the_api_sends_a_stored_login_to_no_other_server(
    stored: Storage, elsewhere: Elsewhere
) -> None:
    place = {"url": f"http://{elsewhere.address}", "user": "kim"}
    client = client_of("superuser")

    refused = client.patch(f"{STORAGES}/{stored.pk}", {"options": place}, format="json")
    assert refused.status_code == 400
    assert "enter pass again" in str(refused.json()["secrets"])
    tested = {"backend": "webdav", "options": place}
    assert client.post(f"{STORAGES}/test", tested, format="json").status_code == 200
    login = base64.b64encode(b"kim:old").decode()
    assert elsewhere.heard
    assert login not in str(elsewhere.heard)

    body = {"options": place, "secrets": {"pass": "entered-again"}}
    assert client.patch(f"{STORAGES}/{stored.pk}", body, format="json").status_code == 200
    stored.refresh_from_db()
    assert stored.secrets == {"pass": "entered-again", ENCRYPTION_PASSWORD: "vault"}
    storages.check_storage(stored)
    again = base64.b64encode(b"kim:entered-again").decode()
    assert f"Basic {again}" in elsewhere.heard
