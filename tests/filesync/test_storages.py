"""Storages on real servers: tested, browsed, paused while they refuse, resumed when they work."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django.fixtures import SettingsWrapper

from filesync import engine
from filesync.config_request import request_of
from filesync.errors import StorageRefused
from filesync.models import Storage, SyncConfig, SyncRun
from filesync.services import leases, pausing, queueing, storages, sweeping
from filesync.services.execution import execute
from filesync.services.sides import sides_of
from scheduler.models import Heartbeat
from tests.filesync.engine.lab import write_tree
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    claim,
    make_config,
    make_run,
    make_storage,
    waiting_messages,
)
from tests.filesync.factories import use_broker as use_broker
from tests.filesync.remotes import (
    WRONG,
    move_to,
    put_wrong_password,
    served_files,
    storage_on,
)
from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from tests.servers.webdav import WebdavServer

pytestmark = pytest.mark.django_db

SERVERS = ["webdav", "apache", "ftp", "openssh", "keyed_s3", "samba"]
TREE: dict[str, str | bytes] = {"a.txt": "one", "folder/\u6587\u4ef6.bin": bytes(range(256))}


@pytest.fixture(params=SERVERS)
def storage(request: pytest.FixtureRequest, local_root: Path) -> Storage:
    """Return a storage on each server, at a folder of this test alone."""
    server = request.getfixturevalue(f"{request.param}_server")
    return storage_on(server.remote, f"s{time.monotonic_ns()}")


@pytest.fixture
def dav(webdav_server: WebdavServer, local_root: Path) -> Storage:
    """Return a storage on a WebDAV server, whose folder exists."""
    folder = f"s{time.monotonic_ns()}"
    (webdav_server.root / folder).mkdir()
    return storage_on(webdav_server.remote, folder)


def config_to(storage: Storage, root: Path, **fields: object) -> SyncConfig:
    """Save a config from the local folder `source` to the storage."""
    return make_config(
        root,
        source_storage=make_storage(root),
        destination_storage=storage,
        destination_path="up",
        **fields,  # type: ignore[arg-type]
    )


def carry_out(run: SyncRun) -> SyncRun:
    execute(claim(run))
    run.refresh_from_db()
    return run


def test_files_go_up_and_come_down_and_it_is_tested_and_browsed(
    storage: Storage, local_root: Path
) -> None:
    write_tree(local_root / "source", TREE)
    up = config_to(storage, local_root)
    assert carry_out(make_run(up)).state == "SUCCEEDED"
    down = make_config(
        local_root,
        source_storage=storage,
        source_path="up",
        destination_storage=up.source_storage,
        destination_path="back",
    )
    assert carry_out(make_run(down)).state == "SUCCEEDED"
    assert served_files(local_root / "back") == served_files(local_root / "source")

    result = storages.check_storage(storage)
    storage.refresh_from_db()
    assert (result.ok, result.entries, storage.last_check_class) == (True, 1, "")
    assert storage.last_check_at is not None
    page = storages.browse(storage, "up", 1)
    assert (page.pages, page.listing.total, page.listing.failure) == (1, 2, None)
    assert [(entry.name, entry.is_dir) for entry in page.listing.entries] == [
        ("folder", True),
        ("a.txt", False),
    ]


def test_a_wrong_password_is_told_apart_and_kept_with_the_storage(
    storage: Storage, local_root: Path
) -> None:
    put_wrong_password(storage)

    result = storages.check_storage(storage)

    storage.refresh_from_db()
    assert result.failure is not None
    assert (result.ok, storage.last_check_class) == (False, "AUTH")
    assert storage.last_check_message == result.failure.message
    assert WRONG not in storage.last_check_message
    assert storage.paused_at is not None


def test_a_server_that_is_away_is_told_apart_and_pauses_nothing(
    storage: Storage, local_root: Path
) -> None:
    move_to(storage, free_port())

    result = storages.check_storage(storage)

    storage.refresh_from_db()
    assert not result.ok
    assert (storage.last_check_class, storage.paused_at) == ("NETWORK", None)
    listing = storages.browse(storage, "", 1).listing
    assert listing.failure is not None
    assert listing.failure.failure_class is engine.FailureClass.NETWORK


def test_a_storage_that_may_not_be_used_is_told_and_not_tried(local_root: Path) -> None:
    storage = make_storage(local_root.parent)
    with pytest.raises(StorageRefused, match="outside the allowed local roots"):
        storages.check_storage(storage)
    storage.refresh_from_db()
    assert storage.last_check_class == "CONFIG"


def test_a_big_folder_comes_in_pages_folders_first(local_root: Path) -> None:
    for number in range(150):
        (local_root / f"file{number:03}").touch()
        (local_root / f"folder{number:03}").mkdir()
    storage = make_storage(local_root)

    pages = [storages.browse(storage, "", number) for number in (1, 2, 3, 4)]

    names = [entry.name for page in pages for entry in page.listing.entries]
    assert names == [f"{kind}{n:03}" for kind in ("folder", "file") for n in range(150)]
    assert {(page.pages, page.listing.total) for page in pages} == {(3, 300)}


@pytest.mark.parametrize("path", ["..", "a/../..", "/../etc", ":local:/etc", "sftp:x", "a\nb"])
def test_browsing_stays_below_the_root(local_root: Path, path: str) -> None:
    with pytest.raises(StorageRefused):
        storages.browse(make_storage(local_root), path, 1)


def test_waiting_runs_pause_with_one_reason_and_go_on_after_a_good_test(
    dav: Storage, local_root: Path, broker: RedisServer
) -> None:
    write_tree(local_root / "source", TREE)
    good = dav.encrypted_secrets
    put_wrong_password(dav)
    first = make_run(config_to(dav, local_root))
    others = [make_run(config_to(dav, local_root, source_path=f"s{n}")) for n in range(2)]
    elsewhere = make_run(make_config(local_root, source_path="elsewhere"))

    assert carry_out(first).failure_class == "AUTH"
    dav.refresh_from_db()
    assert dav.paused_at is not None
    for run in others:
        run.refresh_from_db()
        assert (run.state, run.reason) == ("QUEUED", "STORAGE_PAUSED")
        assert run.message == dav.paused_reason
        assert dav.name in run.message
        assert WRONG not in run.message
        assert leases.claim_run(str(run.task_id), worker="w") is None
    later = make_run(config_to(dav, local_root, source_path="later"))
    assert leases.claim_run(str(later.task_id), worker="w") is None
    later.refresh_from_db()
    assert (later.state, later.reason) == ("QUEUED", "STORAGE_PAUSED")
    elsewhere.refresh_from_db()
    assert elsewhere.reason == ""

    Storage.objects.filter(pk=dav.pk).update(encrypted_secrets=good)
    dav.refresh_from_db()
    assert storages.check_storage(dav).ok
    for run in (*others, later):
        run.refresh_from_db()
        assert (run.state, run.reason, run.message) == ("QUEUED", "", "")
    write_tree(local_root / "s0", TREE)
    assert carry_out(others[0]).state == "SUCCEEDED"


@pytest.mark.django_db(transaction=True)
def test_a_resumed_storage_rings_its_runs_and_a_paused_one_none(
    local_root: Path, broker: RedisServer
) -> None:
    now = timezone.now()
    Heartbeat.objects.create(
        role=Heartbeat.Role.WORKER, name="w", slots=8, started_at=now, seen_at=now
    )
    storage = make_storage(local_root)
    run = make_run(make_config(local_root, source_storage=storage))
    pausing.pause(storage, "the password is wrong")
    sweeping.sweep()
    assert waiting_messages(broker) == []

    pausing.resume(storage.pk)

    assert [task_id for task_id, _ in waiting_messages(broker)] == [str(run.task_id)]


def test_new_secrets_end_the_pause_and_a_new_remark_does_not(local_root: Path) -> None:
    storage = make_storage(local_root, backend="webdav", secrets={"pass": WRONG})
    run = make_run(make_config(local_root, source_storage=storage))
    pausing.pause(storage, "the password is wrong")

    storage.refresh_from_db()
    storage.remark = "still wrong"
    storage.secrets = storage.secrets
    storage.save()
    storage.refresh_from_db()
    assert storage.paused_at is not None

    storage.secrets = {"pass": "right"}
    storage.save()
    storage.refresh_from_db()
    run.refresh_from_db()
    assert not storage.paused_at
    assert storage.paused_reason == ""
    assert leases.claim_run(str(run.task_id), worker="w") is not None


def test_a_run_of_two_paused_storages_waits_for_both(local_root: Path) -> None:
    one, other = make_storage(local_root), make_storage(local_root)
    run = make_run(make_config(local_root, source_storage=one, destination_storage=other))
    pausing.pause(one, "one")
    pausing.pause(other, "other")

    pausing.resume(one.pk)
    run.refresh_from_db()
    assert run.reason == "STORAGE_PAUSED"
    pausing.resume(other.pk)
    run.refresh_from_db()
    assert run.reason == ""


def test_a_used_up_allowance_pauses_the_destination(local_root: Path) -> None:
    storage = make_storage(local_root, backend="webdav")
    run = make_run(
        make_config(
            local_root, source_storage=make_storage(local_root), destination_storage=storage
        )
    )
    failure = engine.Failure.of(engine.FailureClass.QUOTA, "quota exceeded")

    storages.blame(sides_of(run), failure)

    storage.refresh_from_db()
    assert storage.paused_at is not None
    assert "quota exceeded" in storage.paused_reason


@pytest.mark.parametrize("failure_class", ["NETWORK", "NOT_FOUND", "GUARD", "DISK_FULL"])
def test_a_failure_that_may_pass_pauses_nothing(local_root: Path, failure_class: str) -> None:
    storage = make_storage(local_root, backend="webdav")
    run = make_run(make_config(local_root, source_storage=storage))
    storages.blame(sides_of(run), engine.Failure.of(engine.FailureClass(failure_class), "x"))
    storage.refresh_from_db()
    assert storage.paused_at is None


def test_runs_that_share_a_token_are_kept_apart(local_root: Path) -> None:
    token = '{"access_token": "a", "refresh_token": "r"}'
    shared = make_storage(local_root, backend="dropbox", secrets={"token": token})
    configs = [make_config(local_root, source_storage=shared, source_path=f"{n}") for n in (1, 2)]
    runs = [make_run(config) for config in configs]
    assert leases.claim_run(str(runs[0].task_id), worker="w") is not None
    assert leases.claim_run(str(runs[1].task_id), worker="w") is None

    disk = make_storage(local_root)
    for number in (1, 2):
        run = make_run(make_config(local_root, source_storage=disk, source_path=f"{number}"))
        assert leases.claim_run(str(run.task_id), worker="w") is not None


def test_the_limits_of_a_storage_hold_for_its_runs(local_root: Path) -> None:
    storage = make_storage(local_root)
    Storage.objects.filter(pk=storage.pk).update(transfers=2, calls_per_s=3.5, bandwidth="1M")
    storage.refresh_from_db()
    config = make_config(local_root, source_storage=storage, transfers=8, bandwidth="off")

    limits = request_of(config).limits

    assert (limits.transfers, limits.calls_per_s, limits.bandwidth) == (2, 3.5, "1M")


def test_an_encrypted_storage_keeps_its_password_among_the_secrets(
    dav: Storage, local_root: Path, webdav_server: WebdavServer
) -> None:
    write_tree(local_root / "source", {"plain-name.txt": "plain-content"})
    dav.encryption = Storage.Encryption.STANDARD
    dav.secrets = {**dav.secrets, "encryption_password": "p", "encryption_salt": "s"}
    dav.full_clean()
    dav.save()

    run = carry_out(make_run(config_to(dav, local_root)))

    assert run.state == "SUCCEEDED", run.message
    stored = served_files(webdav_server.root / dav.root)
    assert len(stored) == 1
    assert "plain-name" not in str(stored)
    assert b"plain-content" not in next(iter(stored.values()))
    assert [entry.name for entry in storages.browse(dav, "up", 1).listing.entries] == [
        "plain-name.txt"
    ]


def test_a_direct_call_waits_for_a_paused_storage_too(local_root: Path) -> None:
    storage = make_storage(local_root)
    config = make_config(local_root, source_storage=storage)
    pausing.pause(storage, "the password is wrong")
    run = queueing.queue_run(config.pk, ring_bell=False)
    assert leases.claim_run(str(run.task_id), worker="w") is None


REFRESHING = """\
#!/bin/sh
# Stands for an rclone whose token was refreshed before the storage refused the run.
[ "$1" = version ] && exec {rclone} version
while [ "$1" != --config ]; do shift; done
sed 's/"old"/"new"/' "$2" > "$2.new" && mv "$2.new" "$2"
echo '{{"level":"critical","msg":"Failed to create file system: unauthorized"}}' >&2
exit 1
"""


def test_a_refreshed_token_is_kept_after_a_run_and_a_test_that_failed(
    local_root: Path, tmp_path: Path, rclone_binary: Path, settings: SettingsWrapper
) -> None:
    script = tmp_path / "refreshing-rclone"
    script.write_text(REFRESHING.format(rclone=rclone_binary))
    script.chmod(0o700)
    settings.FILESYNC_RCLONE_BINARY = str(script)
    token = json.dumps({"access_token": "old", "token_type": "b", "refresh_token": "r"})
    storage = make_storage(local_root, backend="dropbox", secrets={"token": token})
    config = make_config(
        local_root, source_storage=make_storage(local_root), destination_storage=storage
    )

    run = carry_out(make_run(config))

    storage.refresh_from_db()
    assert (run.state, run.failure_class) == ("FAILED", "AUTH")
    assert json.loads(storage.secrets["token"])["access_token"] == "new"
    assert storage.paused_at is not None

    storage.secrets = {"token": token}
    storage.save()
    assert not storages.check_storage(storage).ok
    storage.refresh_from_db()
    assert json.loads(storage.secrets["token"])["access_token"] == "new"
