"""Secrets at rest: unreadable in the database, read back with any configured key."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from pytest_django.fixtures import SettingsWrapper

from filesync.models import Storage
from filesync.secrets import SecretsUnreadable, decrypt, encrypt
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import database_bytes, make_storage

CANARY = "canary-5b1e-\u5bc6\u7801"
OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


def raw_column(storage: Storage) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT secrets FROM filesync_storage WHERE id = %s", [storage.pk])
        (text,) = cursor.fetchone()
    return str(text)


@pytest.mark.parametrize(
    "values", [{"pass": CANARY}, {"one": CANARY, "two": ""}, {"k": "x" * 10_000}]
)
def test_what_is_encrypted_comes_back(values: dict[str, str]) -> None:
    text = encrypt(values)

    assert text.isascii()
    assert all(value not in text for value in values.values() if value)
    assert decrypt(text) == values


def test_nothing_to_hide_is_an_empty_text() -> None:
    assert encrypt({}) == ""
    assert decrypt("") == {}


def test_the_same_secret_never_looks_the_same() -> None:
    assert encrypt({"pass": CANARY}) != encrypt({"pass": CANARY})


def test_a_new_key_in_front_encrypts_and_the_old_one_still_opens(
    settings: SettingsWrapper,
) -> None:
    settings.FILESYNC_SECRET_KEYS = [OLD]
    before = encrypt({"pass": "one"})

    settings.FILESYNC_SECRET_KEYS = [NEW, OLD]
    assert decrypt(before) == {"pass": "one"}
    after = encrypt({"pass": "two"})

    settings.FILESYNC_SECRET_KEYS = [NEW]
    assert decrypt(after) == {"pass": "two"}
    with pytest.raises(SecretsUnreadable):
        decrypt(before)


@pytest.mark.parametrize("damage", ["other key", "cut", "no token"])
def test_what_no_key_opens_says_what_to_do(settings: SettingsWrapper, damage: str) -> None:
    settings.FILESYNC_SECRET_KEYS = [OLD]
    text = encrypt({"pass": CANARY})
    if damage == "other key":
        settings.FILESYNC_SECRET_KEYS = [NEW]
    else:
        text = text[:-5] if damage == "cut" else "plain"

    with pytest.raises(SecretsUnreadable, match="FILESYNC_SECRET_KEYS") as refused:
        decrypt(text)

    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("keys", [["short"], [OLD, "not a key"], ["x" * 44]])
def test_a_key_that_cannot_encrypt_is_named_by_its_setting(
    settings: SettingsWrapper, keys: list[str]
) -> None:
    settings.FILESYNC_SECRET_KEYS = keys

    with pytest.raises(ImproperlyConfigured, match="FILESYNC_SECRET_KEYS") as refused:
        encrypt({"pass": "x"})

    assert all(key not in str(refused.value) for key in keys)
    assert "filesync.E001" in [message.id for message in run_checks()]


@pytest.mark.django_db
def test_the_database_never_sees_a_secret(local_root: Path) -> None:
    storage = make_storage(local_root, backend="webdav", secrets={"pass": CANARY})

    raw = raw_column(storage)

    assert raw
    assert CANARY not in raw
    assert "pass" not in raw
    assert decrypt(raw) == {"pass": CANARY}
    assert Storage.objects.get(pk=storage.pk).secrets == {"pass": CANARY}


@pytest.mark.only_on("sqlite")
@pytest.mark.django_db(transaction=True)
def test_the_database_file_does_not_hold_the_secret(local_root: Path) -> None:
    marker = "marker-3c9a-in-plain-sight"
    make_storage(local_root, backend="webdav", remark=marker, secrets={"pass": CANARY})

    content = database_bytes()

    # The marker shows that the row is in what was read.
    assert marker.encode() in content
    assert CANARY.encode() not in content
    assert CANARY.encode("unicode_escape") not in content


@pytest.mark.django_db
def test_a_storage_without_secrets_has_an_empty_column(local_root: Path) -> None:
    storage = make_storage(local_root)

    assert raw_column(storage) == ""
    storage.refresh_from_db()
    assert storage.secrets == {}


@pytest.mark.django_db
def test_setting_the_secrets_again_moves_them_to_the_new_key(
    local_root: Path, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_SECRET_KEYS = [OLD]
    storage = make_storage(local_root, backend="webdav", secrets={"pass": "x"})

    settings.FILESYNC_SECRET_KEYS = [NEW, OLD]
    again = Storage.objects.get(pk=storage.pk)
    again.secrets = again.secrets
    again.save()

    settings.FILESYNC_SECRET_KEYS = [NEW]
    assert Storage.objects.get(pk=storage.pk).secrets == {"pass": "x"}


@pytest.mark.django_db
def test_secrets_that_no_key_opens_do_not_hide_the_storage(
    local_root: Path, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_SECRET_KEYS = [OLD]
    made = make_storage(local_root, backend="webdav", secrets={"pass": "x"})
    settings.FILESYNC_SECRET_KEYS = [NEW]

    storage = Storage.objects.get(pk=made.pk)

    assert storage.name == made.name
    with pytest.raises(SecretsUnreadable):
        storage.as_remote()


@pytest.mark.django_db
def test_a_remote_does_not_show_its_secrets_when_it_is_printed(local_root: Path) -> None:
    storage = make_storage(local_root, backend="webdav", secrets={"pass": CANARY})

    assert storage.as_remote().secrets == {"pass": CANARY}
    assert CANARY not in repr(storage.as_remote())
    assert CANARY not in repr(storage)


@pytest.mark.django_db
def test_an_ibm_api_key_that_was_plain_becomes_a_secret(local_root: Path) -> None:
    storage = make_storage(
        local_root,
        backend="s3",
        options={"provider": "IBMCOS", "ibm_api_key": "plain"},
        secrets={"secret_access_key": "kept"},
    )
    other = make_storage(local_root, name="other", backend="local")
    migration = import_module("filesync.migrations.0004_ibm_api_key_is_a_secret")

    migration.hide(apps, None)

    storage.refresh_from_db()
    assert storage.options == {"provider": "IBMCOS"}
    assert storage.secrets == {"ibm_api_key": "plain", "secret_access_key": "kept"}
    other.refresh_from_db()
    assert other.secrets == {}
