"""Which slots are due: a heap with one entry per distinct schedule; in memory, pure, no I/O.

100,000 rows on 2,000 crons are 2,000 heap entries: the top answers "is anything due" at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import NamedTuple

from scheduler.cron import CronSchedule

# Slots of one row that nobody fired and that are told one by one; older ones are left out.
MISSED_LIMIT = 100
# The same for all rows together: beyond it each row tells fewer, so that a beat that was down for
# hours over 100,000 rows does not write ten million records before it fires again.
MISSED_LIMIT_IN_ALL = 100_000


class Member(NamedTuple):
    """One PeriodicTask row of ours, as beat holds it; a named tuple, for there may be 100,000.

    `since` is the latest slot that is settled: fired, or before the schedule began to count.
    """

    row_id: int
    model: str
    object_id: int
    since: datetime
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class Due:
    """Slots of one row that are not settled, oldest first; the last one is the latest."""

    member: Member
    slots: tuple[datetime, ...]


@dataclass(slots=True)
class _Group:
    schedule: CronSchedule
    offset: timedelta
    next_slot: datetime
    members: dict[int, Member] = field(default_factory=dict)

    @property
    def due_at(self) -> datetime:
        return self.next_slot + self.offset


GroupKey = tuple[str, str, int]


class SlotHeap:
    """All enabled rows, by the time at which their next slot is due."""

    def __init__(self) -> None:
        self._groups: dict[GroupKey, _Group] = {}
        self._group_of: dict[int, GroupKey] = {}
        self._heap: list[tuple[datetime, int, GroupKey]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._group_of)

    def put(self, member: Member, schedule: CronSchedule, offset_s: int, *, now: datetime) -> None:
        """Add or replace a row; slots of it that already passed are `overdue`'s to find."""
        self.drop(member.row_id)
        key = (schedule.expr, schedule.timezone, offset_s)
        group = self._groups.get(key)
        if group is None:
            offset = timedelta(seconds=offset_s)
            group = _Group(schedule, offset, schedule.next_after(now - offset))
            self._groups[key] = group
            self._push(key, group)
        group.members[member.row_id] = member
        self._group_of[member.row_id] = key

    def drop(self, row_id: int) -> None:
        """Forget a row; unknown ones are ignored."""
        key = self._group_of.pop(row_id, None)
        if key is None:
            return
        group = self._groups[key]
        del group.members[row_id]
        if not group.members:
            # Its heap entry is skipped when it comes up.
            del self._groups[key]

    def next_due_at(self) -> datetime | None:
        """Return when the next slot of any row is due, None while there is no row."""
        self._skip_stale()
        return self._heap[0][0] if self._heap else None

    def due(self, now: datetime) -> list[Due]:
        """Return the rows whose slots came due up to `now`, and move them on to their next."""
        found: list[Due] = []
        self._skip_stale()
        while self._heap and self._heap[0][0] <= now:
            _, _, key = heapq.heappop(self._heap)
            group = self._groups[key]
            slots = [group.next_slot]
            while (slot := group.schedule.next_after(slots[-1])) + group.offset <= now:
                slots.append(slot)
            group.next_slot = slot
            self._push(key, group)
            for member in list(group.members.values()):
                found.extend(self._settle(group, member, slots))
            self._skip_stale()
        return found

    def overdue(self, row_ids: Iterable[int], now: datetime) -> list[Due]:
        """Return the slots that passed before the rows were put here, and settle them."""
        found: list[Due] = []
        latest: dict[GroupKey, datetime | None] = {}
        for row_id in row_ids:
            key = self._group_of.get(row_id)
            if key is None:
                continue
            group = self._groups[key]
            if key not in latest:
                latest[key] = group.schedule.previous_at(now - group.offset)
            last = latest[key]
            member = group.members[row_id]
            if last is None or last <= member.since:
                continue
            found.extend(self._settle(group, member, _latest_slots(group, member.since, last)))
        return found

    def _settle(self, group: _Group, member: Member, slots: list[datetime]) -> Iterator[Due]:
        wanted = tuple(
            slot
            for slot in slots
            if slot > member.since and (member.expires is None or slot < member.expires)
        )
        if not wanted:
            return
        group.members[member.row_id] = member._replace(since=wanted[-1])
        limit = min(MISSED_LIMIT, max(1, MISSED_LIMIT_IN_ALL // len(self)))
        yield Due(member, wanted[-limit:])

    def _push(self, key: GroupKey, group: _Group) -> None:
        heapq.heappush(self._heap, (group.due_at, next(self._order), key))

    def _skip_stale(self) -> None:
        while self._heap:
            due_at, _, key = self._heap[0]
            group = self._groups.get(key)
            if group is not None and group.due_at == due_at:
                return
            heapq.heappop(self._heap)


def _latest_slots(group: _Group, since: datetime, last: datetime) -> list[datetime]:
    """Return at most `MISSED_LIMIT` slots after `since` up to `last`, the latest ones."""
    slots = [last]
    while len(slots) < MISSED_LIMIT:
        earlier = group.schedule.previous_at(slots[-1] - timedelta(microseconds=1))
        if earlier is None or earlier <= since:
            break
        slots.append(earlier)
    return slots[::-1]
