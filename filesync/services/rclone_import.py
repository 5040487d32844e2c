"""Turn the remotes of an existing rclone.conf into storages."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ValidationError

from filesync import engine
from filesync.models import Storage
from filesync.models.storage import ENCRYPTION_PASSWORD, ENCRYPTION_SALT, encryption_of


@dataclass(frozen=True, slots=True)
class ImportedStorage:
    """What became of one section; `storage` is None where none was made, for the reasons."""

    name: str
    storage: Storage | None
    notes: tuple[str, ...]


def import_rclone_conf(text: str, *, dry_run: bool) -> list[ImportedStorage]:
    """Save a storage for each section that can be one; with `dry_run` only say what would be.

    Raises:
        EngineError: the text is no readable rclone.conf.
    """
    taken = set(Storage.objects.values_list("name", flat=True))
    done = []
    for section in engine.read_rclone_conf(text):
        storage, why_not = _made(section, taken)
        if storage is not None and not dry_run:
            storage.save()
        left_out = [f"left out {option}" for option in section.left_out]
        notes = (*left_out, *([why_not] if why_not else []))
        done.append(ImportedStorage(section.name, storage, notes))
    return done


def _made(section: engine.Imported, taken: set[str]) -> tuple[Storage | None, str]:
    remote = section.remote
    if remote is None:
        return None, section.why_not
    if section.name in taken:
        return None, "a storage of that name exists; rename the one or the other"
    storage = Storage(
        name=section.name, backend=remote.backend, root=remote.root, options=dict(remote.options)
    )
    secrets = dict(remote.secrets)
    if remote.encryption is not None:
        storage.encryption = encryption_of(remote.encryption.names)
        storage.encrypt_folder_names = remote.encryption.folders
        secrets[ENCRYPTION_PASSWORD] = remote.encryption.password
        secrets[ENCRYPTION_SALT] = remote.encryption.salt
    storage.secrets = {name: value for name, value in secrets.items() if value}
    try:
        storage.full_clean()
    except ValidationError as error:
        return None, " ".join(error.messages)
    return storage, ""
