"""Find out before a run overwrites or removes anything whether its two sides are one folder."""

from __future__ import annotations

from collections.abc import Iterator

from filesync.engine import marker
from filesync.engine.drive import Stopped
from filesync.engine.errors import Failure, FailureClass
from filesync.engine.events import Event, Plan
from filesync.engine.overlap import names_of, only_a_look_tells
from filesync.engine.paths import full_path, validate_path
from filesync.engine.request import Endpoint, Method, SyncRequest
from filesync.engine.sections import target
from filesync.engine.stages import Stages
from filesync.engine.texts import Text

# Where a root that is no folder yet is a list of buckets, and no file can lie.
_BUCKETS = frozenset(
    {"azureblob", "b2", "google cloud storage", "qingstor", "s3", "storj", "swift"}
)


def check_apart(stages: Stages, plan: Plan) -> Iterator[Event]:
    """End the run where both sides are one folder, or one lies in the other, however written.

    Raises:
        Stopped: they are, or it cannot be found out.
    """
    request = stages.prepared.request
    source, destination = request.source, request.destination
    if not (could_lose(request, plan) and only_a_look_tells(source, destination)):
        return
    name = marker.new_name()
    seen = yield from marker.turns_up(
        stages,
        name,
        root=target("src", Endpoint(source.remote), ()),
        places=[f"{folder}/{name}".lstrip("/") for folder in places_to_look(source, destination)],
    )
    if seen:
        text = Text(
            "Source {source} and destination {destination} are one folder, or one is inside the "
            "other: a file that was written to the destination was seen from the source. Nothing "
            "was moved or overwritten.",
            source=full_path(source) or "/",
            destination=full_path(destination) or "/",
        )
        raise Stopped(Failure.of(FailureClass.CONFIG, text))


def could_lose(request: SyncRequest, plan: Plan) -> bool:
    """Whether a plan would lose files if both sides were one folder.

    Where no file of the source stands at the destination yet, and nothing is deleted there, they
    are two: so most runs need no look. With rename rules a file may stand there by another name.
    """
    if request.method not in (Method.MOVE, Method.OVERWRITE):
        return False
    renamed = bool(request.rules.renames and plan.destination_files)
    return bool(plan.updates or plan.deletes or renamed)


def places_to_look(source: Endpoint, destination: Endpoint) -> list[str]:
    """Give the folders below the source's root where the destination's could turn up.

    They are the source's own, those above it, and in it those by the destination's last names.
    """
    own = validate_path(source.path).split("/")
    if destination.remote.encryption is None:
        theirs = list(names_of(destination))
    else:
        theirs = validate_path(destination.path).split("/")
    own, theirs = [*filter(None, own)], [*filter(None, theirs)]
    bare = source.remote.backend in _BUCKETS and not validate_path(source.remote.root)
    above = [own[:upto] for upto in range(1 if bare else 0, len(own) + 1)]
    inside = [own + theirs[first:] for first in range(len(theirs))]
    return sorted({"/".join(names) for names in above + inside})
