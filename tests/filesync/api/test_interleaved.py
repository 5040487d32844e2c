"""What others write between the reading and the saving of a row stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from filesync.api.serializers.configs import SyncConfigSerializer
from filesync.api.serializers.storages import StorageSerializer
from filesync.models import Storage, SyncConfig
from filesync.services.pausing import pause
from filesync.services.storages import replace_secrets
from filesync.services.switching import switch_configs
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_config, make_storage, periodic_row, sign_in

pytestmark = pytest.mark.django_db

API = "/api/v1/sync"
OPTIONS = {"client_id": "me"}
OLD, NEW, OTHER = (
    json.dumps(
        {
            "access_token": "access",
            "token_type": "Bearer",
            "refresh_token": name,
            "expiry": "2026-03-01T02:00:00Z",
        }
    )
    for name in ("old", "new", "other")
)


@pytest.fixture
def drive(local_root: Path) -> Storage:
    """Return a storage whose provider takes each refresh token once."""
    secrets = {"token": OLD, "client_secret": "mine"}
    return make_storage(local_root, backend="drive", options=OPTIONS, secrets=secrets)


def once_before(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, act: Callable[[], object]
) -> None:
    """Let something happen before a method is called for the first time."""
    method = getattr(owner, name)
    done: list[object] = []

    def first(self: object, *args: object) -> object:
        if not done:
            done.append(act())
        return method(self, *args)

    monkeypatch.setattr(owner, name, first)


@pytest.mark.parametrize(
    ("method", "body", "secrets"),
    [
        ("patch", {"remark": "x"}, {"token": NEW, "client_secret": "mine"}),
        (
            "patch",
            {"secrets": {"client_secret": "yours"}},
            {"token": NEW, "client_secret": "yours"},
        ),
        (
            "put",
            {"name": "drive", "backend": "drive", "options": OPTIONS},
            {"token": NEW, "client_secret": "mine"},
        ),
        ("patch", {"secrets": {"token": OTHER}}, {"token": OTHER, "client_secret": "mine"}),
    ],
)
def test_a_token_that_rclone_refreshes_meanwhile_is_kept(
    drive: Storage,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    body: dict[str, object],
    secrets: dict[str, str],
) -> None:
    refresh = partial(replace_secrets, drive.pk, drive.secrets, {"token": NEW})
    once_before(monkeypatch, StorageSerializer, "validate", refresh)

    answer = getattr(client_of("superuser"), method)(f"{API}/storages/{drive.pk}", body)

    drive.refresh_from_db()
    assert (answer.status_code, drive.secrets) == (200, secrets)
    assert drive.shares_token


def test_a_storage_that_is_paused_meanwhile_stays_paused_unless_its_login_changes(
    drive: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, url = client_of("superuser"), f"{API}/storages/{drive.pk}"
    once_before(monkeypatch, StorageSerializer, "validate", partial(pause, drive, "no login"))

    assert client.patch(url, {"remark": "x"}).json()["paused_at"] is not None
    assert client.patch(url, {"secrets": {"token": NEW}}).json()["paused_at"] is None


def test_a_config_that_is_disabled_meanwhile_stays_so(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    disable = partial(switch_configs, [config.pk], enable=False)
    once_before(monkeypatch, SyncConfigSerializer, "validate", disable)

    answer = client_of("editor").patch(f"{API}/configs/{config.pk}", {"remark": "x"})

    assert (answer.status_code, answer.json()["enable"]) == (200, False)
    row = periodic_row(config)
    assert row is not None
    assert not row.enabled


def test_a_change_is_checked_against_what_is_stored_by_then(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(local_root, source_path="a", destination_path="b")
    move = partial(SyncConfig.objects.update, destination_path="c/d")
    once_before(monkeypatch, SyncConfigSerializer, "validate", move)

    answer = client_of("editor").patch(f"{API}/configs/{config.pk}", {"source_path": "c"})

    config.refresh_from_db()
    assert (answer.status_code, config.source_path) == (400, "a")


def test_a_row_that_is_deleted_meanwhile_is_404(
    drive: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    once_before(monkeypatch, StorageSerializer, "validate", drive.delete)

    answer = client_of("superuser").patch(f"{API}/storages/{drive.pk}", {"remark": "x"})

    assert answer.status_code == 404


@pytest.mark.only_on("postgres")
@pytest.mark.parametrize("by", ["api", "admin"])
def test_a_row_is_locked_while_it_is_checked_and_saved(drive: Storage, by: str) -> None:
    with CaptureQueriesContext(connection) as asked:
        if by == "api":
            client_of("superuser").patch(f"{API}/storages/{drive.pk}", {"remark": "x"})
        else:
            sign_in("superuser").post(f"/admin/filesync/storage/{drive.pk}/change/", {})

    locks = [entry["sql"] for entry in asked if 'FROM "filesync_storage"' in entry["sql"]]
    assert any("FOR NO KEY UPDATE" in sql for sql in locks)
