"""What each method promises, on local folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filesync.engine import (
    KEPT_FOLDER,
    Action,
    Compare,
    Endpoint,
    Method,
    Outcome,
    Phase,
    PhaseChanged,
    PlanReady,
    Progress,
    Rules,
)
from filesync.engine.filters import MARKER_PREFIX
from tests.filesync.engine.lab import Lab, files_of, names, tree, write_tree

SOURCE = {"new.txt": "new", "sub/deep/file": "deep", "changed": "longer now", "same": "same"}
DESTINATION = {"changed": "old", "extra/file": "extra", "extra/other/": ""}


@pytest.fixture
def filled(lab: Lab) -> Lab:
    """Return a lab whose sides share one file and differ in every way otherwise."""
    write_tree(lab.source, {**SOURCE, "empty/": ""})
    write_tree(lab.destination, DESTINATION)
    same = lab.destination / "same"
    same.write_text("same")
    facts = (lab.source / "same").stat()
    os.utime(same, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    return lab


def test_incremental_adds_and_updates_and_deletes_nothing(filled: Lab) -> None:
    before = tree(filled.destination)
    ran = filled.run(filled.asking(Method.INCREMENTAL))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert tree(filled.destination) == before | tree(filled.source)
    assert {
        (Action.ADDED, "new.txt"),
        (Action.ADDED, "sub/deep/file"),
        (Action.UPDATED, "changed"),
    } == {item for item in ran.actions() if item[0] in (Action.ADDED, Action.UPDATED)}
    assert ran.result.totals.files_transferred == 3
    assert ran.result.totals.bytes_transferred == len("new" + "deep" + "longer now")
    assert ran.result.totals.files_deleted == 0


def test_full_makes_the_destination_the_source_with_empty_folders(filled: Lab) -> None:
    ran = filled.run(filled.asking(Method.FULL))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert tree(filled.destination) == tree(filled.source)
    assert (Action.DELETED, "extra/file") in ran.actions()
    assert (Action.DIR_REMOVED, "extra") in ran.actions()
    assert ran.result.totals.files_deleted == 1
    phases = [event.phase for event in ran.events if isinstance(event, PhaseChanged)]
    assert phases == [Phase.PLANNING, Phase.LISTING, Phase.TRANSFERRING, Phase.DELETING]


def test_full_plans_exactly_what_it_then_does(filled: Lab) -> None:
    ran = filled.run(filled.asking(Method.FULL))

    plan = ran.result.plan
    assert plan is not None
    assert PlanReady(plan) in ran.events
    assert (plan.adds, plan.updates, plan.deletes) == (2, 1, 1)
    assert (plan.source_files, plan.destination_files) == (4, 3)
    assert plan.bytes_to_send == ran.result.totals.bytes_transferred
    assert plan.bytes_to_delete == len("extra")
    assert plan.dirs_removed == ran.result.totals.dirs_removed == 2
    done = {(item.action, item.path) for item in ran.items}
    planned = {(item.action, item.path) for item in plan.items}
    assert planned == done


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL])
def test_a_second_run_finds_nothing_to_do(filled: Lab, method: Method) -> None:
    filled.run(filled.asking(method))
    ran = filled.run(filled.asking(method))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert ran.items == []
    assert ran.result.totals.files_checked == 4
    assert ran.result.exit_code == 0


def test_overwrite_sends_equal_files_again_and_deletes_extra_ones(filled: Lab) -> None:
    ran = filled.run(filled.asking(Method.OVERWRITE))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert tree(filled.destination) == tree(filled.source)
    assert (Action.UPDATED, "same") in ran.actions()
    assert ran.result.totals.files_transferred == 4
    assert ran.result.totals.files_deleted == 1


def test_move_leaves_the_files_at_the_destination_only(filled: Lab) -> None:
    before, source = tree(filled.destination), tree(filled.source)
    ran = filled.run(filled.asking(Method.MOVE))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert tree(filled.destination) == before | source
    assert {kind for kind in tree(filled.source).values()} == {"folder"}
    assert {item.path for item in ran.items if item.action is Action.MOVED} == set(SOURCE)
    assert ran.result.totals.files_transferred == 4
    assert ran.result.totals.files_deleted == 0


def test_move_between_two_storages_sends_a_file_of_equal_size_and_time_again(lab: Lab) -> None:
    """Otherwise the source would be deleted although its content is nowhere else."""
    for folder, content in ((lab.source, "right"), (lab.destination, "wrong")):
        write_tree(folder, {"file": content})
    ran = lab.run(lab.between_storages(Method.MOVE))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert (lab.destination / "file").read_text() == "right"
    assert not (lab.source / "file").exists()
    assert ran.actions() == {(Action.MOVED, "file")}


def test_check_reports_differences_and_changes_nothing(filled: Lab) -> None:
    before = tree(filled.root / "files")
    ran = filled.run(filled.asking(Method.CHECK))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert ran.result.failure is None
    assert ran.actions() == {
        (Action.MISSING_ON_DESTINATION, "new.txt"),
        (Action.MISSING_ON_DESTINATION, "sub/deep/file"),
        (Action.MISSING_ON_SOURCE, "extra/file"),
        (Action.DIFFERS, "changed"),
    }
    assert (ran.result.totals.differences, ran.result.totals.files_checked) == (4, 5)
    assert tree(filled.root / "files") == before


def test_check_of_equal_sides_reports_nothing(lab: Lab) -> None:
    for folder in (lab.source, lab.destination):
        write_tree(folder, {"a": "a", "b/c": "c"})
    ran = lab.run(lab.asking(Method.CHECK))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert (ran.items, ran.result.totals.differences) == ([], 0)
    assert ran.result.totals.files_checked == 2


@pytest.mark.parametrize("method", list(Method))
def test_a_dry_run_changes_no_byte_and_brings_a_plan(filled: Lab, method: Method) -> None:
    before = tree(filled.root / "files")
    ran = filled.run(filled.asking(method, dry_run=True))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert ran.result.plan is not None
    assert tree(filled.root / "files") == before
    expected = {
        Method.INCREMENTAL: (2, 1, 0),
        Method.FULL: (2, 1, 1),
        Method.OVERWRITE: (2, 2, 1),
        Method.MOVE: (2, 2, 0),
        Method.CHECK: (0, 0, 0),
    }
    plan = ran.result.plan
    assert (plan.adds, plan.updates, plan.deletes) == expected[method]


@pytest.mark.parametrize(
    ("compare", "sent"),
    [(Compare.SIZE_TIME, False), (Compare.CHECKSUM, True), (Compare.SIZE, False)],
)
def test_compare_decides_whether_a_hidden_edit_is_seen(
    lab: Lab, compare: Compare, sent: bool
) -> None:
    """Same size, same time, other content: only a checksum tells."""
    for folder, content in ((lab.source, "aaaa"), (lab.destination, "bbbb")):
        write_tree(folder, {"file": content})
    ran = lab.run(lab.asking(Method.INCREMENTAL, compare=compare))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert ((lab.destination / "file").read_text() == "aaaa") is sent


def test_compare_by_size_leaves_a_file_with_another_time_alone(lab: Lab) -> None:
    write_tree(lab.source, {"file": "aaaa"})
    write_tree(lab.destination, {"zero": "", "file": "bbbb"})
    ran = lab.run(lab.asking(Method.INCREMENTAL, compare=Compare.SIZE))

    assert ran.items == []
    assert (lab.destination / "file").read_text() == "bbbb"


def test_equal_content_with_another_time_gets_the_time_only(lab: Lab) -> None:
    write_tree(lab.source, {"file": "aaaa"})
    write_tree(lab.destination, {"zero": "", "file": "aaaa"})
    ran = lab.run(lab.asking(Method.INCREMENTAL))

    assert ran.actions() == {(Action.TIME_UPDATED, "file")}
    assert ran.result.totals.files_transferred == 0


def test_filters_count_on_both_sides(lab: Lab) -> None:
    write_tree(lab.source, {"keep.jpg": "1", "skip.tmp": "2"})
    write_tree(lab.destination, {"old.jpg": "3", "precious.tmp": "4"})
    rules = Rules(filters=("- *.tmp",))
    ran = lab.run(lab.asking(Method.FULL, rules=rules))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert set(tree(lab.destination)) == {b"keep.jpg", b"precious.tmp"}


def test_size_and_age_limits_leave_files_out(lab: Lab) -> None:
    write_tree(lab.source, {"small": "1", "fits": "12345", "large": "1" * 100})
    recent = lab.source / "recent"
    recent.write_text("12345")
    rules = Rules(min_size_bytes=2, max_size_bytes=50, min_age_s=3600)
    lab.run(lab.asking(Method.INCREMENTAL, rules=rules))

    assert set(tree(lab.destination)) == {b"fits"}


def test_the_first_rename_rule_that_matches_names_a_file(lab: Lab) -> None:
    write_tree(
        lab.source,
        {
            "a=1.txt": "every rule matches",
            "sub/b.txt": "the second and the last",
            "keep-me.txt": "the third",
            "2024-06.log": "groups",
            "x-x": "twice in one name",
            "price.$": "a dollar",
            "Q.TXT": "letters of any case",
            "c.md": "none",
            "line\nbreak=": "the first, with a line break",
            "line\nbreak.txt": "the second, with a line break",
        },
    )
    rules = Rules(
        renames=(
            ("^((?s:.*))=((?s:.*))$", "${1}-${2}"),
            (r"^((?s:[^k].*))\.txt$", "${1}.text"),
            ("keep", "$0"),
            ("^(?P<year>[0-9]{4})-([0-9]+)", "${2}-$year"),
            ("x", "y-"),
            (r"\.[$]$", "$$.eur"),
            (r"(?i)\.txt$", ".plain"),
        )
    )
    expected = {
        *("a-1.txt", "sub", "sub/b.text", "keep-me.txt", "06-2024.log", "y--y-", "price$.eur"),
        *("Q.plain", "c.md", "line\nbreak-", "line\nbreak.text"),
    }
    for _ in range(2):
        ran = lab.run(lab.asking(Method.FULL, rules=rules))

        assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
        assert names(tree(lab.destination)) == expected
    assert ran.items == []


@pytest.mark.parametrize("kept", [f"destination/{KEPT_FOLDER}/day", "kept/day"])
def test_deleted_and_overwritten_files_are_kept(filled: Lab, kept: str) -> None:
    before = tree(filled.destination)
    ran = filled.run(filled.asking(Method.FULL, keep_deleted_dir=kept))

    assert ran.result.outcome is Outcome.SUCCEEDED
    saved = tree(filled.root / "files" / kept)
    assert saved[b"changed"] == before[b"changed"]
    assert saved[b"extra/file"] == before[b"extra/file"]
    actions = ran.actions()
    assert {(Action.UPDATED, "changed"), (Action.DELETED, "extra/file")} <= actions
    assert ran.result.totals.files_deleted == 1
    assert ran.result.totals.files_transferred == 3


def test_kept_files_survive_the_next_full_run(filled: Lab) -> None:
    kept = f"destination/{KEPT_FOLDER}/day"
    filled.run(filled.asking(Method.FULL, keep_deleted_dir=kept))
    saved = tree(filled.root / "files" / kept)
    filled.run(filled.asking(Method.FULL))

    assert tree(filled.root / "files" / kept) == saved


OWN = {
    f"{KEPT_FOLDER}/2026-11-24-run-1/a": "kept",
    f"照片/{KEPT_FOLDER}/2026-11-24-run-1/b/c": "another one's",
    f"line\nbreak/deep/{KEPT_FOLDER}/day/d\ne": "of odd names",
    f"deep/{MARKER_PREFIX}0123": "left by a killed run",
    f"{MARKER_PREFIX}4567": "left by a killed run",
}


def test_what_is_syncbeats_own_is_left_alone_at_every_depth(filled: Lab) -> None:
    write_tree(filled.destination, {**OWN, f"{KEPT_FOLDER}-not/x": "x"})
    write_tree(filled.source, {f"{KEPT_FOLDER}/2026-11-23-run-0/z": "not to be copied"})
    ran = filled.run(filled.asking(Method.FULL))

    assert ran.result.outcome is Outcome.SUCCEEDED
    deleted = {item.path for item in ran.items if item.action is Action.DELETED}
    assert deleted == {"extra/file", f"{KEPT_FOLDER}-not/x"}
    assert set(files_of(filled.destination)) == {name.encode() for name in (*SOURCE, *OWN)}


def test_a_move_keeps_what_it_overwrites(filled: Lab) -> None:
    before = tree(filled.destination)
    ran = filled.run(filled.asking(Method.MOVE, keep_deleted_dir="kept/day"))

    assert ran.result.outcome is Outcome.SUCCEEDED
    saved = tree(filled.root / "files" / "kept" / "day")
    assert saved[b"changed"] == before[b"changed"]
    assert {item.path for item in ran.items if item.action is Action.MOVED} == set(SOURCE)
    assert ran.result.totals.files_deleted == 0


def test_only_paths_limits_a_full_run_and_then_deletes_nothing(filled: Lab) -> None:
    before = tree(filled.destination)
    ran = filled.run(filled.asking(Method.FULL, only_paths=("new.txt", "changed")))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert ran.actions() == {(Action.ADDED, "new.txt"), (Action.UPDATED, "changed")}
    assert set(tree(filled.destination)) == set(before) | {b"new.txt"}


def test_a_source_that_is_one_file_is_copied(lab: Lab) -> None:
    write_tree(lab.source, {"one": "1", "two": "2"})
    source = Endpoint(lab.request.source.remote, "source/one")
    ran = lab.run(lab.asking(Method.INCREMENTAL, source=source))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert set(tree(lab.destination)) == {b"one"}


def test_symbolic_links_of_the_source_are_not_followed(lab: Lab, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    write_tree(lab.source, {"file": "1"})
    (lab.source / "link").symlink_to(outside)
    (lab.source / "file-link").symlink_to(outside / "secret")
    ran = lab.run(lab.asking(Method.FULL))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert set(tree(lab.destination)) == {b"file"}


def test_progress_ends_with_everything_done(filled: Lab) -> None:
    ran = filled.run(filled.asking(Method.INCREMENTAL))

    progress = [event for event in ran.events if isinstance(event, Progress)][-1]
    assert (progress.files_done, progress.files_total) == (3, 3)
    assert progress.bytes_done == progress.bytes_total == ran.result.totals.bytes_transferred
    assert progress.eta_s is None
