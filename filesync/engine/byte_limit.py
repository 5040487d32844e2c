"""Notice that rclone ends for the limit of bytes, and what else it then calls an error: pure.

Its exit code says so only where all was listed already. Elsewhere it gives up listing, and each
folder it was at becomes an error: nothing failed there, and the next run goes on with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from filesync.engine.drive import Take
from filesync.engine.events import Event
from filesync.engine.messages import LastWords, Message, Problem, Remark
from filesync.engine.outcome import MAX_TRANSFER_EXIT

_REACHED = "max transfer limit reached as set by --max-transfer"
_STOPPING = f"{_REACHED} - "
# The cause stands last, where no name does.
_CONSEQUENCE = re.compile(
    rf"(?:^|: )(?:{re.escape(_REACHED)}|context canceled)$|"
    r"^failed to (?:set|update) directory (?:modtime|timestamp)\b",
    re.IGNORECASE,
)


@dataclass(slots=True)
class ByteLimit:
    """Keep from a reader the errors of one process that only say that the limit was reached."""

    reached: bool = False

    def watching(self, take: Take) -> Take:
        """Give a `take` that notes the limit, and takes its errors for remarks."""

        def without_consequences(message: Message) -> list[Event]:
            if not isinstance(message, Problem | LastWords | Remark):
                return take(message)
            if message.text.startswith(_STOPPING) or message.text.endswith(f": {_REACHED}"):
                self.reached = True
            if self.reached and _is_consequence(message):
                return take(Remark("error", message.text, _path(message)))
            return take(message)

        return without_consequences

    def exit_code(self, exit_code: int) -> int:
        """Give the exit code of a process as rclone would where it had listed all."""
        return MAX_TRANSFER_EXIT if self.reached else exit_code


def _is_consequence(message: Message) -> bool:
    return isinstance(message, Problem | LastWords) and bool(_CONSEQUENCE.search(message.text))


def _path(message: Message) -> str | None:
    return message.path if isinstance(message, Problem) else None
