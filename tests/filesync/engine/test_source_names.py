"""What failed bears its name at the source, and what a limited run did not see is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filesync.engine import Action, FailureClass, Method, Outcome, Rules
from tests.filesync.engine.lab import Lab, files_of, names, write_tree

RENAMED = Rules(renames=(("^IMG_", ""),))


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL, Method.MOVE])
def test_a_file_that_failed_under_its_new_name_is_sent_by_its_old_one(
    lab: Lab, method: Method
) -> None:
    write_tree(lab.source, {"d/IMG_1.jpg": "one", "2": "two"})
    write_tree(lab.destination, {"d/1.jpg/in-the-way": "x"})
    sync = lab.between_storages(method, rules=RENAMED)
    if method is Method.FULL:
        # What is in the way would be deleted, after all else was sent.
        write_tree(lab.source, {"d/1.jpg/in-the-way": "x"})
    ran = lab.run(sync)

    assert ran.result.outcome is Outcome.PARTIAL
    failed = [item for item in ran.items if item.action is Action.FAILED]
    assert [item.path for item in failed] == ["d/IMG_1.jpg"]
    assert "can't move object" in (failed[0].error or "")
    assert ran.result.totals.files_failed == 1
    for side in (lab.destination, lab.source):
        (side / "d/1.jpg/in-the-way").unlink(missing_ok=True)
        if (side / "d/1.jpg").exists():
            (side / "d/1.jpg").rmdir()
    again = lab.run(replace(sync, only_paths=("d/IMG_1.jpg",)))
    assert again.result.outcome is Outcome.SUCCEEDED
    assert "d/1.jpg" in names(files_of(lab.destination))


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("method", list(Method))
def test_a_wanted_file_that_the_source_lacks_is_told(
    lab: Lab, method: Method, dry_run: bool
) -> None:
    write_tree(lab.source, {"a": "1"})
    wanted = ("gone", "sub/gone")
    ran = lab.run(lab.asking(method, only_paths=(*wanted, "a"), dry_run=dry_run))

    assert {(Action.FAILED, path) for path in wanted} <= ran.actions()
    assert ran.result.totals.files_failed == 2
    assert ran.result.outcome is not Outcome.SUCCEEDED
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.NOT_FOUND


def test_a_file_that_an_earlier_attempt_moved_is_not_missing(lab: Lab) -> None:
    write_tree(lab.source, {"a": "1"})
    write_tree(lab.destination, {"moved": "1"})
    ran = lab.run(lab.asking(Method.MOVE, only_paths=("moved", "a")))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert ran.actions() == {(Action.MOVED, "a")}
