"""What protects the destination: no plan that smells is carried out."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import (
    KEPT_FOLDER,
    Action,
    Endpoint,
    Event,
    FailureClass,
    Guards,
    ItemDone,
    Method,
    Outcome,
    PlanReady,
    Rules,
)
from tests.filesync.engine.lab import (
    NO_GUARDS,
    Lab,
    Ran,
    engine_remote,
    files_of,
    tree,
    write_tree,
)
from tests.servers.webdav import WebdavServer

PRECIOUS = {f"photo{number}": str(number) for number in range(10)}
DELETING = [Method.FULL, Method.OVERWRITE, Method.MOVE]
MIRRORING = [Method.FULL, Method.OVERWRITE]


@pytest.fixture
def precious(lab: Lab) -> Lab:
    """Return a lab with ten files at the destination and an empty source."""
    write_tree(lab.destination, PRECIOUS)
    return lab


def assert_guarded(ran: Ran, guard: str) -> None:
    failure = ran.result.failure
    assert ran.result.outcome is Outcome.FAILED
    assert failure is not None
    assert (failure.failure_class, failure.guard) == (FailureClass.GUARD, guard)
    assert not failure.retryable
    assert failure.message
    assert failure.advice
    assert not ran.items


@pytest.mark.parametrize("method", MIRRORING)
def test_an_empty_source_deletes_nothing(precious: Lab, method: Method) -> None:
    before = tree(precious.destination)
    ran = precious.run(precious.asking(method))

    assert_guarded(ran, "source_empty")
    assert tree(precious.destination) == before


def test_moving_an_empty_source_does_nothing(precious: Lab) -> None:
    before = tree(precious.destination)
    ran = precious.run(precious.asking(Method.MOVE))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert tree(precious.destination) == before


@pytest.mark.parametrize("method", DELETING)
@pytest.mark.parametrize("force", [False, True])
def test_a_missing_source_deletes_nothing_even_with_force(
    precious: Lab, method: Method, force: bool
) -> None:
    before = tree(precious.destination)
    shutil.rmtree(precious.source)
    ran = precious.run(precious.asking(method, force=force))

    assert_guarded(ran, "source_missing")
    assert ran.result.failure is not None
    assert 'Source: "source", destination: "destination".' in ran.result.failure.message
    assert tree(precious.destination) == before


def test_a_missing_source_of_an_incremental_run_is_not_found(precious: Lab) -> None:
    shutil.rmtree(precious.source)
    ran = precious.run(precious.asking(Method.INCREMENTAL))

    assert ran.result.outcome is Outcome.FAILED
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.NOT_FOUND
    assert 'Source: "source", destination: "destination".' in ran.result.failure.message
    assert ran.result.exit_code == 3


@pytest.mark.parametrize("method", DELETING)
@pytest.mark.parametrize("force", [False, True])
def test_a_source_unreadable_in_part_deletes_nothing_even_with_force(
    precious: Lab, bound_rclone: Path, method: Method, force: bool
) -> None:
    before = tree(precious.destination)
    write_tree(precious.source, {"hidden/photo": "1", **PRECIOUS})
    (precious.source / "hidden").chmod(0o000)
    ran = precious.run(precious.asking(method, force=force), rclone=bound_rclone)

    assert_guarded(ran, "source_unreadable")
    assert ran.result.failure is not None
    assert "hidden" in ran.result.failure.message
    assert tree(precious.destination) == before
    assert (precious.source / "photo1").exists()


@pytest.mark.parametrize("method", MIRRORING)
def test_an_empty_source_is_mirrored_with_force(precious: Lab, method: Method) -> None:
    ran = precious.run(precious.asking(method, force=True))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert tree(precious.destination) == {}


def test_filters_that_let_nothing_through_delete_nothing(precious: Lab) -> None:
    write_tree(precious.source, PRECIOUS)
    write_tree(precious.destination, {"more": "1"})
    before = tree(precious.destination)
    ran = precious.run(precious.asking(Method.FULL, rules=Rules(filters=("+ /more", "- *"))))

    assert_guarded(ran, "source_empty")
    assert tree(precious.destination) == before


@pytest.mark.parametrize(
    ("guards", "left", "guard"),
    [
        (Guards(max_delete_files=3, max_delete_percent=None), 6, "max_delete_files"),
        (Guards(max_delete_files=4, max_delete_percent=None), 6, None),
        (Guards(max_delete_files=None, max_delete_percent=39.9), 6, "max_delete_percent"),
        (Guards(max_delete_files=None, max_delete_percent=40), 6, None),
        (Guards(), 6, None),
        (Guards(), 5, None),
        (Guards(), 4, "max_delete_percent"),
        (
            Guards(None, None, max_shrink_percent=30, last_good_source_files=10),
            6,
            "source_shrunk",
        ),
        (Guards(None, None, max_shrink_percent=40, last_good_source_files=10), 6, None),
        (
            Guards(None, None, max_shrink_percent=30, last_good_source_bytes=10),
            6,
            "source_shrunk",
        ),
        (Guards(None, None, max_shrink_percent=40, last_good_source_bytes=10), 6, None),
        (Guards(None, None, last_good_source_files=1000), 6, None),
    ],
)
@pytest.mark.parametrize("method", MIRRORING)
def test_counts_are_held_against_the_guards(
    precious: Lab, method: Method, guards: Guards, left: int, guard: str | None
) -> None:
    before = tree(precious.destination)
    write_tree(precious.source, dict(list(PRECIOUS.items())[:left]))
    ran = precious.run(precious.asking(method, guards=guards))

    if guard is None:
        assert ran.result.outcome is Outcome.SUCCEEDED
        assert tree(precious.destination) == tree(precious.source)
        return
    assert_guarded(ran, guard)
    assert tree(precious.destination) == before
    forced = precious.run(precious.asking(method, guards=guards, force=True))
    assert forced.result.outcome is Outcome.SUCCEEDED
    assert tree(precious.destination) == tree(precious.source)


def test_a_source_that_vanishes_after_the_plan_cannot_take_the_destination_with_it(
    precious: Lab,
) -> None:
    write_tree(precious.source, dict(list(PRECIOUS.items())[:8]))

    def unmount(event: Event) -> None:
        if isinstance(event, PlanReady):
            for path in precious.source.iterdir():
                path.unlink()

    ran = precious.run(precious.asking(Method.FULL), on_event=unmount)

    assert ran.result.outcome is Outcome.PARTIAL
    assert ran.guard == "max_delete_backstop"
    assert len(tree(precious.destination)) == 8


@pytest.mark.parametrize("force", [False, True])
def test_a_source_that_vanishes_while_files_are_kept_leaves_the_destination_whole(
    lab: Lab, *, force: bool
) -> None:
    old = {f"f{number}": "old" for number in range(40)}
    write_tree(lab.destination, old)
    before = files_of(lab.destination)
    write_tree(lab.source, dict.fromkeys(old, "new and longer"))

    def unmount(event: Event) -> None:
        if isinstance(event, PlanReady):
            for path in lab.source.iterdir():
                path.unlink()

    request = replace(
        lab.asking(Method.FULL, guards=Guards(max_delete_files=5), force=force),
        keep_deleted_dir=f"{KEPT_FOLDER}/attempt",
    )
    ran = lab.run(request, on_event=unmount)

    assert ran.guard == "max_delete_backstop"
    assert files_of(lab.destination) == before
    assert ran.result.totals.files_deleted == 0
    told = [event.action for event in ran.events if isinstance(event, ItemDone)]
    assert told.count(Action.DELETED) == told.count(Action.RESTORED) > 5


def test_more_deletions_than_planned_pass_where_the_guards_would_let_them(lab: Lab) -> None:
    write_tree(lab.destination, dict.fromkeys(map(str, range(20)), "old"))
    write_tree(lab.source, dict.fromkeys(map(str, range(20)), "new and longer"))

    def delete_some(event: Event) -> None:
        if isinstance(event, PlanReady):
            for number in range(4):
                (lab.source / str(number)).unlink()

    request = replace(
        lab.asking(Method.FULL, guards=Guards(max_delete_files=5)),
        keep_deleted_dir=f"{KEPT_FOLDER}/attempt",
    )
    ran = lab.run(request, on_event=delete_some)

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert ran.result.totals.files_deleted == 4


@pytest.mark.parametrize("method", MIRRORING)
@pytest.mark.parametrize("linked", ["photos", "photos/2026", "one file"])
def test_a_folder_that_became_a_link_is_not_taken_for_deleted(
    lab: Lab, tmp_path: Path, method: Method, linked: str
) -> None:
    write_tree(
        lab.source,
        {f"photos/2026/{number}.jpg": "x" for number in range(4)} | {"one file": "1", "other": "2"},
    )
    keeping = Guards(max_delete_files=100, max_delete_percent=100)
    assert lab.run(lab.asking(method)).result.outcome is Outcome.SUCCEEDED
    before = tree(lab.destination)
    shutil.move(lab.source / linked, tmp_path / "elsewhere")
    (lab.source / linked).symlink_to(tmp_path / "elsewhere")

    ran = lab.run(lab.asking(method, guards=keeping))

    assert_guarded(ran, "source_link")
    assert ran.result.failure is not None
    assert ran.result.failure.message.startswith(f"{linked} is a symbolic link at the source")
    assert tree(lab.destination) == before
    # One that had nothing in its place is no reason to stop, and a person may insist.
    assert lab.run(lab.asking(method, guards=keeping, force=True)).result.outcome is (
        Outcome.SUCCEEDED
    )
    (lab.source / "new").write_text("new")
    assert lab.run(lab.asking(method, guards=keeping)).result.outcome is Outcome.SUCCEEDED


def test_a_guarded_dry_run_brings_its_plan(precious: Lab) -> None:
    write_tree(precious.source, {"photo1": "1"})
    request = precious.asking(Method.FULL, guards=Guards(max_delete_files=3), dry_run=True)
    ran = precious.run(request)

    assert_guarded(ran, "max_delete_files")
    assert ran.result.plan is not None
    assert ran.result.plan.deletes == 9
    assert {item.action for item in ran.result.plan.items} >= {Action.DELETED}


def test_a_shrink_guard_measures_the_source(precious: Lab) -> None:
    write_tree(precious.source, {"photo1": "12345", "photo2": "123", "left.out": "1" * 50})
    guards = Guards(None, None, max_shrink_percent=99)
    rules = Rules(filters=("- *.out",))
    ran = precious.run(precious.asking(Method.FULL, guards=guards, rules=rules))

    assert ran.result.plan is not None
    assert (ran.result.plan.source_files, ran.result.plan.source_bytes) == (2, 8)


# With the second, deleting is a stage of its own, which sees nothing of what failed before it.
@pytest.mark.parametrize("rules", [Rules(), Rules(min_size_bytes=1)])
@pytest.mark.parametrize("method", [Method.FULL, Method.OVERWRITE])
def test_an_unreadable_file_fails_alone_and_stops_the_deleting(
    precious: Lab, bound_rclone: Path, method: Method, rules: Rules
) -> None:
    write_tree(precious.source, {"locked": "1", "open": "2"})
    (precious.source / "locked").chmod(0o000)
    request = precious.asking(method, guards=NO_GUARDS, rules=rules)
    ran = precious.run(request, rclone=bound_rclone)

    assert ran.result.outcome is Outcome.PARTIAL
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.PERMISSION
    failed = [item for item in ran.items if item.action is Action.FAILED]
    assert [item.path for item in failed] == ["locked"]
    assert "permission denied" in (failed[0].error or "")
    assert ran.result.totals.files_failed == 1
    assert ran.result.plan is not None
    assert ran.result.plan.deletes == len(PRECIOUS)
    assert (precious.destination / "open").exists()
    assert set(PRECIOUS) <= {path.name for path in precious.destination.iterdir()}


def test_when_every_file_fails_the_run_failed(lab: Lab, bound_rclone: Path) -> None:
    write_tree(lab.source, {"one": "1", "two": "2"})
    for path in lab.source.iterdir():
        path.chmod(0o000)
    ran = lab.run(lab.asking(Method.INCREMENTAL), rclone=bound_rclone)

    assert ran.result.outcome is Outcome.FAILED
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.PERMISSION
    assert ran.result.totals.files_failed == 2


def test_moving_keeps_a_source_file_that_could_not_be_sent(lab: Lab, bound_rclone: Path) -> None:
    write_tree(lab.source, {"locked": "1", "open": "2"})
    (lab.source / "locked").chmod(0o000)
    # Within one storage the file would only be renamed, which needs no right to read it.
    ran = lab.run(lab.between_storages(Method.MOVE), rclone=bound_rclone)

    assert ran.result.outcome is Outcome.PARTIAL
    assert (lab.source / "locked").exists()
    assert set(tree(lab.destination)) == {b"open"}


@pytest.fixture
def mounted(lab: Lab) -> Iterator[Path]:
    """Mount a disk on the lab's source folder; what ends up mounted is unmounted at the end."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(lab.source)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let us mount a disk")
    yield lab.source
    if lab.source.is_mount():
        subprocess.run(["umount", str(lab.source)], check=True)


@pytest.mark.parametrize("method", [Method.FULL, Method.OVERWRITE, Method.MOVE])
def test_a_source_whose_disk_is_not_mounted_any_more_takes_nothing_with_it(
    lab: Lab, mounted: Path, method: Method
) -> None:
    write_tree(mounted, {"a": "1", "sub/b": "2"})
    assert lab.run(lab.asking(Method.FULL)).result.outcome is Outcome.SUCCEEDED
    before = tree(lab.destination)
    subprocess.run(["umount", str(mounted)], check=True)

    ran = lab.run(lab.asking(method))

    assert tree(lab.destination) == before
    if method is not Method.MOVE:
        assert_guarded(ran, "source_empty")


@pytest.mark.parametrize("line", ["= x", "- x", "+ x", "* x", "x"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_name_with_line_breaks_makes_no_deletions_look_few(
    line: str, dry_run: bool, precious: Lab, webdav_server: WebdavServer
) -> None:
    before = tree(precious.destination)
    folder = webdav_server.root / "breaks"
    write_tree(folder, {"kept": "1", "a" + f"\n{line}" * 30: "1"})
    try:
        source = Endpoint(engine_remote(webdav_server.remote), "breaks")
        ran = precious.run(
            precious.asking(
                Method.FULL, source=source, dry_run=dry_run, guards=Guards(max_delete_percent=50)
            )
        )
    finally:
        shutil.rmtree(folder)

    assert_guarded(ran, "source_unreadable")
    assert "line breaks" in str(ran.result.failure)
    assert tree(precious.destination) == before
