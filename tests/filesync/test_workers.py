"""How many runs are called for: by the free slots of those workers that serve their queue."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from filesync.services.workers import Calls, Queues, Room

ANY = None


def queues(*names: str) -> Queues:
    return frozenset(names)


@pytest.mark.parametrize(
    ("workers", "wanted", "called"),
    [
        ([(queues("a"), 2)], ["a", "a", "a"], [True, True, False]),
        ([(queues("a"), 2)], ["b", "a"], [False, True]),
        ([(queues("a"), 0), (queues("b"), 1)], ["a", "b", "b"], [False, True, False]),
        ([(ANY, 1)], ["a", "b"], [True, False]),
        ([], ["a"], [False]),
        # Whoever serves fewer queues is called first, in whatever order they stand.
        ([(ANY, 1), (queues("a", "b"), 1), (queues("a"), 1)], ["a", "b", "c"], [True] * 3),
        ([(queues("a", "b"), 1), (queues("a"), 1)], ["a", "a", "b"], [True, True, False]),
    ],
)
def test_a_run_is_called_for_where_a_worker_of_its_queue_has_room(
    workers: Sequence[tuple[Queues, int]], wanted: Sequence[str], called: Sequence[bool]
) -> None:
    room = Room(Calls(served, left) for served, left in workers)

    assert [room.take(queue) for queue in wanted] == called


def test_room_says_for_which_queues_there_is_some() -> None:
    room = Room([Calls(queues("a"), 1), Calls(queues("b", "c"), 1), Calls(queues("d"), 0)])
    assert room.queues == queues("a", "b", "c")

    room.take("b")
    assert (room.queues, room.is_used_up) == (queues("a"), False)

    room.take("a")
    assert (room.queues, room.is_used_up) == (queues(), True)
    assert Room([Calls(queues("a"), 1), Calls(ANY, 1)]).queues is ANY
