"""How sizes and durations are said to people, in the reader's language; pure."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from django.template.defaultfilters import filesizeformat
from django.utils.translation import get_language
from django.utils.translation import gettext as _

MINUTE_S = 60
HOUR_S = 3_600
DAY_S = 86_400


def size(size_bytes: float | None) -> str:
    """Return a size in words, a dash for None."""
    return "-" if size_bytes is None else _size(size_bytes, get_language())


@lru_cache(maxsize=4_096)
def _size(size_bytes: float, language: str | None) -> str:
    """Put a size into words; most files in flight were so at the poll before."""
    return str(filesizeformat(size_bytes))


def duration(seconds: float | None) -> str:
    """Return a duration in at most two units, such as "2 h 5 min"; a dash for None."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return _("%s s") % f"{seconds:.1f}"
    whole = round(seconds)
    if whole < MINUTE_S:
        return _("%s s") % whole
    minutes, second = divmod(whole, 60)
    if minutes < 60:
        return _("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": second}
    hours, minute = divmod(minutes, 60)
    return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minute}


def roughly(span: timedelta) -> str:
    """Return a span in its largest unit: 40 s, 12 min, 3 h, 2 d; one below 0 as 0 s."""
    whole = max(0, int(span.total_seconds()))
    if whole >= 2 * DAY_S:
        return _("%d d") % (whole // DAY_S)
    if whole >= 2 * HOUR_S:
        return _("%d h") % (whole // HOUR_S)
    if whole >= 2 * MINUTE_S:
        return _("%d min") % (whole // MINUTE_S)
    return _("%s s") % whole
