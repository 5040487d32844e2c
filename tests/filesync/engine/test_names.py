"""Every name that a disk can hold arrives byte for byte."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from filesync.engine import Action, Endpoint, Method, Outcome, validate_path
from tests.filesync.engine.lab import Lab, files_of, tree

NAMES = [
    b"-rf",
    b"--config",
    b" leading and trailing ",
    b"new\nline",
    b"carriage\rreturn",
    b"tab\there",
    b"quote\"'`",
    b"back\\slash",
    b"$(touch pwned)",
    b"%(x)s",
    b"star*question?[set]{a,b}",
    b"colon:and,comma",
    b":local:",
    b"#hash;semicolon",
    b"!bang",
    b"~tilde",
    b"..dots",
    b"...",
    "emoji-\N{ROCKET}".encode(),
    "\u6587\u4ef6\u540c\u6b65\uff08\u526f\u672c\uff09".encode(),
    "e\u0301 and \u00e9".encode(),
    b"invalid-\xff\xfe-utf8",
    b"n" * 250,
    b"\xe6\x96\x87" * 83,
    b"file.partial",
    b"\x01control\x7f",
]


def fill(folder: Path) -> None:
    base = os.fsencode(folder)
    for name in NAMES:
        with open(os.path.join(base, name), "wb") as file:
            file.write(b"content of " + name)
        # A name of 250 bytes leaves no room for rclone's suffix of a partial file elsewhere.
        os.makedirs(os.path.join(base, b"folders", name), exist_ok=True)
        with open(os.path.join(base, b"folders", name, b"inside"), "wb") as file:
            file.write(name)


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL, Method.MOVE])
def test_odd_names_arrive_byte_for_byte(lab: Lab, method: Method) -> None:
    fill(lab.source)
    expected = tree(lab.source)
    ran = lab.run(lab.between_storages(method))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert tree(lab.destination) == expected
    assert ran.result.totals.files_transferred == 2 * len(NAMES)


def test_odd_names_are_deleted_by_name(lab: Lab) -> None:
    fill(lab.destination)
    (lab.source / "kept").write_text("kept")
    ran = lab.run(lab.asking(Method.FULL))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert set(tree(lab.destination)) == {b"kept"}
    assert ran.result.totals.files_deleted == 2 * len(NAMES)


def test_a_plan_counts_odd_names_once(lab: Lab) -> None:
    fill(lab.source)
    ran = lab.run(lab.asking(Method.FULL, dry_run=True))

    assert ran.result.plan is not None
    assert ran.result.plan.adds == ran.result.plan.source_files == 2 * len(NAMES)


@pytest.mark.parametrize("name", ["-dash", "colon: in it", "\u6587\u4ef6", "a b", "{x}[y]*"])
def test_a_folder_with_an_odd_name_can_be_synced(lab: Lab, name: str) -> None:

    (lab.source / name).mkdir()
    (lab.source / name / "file").write_text("1")
    inside = f"source/{name}"
    assert validate_path(inside) == inside
    source = Endpoint(lab.request.source.remote, inside)
    ran = lab.run(lab.asking(Method.FULL, source=source))

    assert ran.actions() == {(Action.ADDED, "file")}
    assert set(tree(lab.destination)) == {b"file"}


def test_names_as_a_log_shows_them_are_sent_and_no_others(lab: Lab) -> None:
    """So are failed files sent again; invalid UTF-8 a log shows as U+FFFD only."""
    fill(lab.source)
    ran = lab.run(lab.between_storages(Method.INCREMENTAL, dry_run=True))
    assert ran.result.plan is not None
    logged = {item.path for item in ran.result.plan.items if item.action is Action.ADDED}
    odd = tuple(path for path in logged if "\ufffd" in path)
    assert len(odd) == 2
    for wanted in (tuple(logged), odd, (*odd, " leading and trailing ")):
        shutil.rmtree(lab.destination)
        sent = lab.run(lab.between_storages(Method.INCREMENTAL, only_paths=wanted))
        assert sent.result.outcome is Outcome.SUCCEEDED
        assert {item.path for item in sent.items if item.action is Action.ADDED} == set(wanted)
        assert len(files_of(lab.destination)) == len(set(wanted))


def test_a_name_limited_to_by_path_is_sent_whatever_it_is(lab: Lab) -> None:
    fill(lab.source)
    wanted = ["-rf", "#hash;semicolon", "star*question?[set]{a,b}", " leading and trailing "]
    ran = lab.run(lab.asking(Method.INCREMENTAL, only_paths=tuple(wanted)))

    assert {item.path for item in ran.items if item.action is Action.ADDED} == set(wanted)
    assert set(tree(lab.destination)) == {os.fsencode(name) for name in wanted}
