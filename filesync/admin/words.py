"""How the admin says speeds, moments and states, in the reader's language; pure."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from filesync import amounts, engine
from filesync.models import SyncConfig, SyncRun
from scheduler import cron

# The badge's class in admin.css. Active runs are blue, what never ran is grey.
TONES = {
    SyncRun.State.SUCCEEDED: "good",
    SyncRun.State.RUNNING: "active",
    SyncRun.State.QUEUED: "active",
    SyncRun.State.PARTIAL: "warning",
    SyncRun.State.SKIPPED: "idle",
    SyncRun.State.MISSED: "warning",
    SyncRun.State.CANCELLED: "idle",
    SyncRun.State.FAILED: "bad",
    SyncRun.State.LOST: "bad",
}
PHASES = {
    engine.Phase.PLANNING: gettext_lazy("Planning what will change"),
    engine.Phase.LISTING: gettext_lazy("Comparing both sides"),
    engine.Phase.TRANSFERRING: gettext_lazy("Transferring"),
    engine.Phase.DELETING: gettext_lazy("Deleting"),
}
ACTIONS = {
    engine.Action.ADDED: gettext_lazy("added"),
    engine.Action.UPDATED: gettext_lazy("updated"),
    engine.Action.DELETED: gettext_lazy("deleted"),
    engine.Action.RENAMED: gettext_lazy("renamed"),
    engine.Action.MOVED: gettext_lazy("moved"),
    engine.Action.RESTORED: gettext_lazy("put back"),
    engine.Action.DIR_MADE: gettext_lazy("folder made"),
    engine.Action.DIR_REMOVED: gettext_lazy("folder removed"),
    engine.Action.TIME_UPDATED: gettext_lazy("time updated"),
    engine.Action.DIFFERS: gettext_lazy("differs"),
    engine.Action.MISSING_ON_DESTINATION: gettext_lazy("missing at the destination"),
    engine.Action.MISSING_ON_SOURCE: gettext_lazy("missing at the source"),
    engine.Action.FAILED: gettext_lazy("failed"),
}
FAILURES = {
    engine.FailureClass.AUTH: gettext_lazy("Login refused"),
    engine.FailureClass.PERMISSION: gettext_lazy("Not permitted"),
    engine.FailureClass.NOT_FOUND: gettext_lazy("Not found"),
    engine.FailureClass.QUOTA: gettext_lazy("Quota used up"),
    engine.FailureClass.RATE_LIMITED: gettext_lazy("Too many requests"),
    engine.FailureClass.NETWORK: gettext_lazy("Network"),
    engine.FailureClass.NAME_NOT_ALLOWED: gettext_lazy("Name not allowed"),
    engine.FailureClass.DISK_FULL: gettext_lazy("Disk full"),
    engine.FailureClass.GUARD: gettext_lazy("Stopped by a guard"),
    engine.FailureClass.TIMEOUT: gettext_lazy("Took too long"),
    engine.FailureClass.CONFIG: gettext_lazy("Settings"),
    engine.FailureClass.INTERNAL: gettext_lazy("Unforeseen"),
}
# As the engine names them; a name that is missing here is shown as it is.
GUARDS = {
    "source_missing": gettext_lazy("the source is missing"),
    "source_unreadable": gettext_lazy("the source cannot be read"),
    "source_empty": gettext_lazy("the source is empty"),
    "same_name": gettext_lazy("two files with one name"),
    "source_link": gettext_lazy("a link in the source's place"),
    "source_shrunk": gettext_lazy("the source has shrunk"),
    "max_delete_files": gettext_lazy("too many deletions"),
    "max_delete_percent": gettext_lazy("too large a part deleted"),
    "max_delete_backstop": gettext_lazy("more deletions than planned"),
    "max_bytes": gettext_lazy("most bytes of one run"),
    "max_files": gettext_lazy("most files of one run"),
    "max_runtime": gettext_lazy("longest run"),
    "stall_timeout": gettext_lazy("longest standstill"),
    "consecutive_errors": gettext_lazy("too many errors in a row"),
    "changed_since": gettext_lazy("changed since the run"),
}


def speed(bytes_per_s: float | None) -> str:
    return _("%s/s") % amounts.size(bytes_per_s) if bytes_per_s else ""


def ago(moment: datetime | None, *, now: datetime | None = None) -> str:
    """Return how long ago a moment was, a dash for None."""
    if moment is None:
        return "-"
    now = now or timezone.now()
    if (now - moment).total_seconds() < 60:
        return _("just now")
    return _("%s ago") % timesince(moment, now, depth=1)


def until(moment: datetime, *, now: datetime | None = None) -> str:
    """Return how long it is until a moment."""
    now = now or timezone.now()
    if (moment - now).total_seconds() < 60:
        return _("in less than a minute")
    return _("in %s") % timeuntil(moment, now, depth=1)


def clock(moment: datetime | None) -> str:
    """Return a moment by its own clock, with the zone; a dash for None."""
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M %Z}"


def tone(state: str) -> str:
    return TONES[SyncRun.State(state)]


def state(name: str) -> str:
    """Return a run's state; `get_state_display` translates all states to find one."""
    return str(SyncRun.State(name).label)


def badge(name: str) -> SafeString:
    """Return the coloured label of a run's state."""
    return format_html('<span class="sb-badge sb-{}">{}</span>', tone(name), state(name))


def badges(run: SyncRun) -> SafeString:
    """Return the label of a run's state, and one more where the run is or was late."""
    if not run.late:
        return badge(run.state)
    late = format_html(
        '<span class="sb-badge sb-warning" title="{}">{}</span>', run.get_late_display(), _("late")
    )
    return format_html("{} {}", badge(run.state), late)


def phase(name: str) -> str:
    return str(PHASES[engine.Phase(name)]) if name in list(engine.Phase) else ""


def action(name: str) -> str:
    return str(ACTIONS[engine.Action(name)])


def failure(name: str) -> str:
    """Return the words of a failure class, the text itself where it is none."""
    return str(FAILURES[engine.FailureClass(name)]) if name in list(engine.FailureClass) else name


def guard(name: str) -> str:
    """Return the words of a guard, the text itself where it is none."""
    return str(GUARDS.get(name, name))


def schedule(config: SyncConfig) -> str:
    """Return a config's schedule in words; what is wrong with it where it cannot fire."""
    if not config.cron:
        return _("only by hand")
    try:
        return cron.describe(config.cron, get_language() or "en")
    except cron.InvalidCron as error:
        return str(error)
