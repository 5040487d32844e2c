"""Hold a run to its most files: of what its plan would send, it sends the first ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from filesync.engine.drive import Take
from filesync.engine.events import Event
from filesync.engine.messages import COPY, Message, Skipped
from filesync.engine.renamed import moved_to
from filesync.engine.request import Limits

_MOST_NAMES = 100_000
"""So many names are held in memory; above, a run ends once it is seen to have sent enough."""


def is_exact(limits: Limits) -> bool:
    """Whether a run is planned so that it sends no more than its most files."""
    return limits.max_files is not None and limits.max_files <= _MOST_NAMES


@dataclass(slots=True)
class FirstFiles:
    """The first files that dry runs would send, by their names at the source; `more` are left.

    Those that are to come `last` take only the places that no other takes.
    """

    most: int
    last: Collection[str] = ()
    more: bool = False
    _first: dict[str, None] = field(default_factory=dict)
    _last: dict[str, None] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Return which files may be sent."""
        return (*self._first, *self._last)[: self.most]

    def watching(self, take: Take) -> Take:
        """Give a `take` that notes the files too."""

        def both(message: Message) -> list[Event]:
            if isinstance(message, Skipped) and (
                message.what == COPY or moved_to(message) is not None
            ):
                self._note(message.path)
            return take(message)

        return both

    def _note(self, path: str) -> None:
        names = self._last if path in self.last else self._first
        if path not in names and len(names) < self.most:
            names[path] = None
            self.more = self.more or len(self._first) + len(self._last) > self.most
        elif path not in names:
            self.more = True
