"""A folder with the name of a file, or the reverse, keeps no mirror from ending in step."""

from __future__ import annotations

import gzip
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import Action, Endpoint, FailureClass, Guards, Limits, Method, Outcome, Rules
from tests.filesync.engine.lab import (
    NO_GUARDS,
    Lab,
    engine_remote,
    files_of,
    names,
    tree,
    write_tree,
)
from tests.filesync.engine.test_restore import keeping, restore, undo_of
from tests.servers.webdav import WebdavServer

NEW: dict[str, str | bytes] = {
    "file": "now a file",
    "folder/a": "1",
    "folder/d/b": "1",
    "same": "1",
}
OLD: dict[str, str | bytes] = {
    "file/x": "1",
    "file/d/y": "1",
    "folder": "was a file",
    "gone": "1",
    "same": "1",
}


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("rules", [Rules(), Rules(max_size_bytes=100), Rules(filters=("- *.tmp",))])
@pytest.mark.parametrize("method", [Method.FULL, Method.OVERWRITE])
def test_a_mirror_comes_into_step_and_can_be_undone(
    lab: Lab, method: Method, rules: Rules, keeps: bool
) -> None:
    write_tree(lab.source, NEW)
    write_tree(lab.destination, OLD)
    empty = () if rules.max_size_bytes else ("file/empty", "file/empty/deep")
    for name in empty:
        (lab.destination / name).mkdir()
    before = tree(lab.destination)
    request = lab.asking(method, rules=rules)
    request = keeping(request) if keeps else request
    ran = lab.run(request)

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert tree(lab.destination) == tree(lab.source)
    deleted = {path for action, path in ran.actions() if action is Action.DELETED}
    assert deleted == {"file/x", "file/d/y", "folder", "gone"}
    removed = {path for action, path in ran.actions() if action is Action.DIR_REMOVED}
    assert removed == {"file", "file/d", *empty}
    plan, totals = ran.result.plan, ran.result.totals
    assert plan is not None
    planned = (plan.deletes, plan.dirs_removed)
    assert planned == (totals.files_deleted, totals.dirs_removed) == (4, 2 + len(empty))
    if keeps:
        assert restore(lab, undo_of(request, lab)).result.outcome is Outcome.SUCCEEDED
        assert tree(lab.destination) == before
    else:
        assert lab.run(request).result.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("server", ["webdav", "apache", "ftp", "sftp", "openssh", "s3", "samba"])
def test_a_server_comes_into_step(lab: Lab, server: str, request: pytest.FixtureRequest) -> None:
    found = engine_remote(request.getfixturevalue(f"{server}_server").remote)
    root = "/".join(filter(None, (found.root, f"w{time.monotonic_ns()}")))
    remote = replace(found, root=root)
    write_tree(lab.source, OLD)
    sync = lab.asking(Method.FULL, destination=Endpoint(remote, "up"))
    assert lab.run(sync).result.outcome is Outcome.SUCCEEDED
    for name in ("file/x", "file/d/y", "folder", "gone"):
        (lab.source / name).unlink()
    (lab.source / "file/d").rmdir()
    (lab.source / "file").rmdir()
    write_tree(lab.source, NEW)
    ran = lab.run(sync)

    assert ran.result.outcome is Outcome.SUCCEEDED, (ran.result.failure, ran.items)
    back = lab.asking(Method.FULL, source=Endpoint(remote, "up"))
    assert lab.run(back).result.outcome is Outcome.SUCCEEDED
    assert files_of(lab.destination) == files_of(lab.source)


def test_what_the_rules_hide_stays_although_it_is_in_the_way(lab: Lab) -> None:
    write_tree(lab.source, {"file": "now a file", "other": "1"})
    write_tree(lab.destination, {"file/x": "1", "file/keep.tmp": "1", "gone": "1"})
    ran = lab.run(lab.asking(Method.FULL, rules=Rules(filters=("- *.tmp",))))

    assert ran.result.outcome is Outcome.PARTIAL
    assert (Action.FAILED, "file") in ran.actions()
    assert "file/keep.tmp" in names(tree(lab.destination))


def test_the_guards_count_what_is_in_the_way(lab: Lab) -> None:
    write_tree(lab.source, NEW)
    write_tree(lab.destination, OLD)
    before = tree(lab.destination)
    ran = lab.run(lab.asking(Method.FULL, guards=Guards(max_delete_files=3)))

    assert ran.guard == "max_delete_files"
    assert tree(lab.destination) == before


def test_a_copy_that_never_deletes_leaves_what_is_in_the_way(lab: Lab) -> None:
    write_tree(lab.source, NEW)
    write_tree(lab.destination, OLD)
    ran = lab.run(lab.asking(Method.INCREMENTAL))

    assert ran.result.outcome is Outcome.FAILED
    assert names(files_of(lab.destination)) == set(OLD)


@pytest.mark.parametrize("server", ["webdav", "apache"])
@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.MOVE, Method.FULL, Method.OVERWRITE])
def test_a_failed_upload_deletes_no_folder(
    lab: Lab, server: str, method: Method, request: pytest.FixtureRequest
) -> None:
    """rclone removes what it failed to upload by its name, which is the folder's."""
    found = engine_remote(request.getfixturevalue(f"{server}_server").remote)
    root = "/".join(filter(None, (found.root, f"l{time.monotonic_ns()}")))
    destination = Endpoint(replace(found, root=root), "up")
    write_tree(lab.source, {"d/z/in/k": "precious", "d/z/x.tmp": "hidden", "other": "1"})
    assert lab.run(lab.asking(Method.INCREMENTAL, destination=destination)).items
    before = files_of(lab.source)
    shutil.rmtree(lab.source / "d/z")
    write_tree(lab.source, {"d/z": "now a file", "new": "1"})
    hides = Rules(filters=("- *.tmp",))
    ran = lab.run(lab.asking(method, destination=destination, rules=hides))

    # A mirror has deleted by then what stood in the way and may be deleted.
    clears = method in (Method.FULL, Method.OVERWRITE)
    assert ran.result.outcome is (Outcome.PARTIAL if clears else Outcome.FAILED)
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.NAME_NOT_ALLOWED
    assert "d/z is a file at the source" in ran.result.failure.message
    assert "exclude the path" in ran.result.failure.advice
    assert (lab.source / "d/z").read_text() == "now a file"
    lab.run(lab.asking(Method.INCREMENTAL, source=destination))
    kept = {b"d/z/in/k", b"d/z/x.tmp", b"other"}
    if clears:
        kept.remove(b"d/z/in/k")
    there = files_of(lab.destination)
    assert {path: there.get(path) for path in kept} == {path: before[path] for path in kept}


@pytest.mark.parametrize("server", ["webdav", "apache"])
@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.MOVE, Method.FULL])
def test_a_failed_upload_deletes_no_folder_of_a_name_that_a_rule_gives(
    lab: Lab, server: str, method: Method, request: pytest.FixtureRequest
) -> None:
    found = engine_remote(request.getfixturevalue(f"{server}_server").remote)
    root = "/".join(filter(None, (found.root, f"n{time.monotonic_ns()}")))
    destination = Endpoint(replace(found, root=root), "up")
    write_tree(lab.source, {"d/new/in": "precious", "old/in": "precious", "other": "1"})
    assert lab.run(lab.asking(Method.INCREMENTAL, destination=destination)).items
    before = files_of(lab.source)
    shutil.rmtree(lab.source)
    # The second one gets another name, so that no folder stands in its way.
    write_tree(lab.source, {"d/old": "now a file", "old": "now a file"})
    renames = Rules(renames=(("^old$", "new"),))
    sync = lab.asking(method, destination=destination, rules=renames, guards=NO_GUARDS)

    for dry_run in (True, False):
        ran = lab.run(replace(sync, dry_run=dry_run))
        assert ran.result.outcome is Outcome.FAILED
        assert ran.result.failure is not None
        assert "gives a file the name d/new, which is a folder" in ran.result.failure.message
        assert "exclude the path" in ran.result.failure.advice
    assert (lab.source / "d/old").read_text() == "now a file"
    look = lab.between_storages(Method.FULL, source=destination, guards=NO_GUARDS)
    assert lab.run(look).result.outcome is Outcome.SUCCEEDED
    assert files_of(lab.destination) == before

    shutil.rmtree(lab.source / "d")
    ran = lab.run(sync)
    assert ran.result.outcome is Outcome.SUCCEEDED
    assert ran.result.totals.files_transferred == 1


def test_a_rerun_of_plain_webdav_lists_it_twice_as_before(
    lab: Lab, webdav_server: WebdavServer
) -> None:
    """Where the look finds all files, of equal sizes, no pass over the sizes follows."""
    found = engine_remote(webdav_server.remote)
    root = "/".join(filter(None, (found.root, f"r{time.monotonic_ns()}")))
    write_tree(lab.source, {"d/a": "1", "b": "2"})
    sync = lab.asking(Method.INCREMENTAL, destination=Endpoint(replace(found, root=root), "up"))

    def passes() -> list[str]:
        lab.run(sync)
        lines = gzip.decompress(lab.log_path.read_bytes()).decode().splitlines()
        commands = [line for line in lines if '"command"' in line and " copy " in line]
        words = ("--dry-run", "--size-only", "--update")
        return [" ".join(word for word in words if word in line) for line in commands]

    look = "--dry-run --size-only"
    assert passes() == [look, "--size-only", "--update"]
    assert passes() == [look, "--update"]
    (lab.source / "empty").mkdir()
    assert passes() == [look, "--update"]
    assert list(webdav_server.root.rglob("up/empty"))
    (lab.source / "b").write_text("longer")
    assert passes() == [look, "--size-only", "--update"]


def test_a_limit_of_files_clears_the_way_too(lab: Lab) -> None:
    write_tree(lab.source, NEW)
    write_tree(lab.destination, OLD)
    request = lab.asking(Method.FULL, limits=Limits(max_files=1))
    outcomes = [lab.run(request).result.outcome for _ in range(4)]

    assert outcomes[-1] is Outcome.SUCCEEDED
    assert tree(lab.destination) == tree(lab.source)


def test_a_dry_run_tells_of_a_folder_that_would_be_lost(
    lab: Lab, webdav_server: WebdavServer
) -> None:
    found = engine_remote(webdav_server.remote)
    root = "/".join(filter(None, (found.root, f"y{time.monotonic_ns()}")))
    sync = lab.asking(Method.INCREMENTAL, destination=Endpoint(replace(found, root=root), "up"))
    write_tree(lab.source, {"z/k": "1"})
    lab.run(sync)
    shutil.rmtree(lab.source / "z")
    write_tree(lab.source, {"z": "now a file"})
    ran = lab.run(replace(sync, dry_run=True))

    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.NAME_NOT_ALLOWED


@pytest.mark.parametrize("server", ["webdav", "local"])
def test_what_was_in_the_way_does_not_come_back_over_what_took_its_place(
    lab: Lab, server: str, request: pytest.FixtureRequest, bound_rclone: Path
) -> None:
    remote = lab.request.source.remote
    if server != "local":
        found = engine_remote(request.getfixturevalue(f"{server}_server").remote)
        root = "/".join(filter(None, (found.root, f"p{time.monotonic_ns()}")))
        remote = replace(found, root=root)
    sync = keeping(lab.asking(Method.FULL, destination=Endpoint(remote, "up")))
    write_tree(lab.source, {"p": "was a file", "same": "1"})
    lab.run(sync)
    (lab.source / "p").unlink()
    write_tree(lab.source, {"p/new1": "1", "p/new2": "2", "locked": "1"})
    (lab.source / "locked").chmod(0)
    ran = lab.run(sync, rclone=bound_rclone)
    assert ran.result.outcome is Outcome.PARTIAL

    lab.run(lab.asking(Method.INCREMENTAL, source=Endpoint(remote, "up")))
    assert {b"p/new1", b"p/new2", b"same"} <= files_of(lab.destination).keys()
