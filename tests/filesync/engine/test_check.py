"""A CHECK tells what a run would, where rules hide a file on one side alone."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import (
    Action,
    Compare,
    Endpoint,
    FailureClass,
    LogLine,
    Method,
    Outcome,
    Remote,
    Rules,
    SyncRequest,
)
from filesync.engine.passes import NO_CONTENTS_OF_RENAMED
from tests.filesync.engine.lab import NO_GUARDS, Lab, engine_remote, write_tree

ODD = "\u6587\u4ef6 \N{ROCKET}"
SMALL = Rules(max_size_bytes=20)
LOWER = Rules(filters=("+ *.JPG", "- *"), renames=((r"\.JPG$", ".jpg"),))
DAY_S = 86400


@pytest.fixture(params=["local", "webdav", "sftp", "s3"])
def upload(lab: Lab, request: pytest.FixtureRequest) -> SyncRequest:
    """Return a request that fills a folder of its own on each kind of storage."""
    remote = Remote("local", str(lab.root / "files" / "destination"))
    if request.param != "local":
        found = engine_remote(request.getfixturevalue(f"{request.param}_server").remote)
        name = f"c{time.monotonic_ns()}"
        remote = replace(found, root="/".join(filter(None, (found.root, name))))
    return lab.asking(Method.INCREMENTAL, destination=Endpoint(remote, "up"), guards=NO_GUARDS)


def edit(lab: Lab, name: str, content: str, *, later_s: float = 0) -> None:
    """Write other contents, `later_s` seconds after now; as old as before where that is 0."""
    path = lab.source / name
    at_s = time.time() + later_s if later_s else path.stat().st_mtime
    path.write_text(content)
    os.utime(path, (at_s, at_s))


@pytest.mark.parametrize("compare", list(Compare))
def test_a_size_of_the_source_decides_what_is_compared(
    lab: Lab, upload: SyncRequest, compare: Compare
) -> None:
    small, large = "1", "1" * 50
    gone = {"only there": small, "large and only there": large}
    write_tree(lab.source, {"same": small, "d/grew": large, "shrank": small, ODD: "one", **gone})
    assert lab.run(upload).result.outcome is Outcome.SUCCEEDED
    for name in gone:
        (lab.source / name).unlink()
    write_tree(lab.source, {"only here": small, "large and only here": large})
    edit(lab, "d/grew", small)
    edit(lab, "shrank", large)
    edit(lab, ODD, "two", later_s=5)
    ran = lab.run(replace(upload, method=Method.CHECK, compare=compare, rules=SMALL))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    edited = set() if compare is Compare.SIZE else {(Action.DIFFERS, ODD)}
    assert ran.actions() == edited | {
        (Action.DIFFERS, "d/grew"),
        (Action.MISSING_ON_DESTINATION, "only here"),
        (Action.MISSING_ON_SOURCE, "only there"),
    }
    totals = ran.result.totals
    assert (totals.differences, totals.files_checked) == (3 + len(edited), 5)


def test_a_file_old_enough_is_found_where_its_copy_is_young(lab: Lab, upload: SyncRequest) -> None:
    write_tree(lab.source, {"a": "one", "d/b": "one", "young": "one"})
    now_s = time.time()
    for name, age_s in (("a", 2 * DAY_S), ("d/b", 2 * DAY_S), ("young", 0)):
        os.utime(lab.source / name, (now_s - age_s, now_s - age_s))
    lab.run(upload)
    check = replace(upload, method=Method.CHECK, rules=Rules(min_age_s=DAY_S))
    ran = lab.run(check)
    assert (ran.result.outcome, ran.actions()) == (Outcome.SUCCEEDED, set())
    assert ran.result.totals.files_checked == 2

    edit(lab, "d/b", "two")
    edit(lab, "young", "two")
    ran = lab.run(replace(check, compare=Compare.CHECKSUM))
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.actions() == {(Action.DIFFERS, "d/b")}


@pytest.mark.parametrize("compare", [Compare.SIZE_TIME, Compare.CHECKSUM])
def test_a_file_is_found_under_its_new_name_which_the_filters_hide(
    lab: Lab, upload: SyncRequest, compare: Compare
) -> None:
    write_tree(lab.source, {"A.JPG": "1", "d/B.JPG": "1", "c.txt": "1"})
    lab.run(replace(upload, rules=LOWER))
    check = replace(upload, method=Method.CHECK, rules=LOWER, compare=compare)
    ran = lab.run(check)
    assert (ran.result.outcome, ran.actions()) == (Outcome.SUCCEEDED, set())
    warned = LogLine("warning", NO_CONTENTS_OF_RENAMED) in ran.events
    has_hashes = upload.destination.remote.backend in ("local", "s3")
    assert warned == (compare is Compare.CHECKSUM and not has_hashes)

    write_tree(lab.source, {"A.JPG": "longer", "E.JPG": "1"})
    ran = lab.run(check)
    assert {action for action, _ in ran.actions()} == {
        Action.DIFFERS,
        Action.MISSING_ON_DESTINATION,
    }


@pytest.mark.parametrize("upload", ["sftp"], indirect=True)
def test_odd_names_are_read_by_their_list(lab: Lab, upload: SyncRequest) -> None:
    odd = [b"line\nbreak", b"not \xff utf-8", b"-dash", b" in blanks ", b"a*[b]", ODD.encode()]
    for name in odd:
        Path(os.fsdecode(os.fsencode(lab.source) + b"/" + name)).write_text("one")
    assert lab.run(upload).result.totals.files_transferred == len(odd)
    for name in odd:
        edit(lab, os.fsdecode(name), "two")
    check = replace(upload, method=Method.CHECK, compare=Compare.CHECKSUM, rules=SMALL)
    ran = lab.run(check)

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert {action for action, _ in ran.actions()} == {Action.DIFFERS}
    assert ran.result.totals.differences == len(odd)


def test_what_only_the_destination_has_is_told_whatever_its_name(lab: Lab) -> None:
    write_tree(lab.source, {"a": "1"})
    write_tree(lab.destination, {"a": "1", "d/b": "1"})
    Path(os.fsdecode(os.fsencode(lab.destination) + b"/not \xff utf-8")).write_text("1")
    ran = lab.run(lab.asking(Method.CHECK, rules=SMALL))

    assert ran.actions() == {
        (Action.MISSING_ON_SOURCE, "d/b"),
        (Action.MISSING_ON_SOURCE, "not \ufffd utf-8"),
    }
    assert ran.result.totals.files_checked == 3


@pytest.mark.parametrize("rules", [Rules(), SMALL])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_what_lies_in_a_folder_that_cannot_be_read_is_not_told_as_missing(
    lab: Lab, bound_rclone: Path, side: str, rules: Rules
) -> None:
    for folder in (lab.source, lab.destination):
        write_tree(folder, {"a": "1", "closed/b": "1", "closed/d/c": "1"})
    (lab.destination / "a").unlink()
    closed = getattr(lab, side) / "closed"
    closed.chmod(0)
    ran = lab.run(lab.asking(Method.CHECK, rules=rules), rclone=bound_rclone)
    closed.chmod(0o700)

    assert ran.result.outcome in (Outcome.PARTIAL, Outcome.FAILED)
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.PERMISSION
    told = {(action, path) for action, path in ran.actions() if action is not Action.FAILED}
    assert told == {(Action.MISSING_ON_DESTINATION, "a")}
    assert ran.result.totals.differences == 1


@pytest.mark.parametrize("rules", [Rules(), SMALL])
def test_a_source_that_is_not_there_is_no_success(lab: Lab, rules: Rules) -> None:
    write_tree(lab.destination, {"a": "1"})
    shutil.rmtree(lab.source)
    ran = lab.run(lab.asking(Method.CHECK, rules=rules))

    assert ran.result.outcome is Outcome.FAILED
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.NOT_FOUND


@pytest.mark.parametrize("rules", [Rules(), SMALL])
def test_a_destination_that_is_not_there_lacks_every_file(lab: Lab, rules: Rules) -> None:
    write_tree(lab.source, {"a": "1"})
    shutil.rmtree(lab.destination)
    ran = lab.run(lab.asking(Method.CHECK, rules=rules))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert ran.actions() == {(Action.MISSING_ON_DESTINATION, "a")}
