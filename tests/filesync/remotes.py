"""Storages on the test servers, with their secrets apart; no test stands here."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

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
    """Change the stored secrets past everything that looks at a save; a key becomes another one."""
    storage.secrets = {
        name: _another_key() if name == "key_pem" else WRONG for name in storage.secrets
    }
    Storage.objects.filter(pk=storage.pk).update(encrypted_secrets=storage.encrypted_secrets)


def _another_key() -> str:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def move_to(storage: Storage, port: int) -> None:
    """Let a storage look for its server at another port of this machine."""
    options = dict(storage.options)
    for name in ("url", "endpoint"):
        if name in options:
            options[name] = re.sub(r":\d+", f":{port}", options[name])
    if "host" in options:
        options["port"] = str(port)
    assert options != storage.options
    storage.options = options
    storage.save()


def served_files(root: Path) -> dict[str, bytes]:
    """Give what lies on a server's disk, by relative path."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}
