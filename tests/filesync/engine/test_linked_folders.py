"""A linked folder of the destination is not written through, though it leads nowhere forbidden."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from filesync.engine import Endpoint, FailureClass, Method, Outcome, Rules, linked_folders
from filesync.engine.linked_folders import LinkedFolders
from filesync.engine.messages import Skipped
from tests.filesync.engine.lab import Lab, Ran, engine_remote, tree, write_tree
from tests.servers.sftp import SftpServer

WRITING = [Method.INCREMENTAL, Method.FULL, Method.OVERWRITE, Method.MOVE]


def assert_refused(ran: Ran, link: str) -> None:
    assert ran.result.outcome is Outcome.FAILED
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.CONFIG
    assert link in ran.result.failure.message
    assert not ran.items


@pytest.mark.parametrize("method", WRITING)
@pytest.mark.parametrize("kept", [None, "kept/run"])
@pytest.mark.parametrize(
    ("source", "link", "target"),
    [
        ({"d/f": "new"}, "d", "other"),
        ({"d/f": "new", "other/f": "newer"}, "d", "other"),
        ({"d/f": "new"}, "d", "../source"),
        ({"deep/d/e/f": "new"}, "deep/d", "../other"),
        ({"d/e/": ""}, "d", "other"),
        ({"d/f": "new", "made/f": "newer"}, "d", "made"),
    ],
)
def test_a_linked_folder_with_the_name_of_one_of_the_source_ends_the_run(
    lab: Lab, method: Method, kept: str | None, source: Mapping[str, str], link: str, target: str
) -> None:
    write_tree(lab.source, {**source, "f": "of the source"})
    write_tree(lab.destination, {"other/f": "precious", "deep/": ""})
    (lab.destination / link).symlink_to(target)
    before = tree(lab.root / "files")
    for dry_run in (True, False):
        ran = lab.run(lab.asking(method, keep_deleted_dir=kept, dry_run=dry_run))

        assert_refused(ran, str(lab.destination / link))
        assert tree(lab.root / "files") == before


@pytest.mark.parametrize("method", WRITING)
@pytest.mark.parametrize(
    ("source", "rules"),
    [
        ({"f": "1"}, Rules()),
        ({"f": "1", "sub/d/f": "2"}, Rules()),
        ({"f": "1", "d": "a file"}, Rules()),
        ({"f": "1", "d/x.tmp": "2"}, Rules(filters=("- *.tmp",))),
        ({"f": "1", "d/x": "2"}, Rules(filters=("- /d/**",))),
    ],
)
def test_a_linked_folder_that_nothing_is_written_below_does_no_harm(
    lab: Lab, method: Method, source: Mapping[str, str], rules: Rules
) -> None:
    write_tree(lab.source, source)
    write_tree(lab.destination, {"f": "old", "other/f": "precious", ".syncbeat-kept/": ""})
    (lab.destination / "d").symlink_to("other")
    (lab.destination / ".syncbeat-kept" / "sub").symlink_to("..")
    ran = lab.run(lab.asking(method, rules=rules))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert (lab.destination / "f").read_text() == "1"


def test_a_linked_folder_is_left_alone_by_a_run_that_is_limited_to_other_files(lab: Lab) -> None:
    write_tree(lab.source, {"d/f": "1", "e/f": "2"})
    write_tree(lab.destination, {"other/f": "precious"})
    (lab.destination / "d").symlink_to("other")
    limited = lab.asking(Method.INCREMENTAL, only_paths=("e/f",))
    assert lab.run(limited).result.outcome is Outcome.SUCCEEDED
    assert_refused(lab.run(replace(limited, only_paths=("e/f", "d/f"))), str(lab.destination / "d"))
    assert (lab.destination / "other" / "f").read_text() == "precious"


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL])
def test_a_source_on_a_server_is_asked_whether_it_has_the_folder(
    lab: Lab, sftp_server: SftpServer, method: Method
) -> None:
    remote = engine_remote(sftp_server.remote)
    there = Endpoint(remote, f"l{time.monotonic_ns()}")
    write_tree(sftp_server.root / there.path, {"f": "1"})
    write_tree(lab.destination, {"other/f": "precious"})
    (lab.destination / "d").symlink_to("other")
    request = lab.asking(method, source=there)
    assert lab.run(request).result.outcome is Outcome.SUCCEEDED
    write_tree(lab.destination, {"other/f": "precious"})
    write_tree(sftp_server.root / there.path, {"d/f": "2"})

    assert_refused(lab.run(request), str(lab.destination / "d"))
    assert (lab.destination / "other" / "f").read_text() == "precious"


def test_where_nothing_changes_no_second_look_is_taken(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(lab.source, {"d/f": "1", "e/g/h": "2"})
    assert lab.run(lab.asking(Method.FULL)).result.outcome is Outcome.SUCCEEDED
    monkeypatch.setattr("filesync.engine.linked_folders.os.path.islink", pytest.fail)
    assert lab.run(lab.asking(Method.FULL)).result.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("counts", [True, False])
def test_a_copy_finds_its_links_whether_or_not_folders_count_theirs(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, counts: bool
) -> None:
    """Some network file systems give each folder two links, others one."""
    if not counts:
        monkeypatch.setattr(linked_folders, "_LINKS_OF_FOLDER", -1)
    names = ["a/b/c", "a/b/link", "a/leaf", "e/f"]
    write_tree(lab.source, {f"{name}/file": "1" for name in names})
    write_tree(lab.destination, {"a/b/c/": "", "a/leaf/": "", "e/": "", "other/": ""})
    for link in ("a/b/link", "a/leaf/nobody", "nobody"):
        (lab.destination / link).symlink_to(lab.destination / "other")
    (lab.source / "g").symlink_to("a")
    (lab.destination / "g").symlink_to("other")
    found = linked_folders._links_to_write_through(str(lab.source), str(lab.destination))

    assert [one for one in found if one] == [str(lab.destination / "a/b/link")]


def test_each_folder_is_looked_at_once_however_deep(lab: Lab) -> None:
    deep = "a/" * 2000 + "f"
    links = LinkedFolders(str(lab.destination))
    take = links.watching(lambda _: [])
    assert take(Skipped("copy", deep, 1)) == []
    assert take(Skipped("copy", "no\0name/f", 1)) == []
