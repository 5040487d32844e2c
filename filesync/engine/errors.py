"""What can go wrong: failure classes and the exceptions.

The words of advice are in advice; reading a failure out of rclone's words is in classify.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from filesync.engine.advice import CLASS_ADVICE, advice_for


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
        return CLASS_ADVICE[self]

    @property
    def retryable(self) -> bool:
        """Whether trying the same again later can help without anyone doing anything."""
        return self in _RETRYABLE


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
        """Build a failure with the advice for its guard, words or class, or with another one."""
        return cls(
            failure_class=failure_class,
            message=message,
            advice=advice_for(failure_class, guard, message) if advice is None else advice,
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
