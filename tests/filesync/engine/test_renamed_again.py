"""What is kept bears the name it had: where rename rules would change that, nothing is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from filesync.engine import Action, Endpoint, FailureClass, Method, Outcome, Rules, never_rests
from filesync.engine.name_examples import examples
from tests.filesync.engine.lab import Lab, names, tree, write_tree
from tests.filesync.engine.test_deletions import own_folder
from tests.filesync.engine.test_restore import KEPT, keeping, look, restore, undo_of

GROWING = [
    (("^(.*)$", "x-${1}"),),
    ((r"^(.*)\.txt$", "${1}.v1.txt"),),
    (("^", "new "),),
    (("a", "aa"), ("b", "c")),
    ((r"([^.]+)\.(jpe?g)$", "${1}_small.${2}"),),
    (("(?i)img", "img-IMG"),),
]
RESTING = [
    ((r"\.JPG$", ".jpg"),),
    (("^IMG_(.*)$", "${1}"),),
    (("^(?P<year>[0-9]{4})-([0-9]+)", "${2}-$year"),),
    (("^IMG_", ""), ("^DSC_", "")),
    ((" ", "_"),),
    (("^[0-9]{8}_", "0${0}"),),
]


@pytest.mark.parametrize("renames", GROWING)
def test_rules_that_change_what_they_made_are_told_by_themselves(
    renames: tuple[tuple[str, str], ...], rclone_binary: Path
) -> None:
    assert never_rests(renames, rclone=rclone_binary) is not None


@pytest.mark.parametrize("renames", RESTING)
def test_rules_that_leave_what_they_made_are_none_of_them(
    renames: tuple[tuple[str, str], ...], rclone_binary: Path
) -> None:
    assert never_rests(renames, rclone=rclone_binary) is None


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"^(.*)\.txt$", "a.txt"),
        ("^IMG_[0-9]{4}(?:jpg|png)", "IMG_0000jpg"),
        (r"[^k]x+|b", "ax"),
        (r"\d\w\s[^a1]", "1a -"),
        ("(?i)(?P<b>b)?", "b"),
        ("(", "IMG_0001.JPG"),
        ("x{900}", "x" * 60),
    ],
)
def test_an_example_is_read_from_how_a_rule_is_written(pattern: str, name: str) -> None:
    assert name in examples(((pattern, ""),))


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL, Method.OVERWRITE, Method.MOVE])
def test_nothing_is_replaced_or_kept_under_another_name(
    lab: Lab, method: Method, keeps: bool
) -> None:
    rules = Rules(renames=GROWING[0])
    write_tree(lab.source, {"a": "v1", "d/b": "1"})
    lab.run(lab.asking(Method.INCREMENTAL, rules=rules))
    write_tree(lab.source, {"a": "v2 longer"})
    before = tree(lab.destination), tree(lab.source)
    request = lab.asking(method, rules=rules)
    ran = lab.run(keeping(request) if keeps else request)

    assert ran.result.outcome is Outcome.FAILED
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.CONFIG
    assert "x-" in ran.result.failure.message
    assert not ran.result.changed_files
    assert (tree(lab.destination), tree(lab.source)) == before
    assert not (lab.root / "files" / KEPT).exists()


@pytest.mark.parametrize("size", [None, 1000])
def test_a_deletion_alone_is_not_kept_under_another_name(lab: Lab, size: int | None) -> None:
    write_tree(lab.source, {"a": "1"})
    write_tree(lab.destination, {"x-a": "1", "d/x-gone": "1"})
    rules = Rules(renames=GROWING[0], max_size_bytes=size)
    ran = lab.run(keeping(lab.asking(Method.FULL, rules=rules)))

    assert ran.result.failure is not None
    assert "d/x-gone" in ran.result.failure.message
    assert (lab.destination / "d/x-gone").exists()


def test_what_is_only_added_goes_on_under_such_rules(lab: Lab) -> None:
    rules = Rules(renames=GROWING[0])
    for name in ("a", "b"):
        (lab.source / name).write_text(name)
        ran = lab.run(keeping(lab.asking(Method.INCREMENTAL, rules=rules)))
        assert ran.actions() == {(Action.ADDED, name)}
    (lab.source / "b").unlink()
    assert lab.run(lab.asking(Method.FULL, rules=rules)).actions() == {(Action.DELETED, "x-b")}
    assert names(tree(lab.destination)) == {"x-a"}


@pytest.mark.parametrize("server", ["webdav", "s3", "sftp"])
@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.MOVE])
def test_storages_are_asked_what_rules_make_of_their_names(
    lab: Lab, server: str, method: Method, request: pytest.FixtureRequest
) -> None:
    remote = own_folder(request.getfixturevalue(f"{server}_server").remote)
    write_tree(lab.source, {"IMG_1": "v1", "d/IMG_2": "v1"})
    rules = Rules(renames=(("^IMG_", ""),))
    sync = lab.asking(Method.INCREMENTAL, rules=rules, destination=Endpoint(remote, "in"))
    lab.run(sync)
    before = look(lab, remote, "in", folders=False)
    write_tree(lab.source, {"IMG_1": "v2 longer"})
    resting = keeping(lab.asking(method, rules=rules, destination=Endpoint(remote, "in")))
    ran = lab.run(resting)
    undo = undo_of(resting, lab)
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert restore(lab, undo).result.outcome is Outcome.SUCCEEDED
    assert look(lab, remote, "in", folders=False) == before

    # The name that one run made is changed by the next.
    rules = Rules(renames=(("^", "x"), ("^IMG_", "")))
    write_tree(lab.source, {"1": "v3 is longer still"})
    lab.run(lab.asking(Method.INCREMENTAL, rules=rules, destination=Endpoint(remote, "in")))
    write_tree(lab.source, {"1": "v4 is longer than that one"})
    ran = lab.run(keeping(lab.asking(method, rules=rules, destination=Endpoint(remote, "in"))))
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.CONFIG
