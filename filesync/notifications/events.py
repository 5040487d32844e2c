"""The events somebody can be told of, and which of them a run's end is; pure."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Event(TextChoices):
    """What a channel may ask for."""

    FAILURE = "FAILURE", _("A run failed")
    PARTIAL = "PARTIAL", _("Some files failed")
    GUARD = "GUARD", _("A guard stopped a run")
    RECOVERED = "RECOVERED", _("It works again")
    MISSED = "MISSED", _("Slots were missed")
    LATE = "LATE", _("A run is late or takes far too long")
    SILENT = "SILENT", _("Beat or all workers are silent")
    SUCCESS = "SUCCESS", _("A run changed something")
    NOTHING_TO_DO = "NOTHING_TO_DO", _("A run had nothing to do")


PROBLEMS = frozenset({Event.FAILURE, Event.PARTIAL, Event.GUARD})
ROUTINE = frozenset({Event.SUCCESS, Event.NOTHING_TO_DO})
# What can be chosen for one sync, with its words: a silence is no sync's.
OF_A_SYNC = {event.value: event.label for event in Event if event is not Event.SILENT}


def default_events() -> list[str]:
    """Return what a new channel asks for: everything but the routine."""
    return [event.value for event in Event if event not in ROUTINE]


@dataclass(frozen=True, slots=True)
class Ending:
    """What of an ended run decides its event."""

    state: str
    failure_class: str
    files_changed: int
    dry_run: bool


def event_of(ending: Ending) -> Event | None:
    """Return the event of an ended run; None where nobody is told.

    Dry runs, cancelled and skipped runs tell nobody, missed slots are told together.
    """
    if ending.dry_run:
        return None
    match ending.state:
        case "FAILED" | "PARTIAL" if ending.failure_class == "GUARD":
            return Event.GUARD
        case "FAILED" | "LOST":
            return Event.FAILURE
        case "PARTIAL":
            return Event.PARTIAL
        case "SUCCEEDED":
            return Event.SUCCESS if ending.files_changed else Event.NOTHING_TO_DO
        case _:
            return None
