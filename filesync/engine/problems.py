"""What went wrong in a run so far: counted by class, and which of it is to be named first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from filesync.engine.errors import FailureClass
from filesync.engine.events import Event
from filesync.engine.messages import LastWords, Message, Problem

BREAKER_ERRORS = 100
"""So many failures in a row without one success end a run: a full disk printed 18,027 lines."""
_BREAKING = frozenset(
    {
        FailureClass.AUTH,
        FailureClass.QUOTA,
        FailureClass.RATE_LIMITED,
        FailureClass.NETWORK,
        FailureClass.DISK_FULL,
    }
)


@dataclass(slots=True)
class Problems:
    """What went wrong so far: counts by class, and the first words of each.

    `named` tells whether any of it has a path.
    """

    counts: Counter[FailureClass] = field(default_factory=Counter)
    first: dict[FailureClass, Problem] = field(default_factory=dict)
    root: Problem | None = None
    last_words: LastWords | None = None
    in_a_row: int = 0
    named: bool = False

    def add(self, problem: Problem) -> None:
        """Count a problem."""
        self.counts[problem.failure_class] += 1
        self.first.setdefault(problem.failure_class, problem)
        if not problem.path and (self.root is None or problem.critical):
            self.root = problem
        self.in_a_row += 1
        self.named = self.named or bool(problem.path)

    def note(self, message: Message) -> list[Event]:
        """Keep what says why rclone failed; by itself it is no event."""
        if isinstance(message, Problem):
            self.add(message)
        elif isinstance(message, LastWords):
            self.last_words = message
        return []

    def tell_of_missing(self, exit_code: int) -> bool:
        """Whether rclone ended so because the place, or something in it, is not there."""
        main = self.main
        return exit_code == 3 or (main is not None and main.failure_class is FailureClass.NOT_FOUND)

    def tell_of_missing_root(self, exit_code: int) -> bool:
        """Whether rclone ended so because the whole place is not there."""
        return self.tell_of_missing(exit_code) and not self.named

    @property
    def main(self) -> Problem | None:
        """The problem to name first: one of the whole run, else the commonest class's."""
        if self.root is not None:
            return self.root
        if not self.counts:
            words = self.last_words
            return Problem(words.text, None, words.failure_class, True) if words else None
        return self.first[self.counts.most_common(1)[0][0]]

    @property
    def breaks(self) -> bool:
        """Whether going on is pointless."""
        main = self.main
        return (
            main is not None and self.in_a_row >= BREAKER_ERRORS and main.failure_class in _BREAKING
        )
