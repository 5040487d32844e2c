"""A plan counts what a dry run says, in bounded memory, and each guard speaks for its own case."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from filesync.engine import (
    Action,
    Endpoint,
    FailureClass,
    Guards,
    Method,
    Plan,
    PlanItem,
    Progress,
    Remote,
    SyncRequest,
)
from filesync.engine.classify import classify
from filesync.engine.guards import deletions_allowed, deletions_tolerated, guard_failure
from filesync.engine.messages import LastWords, Message, Problem, Skipped, Stats
from filesync.engine.plan import MAX_ITEMS, PlanTally, ReportCounts

REMOTE = Remote("local", "/data")
FULL = SyncRequest(Endpoint(REMOTE, "a"), Endpoint(REMOTE, "b"), Method.FULL)


def tallied(messages: Iterable[Message], request: SyncRequest = FULL) -> PlanTally:
    tally = PlanTally(request)
    for message in messages:
        tally.take(message)
    return tally


def problem(text: str, path: str | None = None, *, critical: bool = False) -> Problem:
    return Problem(text, path, classify(text), critical)


def test_nobody_knows_while_planning_how_long_a_run_takes() -> None:
    (told,) = PlanTally(FULL).take(
        Stats(
            bytes_done=0,
            bytes_total=10,
            transfers_done=0,
            transfers_total=1,
            checks_done=3,
            checks_total=4,
            deletes=0,
            deleted_dirs=0,
            renames=0,
            errors=1,
            listed=9,
            speed_bytes_per_s=5.0,
            eta_s=2.0,
            in_flight=(),
        )
    )

    assert isinstance(told, Progress)
    assert (told.checks_done, told.checks_total, told.errors) == (3, 4, 1)
    assert (told.bytes_total, told.eta_s) == (0, None)


def test_a_plan_counts_every_kind_of_change() -> None:
    tally = tallied(
        [
            Skipped("copy", "new", 10),
            Skipped("copy", "changed", 5),
            Skipped("move", "changed", 3),  # the old one is kept first
            Skipped("delete", "gone", 7),
            Skipped("move into backup dir", "gone-too", 7),
            Skipped("update modification time", "touched", 1),
            Skipped("make directory", "made", None),
            Skipped("remove directory", "removed", None),
            Skipped("set directory modification time", "made", None),
        ]
    )
    report = ReportCounts().read(
        [b"+ new\n", b"* changed\n", b"= same\n", b"- gone\n", b"- gone-too\n", b"! odd\n", b"\n"],
        tally.sample_paths,
    )
    plan = tally.plan(report, source_bytes=99)

    assert (plan.adds, plan.updates, plan.deletes) == (1, 1, 2)
    assert (plan.times_updated, plan.dirs_made, plan.dirs_removed) == (1, 1, 1)
    assert (plan.bytes_to_send, plan.bytes_to_delete) == (15, 14)
    assert (plan.source_files, plan.destination_files, plan.source_bytes) == (3, 4, 99)
    assert {(item.action, item.path) for item in plan.items} == {
        (Action.DELETED, "gone"),
        (Action.DELETED, "gone-too"),
        (Action.ADDED, "new"),
        (Action.UPDATED, "changed"),
        (Action.TIME_UPDATED, "touched"),
        (Action.DIR_MADE, "made"),
        (Action.DIR_REMOVED, "removed"),
    }
    assert not tally.changes_nothing


def test_a_second_pass_counts_only_what_the_first_left() -> None:
    tally = tallied([Skipped("copy", "a", 1), Skipped("copy", "b", 1), Skipped("copy", "a", 1)])
    assert (tally.copies, tally.bytes_to_send) == (2, 2)


def test_a_move_plans_what_it_takes_away() -> None:
    request = replace(FULL, method=Method.MOVE)
    plan = tallied([Skipped("move", "a", 1)], request).plan(ReportCounts(added=1))
    assert plan.items == (PlanItem(Action.MOVED, "a", 1),)
    assert (plan.adds, plan.deletes) == (1, 0)


def test_the_sample_is_capped_and_deletions_are_kept_first() -> None:
    copies = [Skipped("copy", f"copy{number}", 1) for number in range(MAX_ITEMS + 500)]
    deletes = [Skipped("delete", f"delete{number}", 1) for number in range(700)]
    tally = tallied([*copies, *deletes])
    plan = tally.plan(ReportCounts())

    assert len(plan.items) == MAX_ITEMS
    assert plan.items_left_off == 1200
    assert [item.action for item in plan.items[:700]] == [Action.DELETED] * 700
    assert (plan.updates, plan.deletes) == (1500, 700)


def test_a_file_that_takes_another_name_is_neither_added_nor_deleted() -> None:
    many = range(MAX_ITEMS)
    tally = tallied(
        [
            *(Skipped("copy", f"new{number}", 2) for number in many),
            Skipped("copy", "added", 1),
            *(Skipped("delete", f"old{number}", 2) for number in many),
            Skipped("delete", "gone", 4),
        ]
    )
    for number in many:
        tally.rename(PlanItem(Action.RENAMED, f"new{number}", 2, f"old{number}"))
    plan = tally.plan(ReportCounts(added=MAX_ITEMS + 1, removed=MAX_ITEMS + 1))

    assert (plan.adds, plan.updates, plan.deletes, plan.renames) == (1, 0, 1, MAX_ITEMS)
    assert (plan.bytes_to_send, plan.bytes_to_delete, plan.bytes_renamed) == (1, 4, 2 * MAX_ITEMS)
    assert PlanItem(Action.RENAMED, "new0", 2, "old0") in plan.items
    assert not {"new0", "old0"} & {item.path for item in plan.items if not item.old_path}
    assert len(plan.items) + plan.items_left_off == MAX_ITEMS + 2


@pytest.mark.parametrize(
    "message",
    [
        Skipped("copy", "a", 1),
        Skipped("delete", "a", 1),
        Skipped("update modification time", "a", 1),
        Skipped("make directory", "a", None),
        Skipped("remove directory", "a", None),
        Skipped("set directory modification time", "a", None),
        Skipped("something rclone will learn", "a", None),
        problem("odd", "a"),
    ],
)
def test_a_plan_with_any_change_is_carried_out(message: Message) -> None:
    assert tallied([]).changes_nothing
    assert not tallied([message]).changes_nothing


@pytest.mark.parametrize(
    ("messages", "exit_code", "guard", "failure_class"),
    [
        ([], 0, None, None),
        (
            [problem("error reading source root directory: directory not found")],
            3,
            "source_missing",
            FailureClass.GUARD,
        ),
        (
            [problem("failed to open directory: permission denied", "sub")],
            1,
            "source_unreadable",
            FailureClass.GUARD,
        ),
        (
            [problem('failed to open directory "": permission denied', "")],
            1,
            "source_unreadable",
            FailureClass.GUARD,
        ),
        ([problem("directory not found", "sub")], 1, "source_unreadable", FailureClass.GUARD),
        (
            [problem("open /error reading destination root directory: no such file", "sub")],
            1,
            "source_unreadable",
            FailureClass.GUARD,
        ),
        ([problem("something odd", "sub")], 1, "source_unreadable", FailureClass.GUARD),
        ([problem("401 Unauthorized")], 1, None, FailureClass.AUTH),
        ([problem("connection refused", "sub")], 1, None, FailureClass.NETWORK),
        ([problem("429 Too Many Requests", "sub")], 1, None, FailureClass.RATE_LIMITED),
        (
            [problem("Failed to create file system: odd", critical=True)],
            1,
            None,
            FailureClass.INTERNAL,
        ),
        ([LastWords("Failed to sync: quota", FailureClass.QUOTA)], 1, None, FailureClass.QUOTA),
        ([], 1, None, FailureClass.INTERNAL),
        ([], -9, None, FailureClass.INTERNAL),
        ([problem("error reading destination root directory: directory not found")], 3, None, None),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_a_plan_that_saw_an_error_is_not_carried_out(
    messages: list[Message],
    exit_code: int,
    guard: str | None,
    failure_class: FailureClass | None,
    force: bool,
) -> None:
    request = replace(FULL, force=force)
    tally = tallied(messages, request)
    tally.ended(exit_code)
    failure = guard_failure(request, tally.plan(ReportCounts(both=5)), tally)

    assert (failure and failure.failure_class) == failure_class
    assert (failure and failure.guard) == guard


PLAN = Plan(
    deletes=10, bytes_to_delete=3 << 19, source_files=90, source_bytes=900, destination_files=100
)


@pytest.mark.parametrize(
    ("guards", "plan", "guard"),
    [
        (Guards(), PLAN, None),
        (Guards(max_delete_files=10), PLAN, None),
        (Guards(max_delete_files=9), PLAN, "max_delete_files"),
        (Guards(max_delete_files=0), PLAN, "max_delete_files"),
        (Guards(max_delete_files=0), replace(PLAN, deletes=0), None),
        (Guards(max_delete_percent=10), PLAN, None),
        (Guards(max_delete_percent=9.9), PLAN, "max_delete_percent"),
        (Guards(), replace(PLAN, source_files=0), "source_empty"),
        (Guards(), replace(PLAN, source_files=0, deletes=0), None),
        (Guards(), replace(PLAN, source_files=0, deletes=0, dirs_removed=1), "source_empty"),
        (Guards(max_shrink_percent=10, last_good_source_files=100), PLAN, None),
        (Guards(max_shrink_percent=9, last_good_source_files=100), PLAN, "source_shrunk"),
        (Guards(max_shrink_percent=9, last_good_source_bytes=1000), PLAN, "source_shrunk"),
        (Guards(max_shrink_percent=9, last_good_source_files=80), PLAN, None),
        (Guards(max_shrink_percent=9), PLAN, None),
        (Guards(last_good_source_files=10**6), PLAN, None),
    ],
)
def test_each_guard_has_its_limit(guards: Guards, plan: Plan, guard: str | None) -> None:
    request = replace(FULL, guards=guards)
    failure = guard_failure(request, plan, PlanTally(request))
    assert (failure and failure.guard) == guard
    if failure is not None:
        numbers = f"{plan.deletes} of the destination's 100 files (1.5 MiB) would be deleted"
        assert numbers in failure.message or "shrank" in failure.message
    forced = replace(request, force=True)
    assert guard_failure(forced, plan, PlanTally(forced)) is None


@pytest.mark.parametrize(
    ("size_bytes", "size"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1000 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (3 << 19, "1.5 MiB"),
        (12345, "12.1 KiB"),
        (1_023_692, "1000 KiB"),
        (1023 << 20, "1023 MiB"),
        ((1 << 30) - 1, "1024 MiB"),
        (1001 << 30, "1001 GiB"),
        (1500 << 40, "1,500.0 TiB"),
    ],
)
def test_a_size_is_told_in_plain_digits(size_bytes: int, size: str) -> None:
    request = replace(FULL, guards=Guards(max_delete_files=9))
    plan = replace(PLAN, bytes_to_delete=size_bytes)
    failure = guard_failure(request, plan, PlanTally(request))
    assert failure is not None
    assert f" files ({size}) would be deleted" in failure.message


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.CHECK])
def test_a_method_that_cannot_delete_is_not_guarded(method: Method) -> None:
    request = replace(FULL, method=method, guards=Guards(max_delete_files=0))
    assert guard_failure(request, replace(PLAN, source_files=0), PlanTally(request)) is None


@pytest.mark.parametrize(
    ("guards", "force", "most"),
    [
        (Guards(max_delete_files=50, max_delete_percent=90), False, 50),
        (Guards(max_delete_files=50, max_delete_percent=20), False, 20),
        (Guards(max_delete_files=3, max_delete_percent=None), False, 10),
        (Guards(max_delete_files=50, max_delete_percent=90), True, 10),
        (Guards(max_delete_files=None, max_delete_percent=None), False, None),
    ],
)
def test_what_the_guards_let_pass_is_tolerated(
    guards: Guards, force: bool, most: int | None
) -> None:
    request = replace(FULL, guards=guards, force=force)
    plan = Plan(deletes=10, destination_files=100)
    assert deletions_tolerated(request, plan) == most


def test_the_backstop_is_the_plans_count() -> None:
    plan = Plan(updates=3, deletes=10)
    assert deletions_allowed(plan, keeps_deleted=False) == 10
    assert deletions_allowed(plan, keeps_deleted=True) == 23
