"""The tables of file sync: where files live, what is kept in step, and what each run did."""

from __future__ import annotations

from filesync.models.api_token import ApiToken
from filesync.models.encrypted import ENCRYPTED_COLUMNS, Encrypted
from filesync.models.hook import Hook
from filesync.models.idempotency import IdempotencyKey
from filesync.models.notification import (
    ChannelUse,
    Delivery,
    NotificationChannel,
    Story,
    Watch,
)
from filesync.models.rule_set import RuleSet, RuleSetUse
from filesync.models.run import SyncRun
from filesync.models.run_item import RunItem
from filesync.models.run_log import RunLog
from filesync.models.run_total import RunTotal
from filesync.models.storage import Storage
from filesync.models.sync_config import SyncConfig

__all__ = [
    "ENCRYPTED_COLUMNS",
    "ApiToken",
    "ChannelUse",
    "Delivery",
    "Encrypted",
    "Hook",
    "IdempotencyKey",
    "NotificationChannel",
    "RuleSet",
    "RuleSetUse",
    "RunItem",
    "RunLog",
    "RunTotal",
    "Storage",
    "Story",
    "SyncConfig",
    "SyncRun",
    "Watch",
]
