"""What file sync refuses or fails at, each with a `code` and whether trying again can help.

No rest_framework here: `project.exceptions` maps these to HTTP.
"""

from __future__ import annotations

from typing import ClassVar


class FilesyncError(Exception):
    """The base: `code` for programs, the message for people."""

    code: ClassVar[str] = "filesync"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(FilesyncError):
    """What was asked for does not exist."""

    code = "not_found"


class Conflict(FilesyncError):
    """It exists, but its state forbids what was asked."""

    code = "conflict"


class RunActive(Conflict):
    """The config has a run that is queued or running; `task_id` names it."""

    code = "run_active"

    def __init__(self, message: str, task_id: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id


class ConfigDisabled(Conflict):
    """The config is disabled, nobody insisted, and it is to be more than a dry run."""

    code = "config_disabled"


class KeyReused(FilesyncError):
    """An idempotency key came again with another request."""

    code = "idempotency_key_reused"


class RunFinished(Conflict):
    """The run has ended, so that it cannot be cancelled."""

    code = "run_finished"


class StorageRefused(FilesyncError):
    """A storage, or a path on it, may not be used as it is; nothing was tried."""

    code = "storage_refused"


class TooManyLooks(StorageRefused):
    """Too many storages are tested or listed at this moment; nothing was tried."""

    code = "too_many_looks"
    retryable = True


class NothingFailed(Conflict):
    """Only the failed files were to be sent, and none failed."""

    code = "nothing_failed"


class FailuresForgotten(Conflict):
    """Only the failed files were to be sent, and not all of them are recorded."""

    code = "failures_forgotten"


class AnotherConfig(Conflict):
    """A run was named that is not one of this config."""

    code = "another_config"


class NothingToUndo(Conflict):
    """The run cannot be undone: nothing is kept, or a later run changed files since."""

    code = "nothing_to_undo"


class RulesTooSlow(FilesyncError):
    """Rules that were tried took too long to decide."""

    code = "rules_too_slow"


class SyncFailed(FilesyncError):
    """A run ended FAILED, PARTIAL or LOST; the message says why and what to do."""

    code = "sync_failed"


class SyncRetrying(FilesyncError):
    """An attempt failed and the run is queued for another one."""

    code = "sync_retrying"
    retryable = True
