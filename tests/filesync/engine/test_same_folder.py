"""A folder is never moved or overwritten onto itself, whatever its two names are."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import (
    Encryption,
    Endpoint,
    Event,
    FailureClass,
    Guards,
    Method,
    Outcome,
    Plan,
    ProcessStarted,
    Remote,
    Rules,
    StopSignal,
    SyncRequest,
    list_folder,
)
from filesync.engine.filters import MARKER_PREFIX
from filesync.engine.same_folder import could_lose, places_to_look
from tests.filesync.engine.lab import NO_GUARDS, Lab, Ran, engine_remote, files_of, write_tree
from tests.servers.s3 import S3Server
from tests.servers.samba import SambaServer
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebdavServer

FILES = {"photo1": "precious", "deep/photo2": "precious too"}
LOSING = [Method.MOVE, Method.OVERWRITE]


@pytest.fixture
def dav(webdav_server: WebdavServer) -> tuple[Remote, Path]:
    """Return a WebDAV remote at a folder of this test alone, and that folder."""
    remote, name = engine_remote(webdav_server.remote), f"m{time.monotonic_ns()}"
    root = "/".join(filter(None, (remote.root, name)))
    folder = webdav_server.root / name
    folder.mkdir()
    return replace(remote, root=root), folder


def by_another_name(remote: Remote, option: str) -> Remote:
    """Give the remote by another name of its host."""
    address = remote.options[option]
    assert "127.0.0.1" in address
    options = {**remote.options, option: address.replace("127.0.0.1", "localhost")}
    return replace(remote, options=options)


def between(source: Endpoint, destination: Endpoint, method: Method) -> SyncRequest:
    return SyncRequest(source, destination, method, guards=NO_GUARDS)


def assert_refused(ran: Ran) -> None:
    failure = ran.result.failure
    assert ran.result.outcome is Outcome.FAILED
    assert failure is not None
    assert failure.failure_class is FailureClass.CONFIG
    assert "one folder" in failure.message
    assert ran.items == []


@pytest.mark.parametrize("method", LOSING)
@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (("", "in"), ("", "in")),
        (("", "in/deep"), ("", "in")),
        (("", "in"), ("/in", "")),
        (("", ""), ("", "in")),
    ],
)
def test_a_folder_by_two_host_names_is_left_alone(
    lab: Lab,
    dav: tuple[Remote, Path],
    method: Method,
    source: tuple[str, str],
    destination: tuple[str, str],
) -> None:
    remote, folder = dav
    write_tree(folder, {f"in/{name}": text for name, text in FILES.items()})
    write_tree(folder, {"in/in/photo1": "another", "in/deep/photo1": "another", "photo1": "1"})
    before = files_of(folder)
    other = by_another_name(remote, "url")
    one = Endpoint(replace(remote, root=remote.root + source[0]), source[1])
    two = Endpoint(replace(other, root=remote.root + destination[0]), destination[1])

    ran = lab.run(between(one, two, method))

    assert_refused(ran)
    assert files_of(folder) == before


@pytest.mark.parametrize("method", LOSING)
def test_an_encrypted_folder_by_two_names_is_left_alone(
    lab: Lab, dav: tuple[Remote, Path], method: Method
) -> None:
    remote, folder = dav
    locked = replace(remote, encryption=Encryption("secret"))
    write_tree(lab.source, FILES)
    filled = lab.run(SyncRequest(lab.request.source, Endpoint(locked, "in")))
    assert filled.result.outcome is Outcome.SUCCEEDED, filled.result.failure
    before = files_of(folder)
    one, two = Endpoint(locked, "in"), Endpoint(by_another_name(locked, "url"), "in")

    assert_refused(lab.run(between(one, two, method)))
    assert files_of(folder) == before


@pytest.mark.parametrize("method", LOSING)
def test_a_bucket_by_two_host_names_is_left_alone(
    lab: Lab, s3_server: S3Server, method: Method
) -> None:
    remote = engine_remote(s3_server.remote)
    remote = replace(remote, root=f"{remote.root.strip('/')}/m{time.monotonic_ns()}")
    write_tree(lab.source, FILES)
    lab.run(SyncRequest(lab.request.source, Endpoint(remote, "in")))
    other = by_another_name(remote, "endpoint")

    assert_refused(lab.run(between(Endpoint(remote, "in"), Endpoint(other, "in"), method)))
    roots = (lab.root / "files",)
    found = list_folder(remote, "in", rclone=lab.rclone, local_roots=roots)
    assert {entry.name for entry in found.entries} == {"photo1", "deep"}


@pytest.mark.parametrize("method", LOSING)
def test_a_folder_of_sftp_by_its_link_is_left_alone(
    lab: Lab, sftp_server: SftpServer, method: Method
) -> None:
    remote, name = engine_remote(sftp_server.remote), f"m{time.monotonic_ns()}"
    folder = sftp_server.root / name
    write_tree(folder / "in", FILES)
    (folder / "link").symlink_to("in")
    before = files_of(folder)
    one = Endpoint(replace(remote, root=name), "in")
    ran = lab.run(between(one, Endpoint(replace(remote, root=name), "link"), method))

    assert_refused(ran)
    assert files_of(folder) == before


@pytest.mark.parametrize("method", LOSING)
def test_a_folder_of_smb_in_capitals_is_left_alone(
    lab: Lab, samba_server: SambaServer, method: Method
) -> None:
    remote = engine_remote(samba_server.remote)
    name = f"m{time.monotonic_ns()}"
    remote = replace(remote, root="/".join(filter(None, (remote.root, name))))
    write_tree(lab.source, FILES)
    lab.run(SyncRequest(lab.request.source, Endpoint(remote, "in")))
    other = by_another_name(remote, "host")
    ran = lab.run(between(Endpoint(remote, "in"), Endpoint(other, "IN"), method))

    assert_refused(ran)
    roots = (lab.root / "files",)
    found = list_folder(remote, "in", rclone=lab.rclone, local_roots=roots)
    assert {entry.name for entry in found.entries} == {"photo1", "deep"}


def test_two_folders_of_a_server_are_told_apart_and_nothing_is_left(
    lab: Lab, dav: tuple[Remote, Path]
) -> None:
    remote, folder = dav
    write_tree(folder / "in", FILES)
    write_tree(folder / "out", {"photo1": "an older one"})
    expected = files_of(folder / "in")
    request = between(Endpoint(remote, "in"), Endpoint(remote, "out"), Method.MOVE)
    ran = lab.run(request)

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert files_of(folder / "out") == expected
    assert files_of(folder / "in") == {}


def test_where_nothing_stands_in_the_way_no_process_more_is_started(
    lab: Lab, dav: tuple[Remote, Path]
) -> None:
    remote, folder = dav
    write_tree(folder / "in", FILES)
    one, two = Endpoint(remote, "in"), Endpoint(by_another_name(remote, "url"), "out")
    ran = lab.run(between(one, two, Method.MOVE))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    started = [event for event in ran.events if isinstance(event, ProcessStarted)]
    # What each side can tell of its files, the plan, a look for folders in the way; of the move a
    # list, the folders, the copy, a list and the removal.
    assert len(started) == 9


@pytest.mark.parametrize("changes", [{"dry_run": True}, {"method": Method.CHECK}])
def test_no_marker_is_written_where_nothing_may_be(
    lab: Lab, dav: tuple[Remote, Path], changes: dict[str, object]
) -> None:
    remote, folder = dav
    write_tree(folder / "in", FILES)
    one, two = Endpoint(remote, "in"), Endpoint(by_another_name(remote, "url"), "in")
    request = replace(between(one, two, Method.MOVE), **changes)  # type: ignore[arg-type]
    changed_ns = (folder / "in").stat().st_mtime_ns

    assert lab.run(request).result.outcome is not Outcome.FAILED
    assert (folder / "in").stat().st_mtime_ns == changed_ns


def test_the_marker_goes_when_the_run_is_cancelled_while_it_stands(
    lab: Lab, dav: tuple[Remote, Path]
) -> None:
    remote, folder = dav
    write_tree(folder / "in", FILES)
    write_tree(folder / "out", {"photo1": "an older one"})
    stop, stood = StopSignal(), []

    def cancel(_: Event) -> None:
        if found := [*(folder / "out").glob(f"{MARKER_PREFIX}*")]:
            stood.extend(found)
            stop.request()

    request = between(Endpoint(remote, "in"), Endpoint(remote, "out"), Method.MOVE)
    ran = lab.run(request, stop=stop, on_event=cancel)

    assert stood
    assert ran.result.outcome is Outcome.CANCELLED
    assert set(files_of(folder / "out")) == {b"photo1"}
    assert len(files_of(folder / "in")) == len(FILES)


def test_a_marker_that_a_killed_run_left_is_not_synced(lab: Lab) -> None:
    write_tree(lab.source, {**FILES, f"deep/{MARKER_PREFIX}0123": "left"})
    ran = lab.run(lab.asking(Method.FULL))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert set(files_of(lab.destination)) == {name.encode() for name in FILES}


DAV = Remote("webdav", "root", {"url": "http://h/dav"})
MOVE = between(Endpoint(DAV, "a"), Endpoint(DAV, "b"), Method.MOVE)
RENAMING = replace(MOVE, rules=Rules(renames=(("a", "b"),)))


@pytest.mark.parametrize(
    ("request_", "plan", "could"),
    [
        (MOVE, Plan(adds=3, source_files=3, destination_files=9), False),
        (MOVE, Plan(adds=3, updates=1), True),
        (replace(MOVE, method=Method.OVERWRITE), Plan(adds=3, deletes=1), True),
        (replace(MOVE, method=Method.FULL), Plan(updates=3, deletes=1), False),
        (RENAMING, Plan(adds=3, source_files=3, destination_files=0), False),
        (RENAMING, Plan(adds=3, source_files=3, destination_files=1), True),
    ],
)
def test_a_look_is_needed_only_where_a_file_could_be_lost(
    request_: SyncRequest, plan: Plan, could: bool
) -> None:
    assert could_lose(replace(request_, guards=Guards()), plan) is could


@pytest.mark.parametrize(
    ("source", "destination", "places"),
    [
        (Endpoint(DAV, "x/y"), Endpoint(DAV, "z"), {"", "x", "x/y", "x/y/z", "x/y/root/z"}),
        (Endpoint(Remote("s3"), "b/x"), Endpoint(Remote("s3", "b")), {"b", "b/x", "b/x/b"}),
        (Endpoint(Remote("s3", "b")), Endpoint(Remote("s3"), "b"), {"", "b"}),
    ],
)
def test_the_destination_is_looked_for_in_and_above_the_source(
    source: Endpoint, destination: Endpoint, places: set[str]
) -> None:
    assert places <= set(places_to_look(source, destination))
    assert ("" in places) == ("" in places_to_look(source, destination))
