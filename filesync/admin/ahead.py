"""The page "A day ahead": what will start when, where it clashes, and how to spread it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import nsmallest
from math import ceil
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from filesync import amounts, day_ahead
from filesync.ahead import WINDOWS, Window, look_ahead
from filesync.selectors import is_id
from filesync.services.configs import change_crons
from scheduler import cron

WIDTH = 960
LANES = 60
NARROWEST = 2.0
PEAKS = 3
SEPARATOR = "|"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: how far, the one storage or None, which day's clashes, which page."""

    name: str
    storage: int | None
    day: int
    page: int

    @property
    def window(self) -> Window:
        return WINDOWS[self.name]

    def link(self, **place: int) -> str:
        """Return the query of another page or day of the same."""
        asked = {"window": self.name, "storage": self.storage or ""}
        return urlencode(asked | ({"day": self.day} if self.day else {}) | place)


def ahead(request: HttpRequest) -> HttpResponse:
    """Show the timeline; a POST applies the moves that were ticked."""
    if not request.user.has_perm("filesync.view_syncconfig"):
        raise PermissionDenied
    if request.method == "POST":
        return _apply(request)
    context = {
        **admin.site.each_context(request),
        "title": _("A day ahead"),
        **_timeline(_wish(request), timezone.now()),
        "may_change": request.user.has_perm("filesync.change_syncconfig"),
    }
    return TemplateResponse(request, "filesync/ahead.html", context)


def _wish(request: HttpRequest) -> Wish:
    name = "week" if request.GET.get("window") == "week" else "day"
    storage, page = request.GET.get("storage", ""), request.GET.get("page", "")
    day = request.GET.get("day", "")
    return Wish(
        name,
        int(storage) if is_id(storage) else None,
        min(int(day), WINDOWS[name].days - 1) if is_id(day) else 0,
        max(1, int(page)) if is_id(page) else 1,
    )


def _apply(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("filesync.change_syncconfig"):
        raise PermissionDenied
    changes: dict[int, tuple[str, str]] = {}
    for text in request.POST.getlist("move"):
        pk, *crons = text.split(SEPARATOR)
        if is_id(pk) and len(crons) == 2:
            changes[int(pk)] = (crons[0], crons[1])
    try:
        changed = change_crons(changes)
    except cron.InvalidCron as error:
        messages.error(request, str(error))
    else:
        count = len(changed)
        said = ngettext(
            "%d sync starts at another minute", "%d syncs start at another minute", count
        )
        messages.success(request, said % count)
        if count < len(changes):
            messages.warning(request, _("Those that were edited meanwhile were left alone."))
    return HttpResponseRedirect(reverse("admin:filesync_syncconfig_ahead"))


def _timeline(wish: Wish, now: datetime) -> dict[str, Any]:
    window = wish.window
    seen = look_ahead(window, now, storage=wish.storage, day=wish.day)
    since, until = seen.clashes_within
    days = _days(wish, now) if seen.storage is None else []
    now = seen.begins
    ticks = _ticks(window, now)
    return {
        "window": wish.name,
        "storage": seen.storage,
        "storages": sorted(
            ((pk, name) for pk, (name, _limit) in seen.storages.items()), key=lambda one: one[1]
        ),
        "width": WIDTH,
        "ticks": ticks,
        "grid": "".join(f"M{x} 0V16" for x, _label in ticks),
        "bars": _bars(seen.counts, window, now),
        "peaks": _peaks(seen.counts, window, now),
        **_lanes(seen.plans, wish, now),
        "days": days,
        "clashes_from": _hm(since),
        "clashes_to": _hm(until),
        "clashes": [
            {
                "storage": seen.storages[clash.storage_id][0],
                "from": _hm(clash.starts),
                "to": _hm(clash.ends),
                "runs": clash.runs,
                "limit": clash.limit,
                "names": ", ".join(seen.names[pk] for pk in clash.config_ids[:5]),
            }
            for clash in seen.clashes
        ],
        "changes": [_change(change) for change in seen.changes],
        "moves": seen.moves,
        "zone": timezone.get_current_timezone_name(),
    }


def _lanes(plans: list[day_ahead.Planned], wish: Wish, now: datetime) -> dict[str, Any]:
    """Return a page of the configs, those that start soonest first."""
    pages = max(1, ceil(len(plans) / LANES))
    page = min(wish.page, pages)
    soonest = nsmallest(page * LANES, plans, key=lambda plan: (plan.starts[0], plan.name))
    return {
        "lanes": [_lane(plan, wish.window, now) for plan in soonest[(page - 1) * LANES :]],
        "page": page,
        "pages": pages,
        "previous": wish.link(page=page - 1) if page > 1 else "",
        "next": wish.link(page=page + 1) if page < pages else "",
    }


def _days(wish: Wish, now: datetime) -> list[tuple[str, str, bool]]:
    """Return date, link and whether it is the chosen one of each day of a week; of a day none."""
    if wish.window.days == 1:
        return []
    begins = (timezone.localtime(now + timedelta(days=day)) for day in range(wish.window.days))
    return [
        (f"{begin:%m-%d}", wish.link(day=day), day == wish.day) for day, begin in enumerate(begins)
    ]


def _x(moment: datetime, window: Window, now: datetime) -> float:
    return round(WIDTH * ((moment - now) / timedelta(hours=window.hours)), 1)


def _hm(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%m-%d %H:%M}"


def _ticks(window: Window, now: datetime) -> list[tuple[float, str]]:
    """Return the grid: every three hours of a day, every midnight of a week."""
    step_h = 3 if window.hours == 24 else 24
    moment = timezone.localtime(now).replace(minute=0, second=0, microsecond=0)
    ticks: list[tuple[float, str]] = []
    for number in range(1, window.hours + 1):
        at = timezone.localtime(moment + timedelta(hours=number))
        if at.hour % step_h == 0:
            ticks.append((_x(at, window, now), f"{at:%H:%M}" if step_h == 3 else f"{at:%m-%d}"))
    return ticks


def _bars(counts: list[int], window: Window, now: datetime) -> list[dict[str, Any]]:
    most = max(counts, default=0) or 1
    width = WIDTH / window.buckets
    return [
        {
            "x": round(number * width, 1),
            "width": round(width - 1, 1),
            "height": round(100 * count / most, 1),
            "y": round(100 - 100 * count / most, 1),
            "label": _("%(when)s: %(count)d starts")
            % {"when": _hm(now + number * window.bucket), "count": count},
        }
        for number, count in enumerate(counts)
        if count
    ]


def _peaks(counts: list[int], window: Window, now: datetime) -> list[str]:
    """Return the fullest spans, fullest first, where there is anything to choose."""
    fullest = sorted(range(len(counts)), key=lambda number: (-counts[number], number))
    return [
        _("%(when)s: %(count)d starts")
        % {"when": _hm(now + number * window.bucket), "count": counts[number]}
        for number in fullest[:PEAKS]
        if counts[number] > 1
    ]


def _lane(plan: day_ahead.Planned, window: Window, now: datetime) -> dict[str, Any]:
    """Return one config's runs as one path of marks; marks that touch are one."""
    scale = WIDTH / (window.hours * 60)
    width = max(plan.usual_s / 60 * scale, NARROWEST)
    begin = day_ahead.minute_of(now)
    marks: list[list[float]] = []
    for minute in plan.starts:
        x = (minute - begin) * scale
        end = min(x + width, WIDTH)
        if marks and x <= marks[-1][1]:
            marks[-1][1] = max(end, marks[-1][1])
        else:
            marks.append([x, end])
    label = _("%(count)d starts, next %(next)s, usually %(took)s") % {
        "count": len(plan.starts),
        "next": _hm(day_ahead.moment_of(plan.starts[0])),
        "took": amounts.duration(plan.usual_s),
    }
    return {
        "name": plan.name,
        "url": reverse("admin:filesync_syncconfig_change", args=[plan.config_id]),
        "marks": "".join(f"M{x:.1f} 2H{end:.1f}V14H{x:.1f}Z" for x, end in marks),
        "label": label,
    }


def _change(change: day_ahead.ClockChange) -> str:
    numbers = {
        "zone": change.timezone,
        "when": f"{change.at:%Y-%m-%d %H:%M}",
        "minutes": abs(change.shift_s) // 60,
    }
    if change.shift_s > 0:
        said = _("%(zone)s: clocks go forward by %(minutes)d minutes, to %(when)s.") % numbers
    else:
        said = _("%(zone)s: clocks go back by %(minutes)d minutes, to %(when)s.") % numbers
    if change.names:
        said = f"{said} {_('Fires near it')}: {', '.join(change.names)}."
    return said
