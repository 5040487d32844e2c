"""The heap of slots: what is due, what is overdue, and that nothing is told twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from scheduler import cron
from scheduler.slots import MISSED_LIMIT, Member, SlotHeap

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def member(row_id: int, *, since: datetime = NOON, expires: datetime | None = None) -> Member:
    return Member(row_id, "filesync.syncconfig", row_id * 10, since, expires)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def heap_of(*rows: tuple[int, str], now: datetime = NOON, offset_s: int = 0) -> SlotHeap:
    heap = SlotHeap()
    for row_id, expr in rows:
        heap.put(member(row_id, since=now), cron.schedule(expr, "UTC"), offset_s, now=now)
    return heap


def test_an_empty_heap_is_never_due() -> None:
    heap = SlotHeap()
    assert heap.next_due_at() is None
    assert heap.due(NOON) == []


def test_rows_of_one_cron_come_due_together_and_only_once() -> None:
    heap = heap_of((1, "5 * * * *"), (2, "5 * * * *"), (3, "7 * * * *"))
    assert heap.next_due_at() == at(5)
    assert heap.due(at(4.9)) == []
    due = heap.due(at(5))
    assert [entry.member.row_id for entry in due] == [1, 2]
    assert {entry.slots for entry in due} == {(at(5),)}
    assert heap.due(at(5)) == []
    assert heap.next_due_at() == at(7)


def test_slots_that_passed_while_nobody_looked_come_as_one_entry_oldest_first() -> None:
    heap = heap_of((1, "*/10 * * * *"))
    [entry] = heap.due(at(35))
    assert entry.slots == (at(10), at(20), at(30))


def test_a_long_silence_tells_only_the_latest_slots() -> None:
    heap = heap_of((1, "* * * * *"))
    [entry] = heap.due(at(1000))
    assert len(entry.slots) == MISSED_LIMIT
    assert entry.slots[-1] == at(1000)


def test_a_replaced_row_fires_on_its_new_cron_only() -> None:
    heap = heap_of((1, "5 * * * *"))
    heap.put(member(1), cron.schedule("9 * * * *", "UTC"), 0, now=NOON)
    assert len(heap) == 1
    assert heap.due(at(8)) == []
    assert [entry.slots for entry in heap.due(at(9))] == [(at(9),)]


def test_a_dropped_row_is_forgotten_and_its_group_with_it() -> None:
    heap = heap_of((1, "5 * * * *"), (2, "6 * * * *"))
    heap.drop(1)
    heap.drop(99)
    assert heap.next_due_at() == at(6)


def test_an_offset_delays_when_a_slot_is_due_and_not_its_name() -> None:
    heap = heap_of((1, "5 * * * *"), offset_s=90)
    assert heap.next_due_at() == at(6.5)
    [entry] = heap.due(at(6.5))
    assert entry.slots == (at(5),)


def test_no_slot_from_the_end_on_is_told() -> None:
    heap = SlotHeap()
    heap.put(member(1, expires=at(20)), cron.schedule("*/10 * * * *", "UTC"), 0, now=NOON)
    [entry] = heap.due(at(60))
    assert entry.slots == (at(10),)


def test_a_row_that_was_put_late_has_its_passed_slots_as_overdue_once() -> None:
    heap = SlotHeap()
    heap.put(member(1, since=at(-25)), cron.schedule("*/10 * * * *", "UTC"), 0, now=NOON)
    [entry] = heap.overdue([1, 77], NOON)
    assert entry.slots == (at(-20), at(-10), at(0))
    assert heap.overdue([1], NOON) == []
    assert [later.slots for later in heap.due(at(10))] == [(at(10),)]


def test_a_row_that_is_up_to_date_has_nothing_overdue() -> None:
    heap = SlotHeap()
    heap.put(member(1, since=at(0)), cron.schedule("*/10 * * * *", "UTC"), 0, now=at(5))
    assert heap.overdue([1], at(5)) == []
