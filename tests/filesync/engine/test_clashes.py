"""Two files of the source that get one name: none is lost, and who is left out is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from filesync.engine import (
    Action,
    Endpoint,
    FailureClass,
    LogLine,
    Method,
    Outcome,
    Remote,
    Rules,
    SyncRequest,
)
from filesync.engine.clashes import NewNames
from filesync.engine.command import RunFiles
from filesync.engine.lines import parse_line
from filesync.engine.messages import Duplicate, Skipped
from tests.filesync.engine.lab import Lab, Ran, engine_remote, files_of, write_tree
from tests.servers.process import Server, answers_tcp
from tests.servers.remote import RCLONE
from tests.servers.samba import SambaServer
from tests.servers.webdav import WebdavServer

NFC, NFD = "\u00e9.txt", "e\u0301.txt"
TO_ONE_NAME = Rules(renames=((r"^a[0-9]", "a"),))
LETTERS = {"Photo.jpg": "the first", "photo.jpg": "the second", "other": "3"}


class CapitalsServer(Server):
    """A WebDAV server that takes capitals for small letters, which rclone does not know."""

    name: ClassVar[str] = "capitals"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def prepare(self) -> None:
        self.root.mkdir()

    def argv(self) -> Sequence[str]:
        where = [str(self.root), "--addr", f"{self.host}:{self.port}", "--config", ""]
        return [str(RCLONE), "serve", "webdav", *where, "--vfs-case-insensitive"]

    def is_ready(self) -> bool:
        return answers_tcp(self.port)


@pytest.fixture(scope="module")
def capitals_server() -> Iterator[CapitalsServer]:
    with CapitalsServer() as server:
        yield server


def contents(*folders: Path) -> list[str]:
    """Give what is in all files of the folders."""
    return sorted(content for folder in folders for content in files_of(folder).values())


def assert_nothing_moved(ran: Ran, *named: str) -> None:
    failure = ran.result.failure
    assert ran.result.outcome is Outcome.FAILED
    assert failure is not None
    assert (failure.failure_class, failure.guard) == (FailureClass.GUARD, "same_name")
    assert any(name in failure.message for name in named), failure.message
    assert ran.items == []


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("kept", [None, "kept/1"])
@pytest.mark.parametrize(
    ("files", "rules"),
    [
        ({"a1.txt": "one", "a2.txt": "two", "a3.txt": "three", "b": "4"}, TO_ONE_NAME),
        ({"IMG_1.jpg": "one", "1.jpg": "two"}, Rules(renames=(("^IMG_", ""),))),
        ({NFC: "composed", NFD: "decomposed!"}, Rules()),
        ({f"sub/\u00e9/{NFC}": "composed", f"sub/e\u0301/{NFD}": "decomposed!"}, Rules()),
    ],
)
def test_a_move_to_one_name_is_refused(
    lab: Lab, files: dict[str, str], rules: Rules, kept: str | None, dry_run: bool
) -> None:
    write_tree(lab.source, files)
    before = files_of(lab.source)
    one_storage = lab.asking(Method.MOVE, rules=rules, keep_deleted_dir=kept, dry_run=dry_run)
    two = lab.between_storages(Method.MOVE, rules=rules, dry_run=dry_run)

    for request in (one_storage, two):
        assert_nothing_moved(lab.run(request), *(Path(name).name for name in files), "sub/")
        assert files_of(lab.source) == before
        assert files_of(lab.destination) == {}


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL, Method.OVERWRITE])
@pytest.mark.parametrize(
    ("files", "rules"),
    [
        ({"a1": "one", "a2": "two", "b": "3"}, TO_ONE_NAME),
        ({NFC: "composed", NFD: "decomposed!", "b": "3"}, Rules()),
    ],
)
def test_who_is_left_out_is_told_by_every_run(
    lab: Lab, method: Method, files: dict[str, str], rules: Rules
) -> None:
    write_tree(lab.source, files)
    for _ in range(2):
        ran = lab.run(lab.asking(method, rules=rules))

        failed = [item for item in ran.items if item.action is Action.FAILED]
        assert ran.result.outcome is Outcome.PARTIAL
        assert ran.result.failure is not None
        assert ran.result.failure.failure_class is FailureClass.NAME_NOT_ALLOWED
        assert ran.result.totals.files_failed == 1
        assert len(failed) == 1
        assert failed[0].path in files
        assert "same name" in (failed[0].error or "")
    assert len(files_of(lab.destination)) == 2


def test_a_check_tells_who_has_no_name_of_its_own(lab: Lab) -> None:
    write_tree(lab.source, {NFC: "composed", NFD: "decomposed!", "b": "3"})
    lab.run(lab.asking(Method.INCREMENTAL))
    ran = lab.run(lab.asking(Method.CHECK))

    assert ran.result.outcome is Outcome.PARTIAL
    assert [item.action for item in ran.items] == [Action.FAILED]


def test_a_dry_run_warns_of_who_would_be_left_out(lab: Lab) -> None:
    write_tree(lab.source, {"a1": "one", "a2": "two"})
    ran = lab.run(lab.asking(Method.FULL, rules=TO_ONE_NAME, dry_run=True))

    assert ran.result.outcome is Outcome.SUCCEEDED
    warned = [event.message for event in ran.events if isinstance(event, LogLine)]
    assert any("would be left out" in message for message in warned)


def test_a_folder_with_the_name_of_another_is_told_as_one(lab: Lab) -> None:
    write_tree(lab.source, {f"\u00e9/{name}": name for name in "ab"})
    write_tree(lab.source, {f"e\u0301/{name}": name for name in "cd"})
    ran = lab.run(lab.asking(Method.INCREMENTAL))

    assert ran.result.outcome is Outcome.PARTIAL
    failed = [item.path for item in ran.items if item.action is Action.FAILED]
    assert failed in (["\u00e9/"], ["e\u0301/"])


@pytest.mark.parametrize("rules", [Rules(), Rules(renames=(("^o", "x"),))])
@pytest.mark.parametrize("there", [False, True])
def test_letters_that_are_one_at_the_destination_are_not_moved(
    lab: Lab, capitals_server: CapitalsServer, rules: Rules, there: bool
) -> None:
    path = f"{'there' if there else 'new'}{len(rules.renames)}"
    if there:
        (capitals_server.root / path).mkdir()
    write_tree(lab.source, LETTERS)
    before = files_of(lab.source)
    where = Remote("webdav", "", {"url": f"http://127.0.0.1:{capitals_server.port}"})
    request = replace(lab.asking(Method.MOVE, rules=rules), destination=Endpoint(where, path))
    ran = lab.run(request)

    assert_nothing_moved(ran, "Photo.jpg")
    assert ran.result.failure is not None
    assert "photo.jpg" in ran.result.failure.message
    assert files_of(lab.source) == before
    assert files_of(capitals_server.root / path) == {}


def test_letters_that_become_one_by_a_rule_are_not_moved(
    lab: Lab, capitals_server: CapitalsServer
) -> None:
    write_tree(lab.source, {"IMG_A.jpg": "the first", "a.jpg": "the second"})
    before = files_of(lab.source)
    where = Remote("webdav", "", {"url": f"http://127.0.0.1:{capitals_server.port}"})
    rules = Rules(renames=(("^IMG_", ""),))
    request = lab.asking(Method.MOVE, rules=rules)
    ran = lab.run(replace(request, destination=Endpoint(where, "ruled")))

    assert_nothing_moved(ran, "IMG_A.jpg")
    assert files_of(lab.source) == before


def test_a_storage_that_is_known_to_take_capitals_for_small_letters(
    lab: Lab, samba_server: SambaServer
) -> None:
    write_tree(lab.source, LETTERS)
    before = files_of(lab.source)
    where = Endpoint(engine_remote(samba_server.remote), "letters")
    ran = lab.run(replace(lab.asking(Method.MOVE), destination=where))

    assert_nothing_moved(ran, "Photo.jpg", "photo.jpg")
    assert files_of(lab.source) == before


@pytest.mark.parametrize("kept", [None, "kept/1"])
def test_letters_that_differ_at_the_destination_are_moved(
    lab: Lab, webdav_server: WebdavServer, kept: str | None
) -> None:
    write_tree(lab.destination, {"Photo.jpg": "an older one"})
    for request in (
        lab.asking(Method.MOVE, keep_deleted_dir=kept),
        replace(
            lab.asking(Method.MOVE),
            destination=Endpoint(engine_remote(webdav_server.remote), "letters"),
        ),
    ):
        write_tree(lab.source, LETTERS)
        expected = contents(lab.source)
        ran = lab.run(request)

        assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
        assert ran.result.totals.files_transferred == 3
        assert files_of(lab.source) == {}
    assert contents(lab.destination) == expected
    assert contents(webdav_server.root / "letters") == expected


@pytest.mark.parametrize("between_storages", [False, True])
def test_what_a_rule_named_is_not_replaced_by_the_next_move(
    lab: Lab, between_storages: bool
) -> None:
    ask = lab.between_storages if between_storages else lab.asking
    request: SyncRequest = ask(Method.MOVE, rules=TO_ONE_NAME)
    write_tree(lab.source, {"a1": "one"})
    assert lab.run(request).result.outcome is Outcome.SUCCEEDED
    write_tree(lab.source, {"a2": "two", "b": "3"})
    all_of_them = contents(lab.source, lab.destination)
    ran = lab.run(request)

    assert ran.result.outcome is Outcome.PARTIAL
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.NAME_NOT_ALLOWED
    assert ran.actions() == {(Action.MOVED, "b"), (Action.FAILED, "a2")}
    assert contents(lab.source, lab.destination) == all_of_them
    assert set(files_of(lab.source)) == {b"a2"}


def test_what_a_rule_named_is_left_where_there_is_nothing_else_to_move(lab: Lab) -> None:
    write_tree(lab.source, {"sub/a2": "two"})
    write_tree(lab.destination, {"sub/a": "one"})
    request = lab.asking(Method.MOVE, rules=TO_ONE_NAME)
    planned = lab.run(replace(request, dry_run=True))
    ran = lab.run(request)

    warned = [event.message for event in planned.events if isinstance(event, LogLine)]
    assert any("would not be moved" in message for message in warned)
    assert ran.result.outcome is not Outcome.SUCCEEDED
    assert ran.actions() == {(Action.FAILED, "sub/a2")}
    assert set(files_of(lab.source)) == {b"sub/a2"}


def test_what_is_kept_may_be_replaced(lab: Lab) -> None:
    write_tree(lab.source, {"a2": "two"})
    write_tree(lab.destination, {"a": "one"})
    ran = lab.run(lab.asking(Method.MOVE, rules=TO_ONE_NAME, keep_deleted_dir="kept/1"))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert (lab.destination / "a").read_text() == "two"
    assert (lab.root / "files" / "kept" / "1" / "a").read_text() == "one"


def test_a_move_by_a_rule_is_planned(lab: Lab) -> None:
    write_tree(lab.source, {"a1": "one", "sub/b": "2"})
    ran = lab.run(lab.asking(Method.MOVE, rules=TO_ONE_NAME, dry_run=True))

    plan = ran.result.plan
    assert plan is not None
    assert (plan.adds, plan.updates, plan.bytes_to_send) == (2, 0, 4)
    assert {item.path for item in plan.items if item.action is Action.MOVED} == {"a1", "sub/b"}


@pytest.mark.parametrize(("kind", "path"), [("object", "sub/a1"), ("directory", "sub/a1/")])
def test_the_notice_of_rclone_is_read(kind: str, path: str) -> None:
    line = (
        f'{{"level":"notice","msg":"Duplicate {kind} found in source - ignoring",'
        '"object":"sub/a1","objectType":"*local.Object","source":"march/march.go:350"}'
    )
    assert parse_line(line.encode()) == Duplicate(path)
    other = parse_line(line.replace("in source", "in destination").encode())
    assert not isinstance(other, Duplicate)


@pytest.mark.parametrize(
    ("moves", "alike"),
    [
        ([("a", "move"), ("A", "move")], ("a", "A")),
        ([("x/\u00c9", "move"), ("X/e\u0301", "move")], ("x/\u00c9", "X/e\u0301")),
        ([("1", "move to Sub"), ("sub", "move")], ("1", "sub")),
        ([("a", "move"), ("b", "move"), ("c", "move to d")], None),
        # What is kept before it is replaced, by its name at the destination.
        ([("a", "move"), ("a1", "move to a")], None),
        ([(NFC, "move"), (NFD, "move")], None),
        ([("a", "copy"), ("A", "delete")], None),
    ],
)
def test_names_are_alike_where_capitals_alone_differ(
    tmp_path: Path, moves: list[tuple[str, str]], alike: tuple[str, str] | None
) -> None:
    names = NewNames(RunFiles(tmp_path))
    for path, what in moves:
        names.note(Skipped(what, path, 1))
    assert all(step is None for step in names.find_alike())
    assert names.alike == alike
