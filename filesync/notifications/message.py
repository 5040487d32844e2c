"""The words of messages: what happened, to which sync, why, and what to do next; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from django.utils.translation import gettext as _

from filesync.amounts import duration, size
from filesync.notifications.events import Event
from filesync.notifications.stories import NAMES_SHOWN
from filesync.notifications.targets import Message, Severity

TITLE_CHARS = 200


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a message says of one run."""

    run_id: int
    sync: str
    route: str
    state: str
    failure_class: str
    reason: str
    advice: str
    files_sent: int
    bytes_sent: int
    files_renamed: int
    files_deleted: int
    files_failed: int
    duration_s: float | None
    link: str


@dataclass(frozen=True, slots=True)
class StoryFacts:
    """What a message says of a story: how often, since when, which syncs; times in `zone`."""

    event: Event
    count: int
    opened_at: datetime
    now: datetime
    zone: tzinfo
    syncs: Sequence[str]
    account: str = ""


_SEVERITY: dict[Event, Severity] = {
    Event.FAILURE: "failure",
    Event.GUARD: "failure",
    Event.PARTIAL: "warning",
    Event.MISSED: "warning",
    Event.LATE: "warning",
    Event.SILENT: "failure",
    Event.RECOVERED: "success",
    Event.SUCCESS: "success",
    Event.NOTHING_TO_DO: "info",
}


def trouble(story: StoryFacts, run: RunFacts) -> Message:
    """Tell a failing sync, or an account whose login is refused, with the latest run."""
    since = _since(story)
    if story.account:
        title = _("%(account)s refuses the login: %(count)d syncs cannot run") % {
            "account": story.account,
            "count": len(story.syncs),
        }
    else:
        title = f"{run.sync} {_verb(story.event)}"
    if story.count > 1:
        title += _(" %(count)d times since %(since)s") % {"count": story.count, "since": since}
    return _message(story.event, title, [_names(story), *_run_lines(run)])


def recovered(story: StoryFacts, run: RunFacts) -> Message:
    """Tell that a story is over, with the run that ended it."""
    title = _("%(who)s works again after %(count)d failures since %(since)s") % {
        "who": story.account or run.sync,
        "count": story.count,
        "since": _since(story),
    }
    return _message(Event.RECOVERED, title, [_names(story), *_run_lines(run)])


def routine(event: Event, run: RunFacts) -> Message:
    """Tell one run that went well."""
    return _message(event, f"{run.sync} {_verb(event)}", _run_lines(run))


def undoing(event: Event, run: RunFacts) -> Message:
    """Tell how the undoing of a run ended."""
    title = _("%(sync)s: undoing a run %(verb)s") % {"sync": run.sync, "verb": _verb(event)}
    return _message(event, title, _run_lines(run))


def missed(slots: int, syncs: Sequence[str], first: str, last: str) -> Message:
    """Tell the slots that nobody fired, of all syncs together."""
    title = _("%(slots)d slots of %(syncs)d syncs were missed from %(first)s to %(last)s") % {
        "slots": slots,
        "syncs": len(syncs),
        "first": first,
        "last": last,
    }
    advice = _("Beat was not running then. Look at its log; the latest slot may be caught up.")
    return _message(Event.MISSED, title, [_listed(syncs), advice])


def late(story: StoryFacts, link: str) -> Message:
    """Tell runs that have not started in time, all together."""
    title = _("%(count)d runs are late since %(since)s") % {
        "count": story.count,
        "since": _since(story),
    }
    advice = _("Look whether workers live and are free: task-status says so in its warnings.")
    return _message(Event.LATE, title, [_listed(story.syncs), advice, link])


def on_time_again(syncs: Sequence[str], link: str) -> Message:
    """Tell that no run is late any more, with the syncs of which some were."""
    return _message(Event.RECOVERED, _("No run is late any more"), [_listed(syncs), link])


def too_long(run: RunFacts, usual_s: float) -> Message:
    """Tell a run that goes on far over its usual duration."""
    title = _("%(sync)s runs for %(now)s, usually it takes %(usual)s") % {
        "sync": run.sync,
        "now": duration(run.duration_s or 0),
        "usual": duration(usual_s),
    }
    return _message(Event.LATE, title, _run_lines(run))


def ended(run: RunFacts) -> Message:
    """Tell that a run is over which went on far over its usual duration."""
    title = _("%(sync)s has ended after %(time)s") % {
        "sync": run.sync,
        "time": duration(run.duration_s or 0),
    }
    return _message(Event.RECOVERED, title, _run_lines(run))


def silent(*, role: str, silent_s: float, queue: str = "") -> Message:
    """Tell that beat, or every worker, or each of a queue, has given no sign of life."""
    if queue:
        title = _("No worker serves the queue %(queue)s for %(time)s: its runs wait") % {
            "queue": queue,
            "time": duration(silent_s),
        }
    elif role == "beat":
        title = _("No beat for %s: schedules do not fire") % duration(silent_s)
    else:
        title = _("No worker for %s: runs wait") % duration(silent_s)
    return _message(Event.SILENT, title, [_("Start it, or look at its log for why it ended.")])


def back(*, role: str, since: str, queue: str = "") -> Message:
    """Tell that what was silent gives signs of life."""
    if queue:
        served = _("The queue %(queue)s is served again, it was not since %(since)s")
        return _message(Event.RECOVERED, served % {"queue": queue, "since": since}, [])
    title = (
        _("Beat is back, it was silent since %s")
        if role == "beat"
        else _("A worker is back, all were silent since %s")
    )
    return _message(Event.RECOVERED, title % since, [])


def proof(channel: str) -> Message:
    """Return what the Test button sends."""
    title = _("Syncbeat: test of %s") % channel
    return Message(title[:TITLE_CHARS], _("Messages of Syncbeat arrive here."), "info")


def moment(when: datetime, now: datetime, zone: tzinfo) -> str:
    """Return a time of day, with its date where that is not today."""
    local, today = when.astimezone(zone), now.astimezone(zone)
    return f"{local:%H:%M}" if local.date() == today.date() else f"{local:%Y-%m-%d %H:%M}"


def _since(story: StoryFacts) -> str:
    return moment(story.opened_at, story.now, story.zone)


def _verb(event: Event) -> str:
    return {
        Event.FAILURE: _("failed"),
        Event.PARTIAL: _("failed for some files"),
        Event.GUARD: _("was stopped by a guard"),
        Event.SUCCESS: _("succeeded"),
        Event.NOTHING_TO_DO: _("had nothing to do"),
    }[event]


def _names(story: StoryFacts) -> str:
    return _listed(story.syncs) if story.account else ""


def _listed(syncs: Sequence[str]) -> str:
    more = len(syncs) - NAMES_SHOWN
    shown = ", ".join(syncs[:NAMES_SHOWN])
    return _("Syncs: %s") % (shown + (_(" and %d more") % more if more > 0 else ""))


def _run_lines(run: RunFacts) -> list[str]:
    state = f"{run.state} ({run.failure_class})" if run.failure_class else run.state
    counts = _(
        "%(sent)d files (%(size)s) sent, %(renamed)d renamed, %(deleted)d deleted, "
        "%(failed)d failed"
    ) % {
        "sent": run.files_sent,
        "size": size(run.bytes_sent),
        "renamed": run.files_renamed,
        "deleted": run.files_deleted,
        "failed": run.files_failed,
    }
    return [
        _("Sync: %s") % run.sync,
        _("Route: %s") % run.route,
        _("State: %s") % state,
        _("Reason: %s") % run.reason if run.reason else "",
        _("Next step: %s") % run.advice if run.advice else "",
        _("Counts: %s") % counts,
        _("Duration: %s") % duration(run.duration_s) if run.duration_s is not None else "",
        run.link,
    ]


def _message(event: Event, title: str, lines: Iterable[str]) -> Message:
    body = "\n".join(line for line in lines if line)
    return Message(title[:TITLE_CHARS], body or title, _SEVERITY[event])
