"""Where more runs want a storage than it allows, and which minutes would do better; pure.

Slots lie on whole minutes and durations are rounded up to them: with a run that ends within a
minute the same others clash as with one that ends on its last second.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, takewhile
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


# Runs of one kind start at the same minutes and take as many: a tuple of slots, by a number in
# their order of coming, and a length. Minutes are counted from 1970.
_Kind = tuple[int, int]
_Members = dict[_Kind, list[int]]
_Spans = dict[_Kind, list[tuple[int, int]]]


def clashes(
    plans: Sequence[Planned],
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
    spans: _Spans = {
        kind: _spans(minutes_of[kind[0]], kind[1])
        for members in by_storage.values()
        for kind in members
    }
    earliest = sorted(
        (starts, storage_id, ends, peak, most)
        for storage_id, members in by_storage.items()
        for starts, ends, peak, most in _passed(members, spans, limits[storage_id])
    )[:at_most]
    peaks: dict[int, list[int]] = defaultdict(list)
    for _, storage_id, _, peak, _ in earliest:
        peaks[storage_id].append(peak)
    who = {pk: _running_at(wanted, by_storage[pk], spans) for pk, wanted in peaks.items()}
    return [
        Clash(pk, _moment(starts), _moment(ends), most, limits[pk], who[pk][peak])
        for starts, pk, ends, peak, most in earliest
    ]


def _spans(minutes: Iterable[int], length: int) -> list[tuple[int, int]]:
    """Return begin and end of each run; what falls into one that goes on starts no other."""
    ends = -1
    found: list[tuple[int, int]] = []
    for minute in minutes:
        if minute >= ends:
            ends = minute + length
            found.append((minute, ends))
    return found


def _passed(members: _Members, spans: _Spans, limit: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield begin, end and peak of each time over the limit, in minutes, and the most runs."""
    changes: dict[int, int] = defaultdict(int)
    for kind, ids in members.items():
        for starts, ends in spans[kind]:
            # What ends in a minute makes place for what starts in it.
            changes[starts] += len(ids)
            changes[ends] -= len(ids)
    count = peak = most = 0
    since: int | None = None
    for minute in sorted(changes):
        count += changes[minute]
        if count > limit:
            since = minute if since is None else since
            if count > most:
                peak, most = minute, count
        elif since is not None:
            yield since, minute, peak, most
            since, most = None, 0


def _running_at(
    peaks: Sequence[int], members: _Members, spans: _Spans
) -> dict[int, tuple[int, ...]]:
    """Return the configs that run at each of the peaks, ascending minutes, first come first."""
    begun = sorted((starts, ends, kind) for kind in members for starts, ends in spans[kind])
    running: list[tuple[int, _Kind]] = []
    found: dict[int, tuple[int, ...]] = {}
    position = 0
    for peak in peaks:
        upto = bisect_right(begun, peak, lo=position, key=itemgetter(0))
        running += [(ends, kind) for _, ends, kind in begun[position:upto]]
        running = [(ends, kind) for ends, kind in running if ends > peak]
        found[peak] = tuple(pk for _, kind in running for pk in members[kind])
        position = upto
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
    load = _load(plans, minutes)
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


def _load(plans: Iterable[Planned], minutes: Mapping[int, int | None]) -> dict[int, list[int]]:
    """Return for each storage how many runs go on in each minute of an hour."""
    changes: dict[int, list[int]] = defaultdict(lambda: [0] * (2 * MINUTES + 1))
    for plan in plans:
        if (minute := minutes[plan.config_id]) is not None:
            ends = minute + _length_in_hour(plan)
            for storage_id in plan.storages:
                changes[storage_id][minute] += 1
                changes[storage_id][ends] -= 1
    return {
        storage_id: [sum(pair) for pair in zip(counts[:MINUTES], counts[MINUTES:], strict=False)]
        for storage_id, change in changes.items()
        for counts in [list(accumulate(change))]
    }


def _occupy(load: dict[int, list[int]], plan: Planned, minute: int, change: int) -> None:
    for storage_id in plan.storages:
        for step in range(minute, minute + _length_in_hour(plan)):
            load[storage_id][step % MINUTES] += change


def _length_in_hour(plan: Planned) -> int:
    return min(MINUTES, length_min(plan.usual_s))


def _costs(load: dict[int, list[int]], plan: Planned) -> list[int]:
    """Return for each minute how many minutes of other runs lie in a run that starts there."""
    length = _length_in_hour(plan)
    both = [sum(column) for column in zip(*(load[pk] for pk in plan.storages), strict=True)]
    twice = both + both
    costs = [sum(twice[:length])]
    for minute in range(1, MINUTES):
        costs.append(costs[-1] - twice[minute - 1] + twice[minute + length - 1])
    return costs
