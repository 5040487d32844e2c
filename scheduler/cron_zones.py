"""Time zones as the walk through cron's calendar needs them: names, and stretches of one offset.

No expressions here. Instants are whole seconds since 1970, and so are wall times: what a clock in
the zone shows, counted as if it were UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from scheduler.cron_errors import InvalidCron
from scheduler.cron_errors import gettext as _

DAY_S = 86_400
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

# Since 1970 no zone changes its offset twice within 6.9 days (tzdata 2026, all 599 names).
PROBE_S = 5 * DAY_S


@lru_cache(maxsize=1)
def _timezones() -> frozenset[str]:
    # `localtime` is whatever this host is set to and `Factory` is "not set": neither is a place.
    # Listing the names reads the whole zone directory, 23 ms.
    return frozenset(available_timezones() - {"localtime", "Factory"})


def load_timezone(name: str) -> ZoneInfo:
    """Return the zone of an IANA name, spelled exactly; raises InvalidCron.

    The name is looked up in the list of zones first, so no path ever reaches the file system.
    """
    if name in _timezones():
        return ZoneInfo(name)
    if not name:
        raise InvalidCron("timezone", _("empty; write an IANA name such as Europe/Berlin"))
    shown = name if len(name) <= 40 else name[:40] + "..."
    spelled = next((zone for zone in _timezones() if zone.lower() == name.lower()), None)
    if spelled:
        reason = _("%(name)a is not an IANA timezone; did you mean %(spelled)s")
    else:
        reason = _("%(name)a is not an IANA timezone; write one such as Europe/Berlin")
    raise InvalidCron("timezone", reason % {"name": shown, "spelled": spelled})


def year_of(instant_s: int) -> int:
    """Return the UTC year that an instant lies in."""
    return date.fromordinal(EPOCH_ORDINAL + instant_s // DAY_S).year


def to_instant(moment: datetime) -> int:
    """Return whole seconds since 1970, rounded down."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no timezone")
    return (moment - EPOCH) // timedelta(seconds=1)


def to_datetime(instant_s: int) -> datetime:
    """Return an instant as an aware time in UTC."""
    return EPOCH + timedelta(seconds=instant_s)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of real time, within one UTC year, during which the offset stays the same.

    `floor_s` is the first wall time no earlier stretch has shown. After clocks went back it is
    later than the wall time at `begin_s`, after clocks went forward earlier: the gap is below it.
    All in seconds since 1970, real ones or wall ones.
    """

    begin_s: int
    end_s: int
    offset_s: int
    floor_s: int


def _offset_s(zone: ZoneInfo, instant_s: int) -> int:
    offset = (EPOCH + timedelta(seconds=instant_s)).astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _change_s(zone: ZoneInfo, before_s: int, after_s: int) -> int:
    """Return the first second of the new offset, which differs between the two instants."""
    old = _offset_s(zone, before_s)
    while after_s - before_s > 1:
        middle = (before_s + after_s) // 2
        if _offset_s(zone, middle) == old:
            before_s = middle
        else:
            after_s = middle
    return after_s


@lru_cache(maxsize=4096)
def stretches(zone: ZoneInfo, year: int) -> tuple[Stretch, ...]:
    """Return the stretches that a UTC year falls into, ascending and without a gap."""
    year_s = (date(year, 1, 1).toordinal() - EPOCH_ORDINAL) * DAY_S
    end_s = (date(year + 1, 1, 1).toordinal() - EPOCH_ORDINAL) * DAY_S
    # Two days early: a change on 31 December still sets the floor of 1 January.
    begin_s = year_s - 2 * DAY_S
    offset_s = _offset_s(zone, begin_s)
    floor_s = begin_s + offset_s
    found: list[Stretch] = []
    for before_s, probe_s in pairwise([*range(begin_s, end_s, PROBE_S), end_s - 1]):
        new_offset_s = _offset_s(zone, probe_s)
        if new_offset_s == offset_s:
            continue
        change_s = _change_s(zone, before_s, probe_s)
        found.append(Stretch(begin_s, change_s, offset_s, floor_s))
        begin_s, floor_s, offset_s = change_s, change_s + offset_s, new_offset_s
    found.append(Stretch(begin_s, end_s, offset_s, floor_s))
    return tuple(
        stretch
        if stretch.begin_s >= year_s
        else Stretch(
            year_s,
            stretch.end_s,
            stretch.offset_s,
            max(stretch.floor_s, year_s + stretch.offset_s),
        )
        for stretch in found
        if stretch.end_s > year_s
    )
