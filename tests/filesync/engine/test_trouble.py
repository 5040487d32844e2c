"""Secrets that stay secret, tokens that come back, disks that fill, files that change."""

from __future__ import annotations

import gzip
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from filesync.engine import (
    Action,
    Endpoint,
    Event,
    FailureClass,
    Limits,
    Method,
    Outcome,
    ProcessStarted,
    StopSignal,
    SyncRequest,
    list_folder,
    probe,
)
from filesync.engine.log import secrets_of
from tests.filesync.engine.lab import Lab, engine_remote, files_of, tree, write_tree
from tests.servers.installed import requires
from tests.servers.openssh import OpensshServer
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebdavServer


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("server_name", ["webdav", "ftp", "sftp", "s3"])
def test_a_secret_is_in_no_event_no_log_and_no_command_line(
    lab: Lab, request: pytest.FixtureRequest, server_name: str, right: bool
) -> None:
    server = request.getfixturevalue(f"{server_name}_server")
    remote = replace(
        engine_remote(server.remote), secrets=dict(engine_remote(server.remote).secrets)
    )
    if not right:
        remote = replace(remote, secrets=dict.fromkeys(remote.secrets, "canary-wrong-password"))
    write_tree(lab.source, {"file": "1"})
    said: list[str] = []

    def on_event(event: Event) -> None:
        said.append(repr(event))
        if isinstance(event, ProcessStarted):
            with suppress(psutil.NoSuchProcess):
                said.extend(psutil.Process(event.pid).cmdline())

    destination = Endpoint(remote, f"canary{time.monotonic_ns()}")
    for method in (Method.INCREMENTAL, Method.FULL):
        lab.run(lab.asking(method, destination=destination), on_event=on_event)
        said.append(gzip.decompress(lab.log_path.read_bytes()).decode())
    said.append(repr(probe(remote, "", rclone=lab.rclone, local_roots=())))
    said.append(repr(list_folder(remote, "", rclone=lab.rclone, local_roots=())))

    everything = "\n".join(said)
    assert len(said) > 8
    for secret in secrets_of(remote):
        assert secret not in everything


def test_what_rclone_writes_into_its_configuration_comes_back(
    lab: Lab, sftp_server: SftpServer
) -> None:
    """A pinned host key is written as a refreshed token is: into the file, under a new inode."""
    remote = engine_remote(sftp_server.remote)
    pinning = replace(remote, options={**remote.options, "pin_host_key": "true"})
    write_tree(lab.source, {"file": "1"})
    destination = Endpoint(pinning, f"pin{time.monotonic_ns()}")
    ran = lab.run(lab.asking(Method.INCREMENTAL, destination=destination))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert set(ran.result.refreshed) == {"dst"}
    keys = ran.result.refreshed["dst"]["host_keys"]
    assert keys
    pinned = replace(pinning, options={**pinning.options, "host_keys": keys})
    again = lab.run(lab.asking(Method.FULL, destination=Endpoint(pinned, destination.path)))
    assert again.result.outcome is Outcome.SUCCEEDED, again.result.failure
    assert again.result.refreshed == {}


@requires("openssh")
def test_a_shell_that_was_refused_once_is_looked_for_again(lab: Lab) -> None:
    """A storage that kept it would never again compare hashes, nor rename what was renamed."""
    write_tree(lab.source, {"file": "1"})
    found: list[str | None] = []
    for max_sessions in (1, 10):
        # The one session is that of the files.
        with OpensshServer(max_sessions=max_sessions) as server:
            destination = Endpoint(engine_remote(server.remote), "copy")
            ran = lab.run(lab.asking(Method.INCREMENTAL, destination=destination))
        assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
        found.append(ran.result.refreshed.get("dst", {}).get("shell_type"))

    assert found == [None, "unix"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of one MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "files" / "small"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let us mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_and_deletes_nothing(
    small_disk: Path, tmp_path: Path, rclone_binary: Path
) -> None:
    lab = Lab.__new__(Lab)
    lab.root, lab.rclone = tmp_path, rclone_binary
    (small_disk / "extra").write_text("extra")
    lab.__post_init__()
    write_tree(lab.source, {f"file{number:03}": "x" * 50_000 for number in range(150)})
    small = Endpoint(lab.request.source.remote, "small")
    ran = lab.run(lab.asking(Method.FULL, destination=small))

    assert ran.result.outcome is Outcome.PARTIAL
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.DISK_FULL
    assert ran.result.totals.files_failed > 0
    assert (small_disk / "extra").exists()
    complete = files_of(lab.source)
    for name, content in files_of(small_disk).items():
        # A transfer that is ended at the wrong moment may leave its partial file, by that name.
        assert name == b"extra" or name.endswith(b".partial") or complete[name] == content


def test_a_file_that_grows_while_it_is_copied_is_not_left_half(lab: Lab) -> None:
    growing = lab.source / "growing"
    growing.write_bytes(b"x" * (1 << 20))
    done = threading.Event()

    def grow() -> None:
        while not done.wait(0.05):
            with growing.open("ab") as file:
                file.write(b"y" * 1000)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        limits = Limits(transfers=1, bandwidth="1M")
        ran = lab.run(lab.between_storages(Method.MOVE, limits=limits))
    finally:
        done.set()
        writer.join()

    assert ran.result.outcome is Outcome.FAILED
    assert ran.result.failure is not None
    assert "the next run sends it again" in ran.result.failure.advice
    assert growing.exists()
    assert tree(lab.destination) == {}


def test_a_dry_run_on_a_server_without_times_shows_an_edit_of_equal_size(
    lab: Lab, webdav_server: WebdavServer
) -> None:
    remote = engine_remote(webdav_server.remote)
    request = SyncRequest(
        lab.request.source, Endpoint(remote, f"dry{time.monotonic_ns()}"), Method.FULL
    )
    write_tree(lab.source, {"edited": "aaaa", "same": "bbbb", "longer": "c", "gone": "d"})
    lab.run(request)
    write_tree(lab.source, {"longer": "cc", "new": "e"})
    (lab.source / "gone").unlink()
    (lab.source / "edited").write_text("AAAA")
    later_s = time.time() + 5
    os.utime(lab.source / "edited", (later_s, later_s))
    ran = lab.run(replace(request, dry_run=True))

    plan = ran.result.plan
    assert plan is not None
    assert (plan.adds, plan.updates, plan.deletes) == (1, 2, 1)
    assert (plan.source_files, plan.destination_files) == (4, 4)


def test_a_stop_reaches_a_server_that_does_not_answer(lab: Lab) -> None:
    with WebdavServer() as server:
        remote = engine_remote(server.remote)
        write_tree(lab.source, {"file": "1"})
        server.pause()
        stop = StopSignal()
        ran = lab.run(
            lab.asking(Method.INCREMENTAL, destination=Endpoint(remote)),
            stop=stop,
            on_event=lambda event: stop.request() if isinstance(event, ProcessStarted) else None,
        )
        server.resume()

    assert ran.result.outcome is Outcome.CANCELLED


def test_a_probe_of_a_server_that_does_not_answer_ends_in_time(rclone_binary: Path) -> None:
    with WebdavServer() as server:
        remote = engine_remote(server.remote)
        server.pause()
        result = probe(remote, "", rclone=rclone_binary, local_roots=(), timeout_s=1)
        server.resume()

    assert result.failure is not None
    assert result.failure.failure_class in (FailureClass.TIMEOUT, FailureClass.NETWORK)
    assert result.failure.retryable


def test_a_file_whose_place_a_folder_takes_fails_under_its_own_name(lab: Lab) -> None:
    write_tree(lab.source, {"sub/文": "1", "other": "2"})
    write_tree(lab.destination, {"sub/文/kept": "3"})

    ran = lab.run(lab.asking(Method.INCREMENTAL))

    assert (ran.result.outcome, ran.result.totals.files_transferred) == (Outcome.PARTIAL, 1)
    [failed] = [item for item in ran.items if item.action is Action.FAILED]
    assert failed.path == "sub/文"
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.NAME_NOT_ALLOWED
    assert files_of(lab.destination).keys() == {"sub/文/kept".encode(), b"other"}


@pytest.mark.parametrize("server", ["local", "sftp", "openssh", "ftp", "samba", "webdav"])
@pytest.mark.parametrize("here", [{"x": "a file"}, {"x/sub/file": "in a folder"}])
def test_a_name_that_is_a_file_here_and_a_folder_there_says_so(
    lab: Lab, request: pytest.FixtureRequest, server: str, here: dict[str, str | bytes]
) -> None:
    there = Endpoint(lab.request.destination.remote, "destination")
    if server != "local":
        remote = engine_remote(request.getfixturevalue(f"{server}_server").remote)
        there = Endpoint(remote, f"way{time.monotonic_ns()}")
    write_tree(lab.root / "files" / "before", {"x/kept": "1"} if "x" in here else {"x": "1"})
    before = Endpoint(lab.request.source.remote, "before")
    assert lab.run(SyncRequest(before, there)).result.outcome is Outcome.SUCCEEDED
    write_tree(lab.source, here)

    failure = lab.run(SyncRequest(lab.request.source, there)).result.failure

    assert failure is not None
    if (server, "x" in here) == ("openssh", True):
        # All it says is "Failure".
        assert failure.failure_class is FailureClass.INTERNAL
        return
    assert failure.failure_class is FailureClass.NAME_NOT_ALLOWED
    assert failure.advice.startswith("At the destination a folder has the name of a file")
    assert not failure.retryable


def test_a_folder_that_cannot_be_listed_fails_as_one(lab: Lab, bound_rclone: Path) -> None:
    write_tree(lab.source, {"sub/hidden/file": "1", "other": "2"})
    (lab.source / "sub" / "hidden").chmod(0o000)

    ran = lab.run(lab.asking(Method.INCREMENTAL), rclone=bound_rclone)

    (lab.source / "sub" / "hidden").chmod(0o700)
    assert ran.result.outcome is Outcome.PARTIAL
    [failed] = [item for item in ran.items if item.action is Action.FAILED]
    assert failed.path == "sub/hidden/"
