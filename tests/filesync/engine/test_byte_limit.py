"""A limit of bytes is told as what it is, and nothing that only follows from it has failed."""

from __future__ import annotations

import time

import pytest

from filesync.engine import (
    Action,
    Endpoint,
    Event,
    FailureClass,
    Limits,
    Method,
    Outcome,
    SyncRequest,
)
from filesync.engine.byte_limit import ByteLimit
from filesync.engine.messages import Message, Problem, Remark
from filesync.engine.outcome import MAX_TRANSFER_EXIT
from tests.filesync.engine.lab import Lab, engine_remote, files_of, write_tree
from tests.servers.sftp import SftpServer


def tree_of_folders(lab: Lab) -> None:
    wanted = {f"d{at}/s/f{number}": "x" * 1000 for at in range(40) for number in range(3)}
    write_tree(lab.source, {"file": "x" * 1000, **wanted})


def ends_at_the_limit(lab: Lab, request: SyncRequest) -> int:
    """Run a request until all is sent; return how many runs ended for the limit before."""
    ends = 0
    while (ran := lab.run(request)).result.outcome is not Outcome.SUCCEEDED:
        ends += 1
        assert ran.result.failure is not None
        assert ran.result.failure.failure_class is FailureClass.GUARD
        assert ran.guard == "max_bytes"
        assert ran.result.totals.files_failed == 0
        assert not [item for item in ran.items if item.action is Action.FAILED]
        assert ends < 10
    return ends


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL, Method.MOVE])
@pytest.mark.parametrize("transfers", [1, 4])
def test_runs_with_a_limit_of_bytes_go_on_until_all_is_there(
    lab: Lab, method: Method, transfers: int
) -> None:
    """rclone is mostly still listing folders when the limit is reached, and gives them up."""
    tree_of_folders(lab)
    # Where the storage itself renames, a MOVE sends no bytes.
    limits = Limits(transfers=transfers, max_bytes=40_000)

    assert ends_at_the_limit(lab, lab.between_storages(method, limits=limits)) >= 2
    assert len(files_of(lab.destination)) == 121


def test_a_move_in_parts_ends_at_the_limit_of_bytes(
    lab: Lab, sftp_server: SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filesync.engine.moving._PART_FILES", 30)
    tree_of_folders(lab)
    there = Endpoint(engine_remote(sftp_server.remote), f"b{time.monotonic_ns()}")
    request = lab.asking(Method.MOVE, destination=there, limits=Limits(max_bytes=40_000))

    assert ends_at_the_limit(lab, request) >= 2
    assert len(files_of(sftp_server.root / there.path)) == 121
    assert not files_of(lab.source)


def test_what_fails_beside_a_limit_of_bytes_is_told() -> None:
    limit, told = ByteLimit(), list[Message]()

    def note(message: Message) -> list[Event]:
        told.append(message)
        return []

    words = "max transfer limit reached as set by --max-transfer"
    named = Problem(f"open {words}: permission denied", words, FailureClass.PERMISSION, False)
    canceled = Problem("error reading: context canceled", "d/", FailureClass.INTERNAL, False)
    take = limit.watching(note)
    take(named)
    take(canceled)
    assert told == [named, canceled]
    assert (limit.exit_code(1), limit.exit_code(0)) == (1, 0)

    take(Remark("notice", f"{words} - stopping transfers", "a"))
    assert limit.exit_code(1) == MAX_TRANSFER_EXIT
    told.clear()
    take(canceled)
    take(named)
    take(Problem(f"Not deleting source as copy failed: {words}", "a", FailureClass.INTERNAL, False))
    assert [type(message) for message in told] == [Remark, Problem, Remark]
    assert told[1] is named
