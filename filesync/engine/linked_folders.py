"""Refuse to write through a linked folder of a local destination, wherever it leads.

rclone passes a link by when it lists, so that all below it looks new, and follows it when it
writes: it would overwrite files of another folder without keeping them, or those of the source.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from filesync.engine.drive import Take, ticking
from filesync.engine.errors import PathRefused
from filesync.engine.events import Event
from filesync.engine.messages import Message, Skipped
from filesync.engine.passes import plan_stages
from filesync.engine.paths import folder_links, full_path
from filesync.engine.plan import DELETE_WORDS
from filesync.engine.problems import Problems
from filesync.engine.renamed import moved_to
from filesync.engine.request import KEPT_FOLDER, Endpoint, SyncRequest
from filesync.engine.stages import Stages
from filesync.engine.texts import Text
from filesync.engine.tuning import PairFacts

_MAX_REMEMBERED = 200_000
_GOES = DELETE_WORDS | {"remove directory"}


@dataclass(slots=True)
class LinkedFolders:
    """Look at the folders in which dry runs would write: only there does a link do harm.

    Where nothing changes, nothing is looked at.
    """

    destination: str
    _real: set[str] = field(default_factory=set)

    def watching(self, take: Take) -> Take:
        """Give a `take` that raises PathRefused where something would be written through a link."""

        def both(message: Message) -> list[Event]:
            if isinstance(message, Skipped) and message.what not in _GOES:
                self.check(moved_to(message) or message.path)
            return take(message)

        return both

    def check(self, path: str) -> None:
        """Raise PathRefused where a folder that a path of the destination lies in is a link."""
        folder = path.rpartition("/")[0]
        if not folder or folder in self._real:
            return
        ends = [at for at, letter in enumerate(folder) if letter == "/"]
        for end in (*ends, len(folder)):
            self._check_folder(folder[:end])

    def _check_folder(self, folder: str) -> None:
        if folder in self._real:
            return
        place = f"{self.destination}/{folder}"
        # Below a link to a file nothing can be written.
        if os.path.islink(place) and not os.path.isfile(place):
            raise PathRefused(
                Text(
                    "{link} is a symbolic link to the folder {target}, and the run would write "
                    "through it; remove the link, or leave its name out with a filter",
                    link=place,
                    target=os.path.realpath(place),
                ),
                field="destination",
            )
        if len(self._real) < _MAX_REMEMBERED:
            self._real.add(folder)


def watching(request: SyncRequest, take: Take) -> Take:
    """Give a `take` for the dry runs of a plan that refuses what `LinkedFolders` does."""
    destination = _folder_of(request.destination)
    return take if destination is None else LinkedFolders(destination).watching(take)


def check_unplanned(stages: Stages, facts: PairFacts) -> Iterator[Event]:
    """Refuse likewise where a run has no plan: with dry runs, if any link may be in the way.

    Raises:
        PathRefused: something would be written through a link.
        Stopped: the run must end.
    """
    request = stages.prepared.request
    destination = _folder_of(request.destination)
    if destination is None:
        return
    suspects: list[str] = []
    yield from ticking(_suspected(request, destination, suspects))
    if suspects:
        take = LinkedFolders(destination).watching(Problems().note)
        for stage in plan_stages(request, facts):
            yield from stages.drive(replace(stage, report=False), take)


def _suspected(request: SyncRequest, destination: str, suspects: list[str]) -> Iterator[None]:
    """Find one link that the source may have a folder for; yields now and then."""
    if request.only_paths is not None:
        links = LinkedFolders(destination)
        try:
            for path in request.only_paths:
                links.check(path)
        except PathRefused:
            suspects.append(path)
        return
    source = _folder_of(request.source)
    for link in folder_links(destination, skip=KEPT_FOLDER):
        if link is None:
            yield
        elif source is None or _is_folder(source, os.path.relpath(link, destination)):
            suspects.append(link)
            return


def _is_folder(source: str, path: str) -> bool:
    place = os.path.join(source, path)
    return os.path.isdir(place) and not os.path.islink(place)


def _folder_of(endpoint: Endpoint) -> str | None:
    """Give the folder whose names are those of an endpoint's files; None for all but local ones."""
    remote = endpoint.remote
    plain = remote.backend == "local" and remote.encryption is None
    return full_path(endpoint) if plain else None
