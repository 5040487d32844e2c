"""What can go wrong and what to do about it: failure classes, their advice and the exceptions.

Reading a failure out of rclone's words is not here (messages).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar


class FailureClass(enum.StrEnum):
    """Why a run, a probe or a file failed; `advice` and `retryable` belong to the class."""

    AUTH = "AUTH"
    PERMISSION = "PERMISSION"
    NOT_FOUND = "NOT_FOUND"
    QUOTA = "QUOTA"
    RATE_LIMITED = "RATE_LIMITED"
    NETWORK = "NETWORK"
    NAME_NOT_ALLOWED = "NAME_NOT_ALLOWED"
    DISK_FULL = "DISK_FULL"
    GUARD = "GUARD"
    TIMEOUT = "TIMEOUT"
    CONFIG = "CONFIG"
    INTERNAL = "INTERNAL"

    @property
    def advice(self) -> str:
        """Say what a person should do next."""
        return _ADVICE[self]

    @property
    def retryable(self) -> bool:
        """Whether trying the same again later can help without anyone doing anything."""
        return self in _RETRYABLE


_ADVICE = {
    FailureClass.AUTH: (
        "The storage refused the login, or its names do not decrypt. Correct the user name, "
        "password, key, token or encryption password of the storage, then test the connection."
    ),
    FailureClass.PERMISSION: (
        "The login works, but this file or folder may not be read or written. Give the account "
        "the right, or exclude the path with a filter."
    ),
    FailureClass.NOT_FOUND: (
        "The folder, bucket or file does not exist. Check the path; if it lives on a mounted "
        "disk, check that the disk is mounted."
    ),
    FailureClass.QUOTA: (
        "The account's storage space or daily allowance is used up. Free space or raise the "
        "allowance, then run again."
    ),
    FailureClass.RATE_LIMITED: (
        "The storage asks for fewer requests. Lower transfers and calls per second; the run is "
        "tried again by itself."
    ),
    FailureClass.NETWORK: (
        "The storage could not be reached or broke the connection. Check address, port and "
        "network; the run is tried again by itself."
    ),
    FailureClass.NAME_NOT_ALLOWED: (
        "The storage does not accept this file name. Rename the file, or add a rename rule or "
        "an exclude filter."
    ),
    FailureClass.DISK_FULL: "The disk is full. Free space at the destination, then run again.",
    FailureClass.GUARD: (
        "The run was stopped to protect files. Look at the numbers; if they are as intended, "
        "run it once with force, or raise the limit."
    ),
    FailureClass.TIMEOUT: (
        "The run made no progress, or took longer than it may. Check the storage, or raise the "
        "limit."
    ),
    FailureClass.CONFIG: "The settings cannot work as they are. Correct what the message names.",
    FailureClass.INTERNAL: (
        "Something unforeseen happened. Read the log of the run; if it happens again, report it."
    ),
}

_RETRYABLE = frozenset({FailureClass.RATE_LIMITED, FailureClass.NETWORK, FailureClass.TIMEOUT})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run did not succeed; `guard` names the rule that stopped it, else None."""

    failure_class: FailureClass
    message: str
    advice: str
    retryable: bool
    guard: str | None = None

    @classmethod
    def of(
        cls,
        failure_class: FailureClass,
        message: str,
        *,
        guard: str | None = None,
        advice: str | None = None,
        retryable: bool | None = None,
    ) -> Failure:
        """Build a failure with the class's own advice and retry unless others are given."""
        return cls(
            failure_class=failure_class,
            message=message,
            advice=failure_class.advice if advice is None else advice,
            retryable=failure_class.retryable if retryable is None else retryable,
            guard=guard,
        )


class EngineError(Exception):
    """A request that the engine refuses, or cannot start; the message names what and why."""

    code: ClassVar[str] = "engine"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class OptionRefused(EngineError):
    """A backend or one of its options is not allowed; `field` is the option's name."""

    code = "option_refused"


class PathRefused(EngineError):
    """A path leaves its root, is another remote in disguise, or overlaps the other side."""

    code = "path_refused"


class FilterRefused(EngineError):
    """A filter line, size, age or rename rule is not allowed."""

    code = "filter_refused"


class LimitRefused(EngineError):
    """A limit is out of range or not in rclone's syntax; `field` is the limit's name."""

    code = "limit_refused"


class RcloneUnusable(EngineError):
    """The rclone binary is missing, does not start, or is too old."""

    code = "rclone_unusable"
