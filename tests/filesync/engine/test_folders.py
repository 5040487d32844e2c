"""A side that is a file: the run works each time, or is refused before anything is done."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import (
    Encryption,
    Endpoint,
    FailureClass,
    Method,
    NameEncryption,
    Outcome,
    Remote,
    Rules,
    SyncRequest,
)
from tests.filesync.engine.lab import Lab, Ran, engine_remote, names, tree, write_tree

SERVERS = ("webdav", "sftp", "ftp", "s3")
TAKES_NO_FILE = (Method.FULL, Method.OVERWRITE, Method.MOVE, Method.CHECK)
PLAIN_NAMES = Encryption("secret", names=NameEncryption.OFF, folders=False)


@pytest.fixture(params=("local", "encrypted", *SERVERS))
def remote(request: pytest.FixtureRequest, lab: Lab) -> Remote:
    """Return a storage, pointed at a folder of this test alone."""
    if request.param in SERVERS:
        found = engine_remote(request.getfixturevalue(f"{request.param}_server").remote)
        return replace(found, root=f"{found.root}/f{time.monotonic_ns()}".lstrip("/"))
    local = replace(lab.request.source.remote, root=str(lab.root / "files" / "storage"))
    return local if request.param == "local" else replace(local, encryption=PLAIN_NAMES)


def look(lab: Lab, remote: Remote) -> dict[bytes, str]:
    """Return what a storage holds, by a fresh copy of it."""
    local = lab.request.source.remote
    into = f"look{time.monotonic_ns()}"
    ran = lab.run(SyncRequest(Endpoint(remote), Endpoint(local, into), Method.FULL))
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    return tree(Path(local.root) / into)


def filled(lab: Lab, remote: Remote, content: str = "content") -> None:
    write_tree(lab.source, {"sub/one [1].txt": content, "sub/other": "other"})
    ran = lab.run(lab.asking(Method.FULL, destination=Endpoint(remote)))
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure


def assert_refused(ran: Ran, path: str) -> None:
    failure = ran.result.failure
    assert failure is not None
    assert (ran.result.outcome, failure.failure_class) == (Outcome.FAILED, FailureClass.CONFIG)
    assert path in failure.message
    assert "src:" not in failure.message
    assert not ran.items


@pytest.mark.parametrize("there", [{}, {"one [1].txt": "content"}], ids=["new", "there"])
def test_a_single_file_is_refused_where_a_method_cannot_take_it(
    lab: Lab, remote: Remote, there: dict[str, str]
) -> None:
    filled(lab, remote)
    write_tree(lab.destination, {"extra": "extra", **there})
    before = look(lab, remote), tree(lab.destination)
    one = Endpoint(remote, "sub/one [1].txt")

    for method in TAKES_NO_FILE:
        for dry_run in (True, False):
            ran = lab.run(lab.asking(method, source=one, dry_run=dry_run))
            if method is Method.CHECK and ran.result.failure is None:
                # Where a dry run is all there is to it, it finds what it should.
                assert {path for _, path in ran.actions()} <= {"one [1].txt"}
            else:
                assert_refused(ran, "sub/one [1].txt")
    assert (look(lab, remote), tree(lab.destination)) == before


def test_the_advice_for_a_single_file_does_what_was_meant(lab: Lab) -> None:
    write_tree(lab.source, {"one [1].txt": "content", "other": "other"})
    write_tree(lab.destination, {"extra": "extra"})
    one = Endpoint(lab.request.source.remote, "source/one [1].txt")
    failure = lab.run(lab.asking(Method.FULL, source=one)).result.failure
    assert failure is not None
    filters = tuple(failure.message.split('"')[1::2])

    for _ in range(2):
        ran = lab.run(lab.asking(Method.FULL, rules=Rules(filters=filters)))
        assert ran.result.outcome is Outcome.SUCCEEDED
        assert names(tree(lab.destination)) == {"one [1].txt", "extra"}


def test_a_single_file_is_added_and_updated_again_and_again(lab: Lab, remote: Remote) -> None:
    """Where rclone is asked first what the storage can do, it is refused as elsewhere."""
    write_tree(lab.destination, {"extra": "extra"})
    request = lab.asking(Method.INCREMENTAL, source=Endpoint(remote, "sub/one [1].txt"))
    for content in ("content", "content", "longer content"):
        filled(lab, remote, content)
        ran = [lab.run(replace(request, dry_run=dry_run)) for dry_run in (True, False)]
        if remote.backend in ("webdav", "ftp"):
            for refused in ran:
                assert_refused(refused, "sub/one [1].txt")
            assert names(tree(lab.destination)) == {"extra"}
        else:
            assert [each.result.outcome for each in ran] == [Outcome.SUCCEEDED] * 2
            assert (lab.destination / "one [1].txt").read_text() == content
            assert names(tree(lab.destination)) == {"one [1].txt", "extra"}


@pytest.mark.parametrize("method", list(Method))
def test_a_destination_that_is_a_file_is_refused(lab: Lab, remote: Remote, method: Method) -> None:
    filled(lab, remote)
    before = look(lab, remote)
    there = Endpoint(remote, "sub/other")

    for dry_run in (True, False):
        assert_refused(lab.run(lab.asking(method, destination=there, dry_run=dry_run)), "sub/other")
    assert look(lab, remote) == before


@pytest.mark.parametrize("method", list(Method))
def test_a_destination_inside_a_file_is_refused(lab: Lab, method: Method) -> None:
    write_tree(lab.source, {"one": "1"})
    write_tree(lab.destination, {"file": "a person's"})
    inside = Endpoint(lab.request.source.remote, "destination/file/deep/folder")

    assert_refused(lab.run(lab.asking(method, destination=inside)), "destination/file ")
    assert (lab.destination / "file").read_text() == "a person's"
