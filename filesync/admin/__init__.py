"""The admin: forms, lists and buttons; each button calls one service."""

from __future__ import annotations

from filesync.admin import accounts, runs, storages, sync_configs, third_party  # noqa: F401
