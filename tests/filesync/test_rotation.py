"""`manage.py rotate_secrets`: every secret moves to the first key, once."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.management import CommandError, call_command
from pytest_django.fixtures import DjangoAssertNumQueries, SettingsWrapper

from filesync.models import ENCRYPTED_COLUMNS, NotificationChannel, Storage, SyncConfig
from filesync.services import rotation, transfer
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_storage

pytestmark = pytest.mark.django_db

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
CANARY = "canary-44d0"


def rotate() -> dict[str, object]:
    out = StringIO()
    call_command("rotate_secrets", stdout=out)
    report: dict[str, object] = json.loads(out.getvalue())
    return report


@pytest.fixture
def three(local_root: Path, settings: SettingsWrapper) -> list[Storage]:
    """Return two storages with secrets under the old key and one without any."""
    settings.FILESYNC_SECRET_KEYS = [OLD]
    return [
        make_storage(local_root, backend="webdav", secrets={"pass": f"{CANARY} 1"}),
        make_storage(local_root, backend="webdav", secrets={"pass": f"{CANARY} 2"}),
        make_storage(local_root),
    ]


def test_secrets_move_to_the_new_key_and_the_old_one_can_go(
    three: list[Storage], settings: SettingsWrapper
) -> None:
    settings.FILESYNC_SECRET_KEYS = [NEW, OLD]
    assert rotate()["rotated"] == 2
    assert rotate() == {"rotated": 0, "unchanged": 2, "changed_meanwhile": 0, "unreadable": []}

    settings.FILESYNC_SECRET_KEYS = [NEW]
    secrets = [Storage.objects.get(pk=storage.pk).secrets for storage in three]
    assert secrets == [{"pass": f"{CANARY} 1"}, {"pass": f"{CANARY} 2"}, {}]


def test_channels_and_pings_move_too(local_root: Path, settings: SettingsWrapper) -> None:
    settings.FILESYNC_SECRET_KEYS = [OLD]
    config = make_config(local_root)
    config.ping_url = f"https://ping.test/{CANARY}"
    config.save()
    channel = NotificationChannel(name="Phone")
    channel.url = f"ntfy://ntfy.test/{CANARY}"
    channel.save()

    settings.FILESYNC_SECRET_KEYS = [NEW, OLD]
    assert rotate()["rotated"] == 2
    settings.FILESYNC_SECRET_KEYS = [NEW]

    assert SyncConfig.objects.get().ping_url == f"https://ping.test/{CANARY}"
    assert NotificationChannel.objects.get().url == f"ntfy://ntfy.test/{CANARY}"


def test_no_encrypted_column_is_forgotten() -> None:
    columns = {
        (model, column.name)
        for model in apps.get_models()
        for column in model._meta.get_fields()
        if column.name.startswith("encrypted_")
    }
    assert columns == set(ENCRYPTED_COLUMNS.items())
    assert columns == {one for one in transfer.KINDS.values() if one[1] is not None}


def test_it_goes_in_batches(
    three: list[Storage], settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH_ROWS", 1)
    settings.FILESYNC_SECRET_KEYS = [NEW, OLD]
    assert rotate()["rotated"] == 2


def test_what_no_key_opens_is_named_and_left_as_it_is(
    three: list[Storage], settings: SettingsWrapper
) -> None:
    settings.FILESYNC_SECRET_KEYS = [OTHER]
    three[0].secrets = {"pass": "other"}
    three[0].save()
    before = three[1].encrypted_secrets

    settings.FILESYNC_SECRET_KEYS = [NEW, OTHER]
    with pytest.raises(CommandError, match="FILESYNC_SECRET_KEYS") as refusal:
        rotate()

    assert three[1].name in str(refusal.value)
    assert three[0].name not in str(refusal.value)
    three[0].refresh_from_db()
    three[1].refresh_from_db()
    assert three[0].secrets == {"pass": "other"}
    assert three[1].encrypted_secrets == before
    assert CANARY not in str(refusal.value)


def test_nothing_to_do_costs_a_query_for_each_column_and_batch(
    three: list[Storage], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(4):
        rotation.rotate_secrets()
