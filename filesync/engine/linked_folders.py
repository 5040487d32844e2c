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
from filesync.engine.paths import folder_links, folders_above, full_path
from filesync.engine.plan import DELETE_WORDS
from filesync.engine.problems import Problems
from filesync.engine.renamed import moved_to
from filesync.engine.request import KEPT_FOLDER, Endpoint, SyncRequest
from filesync.engine.stages import Stages
from filesync.engine.texts import Text
from filesync.engine.tuning import PairFacts

_MAX_REMEMBERED = 20_000
_LINKS_OF_FOLDER = 2
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
        for each in folders_above(path):
            self._check_folder(each)

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
    found = (
        folder_links(destination, skip=KEPT_FOLDER)
        if source is None
        else _links_to_write_through(source, destination)
    )
    for link in found:
        if link is not None:
            suspects.append(link)
            return
        yield


def _links_to_write_through(source: str, destination: str) -> Iterator[str | None]:
    """Yield the links that stand for a folder of the source, and None after each folder.

    A folder without folders in it need not be read, which its count of links tells: each has two,
    and one more per folder in it. File systems that do not count so are told by the first folder.
    """
    folders = [""]
    counts_on: int | None = None
    while folders:
        below = folders.pop()
        try:
            facts = os.stat(source + below, follow_symlinks=False)
            if facts.st_dev == counts_on and facts.st_nlink == _LINKS_OF_FOLDER:
                continue
            with os.scandir(source + below) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            # rclone meets the same folder, and reports it.
            continue
        if not below and facts.st_nlink == _LINKS_OF_FOLDER + len(names):
            counts_on = facts.st_dev
        for name in names:
            place = f"{destination}{below}/{name}"
            if not os.path.islink(place):
                folders.append(f"{below}/{name}")
            elif not os.path.isfile(place):
                yield place
        yield None


def _folder_of(endpoint: Endpoint) -> str | None:
    """Give the folder whose names are those of an endpoint's files; None for all but local ones."""
    remote = endpoint.remote
    plain = remote.backend == "local" and remote.encryption is None
    return full_path(endpoint) if plain else None
