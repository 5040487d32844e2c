"""Which columns are encrypted at rest: what rotates keys, checks them or exports goes by this."""

from __future__ import annotations

from typing import Final

from filesync.models.notification import NotificationChannel
from filesync.models.storage import Storage
from filesync.models.sync_config import SyncConfig

Encrypted = Storage | SyncConfig | NotificationChannel

# Each of these has a unique `name` to tell it by.
ENCRYPTED_COLUMNS: Final[dict[type[Encrypted], str]] = {
    Storage: "encrypted_secrets",
    SyncConfig: "encrypted_ping_url",
    NotificationChannel: "encrypted_url",
}
