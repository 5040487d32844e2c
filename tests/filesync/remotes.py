"""Storages on the test servers, with their secrets apart; no test stands here."""

from __future__ import annotations

import itertools
from pathlib import Path

from filesync.models import Storage
from tests.filesync.engine.lab import engine_remote
from tests.servers import remote as served

_numbers = itertools.count(1)
WRONG = "not-the-password"


def storage_on(remote: served.Remote, folder: str = "", **fields: object) -> Storage:
    """Save a storage that reaches a test server, at a folder below the server's own path."""
    found = engine_remote(remote)
    storage = Storage(
        name=f"{remote.backend} {next(_numbers)}",
        backend=found.backend,
        root="/".join(filter(None, (found.root, folder))),
        options=dict(found.options),
        **fields,
    )
    storage.secrets = dict(found.secrets)
    storage.full_clean()
    storage.save()
    return storage


def put_wrong_password(storage: Storage) -> None:
    """Change the stored secrets past everything that looks at a save."""
    storage.secrets = dict.fromkeys(storage.secrets, WRONG)
    Storage.objects.filter(pk=storage.pk).update(encrypted_secrets=storage.encrypted_secrets)


def served_files(root: Path) -> dict[str, bytes]:
    """Give what lies on a server's disk, by relative path."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}
