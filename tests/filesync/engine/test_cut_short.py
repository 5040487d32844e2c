"""An upload that is cut off leaves nothing under its final name, on WebDAV too."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import pytest

from filesync.engine import (
    Endpoint,
    Event,
    Limits,
    Method,
    Outcome,
    ProcessStarted,
    Progress,
    Rules,
    StopSignal,
    SyncRequest,
)
from tests.filesync.engine.lab import Lab, engine_remote, files_of, write_tree
from tests.servers.apache import ApacheServer
from tests.servers.sftp import SftpServer
from tests.servers.webdav import DavServer, WebdavServer

BIG = os.urandom(2 << 20)
SLOWLY = Limits(bandwidth="512K")


@pytest.fixture(params=["webdav", "apache"])
def server(request: pytest.FixtureRequest) -> DavServer:
    found: WebdavServer | ApacheServer = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def upload(lab: Lab, server: DavServer) -> SyncRequest:
    """Return a slow request to a folder of this test alone, which is seen below `lab.root`."""
    path = f"c{time.monotonic_ns()}"
    (lab.root / "seen").symlink_to(server.root / path)
    remote = engine_remote(server.remote)
    return lab.asking(Method.INCREMENTAL, destination=Endpoint(remote, path), limits=SLOWLY)


def cut_off(lab: Lab, request: SyncRequest, how: str) -> None:
    """Run a request, and end it when a good part of a file has gone."""
    stop = StopSignal()
    pids: list[int] = []

    def on_event(event: Event) -> None:
        if isinstance(event, ProcessStarted):
            pids.append(event.pid)
        elif isinstance(event, Progress) and event.bytes_done > 100_000 and len(pids) == started:
            if how == "cancelled":
                stop.request()
            else:
                os.kill(pids[-1], signal.SIGKILL)

    # Those before asked the server what it can and looked for folders, or made the plan.
    started = 3 if request.destination.remote.backend == "webdav" else 2
    started += 2 * bool(request.rules.renames)
    ran = lab.run(request, stop=stop, on_event=on_event)
    assert ran.result.outcome is not Outcome.SUCCEEDED


@pytest.mark.parametrize("how", ["cancelled", "killed"])
def test_a_new_file_is_there_whole_or_not_at_all(
    lab: Lab, server: DavServer, upload: SyncRequest, how: str
) -> None:
    write_tree(lab.source, {"big": BIG, "sub/also big": BIG})

    cut_off(lab, upload, how)

    assert [path.name for path in (lab.root / "seen").rglob("*") if path.is_file()] == []
    ran = lab.run(replace(upload, limits=Limits()))
    assert ran.result.outcome is Outcome.SUCCEEDED
    assert (lab.root / "seen" / "big").read_bytes() == BIG


def test_a_file_that_was_there_before_is_never_removed(
    lab: Lab, server: DavServer, upload: SyncRequest
) -> None:
    """What stands there may be the old file, to which nothing has come yet."""
    write_tree(lab.source, {"big": "old"})
    lab.run(upload)
    write_tree(lab.source, {"big": BIG})

    cut_off(lab, upload, "cancelled")

    assert (lab.root / "seen" / "big").exists()
    ran = lab.run(replace(upload, limits=Limits()))
    assert ran.result.outcome is Outcome.SUCCEEDED
    assert (lab.root / "seen" / "big").read_bytes() == BIG


def test_a_rule_that_gives_a_new_name_costs_no_file_of_the_old_one(
    lab: Lab, upload: SyncRequest
) -> None:
    """What rclone tells of on its way is a name at the source, and another file at the server."""
    write_tree(lab.source, {"a.txt": "an older one that nobody else has"})
    lab.run(replace(upload, limits=Limits()))
    before = files_of(lab.root / "seen")
    (lab.source / "a.txt").write_bytes(BIG)

    cut_off(lab, replace(upload, rules=Rules(renames=((r"^a\.txt$", "b.txt"),))), "cancelled")

    there = files_of(lab.root / "seen")
    assert {path: there.get(path) for path in before} == before


@pytest.mark.parametrize("kept", [None, "kept/run"])
def test_what_a_killed_rclone_left_does_not_fail_the_next_full_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, kept: str | None
) -> None:
    """As where the whole worker was killed: nobody removes the partial file."""
    monkeypatch.setattr("filesync.engine.run.remove_partials", lambda _: None)
    write_tree(lab.source, {"sub/big": BIG, "other.0a1b2c3d.partial": "a person's"})
    request = lab.asking(Method.FULL, limits=replace(SLOWLY, transfers=1))
    cut_off(lab, request, "killed")
    [left] = [path for path in (lab.destination / "sub").iterdir() if path.name != "big"]
    assert left.name.endswith(".partial")

    ran = lab.run(lab.asking(Method.FULL, keep_deleted_dir=kept))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert files_of(lab.destination) == files_of(lab.source)
    assert ran.result.totals.files_deleted == 1
    assert ran.result.plan is not None
    assert ran.result.plan.deletes == 1


PERSONS = ".0a1b2c3d.partial"


@pytest.mark.parametrize("source", [{"a": "new"}, {"a": "new", "d/a": "new"}])
def test_a_file_of_a_person_that_looks_like_a_partial_one_is_kept(
    lab: Lab, source: dict[str, str]
) -> None:
    write_tree(lab.source, source)
    write_tree(lab.destination, {f"{name}{PERSONS}": "a person's" for name in source})
    before = files_of(lab.destination)
    ran = lab.run(lab.asking(Method.FULL, keep_deleted_dir="kept"))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert files_of(lab.root / "files" / "kept") == before
    assert files_of(lab.destination) == files_of(lab.source)


def test_what_a_killed_rclone_left_on_a_server_is_kept_for_it_may_be_a_persons(
    lab: Lab, sftp_server: SftpServer
) -> None:
    remote = Endpoint(engine_remote(sftp_server.remote), f"p{time.monotonic_ns()}")
    write_tree(lab.source, {"sub/big": BIG})
    kept = f"{remote.path}-kept"
    request = lab.asking(Method.FULL, destination=remote, limits=SLOWLY, keep_deleted_dir=kept)
    cut_off(lab, request, "killed")
    there = sftp_server.root / remote.path
    [left] = files_of(there)
    assert left.endswith(b".partial")
    write_tree(there, {f"sub/big{PERSONS}": "a person's"})
    before = files_of(there)

    ran = lab.run(replace(request, limits=Limits()))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert files_of(there) == files_of(lab.source)
    assert files_of(sftp_server.root / kept) == before
    assert ran.result.totals.files_deleted == 2
