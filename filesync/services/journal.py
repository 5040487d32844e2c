"""What the database was too long away to take: kept in files, told when it is back.

Outcomes of runs, and what rclone refreshed, such as a token: a provider may take the old one no
more, so that is written here before the database is asked, encrypted as it is there.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings

from filesync import engine
from filesync.models import Storage
from filesync.secrets import SecretsUnreadable, decrypt, encrypt
from filesync.services.finishing import finish_run
from filesync.services.leases import Claim
from filesync.services.storages import replace_secrets
from filesync.texts import read_text, text_document

logger = logging.getLogger(__name__)


def keep(claim: Claim, result: engine.SyncResult) -> None:
    """Write the outcome of a run to a file beside the work folders of this host."""
    target = _file(claim)
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    document = {
        "run_id": claim.run_id,
        "token": str(claim.token),
        "outcome": result.outcome.value,
        "totals": asdict(result.totals),
        "failure": _failure_document(result.failure) if result.failure else None,
    }
    _write(target, document)
    logger.warning("the outcome of run %s is kept in %s until it can be told", claim.run_id, target)


def keep_refreshed(used: Storage, values: Mapping[str, str]) -> None:
    """Write what rclone refreshed to a file, with what it replaces; both encrypted."""
    sealed = encrypt({"used": json.dumps(used.secrets), "values": json.dumps(dict(values))})
    document = {"storage_id": used.pk, "sealed": sealed}
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # By time: of two refreshes the later one holds.
    _write(folder / f"{time.time_ns()}-{used.pk}.refreshed", document)


def tell_refreshed() -> None:
    """Store what was refreshed and kept, unless something newer was entered meanwhile."""
    for path in sorted(_folder().glob("*.refreshed")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            sealed = decrypt(document["sealed"])
            storage_id = int(document["storage_id"])
            used, values = json.loads(sealed["used"]), json.loads(sealed["values"])
            replace_secrets(storage_id, used, values)
        except FileNotFoundError:
            continue  # another process of this host was first
        except (ValueError, KeyError, TypeError, SecretsUnreadable) as error:
            logger.error("the kept token %s cannot be stored and is put aside: %s", path, error)
            _put_aside(path)
            continue
        path.unlink(missing_ok=True)


def forget(claim: Claim) -> None:
    """Remove the file of an outcome that the database has taken after all."""
    _file(claim).unlink(missing_ok=True)


def replay() -> int:
    """Tell the outcomes that were kept; return how many runs still wanted theirs.

    A run that was given to another worker meanwhile keeps what that worker tells.
    """
    # First: the end of a run lets the next one go that uses the same token.
    tell_refreshed()
    told = 0
    for path in sorted(_folder().glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            claim = Claim(int(document["run_id"]), uuid.UUID(document["token"]))
            result = _result(document)
        except FileNotFoundError:
            continue  # another process of this host was first
        except (ValueError, KeyError, TypeError) as error:
            logger.error("the kept outcome %s cannot be read and is put aside: %s", path, error)
            _put_aside(path)
            continue
        told += finish_run(claim, result) is not None
        path.unlink(missing_ok=True)
    if told:
        logger.info("%d outcomes told that the database had not taken", told)
    return told


def _folder() -> Path:
    folder: Path = settings.FILESYNC_WORK_DIR / "journal"
    return folder


def _write(target: Path, document: Mapping[str, object]) -> None:
    """Write a whole file that only this account can read, or none."""
    draft = target.with_name(f".{uuid.uuid4().hex}.draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(document, file)
    draft.rename(target)


def _put_aside(path: Path) -> None:
    # Another process of this host may have been first.
    with suppress(FileNotFoundError):
        path.rename(path.with_suffix(".bad"))


def _file(claim: Claim) -> Path:
    return _folder() / f"{claim.run_id}-{claim.token}.json"


def _result(document: dict[str, object]) -> engine.SyncResult:
    totals, failure = document["totals"], document["failure"]
    assert isinstance(totals, dict)
    return engine.SyncResult(
        outcome=engine.Outcome(str(document["outcome"])),
        totals=engine.Totals(**totals),
        failure=_failure(failure) if isinstance(failure, dict) else None,
    )


def _failure_document(failure: engine.Failure) -> dict[str, object]:
    return asdict(failure) | {"message": text_document(failure.message)}


def _failure(values: dict[str, Any]) -> engine.Failure:
    return engine.Failure(
        failure_class=engine.FailureClass(str(values["failure_class"])),
        message=read_text(values["message"]),
        advice=str(values["advice"]),
        retryable=bool(values["retryable"]),
        guard=str(values["guard"]) if values["guard"] else None,
    )
