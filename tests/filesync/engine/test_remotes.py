"""Every method against real servers that are not rclone."""

from __future__ import annotations

import gzip
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import (
    Action,
    Compare,
    Endpoint,
    FailureClass,
    LogLine,
    Method,
    Outcome,
    Remote,
    SyncRequest,
    list_folder,
    probe,
)
from filesync.engine.passes import NO_CHECKSUMS, NO_CONTENTS, NO_CONTENTS_OR_TIMES
from tests.filesync.engine.lab import NO_GUARDS, Lab, engine_remote, files_of, write_tree
from tests.servers.openssh import OpensshServer
from tests.servers.s3 import S3Server
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebdavServer

SERVERS = ["webdav", "apache", "ftp", "sftp", "openssh", "s3", "samba"]
TREE: dict[str, str | bytes] = {
    "a.txt": "one",
    "folder/b.bin": bytes(range(256)) * 40,
    "folder/deeper/c": "",
    "\u6587\u4ef6\u5939/\u6587\u4ef6 \N{ROCKET}.txt": "\u5185\u5bb9",
    "with space/#hash%20&.txt": "2",
}


@pytest.fixture(params=SERVERS)
def remote(request: pytest.FixtureRequest) -> Remote:
    """Return each server's remote, pointed at a folder of this test alone."""
    server = request.getfixturevalue(f"{request.param}_server")
    found = engine_remote(server.remote)
    name = f"t{time.monotonic_ns()}"
    return replace(found, root="/".join(filter(None, (found.root, name))))


@pytest.fixture
def upload(lab: Lab, remote: Remote) -> SyncRequest:
    """Return a request from the lab's source to the server."""
    return SyncRequest(lab.request.source, Endpoint(remote, "up"), guards=NO_GUARDS)


def fetch(lab: Lab, remote: Remote, path: str, into: str = "fetched") -> Path:
    """Bring a server's folder back to the disk, into a folder of its own."""
    local = lab.request.source.remote
    ran = lab.run(SyncRequest(Endpoint(remote, path), Endpoint(local, into), Method.INCREMENTAL))
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    return Path(local.root) / into


def test_a_tree_goes_up_and_comes_back_equal(lab: Lab, remote: Remote, upload: SyncRequest) -> None:
    write_tree(lab.source, TREE)
    ran = lab.run(upload)

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.result.totals.files_transferred == len(TREE)
    assert files_of(fetch(lab, remote, "up")) == files_of(lab.source)


@pytest.mark.parametrize("provider", ["AWS", "Intercolo", "Zata", "Minio", "Ceph"])
def test_each_s3_provider_takes_files_over_plain_http(
    lab: Lab, s3_server: S3Server, provider: str
) -> None:
    remote = engine_remote(s3_server.remote)
    options = {**remote.options, "provider": provider, "region": "us-east-1"}
    remote = replace(remote, root=f"{remote.root}/t{time.monotonic_ns()}", options=options)
    write_tree(lab.source, TREE)
    ran = lab.run(SyncRequest(lab.request.source, Endpoint(remote, "up"), guards=NO_GUARDS))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert files_of(fetch(lab, remote, "up")) == files_of(lab.source)


def test_a_second_run_sends_nothing(lab: Lab, upload: SyncRequest) -> None:
    write_tree(lab.source, TREE)
    lab.run(upload)
    ran = lab.run(upload)

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert ran.result.totals.files_transferred == 0


def test_full_mirrors_the_source(lab: Lab, remote: Remote, upload: SyncRequest) -> None:
    write_tree(lab.source, {**TREE, "gone/x": "x", "gone-too": "y"})
    lab.run(upload)
    for name in ("gone/x", "gone-too"):
        (lab.source / name).unlink()
    (lab.source / "gone").rmdir()
    (lab.source / "a.txt").write_text("another length")
    ran = lab.run(replace(upload, method=Method.FULL))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    plan = ran.result.plan
    assert plan is not None
    assert (plan.adds, plan.updates, plan.deletes) == (0, 1, 2)
    assert (ran.result.totals.files_transferred, ran.result.totals.files_deleted) == (1, 2)
    assert files_of(fetch(lab, remote, "up")) == files_of(lab.source)


def test_overwrite_sends_everything_again(lab: Lab, remote: Remote, upload: SyncRequest) -> None:
    write_tree(lab.source, TREE)
    lab.run(upload)
    ran = lab.run(replace(upload, method=Method.OVERWRITE))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.result.totals.files_transferred == len(TREE)
    assert files_of(fetch(lab, remote, "up")) == files_of(lab.source)


def test_move_empties_the_source_of_files(lab: Lab, remote: Remote, upload: SyncRequest) -> None:
    write_tree(lab.source, TREE)
    before = files_of(lab.source)
    ran = lab.run(replace(upload, method=Method.MOVE))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert files_of(lab.source) == {}
    assert {item.path for item in ran.items if item.action is Action.MOVED} == set(TREE)
    assert files_of(fetch(lab, remote, "up")) == before


def test_move_between_folders_of_one_server(lab: Lab, remote: Remote, upload: SyncRequest) -> None:
    write_tree(lab.source, TREE)
    lab.run(upload)
    ran = lab.run(SyncRequest(Endpoint(remote, "up"), Endpoint(remote, "moved"), Method.MOVE))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.result.totals.files_transferred == len(TREE)
    assert files_of(fetch(lab, remote, "moved")) == files_of(lab.source)
    listed = list_folder(remote, "", rclone=lab.rclone, local_roots=())
    assert "moved" in {entry.name for entry in listed.entries}


@pytest.mark.parametrize("method", [Method.FULL, Method.OVERWRITE])
def test_a_server_is_mirrored_to_the_disk(
    lab: Lab, remote: Remote, upload: SyncRequest, method: Method
) -> None:
    write_tree(lab.source, TREE)
    lab.run(upload)
    write_tree(lab.destination, {"a.txt": "another length", "extra/x": "x"})
    ran = lab.run(lab.asking(method, source=Endpoint(remote, "up"), guards=NO_GUARDS))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert (ran.result.totals.files_transferred, ran.result.totals.files_deleted) == (len(TREE), 1)
    assert files_of(lab.destination) == files_of(lab.source)


def test_move_brings_files_down_and_empties_the_server(
    lab: Lab, remote: Remote, upload: SyncRequest
) -> None:
    write_tree(lab.source, TREE)
    lab.run(upload)
    ran = lab.run(lab.asking(Method.MOVE, source=Endpoint(remote, "up")))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.result.totals.files_transferred == len(TREE)
    assert files_of(lab.destination) == files_of(lab.source)
    assert files_of(fetch(lab, remote, "up")) == {}


def test_check_finds_the_differences(lab: Lab, upload: SyncRequest) -> None:
    write_tree(lab.source, TREE)
    lab.run(upload)
    (lab.source / "a.txt").write_text("another length")
    (lab.source / "folder/b.bin").unlink()
    (lab.source / "new").write_text("new")
    ran = lab.run(replace(upload, method=Method.CHECK, compare=Compare.CHECKSUM))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.actions() == {
        (Action.DIFFERS, "a.txt"),
        (Action.MISSING_ON_SOURCE, "folder/b.bin"),
        (Action.MISSING_ON_DESTINATION, "new"),
    }


def test_check_by_checksum_sees_an_edit_of_equal_size(lab: Lab, upload: SyncRequest) -> None:
    write_tree(lab.source, TREE)
    lab.run(upload)
    write_tree(lab.source, {"a.txt": "two"})
    ran = lab.run(replace(upload, method=Method.CHECK, compare=Compare.CHECKSUM))

    assert ran.actions() == {(Action.DIFFERS, "a.txt")}


@pytest.mark.parametrize("compare", [Compare.SIZE_TIME, Compare.SIZE])
def test_check_succeeds_where_no_contents_can_be_compared(
    lab: Lab, upload: SyncRequest, compare: Compare
) -> None:
    write_tree(lab.source, TREE)
    lab.run(upload)
    check = replace(upload, method=Method.CHECK, compare=compare)
    ran = lab.run(check)
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.actions() == set()

    (lab.source / "a.txt").write_text("another length")
    later_s = time.time() + 5
    os.utime(lab.source / "a.txt", (later_s, later_s))
    (lab.source / "folder/b.bin").unlink()
    (lab.source / "new").write_text("new")
    ran = lab.run(check)
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.actions() == {
        (Action.DIFFERS, "a.txt"),
        (Action.MISSING_ON_SOURCE, "folder/b.bin"),
        (Action.MISSING_ON_DESTINATION, "new"),
    }
    assert ran.result.totals.differences == 3


def test_check_sees_an_edit_of_equal_size_by_its_time_and_says_so(
    lab: Lab, upload: SyncRequest
) -> None:
    write_tree(lab.source, TREE)
    lab.run(upload)
    (lab.source / "a.txt").write_text("two")
    later_s = time.time() + 5
    os.utime(lab.source / "a.txt", (later_s, later_s))
    ran = lab.run(replace(upload, method=Method.CHECK))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.actions() == {(Action.DIFFERS, "a.txt")}
    backend = upload.destination.remote.backend
    warned = {event.message for event in ran.events if isinstance(event, LogLine)}
    assert (NO_CONTENTS_OR_TIMES in warned) == (backend == "webdav")
    assert (NO_CONTENTS in warned) == (backend in ("sftp", "ftp", "smb"))


@pytest.mark.parametrize("compare", [Compare.SIZE_TIME, Compare.CHECKSUM])
@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL])
def test_an_edit_of_equal_size_is_sent(
    lab: Lab, remote: Remote, upload: SyncRequest, method: Method, compare: Compare
) -> None:
    write_tree(lab.source, TREE)
    lab.run(upload)
    edited = lab.source / "a.txt"
    edited.write_text("two")
    later_s = time.time() + 5
    os.utime(edited, (later_s, later_s))
    ran = lab.run(replace(upload, method=method, compare=compare))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.result.totals.files_transferred == 1
    assert files_of(fetch(lab, remote, "up")) == files_of(lab.source)


def test_by_checksum_an_edit_that_keeps_size_and_time_is_sent(
    lab: Lab, openssh_server: OpensshServer
) -> None:
    """An SFTP server with a shell hashes files, and must be asked whether it does."""
    remote = engine_remote(openssh_server.remote)
    upload = lab.asking(Method.INCREMENTAL, destination=Endpoint(remote, f"h{time.monotonic_ns()}"))
    write_tree(lab.source, {"a": "one"})
    lab.run(upload)
    write_tree(lab.source, {"a": "two"})

    assert lab.run(upload).result.totals.files_transferred == 0
    ran = lab.run(replace(upload, compare=Compare.CHECKSUM))
    assert ran.result.totals.files_transferred == 1
    assert LogLine("warning", NO_CHECKSUMS) not in ran.events


def test_where_no_checksum_is_shared_the_log_says_what_is_compared(
    lab: Lab, sftp_server: SftpServer
) -> None:
    destination = Endpoint(engine_remote(sftp_server.remote), f"n{time.monotonic_ns()}")
    write_tree(lab.source, {"a": "one"})
    upload = lab.asking(Method.FULL, destination=destination, compare=Compare.CHECKSUM)
    ran = lab.run(upload)

    assert LogLine("warning", NO_CHECKSUMS) in ran.events
    assert NO_CHECKSUMS.encode() in gzip.decompress(lab.log_path.read_bytes())


def test_a_file_put_back_to_an_older_state_is_sent(
    lab: Lab, remote: Remote, upload: SyncRequest
) -> None:
    """rclone's --update alone takes it for older than the copy, and skips it."""
    write_tree(lab.source, {"a.txt": "newer and longer"})
    lab.run(upload)
    write_tree(lab.source, {"a.txt": "old"})
    ran = lab.run(upload)

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert (fetch(lab, remote, "up") / "a.txt").read_text() == "old"


def test_an_edit_of_equal_size_comes_down(lab: Lab, remote: Remote, upload: SyncRequest) -> None:
    write_tree(lab.source, TREE)
    lab.run(upload)
    copy = fetch(lab, remote, "up")
    edited = lab.source / "a.txt"
    edited.write_text("two")
    later_s = time.time() + 5
    os.utime(edited, (later_s, later_s))
    # Servers without times show when a file arrived: a second later than the copy's time.
    time.sleep(1.1)
    lab.run(replace(upload, compare=Compare.SIZE_TIME))

    fetch(lab, remote, "up")
    assert (copy / "a.txt").read_text() == "two"


@pytest.mark.parametrize("method", [Method.FULL, Method.OVERWRITE, Method.MOVE])
def test_a_missing_source_on_a_server_deletes_nothing(
    lab: Lab, remote: Remote, method: Method
) -> None:
    write_tree(lab.destination, TREE)
    before = files_of(lab.destination)
    ran = lab.run(lab.asking(method, source=Endpoint(remote, "not-there")))

    assert files_of(lab.destination) == before
    assert ran.result.totals.files_deleted == 0
    if remote.backend == "s3" and method is Method.MOVE:
        # An object store has no folders: this one may as well be one that was emptied by moving.
        assert ran.result.outcome is Outcome.SUCCEEDED
        return
    assert ran.result.outcome is Outcome.FAILED
    assert ran.guard in ("source_missing", "source_empty")


def test_moving_from_a_missing_bucket_fails_and_leaves_the_destination(
    lab: Lab, s3_server: S3Server
) -> None:
    write_tree(lab.destination, TREE)
    before = files_of(lab.destination)
    remote = replace(engine_remote(s3_server.remote), root="no-such-bucket")
    ran = lab.run(lab.asking(Method.MOVE, source=Endpoint(remote, "folder")))

    assert ran.result.outcome is Outcome.FAILED
    assert ran.guard == "source_missing"
    assert files_of(lab.destination) == before


def test_kept_files_lie_beside_the_destination(
    lab: Lab, remote: Remote, upload: SyncRequest
) -> None:
    write_tree(lab.source, {"changed": "old", "gone": "gone", "same": "same"})
    lab.run(upload)
    (lab.source / "gone").unlink()
    (lab.source / "changed").write_text("new and longer")
    ran = lab.run(replace(upload, method=Method.FULL, keep_deleted_dir="kept/day"))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert {(Action.UPDATED, "changed"), (Action.DELETED, "gone")} <= ran.actions()
    assert ran.result.totals.files_deleted == 1
    # Where two stages kept some, each has a folder of its own.
    kept = fetch(lab, remote, "kept", "kept-back")
    files = [path for path in kept.rglob("*") if path.is_file()]
    assert {path.name: path.read_text() for path in files} == {"changed": "old", "gone": "gone"}
    assert {path.parent.name for path in files} <= {"day", "day.2"}


def test_a_server_is_probed_and_browsed(lab: Lab, remote: Remote, upload: SyncRequest) -> None:
    write_tree(lab.source, {"b-file": "12345", "a-folder/x": "1", "c-folder/y": "1"})
    lab.run(upload)

    result = probe(remote, "up", rclone=lab.rclone, local_roots=())
    assert (result.ok, result.entries, result.failure) == (True, 3, None)
    listing = list_folder(remote, "up", rclone=lab.rclone, local_roots=())
    assert [entry.name for entry in listing.entries] == ["a-folder", "c-folder", "b-file"]
    assert listing.entries[2].size_bytes == 5
    page = list_folder(remote, "up", limit=1, offset=1, rclone=lab.rclone, local_roots=())
    assert ([entry.name for entry in page.entries], page.total) == (["c-folder"], 3)


def test_a_wrong_password_is_an_auth_failure(lab: Lab, remote: Remote) -> None:
    if "pass" not in remote.secrets:
        pytest.skip("moto accepts every key, and a key file has no password")
    wrong = replace(remote, secrets=dict.fromkeys(remote.secrets, "not-the-password"))
    result = probe(wrong, "", rclone=lab.rclone, local_roots=())
    assert result.failure is not None
    assert result.failure.failure_class is FailureClass.AUTH

    write_tree(lab.source, {"a": "1"})
    ran = lab.run(lab.asking(Method.FULL, destination=Endpoint(wrong)))
    assert ran.result.outcome is Outcome.FAILED
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.AUTH
    assert not ran.result.failure.retryable


def test_a_server_that_is_away_is_a_network_failure_that_is_retried(lab: Lab) -> None:
    with WebdavServer() as server:
        gone = engine_remote(server.remote)
    write_tree(lab.source, {"a": "1"})
    for method in (Method.INCREMENTAL, Method.FULL):
        ran = lab.run(lab.asking(method, destination=Endpoint(gone)))
        assert ran.result.outcome is Outcome.FAILED
        assert ran.result.failure is not None
        assert ran.result.failure.failure_class is FailureClass.NETWORK
        assert ran.result.failure.retryable
