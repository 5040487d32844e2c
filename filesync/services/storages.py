"""What is done with a storage beside syncing: test it, browse it, keep what rclone refreshed."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from filesync import engine
from filesync.errors import StorageRefused, TooManyLooks
from filesync.models import Storage
from filesync.secrets import SecretsUnreadable
from filesync.services import looks, pausing

logger = logging.getLogger(__name__)

PAGE_ENTRIES = 100
MOST_FOLDERS = 500
PAUSING = (engine.FailureClass.AUTH, engine.FailureClass.QUOTA)
"""Failures that every further run would meet again until a person has done something."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a folder of a storage, or why there is none."""

    path: str
    number: int
    pages: int
    listing: engine.Listing


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders in the root of a storage as roots to choose; `up` is None at the top."""

    roots: tuple[str, ...]
    up: str | None = None
    failure: engine.Failure | None = None


def probe_unsaved(storage: Storage) -> engine.ProbeResult:
    """Test the connection of a storage that need not be saved, and keep no result.

    Only a token that was refreshed takes the place of the stored one that was used: a provider
    may take each of them once.

    Raises:
        StorageRefused: it may not be used as it is; nothing was tried.
    """
    try:
        with looks.place():
            result = engine.probe(
                storage.as_remote(),
                rclone=engine.find_rclone(settings.FILESYNC_RCLONE_BINARY or None),
                local_roots=tuple(settings.FILESYNC_LOCAL_ROOTS),
            )
    except (engine.EngineError, SecretsUnreadable) as error:
        raise StorageRefused(error.message) from None
    store_refreshed(storage, result.refreshed)
    return result


def check_storage(storage: Storage) -> engine.ProbeResult:
    """Test the connection of a storage, keep the result with it, and pause or resume its runs.

    Takes up to ten seconds; not to be called in a transaction.

    Raises:
        StorageRefused: it may not be used as it is; that is kept as the result.
        TooManyLooks: others are looked at; nothing is kept.
    """
    try:
        result = probe_unsaved(storage)
    except TooManyLooks:
        raise
    except StorageRefused as error:
        _keep_check(storage, engine.FailureClass.CONFIG.value, error.message)
        raise
    failure = result.failure
    if failure is None:
        _keep_check(storage, "", "")
        pausing.resume(storage.pk)
    else:
        _keep_check(storage, failure.failure_class.value, failure.message)
        if failure.failure_class in PAUSING:
            pausing.pause(storage, failure.message)
    return result


def _keep_check(storage: Storage, failure_class: str, message: str) -> None:
    Storage.objects.filter(pk=storage.pk).update(
        last_check_at=Now(), last_check_class=failure_class, last_check_message=message
    )


def folders_of(storage: Storage) -> Folders:
    """List the folders in the root of a storage that need not be saved.

    Of a local storage without a root, the folders below which one must be. An encrypted one is
    listed as it is stored, for its root is not encrypted.

    Raises:
        StorageRefused: the root or the storage is not allowed.
    """
    local_roots = tuple(settings.FILESYNC_LOCAL_ROOTS)
    is_local, root = storage.backend == "local", storage.root.rstrip("/")
    if is_local and not root:
        return Folders(tuple(str(allowed) for allowed in local_roots))
    try:
        with looks.place():
            listing = engine.list_folder(
                replace(storage.as_remote(), encryption=None),
                limit=MOST_FOLDERS,
                rclone=engine.find_rclone(settings.FILESYNC_RCLONE_BINARY or None),
                local_roots=local_roots,
            )
    except (engine.EngineError, SecretsUnreadable) as error:
        raise StorageRefused(error.message) from None
    store_refreshed(storage, listing.refreshed)
    at_top = not storage.root
    lead = "/" if storage.root == "/" else f"{root}/" if root else ""
    up = root.rpartition("/")[0]
    if is_local and root in map(str, local_roots):
        up = ""
    return Folders(
        tuple(lead + entry.name for entry in listing.entries if entry.is_dir),
        None if at_top else up,
        listing.failure,
    )


def browse(storage: Storage, path: str, page: int) -> Page:
    """List a page of a folder, folders first; a storage that does not answer raises nothing.

    Raises:
        StorageRefused: the path or the storage is not allowed.
    """
    try:
        with looks.place():
            listing = engine.list_folder(
                storage.as_remote(),
                path,
                limit=PAGE_ENTRIES,
                offset=(page - 1) * PAGE_ENTRIES,
                rclone=engine.find_rclone(settings.FILESYNC_RCLONE_BINARY or None),
                local_roots=tuple(settings.FILESYNC_LOCAL_ROOTS),
            )
    except (engine.EngineError, SecretsUnreadable) as error:
        raise StorageRefused(error.message) from None
    store_refreshed(storage, listing.refreshed)
    pages = max(1, math.ceil(listing.total / PAGE_ENTRIES))
    return Page(engine.validate_path(path), page, pages, listing)


def store_refreshed(used: Storage, values: Mapping[str, str]) -> None:
    """Store the option values that rclone changed, such as a rotated OAuth token.

    Only over the values that were used: those entered meanwhile are newer.
    """
    if values and used.pk is not None:
        try:
            replace_secrets(used.pk, used.secrets, values)
        except SecretsUnreadable as error:
            logger.error("storage %s: a refreshed token is not stored: %s", used.pk, error)


def replace_secrets(storage_id: int, used: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Store `values` over what was `used`, if that still stands there.

    Raises:
        SecretsUnreadable: none of the configured keys opens what stands there.
    """
    with transaction.atomic():
        storage = Storage.objects.select_for_update(no_key=True).filter(pk=storage_id).first()
        if storage is None:
            return
        stored = storage.secrets
        # By value: a rotation of the keys rewrites the text of all of them. Where nothing stood
        # before, all of them have to be as they were.
        names = values.keys() if values.keys() <= used.keys() else used.keys() | values.keys()
        if any(stored.get(name) != used.get(name) for name in names):
            logger.warning("storage %s changed while it was in use", storage_id)
            return
        storage.secrets = {**stored, **values}
        storage.save(update_fields=["encrypted_secrets", "updated_at"])


def blame(sides: Mapping[str, Storage], failure: engine.Failure) -> None:
    """Pause the storage that made a run fail where every further run would fail alike.

    `sides` are the storages that the run acted on, `src` and `dst`. A refused login is looked for
    on both, as rclone does not always say on which it was; a used-up allowance is the
    destination's, or the source's where the destination is a disk.
    """
    if failure.failure_class not in PAUSING:
        return
    used = list(dict.fromkeys(sides[side] for side in ("dst", "src") if side in sides))
    remote = [storage for storage in used if storage.backend != "local"]
    if failure.failure_class is engine.FailureClass.QUOTA:
        for storage in remote[:1]:
            pausing.pause(storage, failure.message)
        return
    for storage in used:
        if storage in remote or storage.encryption:
            storage.refresh_from_db()
            try:
                check_storage(storage)
            except StorageRefused as error:
                logger.warning("storage %s cannot be tested: %s", storage.name, error)
