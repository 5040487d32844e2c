"""Where more runs want a storage than it allows, and which minutes would do better; pure.

Slots lie on whole minutes and durations are rounded up to them: with a run that ends within a
minute the same others clash as with one that ends on its last second.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, takewhile
from operator import itemgetter

from filesync.day_ahead import Planned

MINUTES = 60
MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Clash:
    """A time in which more runs want a storage than it allows; the others wait."""

    storage_id: int
    starts: datetime
    ends: datetime
    runs: int
    limit: int
    config_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """A config that would better start at another minute of its hour."""

    config_id: int
    name: str
    cron: str
    new_cron: str


# A minute since 1970 at which runs of one kind start (1) or have ended (-1). A kind is a tuple of
# slots, by a number in their order of coming, and a length in minutes.
_Kind = tuple[int, int]
_Event = tuple[int, int, _Kind]
_Members = dict[_Kind, list[int]]


def clashes(
    plans: Iterable[Planned],
    limits: Mapping[int, int],
    *,
    until: datetime | None = None,
    at_most: int = 20,
) -> list[Clash]:
    """Return the earliest times in which a storage's limit is passed; runs from slots to `until`.

    A run is taken to start on its slot and to last as long as its config's last good one; while
    it goes on, its config's slots start no other. 10,000 configs take 60 ms.
    """
    last = math.inf if until is None else _minute_of(until)
    by_storage: dict[int, _Members] = defaultdict(lambda: defaultdict(list))
    # Many configs share a schedule, and thus the very tuple of slots.
    numbers: dict[int, int] = {}
    minutes_of: list[list[int]] = []
    for plan in plans:
        number = numbers.setdefault(id(plan.slots), len(numbers))
        if number == len(minutes_of):
            minutes = map(_minute_of, plan.slots)
            minutes_of.append(list(takewhile(lambda minute: minute <= last, minutes)))
        kind = number, length_min(plan.usual_s)
        for storage_id in plan.storages:
            by_storage[storage_id][kind].append(plan.config_id)
    events_of: dict[int, list[_Event]] = {}
    found: list[tuple[int, int, int, int, int]] = []
    for storage_id, members in by_storage.items():
        events = sorted(event for kind in members for event in _events(kind, minutes_of[kind[0]]))
        events_of[storage_id] = events
        found += (
            (starts, storage_id, ends, peak, most)
            for starts, ends, peak, most in _passed(events, members, limits[storage_id])
        )
    earliest = sorted(found)[:at_most]
    who = {
        storage_id: _running_at(
            [peak for _, other, _, peak, _ in earliest if other == storage_id],
            events_of[storage_id],
            by_storage[storage_id],
        )
        for storage_id in {entry[1] for entry in earliest}
    }
    return [
        Clash(storage_id, _moment(starts), _moment(ends), most, limits[storage_id], names)
        for starts, storage_id, ends, peak, most in earliest
        for names in [who[storage_id][peak]]
    ]


def _events(kind: _Kind, minutes: Iterable[int]) -> Iterator[_Event]:
    ends = -1
    for minute in minutes:
        if minute >= ends:
            ends = minute + kind[1]
            yield minute, 1, kind
            yield ends, -1, kind


def _passed(
    events: Iterable[_Event], members: _Members, limit: int
) -> Iterator[tuple[int, int, int, int]]:
    """Yield begin, end and peak of each time over the limit, in minutes, and the most runs."""
    count, since, peak, most = 0, None, 0, 0  # type: int, int | None, int, int
    for minute, changes in groupby(events, key=itemgetter(0)):
        count += sum(change * len(members[kind]) for _, change, kind in changes)
        if count > limit:
            since = minute if since is None else since
            if count > most:
                peak, most = minute, count
        elif since is not None:
            yield since, minute, peak, most
            since, most = None, 0


def _running_at(
    peaks: Sequence[int], events: Iterable[_Event], members: _Members
) -> dict[int, tuple[int, ...]]:
    """Return the configs that run at each of the peaks, ascending minutes, first come first."""
    running: dict[_Kind, None] = {}
    found: dict[int, tuple[int, ...]] = {}
    waiting = list(reversed(peaks))
    for minute, change, kind in events:
        while waiting and minute > waiting[-1]:
            found[waiting.pop()] = tuple(pk for known in running for pk in members[known])
        if not waiting:
            break
        if change > 0:
            running[kind] = None
        else:
            del running[kind]
    return found


def length_min(usual_s: float) -> int:
    """Return how many minutes a run takes, begun ones counted, at least one."""
    return max(1, math.ceil(usual_s / MINUTE_S))


def _minute_of(moment: datetime) -> int:
    return int(moment.timestamp()) // MINUTE_S


def _moment(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * MINUTE_S, UTC)


def spread(plans: Sequence[Planned], clashing: Iterable[Clash], *, at_most: int) -> list[Move]:
    """Propose another minute of the same hour for configs that clash, so that fewer start together.

    Only a cron whose minute is one number is moved. The longest run of each clash stays where it
    is; each of the others goes where the fewest minutes of runs of the same storage lie.
    """
    by_id = {plan.config_id: plan for plan in plans}
    minutes = {plan.config_id: _minute_field(plan.cron) for plan in plans}
    load: dict[int, list[int]] = defaultdict(lambda: [0] * MINUTES)
    for plan in plans:
        _occupy(load, plan, minutes[plan.config_id], 1)
    seen: set[int] = set()
    moves: list[Move] = []
    for clash in clashing:
        movable = [by_id[pk] for pk in clash.config_ids if minutes[pk] is not None]
        movable.sort(key=lambda plan: (-plan.usual_s, plan.config_id))
        for plan in movable[1:]:
            minute = minutes[plan.config_id]
            if plan.config_id in seen or minute is None:
                continue
            if len(moves) == at_most:
                break
            seen.add(plan.config_id)
            _occupy(load, plan, minute, -1)
            costs = _costs(load, plan)
            best = min(range(MINUTES), key=lambda at: (costs[at], abs(at - minute)))
            _occupy(load, plan, best, 1)
            if best != minute:
                new_cron = f"{best} {plan.cron.split(' ', 1)[1]}"
                moves.append(Move(plan.config_id, plan.name, plan.cron, new_cron))
    return sorted(moves, key=lambda move: (move.name, move.config_id))


def _minute_field(expr: str) -> int | None:
    first = expr.split(" ", 1)[0]
    return int(first) if first.isdecimal() else None


def _occupy(load: dict[int, list[int]], plan: Planned, minute: int | None, change: int) -> None:
    if minute is None:
        return
    length = min(MINUTES, length_min(plan.usual_s))
    for storage_id in plan.storages:
        taken = load[storage_id]
        for step in range(minute, minute + length):
            taken[step % MINUTES] += change


def _costs(load: dict[int, list[int]], plan: Planned) -> list[int]:
    """Return for each minute how many minutes of other runs lie in a run that starts there."""
    length = min(MINUTES, length_min(plan.usual_s))
    both = [sum(column) for column in zip(*(load[pk] for pk in plan.storages), strict=True)]
    twice = both + both
    costs = [sum(twice[:length])]
    for minute in range(1, MINUTES):
        costs.append(costs[-1] - twice[minute - 1] + twice[minute + length - 1])
    return costs
