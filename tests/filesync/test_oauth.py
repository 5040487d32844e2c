"""OAuth against a real token endpoint that takes each refresh token once: none is ever lost."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.utils import timezone
from pytest_django.fixtures import SettingsWrapper

from filesync import engine
from filesync.engine import KEPT_FOLDER
from filesync.models import RunLog, Storage, SyncConfig, SyncRun
from filesync.services import execution, journal, leases, recorder, storages
from filesync.services.execution import execute
from filesync.services.rotation import rotate_secrets
from filesync.services.sweeping import sweep
from filesync.services.undo import attempt_folder, queue_restore
from tests.filesync.engine.lab import write_tree
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, make_config, make_run, make_storage
from tests.filesync.factories import use_broker as use_broker
from tests.servers.oauth import BUCKET, OAuthProvider

MINUTE = timedelta(minutes=1)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("broker")]

# The policy lets nobody set a token_url, as it would send the login elsewhere: the test points
# rclone itself there, and all else goes the way of every storage.
POINTED = """\
#!/bin/sh
RCLONE_GCS_TOKEN_URL={token_url} exec {rclone} "$@"
"""


@pytest.fixture
def provider(
    tmp_path: Path, rclone_binary: Path, settings: SettingsWrapper
) -> Iterator[OAuthProvider]:
    with OAuthProvider() as provider:
        script = tmp_path / "pointed-rclone"
        script.write_text(POINTED.format(token_url=provider.token_url, rclone=rclone_binary))
        script.chmod(0o700)
        settings.FILESYNC_RCLONE_BINARY = str(script)
        provider.files = {"a.txt": b"one", "in/b.txt": b"two"}
        yield provider


@pytest.fixture
def cloud(provider: OAuthProvider, local_root: Path) -> Storage:
    return make_storage(
        local_root,
        backend="google cloud storage",
        root=BUCKET,
        options={"endpoint": provider.endpoint},
        secrets={"token": provider.expired_token},
    )


def run_from(cloud: Storage, root: Path, folder: str = "down") -> SyncRun:
    return make_run(
        make_config(
            root,
            source_storage=cloud,
            source_path="",
            destination_storage=make_storage(root),
            destination_path=folder,
        )
    )


def stored_refresh_token(cloud: Storage) -> str:
    cloud.refresh_from_db()
    return str(json.loads(cloud.secrets["token"])["refresh_token"])


def carry_out(run: SyncRun) -> SyncRun:
    execute(claim(run))
    run.refresh_from_db()
    return run


def kept_files(settings: SettingsWrapper) -> list[Path]:
    return sorted((Path(settings.FILESYNC_WORK_DIR) / "journal").glob("*"))


def test_a_refreshed_token_is_stored_after_every_run_and_test(
    provider: OAuthProvider, cloud: Storage, local_root: Path, settings: SettingsWrapper
) -> None:
    for number in range(3):
        before = provider.refreshes
        run = carry_out(run_from(cloud, local_root, f"down{number}"))
        assert (run.state, run.files_transferred) == ("SUCCEEDED", 2), run.message
        assert provider.refreshes > before
        assert stored_refresh_token(cloud) == provider.refresh_token

    provider.forbids = True
    before = provider.refreshes
    assert carry_out(run_from(cloud, local_root, "failed")).state == "FAILED"
    assert provider.refreshes > before
    assert stored_refresh_token(cloud) == provider.refresh_token
    provider.forbids = False

    looks: list[Callable[[], bool]] = [
        lambda: storages.check_storage(cloud).ok,
        lambda: storages.browse(cloud, "", 1).listing.failure is None,
        lambda: storages.probe_unsaved(cloud).ok,
        lambda: storages.folders_of(cloud).roots == (f"{BUCKET}/in",),
    ]
    for look in looks:
        before = provider.refreshes
        assert look()
        assert provider.refreshes > before
        assert stored_refresh_token(cloud) == provider.refresh_token
    assert (local_root / "down2" / "in" / "b.txt").read_bytes() == b"two"
    assert provider.refused == []
    assert kept_files(settings) == []


def test_runs_that_share_a_token_are_kept_apart(
    provider: OAuthProvider, cloud: Storage, local_root: Path
) -> None:
    first, second = (run_from(cloud, local_root, name) for name in ("one", "two"))
    held = claim(first)
    assert leases.claim_run(str(second.task_id), worker="w") is None

    execute(held)

    second.refresh_from_db()
    assert carry_out(second).state == "SUCCEEDED"
    assert provider.refused == []


def test_a_token_outlives_a_rotation_of_the_keys_during_its_run(
    provider: OAuthProvider, cloud: Storage, local_root: Path
) -> None:
    rotated: list[str] = []

    def rotate(event: engine.Event) -> None:
        if isinstance(event, engine.ProcessStarted) and not rotated:
            rotate_secrets()
            rotated.append("")

    run = run_from(cloud, local_root)
    before = Storage.objects.get(pk=cloud.pk).encrypted_secrets
    execute(claim(run), watch=rotate)
    assert rotated
    assert Storage.objects.get(pk=cloud.pk).encrypted_secrets != before
    assert stored_refresh_token(cloud) == provider.refresh_token


def test_a_token_that_was_entered_meanwhile_is_newer(
    provider: OAuthProvider, cloud: Storage, local_root: Path
) -> None:
    newer = provider.expired_token.replace("refresh-0", "entered")

    def enter(event: engine.Event) -> None:
        if isinstance(event, engine.ProcessStarted):
            other = Storage.objects.get(pk=cloud.pk)
            other.secrets = {"token": newer}
            other.save()

    execute(claim(run_from(cloud, local_root)), watch=enter)
    assert provider.refreshes
    assert stored_refresh_token(cloud) == "entered"


@pytest.mark.django_db(transaction=True)
def test_a_token_is_kept_encrypted_while_the_database_is_away_and_stored_by_the_sweep(
    provider: OAuthProvider,
    cloud: Storage,
    local_root: Path,
    settings: SettingsWrapper,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = run_from(cloud, local_root)

    def away(*_: object) -> None:
        raise OperationalError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(execution, "FINISH_TRIES_S", 0.0)
        patched.setattr(journal, "replace_secrets", away)
        patched.setattr(execution, "finish_run", away)
        execute(claim(run))

    assert stored_refresh_token(cloud) == "refresh-0"
    kept = kept_files(settings)
    assert {path.suffix for path in kept} == {".refreshed", ".json"}
    for path in kept:
        assert b"refresh-" not in path.read_bytes()
        assert b"access-" not in path.read_bytes()
        assert path.parent.stat().st_mode & 0o777 == 0o700
    (token,) = (path for path in kept if path.suffix == ".refreshed")
    assert token.stat().st_mode & 0o777 == 0o600

    assert sweep().told == 1

    run.refresh_from_db()
    assert run.state == "SUCCEEDED"
    assert stored_refresh_token(cloud) == provider.refresh_token
    assert kept_files(settings) == []
    assert carry_out(run_from(cloud, local_root, "next")).state == "SUCCEEDED"
    assert provider.refused == []


@pytest.mark.parametrize("error", [recorder.DatabaseAway, leases.LeaseLost])
def test_a_run_that_is_given_up_keeps_the_token_it_refreshed(
    provider: OAuthProvider, cloud: Storage, local_root: Path, error: type[Exception]
) -> None:
    def give_up(event: engine.Event) -> None:
        if isinstance(event, engine.ItemDone):
            raise error("no write for 35 s")

    # One refresh, at the start: a token that rclone is killed over cannot be saved by anybody.
    provider.expires_in_s = 3600
    run = run_from(cloud, local_root)
    execute(claim(run), watch=give_up)
    assert provider.refreshes == 1
    if error is leases.LeaseLost:
        sweep()
    assert stored_refresh_token(cloud) == provider.refresh_token


def test_an_undo_keeps_the_tokens_of_the_storages_it_acts_on(
    provider: OAuthProvider, cloud: Storage, local_root: Path
) -> None:
    disk, elsewhere = make_storage(local_root), make_storage(local_root)
    config = make_config(
        local_root,
        source_storage=cloud,
        source_path="",
        destination_storage=disk,
        destination_path="down",
        method=SyncConfig.Method.MOVE,
        keep_deleted_days=7,
    )
    old = make_run(config, state=SyncRun.State.SUCCEEDED, started_at=timezone.now() - MINUTE)
    held = uuid4()
    folder = f"{KEPT_FOLDER}/2026-11-29-run-{old.pk}"
    SyncRun.objects.filter(pk=old.pk).update(
        kept={
            "storage": disk.pk,
            "path": "down",
            "source_storage": cloud.pk,
            "source_path": "",
            "method": "MOVE",
            "folder": folder,
        },
        kept_until=timezone.now() + timedelta(days=7),
    )
    assert old.started_at is not None
    RunLog.objects.create(
        run=old, claim=held, started_at=old.started_at, part=0, data=gzip.compress(b"")
    )
    write_tree(local_root / folder / attempt_folder(old.started_at, held), {"a.txt": "older"})
    write_tree(local_root / "down", {"a.txt": "one"})
    config.source_storage, config.source_path = elsewhere, "in"
    config.save()

    execute(claim(queue_restore(old.pk)))

    elsewhere.refresh_from_db()
    assert provider.refreshes >= 1
    assert elsewhere.secrets == {}
    assert stored_refresh_token(cloud) == provider.refresh_token


def test_a_kept_token_yields_to_one_that_was_entered_and_two_go_in_their_order(
    cloud: Storage, settings: SettingsWrapper
) -> None:
    tokens = [json.dumps({"access_token": "a", "refresh_token": f"r{n}"}) for n in range(4)]
    cloud.secrets = {"token": tokens[0]}
    cloud.save()
    journal.keep_refreshed(cloud, {"token": tokens[1]})
    cloud.secrets = {"token": tokens[1]}
    journal.keep_refreshed(cloud, {"token": tokens[2]})
    journal.tell_refreshed()
    assert stored_refresh_token(cloud) == "r2"

    journal.keep_refreshed(cloud, {"token": "late"})
    cloud.secrets = {"token": tokens[3]}
    cloud.save()
    journal.tell_refreshed()
    assert stored_refresh_token(cloud) == "r3"
    assert kept_files(settings) == []


@pytest.mark.parametrize("text", ["{", "{}", '{"storage_id": 1, "sealed": "x"}', "[]"])
def test_a_kept_token_that_cannot_be_read_is_put_aside(
    cloud: Storage, settings: SettingsWrapper, text: str
) -> None:
    journal.keep_refreshed(cloud, {"token": "new"})
    (good,) = kept_files(settings)
    good.with_name("1-1.refreshed").write_text(text)
    journal.tell_refreshed()
    assert [path.name for path in kept_files(settings)] == ["1-1.bad"]
    cloud.refresh_from_db()
    assert cloud.secrets["token"] == "new"


def test_a_kept_token_of_a_storage_that_cannot_be_read_is_not_lost(
    cloud: Storage, settings: SettingsWrapper
) -> None:
    journal.keep_refreshed(cloud, {"token": "new"})
    Storage.objects.filter(pk=cloud.pk).update(encrypted_secrets="of another key")

    journal.tell_refreshed()

    assert [path.suffix for path in kept_files(settings)] == [".bad"]
