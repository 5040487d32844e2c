"""What becomes of a whole tree on real servers: empty folders, empty sources, extras, odd names."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from filesync.engine import Endpoint, Method, Outcome, Remote, SyncRequest, list_folder
from tests.filesync.engine.lab import NO_GUARDS, Lab, files_of, tree, write_tree
from tests.filesync.engine.test_names import NAMES
from tests.filesync.engine.test_remotes import TREE, fetch
from tests.filesync.engine.test_remotes import remote as remote
from tests.filesync.engine.test_remotes import upload as upload

# An object store has no folders.
WITH_FOLDERS = ["webdav", "apache", "ftp", "sftp", "openssh", "samba"]


@pytest.mark.parametrize("remote", WITH_FOLDERS, indirect=True)
@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL, Method.OVERWRITE])
def test_empty_folders_go_up_and_come_back(
    lab: Lab, remote: Remote, upload: SyncRequest, method: Method
) -> None:
    write_tree(lab.source, {**TREE, "empty/": "", "folder/also empty/deep/": ""})
    ran = lab.run(replace(upload, method=method))
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    back = lab.asking(method, source=Endpoint(remote, "up"))
    assert lab.run(back).result.outcome is Outcome.SUCCEEDED

    assert tree(lab.destination) == tree(lab.source)


@pytest.mark.parametrize("remote", WITH_FOLDERS, indirect=True)
def test_full_removes_folders_that_went(lab: Lab, remote: Remote, upload: SyncRequest) -> None:
    write_tree(lab.source, {"kept/": "", "gone/deep/": "", "file": "1"})
    lab.run(upload)
    for folder in ("gone/deep", "gone"):
        (lab.source / folder).rmdir()
    ran = lab.run(replace(upload, method=Method.FULL))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.result.totals.dirs_removed == 2
    listed = list_folder(remote, "up", rclone=lab.rclone, local_roots=())
    assert [entry.name for entry in listed.entries] == ["kept", "file"]


def test_overwrite_deletes_what_the_source_does_not_have(
    lab: Lab, remote: Remote, upload: SyncRequest
) -> None:
    write_tree(lab.source, {**TREE, "extra/x": "x", "extra-too": "y"})
    lab.run(upload)
    for name in ("extra/x", "extra-too"):
        (lab.source / name).unlink()
    (lab.source / "extra").rmdir()
    ran = lab.run(replace(upload, method=Method.OVERWRITE))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    totals = ran.result.totals
    assert (totals.files_transferred, totals.files_deleted) == (len(TREE), 2)
    assert files_of(fetch(lab, remote, "up")) == files_of(lab.source)


@pytest.mark.parametrize("remote", WITH_FOLDERS, indirect=True)
@pytest.mark.parametrize("method", [Method.FULL, Method.OVERWRITE, Method.MOVE])
def test_an_empty_source_on_a_server_deletes_nothing(
    lab: Lab, remote: Remote, upload: SyncRequest, method: Method
) -> None:
    write_tree(lab.source, {"here/but empty/": ""})
    assert lab.run(upload).result.outcome is Outcome.SUCCEEDED
    write_tree(lab.destination, TREE)
    before = files_of(lab.destination)
    source = Endpoint(remote, "up/here/but empty")
    ran = lab.run(lab.asking(method, source=source, guards=NO_GUARDS))

    assert files_of(lab.destination) == before
    assert ran.result.totals.files_deleted == 0
    if method is Method.MOVE:
        assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    else:
        assert ran.guard == "source_empty"


# Bytes that are no UTF-8 end wsgidav's connection; moto finds no key with a line break.
REFUSED = {"webdav": b"invalid-\xff\xfe-utf8", "s3": b"new\nline"}
# pyftpdlib takes such bytes and gives the file another name: each run sends it anew.
STORED_OTHERWISE = {"ftp": b"invalid-\xff\xfe-utf8"}


def test_odd_names_are_sent_once_and_none_is_deleted(
    lab: Lab, request: pytest.FixtureRequest, remote: Remote, upload: SyncRequest
) -> None:
    server = request.node.callspec.params["remote"]
    refused, otherwise = REFUSED.get(server), STORED_OTHERWISE.get(server)
    for name in NAMES:
        with open(os.path.join(os.fsencode(lab.source), name), "wb") as file:
            file.write(b"content of " + name)
    full = replace(upload, method=Method.FULL)
    expected = files_of(lab.source)

    first, second = lab.run(full), lab.run(full)

    for ran in (first, second):
        assert (ran.result.outcome is Outcome.SUCCEEDED) is (refused is None), ran.result.failure
        assert ran.result.totals.files_failed == (refused is not None)
    assert first.result.totals.files_transferred == len(NAMES) - (refused is not None)
    again = second.result.totals
    assert (again.files_transferred, again.files_deleted) == (otherwise is not None,) * 2
    there = files_of(fetch(lab, remote, "up"))
    assert there.items() <= expected.items()
    assert expected.keys() - there.keys() == {refused or otherwise} - {None}
