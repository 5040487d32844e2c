"""Rules that hide a file on one side alone delete nothing that the source has, and lose nothing."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from filesync.engine import Action, Endpoint, Guards, Method, Outcome, Remote, Rules
from tests.filesync.engine.lab import Lab, engine_remote, files_of, names, tree, write_tree
from tests.filesync.engine.test_restore import KEPT, keeping, look, restore, undo_of
from tests.servers import remote as served
from tests.servers.webdav import WebdavServer

NEW = "v2 is longer than ten bytes"
TO_LOWER = Rules(filters=("+ *.JPG", "- *"), renames=((r"^(.*)\.JPG$", "${1}.jpg"),))
DAY_S = 86400


def kept(lab: Lab) -> set[str]:
    """Return the paths of all kept files, whatever stage kept them."""
    found = names(files_of(lab.root / "files" / KEPT))
    return {path.partition("/")[2] for path in found}


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL, Method.OVERWRITE, Method.MOVE])
@pytest.mark.parametrize(
    ("rules", "old", "name", "stored"),
    [
        (Rules(max_age_s=DAY_S), "v1", "a.txt", "a.txt"),
        (Rules(min_size_bytes=10), "v1", "a.txt", "a.txt"),
        (Rules(max_size_bytes=100), "v1" * 100, "a.txt", "a.txt"),
        (TO_LOWER, "v1", "A.JPG", "A.jpg"),
    ],
    ids=["age", "least size", "most size", "name"],
)
def test_what_a_rule_hides_at_the_destination_alone_is_kept_and_comes_back(
    lab: Lab, method: Method, rules: Rules, old: str, name: str, stored: str
) -> None:
    write_tree(lab.destination, {stored: old})
    (lab.source / name).write_text(NEW)
    before, source = tree(lab.destination), tree(lab.source)
    request = keeping(lab.asking(method, rules=rules))
    ran = lab.run(request)

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert (Action.DELETED, stored) not in ran.actions()
    assert method is Method.MOVE or ran.actions() == {(Action.UPDATED, name)}
    assert (lab.destination / stored).read_text() == NEW
    assert kept(lab) == {stored}
    undone = restore(lab, undo_of(request, lab))
    assert undone.result.outcome is Outcome.SUCCEEDED
    assert (tree(lab.destination), tree(lab.source)) == (before, source)


def test_a_file_that_is_in_step_is_not_sent_again_where_a_rule_hides_its_copy(lab: Lab) -> None:
    write_tree(lab.source, {"A.JPG": "v1"})
    for actions in ({(Action.ADDED, "A.JPG")}, set()):
        assert lab.run(lab.asking(Method.FULL, rules=TO_LOWER)).actions() == actions


@pytest.mark.parametrize("method", [Method.FULL, Method.OVERWRITE])
@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("rules", [Rules(min_age_s=3600), Rules(max_size_bytes=20)])
def test_a_size_or_age_deletes_only_what_the_source_lacks(
    lab: Lab, rules: Rules, keeps: bool, method: Method
) -> None:
    same = {"same": "x", "folder/same": "x"}
    gone = {"gone": "x", "folder/gone": "x", "only here/deep/gone": "x"}
    write_tree(lab.destination, {"a.txt": "v1 small"} | same | gone)
    write_tree(lab.source, same)
    (lab.source / "a.txt").write_text("v2 edited just now, longer than twenty bytes")
    request = lab.asking(method, rules=rules)
    ran = lab.run(keeping(request) if keeps else request)

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert ran.result.plan is not None
    assert (ran.result.plan.deletes, ran.result.plan.dirs_removed) == (3, 2)
    told = (Action.DELETED, Action.DIR_REMOVED)
    assert {(action, path) for action, path in ran.actions() if action in told} == {
        *((Action.DELETED, path) for path in gone),
        *((Action.DIR_REMOVED, path) for path in ("only here", "only here/deep")),
    }
    left = {"a.txt", "folder", *same}
    assert names(tree(lab.destination)) == left
    assert (lab.destination / "a.txt").read_text() == "v1 small"
    assert not keeps or kept(lab) >= set(gone)


def test_what_a_rule_hides_at_the_destination_stays_where_the_source_lacks_it(lab: Lab) -> None:
    write_tree(lab.source, {"same": "12345"})
    write_tree(lab.destination, {"same": "12345", "d/large": "1" * 50, "d/gone": "1"})
    ran = lab.run(lab.asking(Method.FULL, rules=Rules(max_size_bytes=20)))

    assert ran.actions() == {(Action.DELETED, "d/gone")}
    assert names(files_of(lab.destination)) == {"same", "d/large"}
    again = lab.run(lab.asking(Method.FULL, rules=Rules(max_size_bytes=20)))
    assert again.actions() == set()


def test_a_rename_rule_beside_a_size_deletes_only_what_the_source_lacks(lab: Lab) -> None:
    rules = Rules(max_size_bytes=20, renames=(("^IMG_", ""),))
    write_tree(lab.source, {"IMG_1": "1" * 50, "IMG_2": "2"})
    write_tree(lab.destination, {"1": "small", "2": "2", "3": "gone"})
    ran = lab.run(lab.asking(Method.FULL, rules=rules))

    assert {path for action, path in ran.actions() if action is Action.DELETED} == {"3"}
    assert names(files_of(lab.destination)) == {"1", "2"}


@pytest.mark.parametrize("rules", [Rules(max_size_bytes=50), Rules(filters=("- *.tmp",))])
def test_deleting_sends_nothing_that_a_rename_rule_names_anew(lab: Lab, rules: Rules) -> None:
    rules = replace(rules, renames=(("^a$", "b"), (r"\.txt$", ".text")))
    write_tree(lab.source, {"a": "L" * 100, "z": "12345", "d/x.txt": "1"})
    write_tree(lab.destination, {"a": "small", "b": "PRECIOUS", "d/x.txt": "old", "e/gone": "1"})
    ran = lab.run(lab.asking(Method.FULL, rules=rules))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    plan, totals = ran.result.plan, ran.result.totals
    assert plan is not None
    assert plan.adds + plan.updates == totals.files_transferred
    assert (plan.deletes, plan.dirs_removed) == (totals.files_deleted, totals.dirs_removed)
    if rules.max_size_bytes:
        assert names(files_of(lab.destination)) == {"b", "z", "d/x.text"}
        assert (lab.destination / "b").read_text() == "PRECIOUS"
    assert not (lab.destination / "e").exists()
    assert lab.run(lab.asking(Method.FULL, rules=rules)).actions() == set()


def test_the_guards_count_what_a_size_or_age_leaves_to_be_deleted(lab: Lab) -> None:
    write_tree(lab.source, {"same": "1", "large": "1" * 50})
    write_tree(lab.destination, {"same": "1", "large": "1", "gone": "1"})
    request = lab.asking(Method.FULL, rules=Rules(max_size_bytes=20))
    stopped = lab.run(replace(request, guards=Guards(max_delete_files=0)))

    assert stopped.guard == "max_delete_files"
    assert (lab.destination / "gone").exists()
    ran = lab.run(replace(request, guards=Guards(max_delete_files=1)))
    assert ran.result.totals.files_deleted == 1
    assert names(files_of(lab.destination)) == {"same", "large"}


def test_a_file_too_old_at_the_source_stays_where_only_upload_times_are_known(
    lab: Lab, webdav_server: WebdavServer
) -> None:
    remote = own_folder(webdav_server.remote)
    now_s = time.time()
    for name, age_s in (("young", 0), ("old", 4), ("gone", 0)):
        (lab.source / name).write_text(name)
        os.utime(lab.source / name, (now_s - age_s, now_s - age_s))
    request = lab.asking(
        Method.FULL, rules=Rules(max_age_s=3600), destination=Endpoint(remote, "in")
    )
    assert lab.run(request).result.totals.files_transferred == 3
    os.utime(lab.source / "old", (now_s - 2 * DAY_S, now_s - 2 * DAY_S))
    (lab.source / "gone").unlink()
    ran = lab.run(request)

    assert ran.actions() == {(Action.DELETED, "gone")}
    assert names(look(lab, remote, "in", folders=False)) == {"young", "old"}


def own_folder(remote: served.Remote) -> Remote:
    found = engine_remote(remote)
    return replace(found, root="/".join(filter(None, (found.root, f"h{time.monotonic_ns()}"))))


@pytest.mark.parametrize("server", ["webdav", "s3", "sftp"])
@pytest.mark.parametrize("rules", [Rules(max_size_bytes=20), TO_LOWER], ids=["size", "name"])
def test_storages_keep_what_is_deleted_apart(
    lab: Lab, server: str, rules: Rules, request: pytest.FixtureRequest
) -> None:
    remote = own_folder(request.getfixturevalue(f"{server}_server").remote)
    destination = Endpoint(remote, "in")
    first = {"A.JPG": "v1", "B.JPG": "1", "d/C.JPG": "1"}
    write_tree(lab.source, first)
    lab.run(lab.asking(Method.FULL, rules=rules, destination=destination))
    before = look(lab, remote, "in", folders=False)
    write_tree(lab.source, {"A.JPG": "v2 longer"})
    (lab.source / "B.JPG").unlink()
    sync = keeping(lab.asking(Method.FULL, rules=rules, destination=destination))
    ran = lab.run(sync)
    undo = undo_of(sync, lab)

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert names(look(lab, remote, f"{KEPT}/attempt-0", folders=False)) <= set(names(before))
    assert (Action.UPDATED, "A.JPG") in ran.actions()
    assert restore(lab, undo).result.outcome is Outcome.SUCCEEDED
    assert look(lab, remote, "in", folders=False) == before


@pytest.mark.parametrize("server", ["local", "webdav"])
def test_a_retry_of_one_file_keeps_what_a_rename_rule_overwrites(
    lab: Lab, server: str, request: pytest.FixtureRequest
) -> None:
    remote = Remote("local", str(lab.root / "files"))
    if server != "local":
        remote = own_folder(request.getfixturevalue(f"{server}_server").remote)
    rules = Rules(renames=(("^IMG_", ""),))
    write_tree(lab.source, {"IMG_1": "v1", "IMG_2": "v1"})
    sync = lab.asking(Method.INCREMENTAL, rules=rules, destination=Endpoint(remote, "destination"))
    lab.run(sync)
    before = look(lab, remote, "destination", folders=False)
    write_tree(lab.source, {"IMG_1": NEW})
    retry = keeping(replace(sync, only_paths=("IMG_1",)))
    ran = lab.run(retry)

    assert ran.actions() == {(Action.UPDATED, "IMG_1")}
    restore(lab, undo_of(retry, lab))
    assert look(lab, remote, "destination", folders=False) == before
