"""The examples of the API's documentation; a test holds them against the schema."""

from __future__ import annotations

TASK_ID = "0e1f7c3a-52d4-4a53-9c0b-6f1f3f2c9d11"

STORAGE_WISH = {
    "name": "Netdisk",
    "backend": "webdav",
    "root": "/backup",
    "options": {"url": "https://dav.example.org/dav", "user": "li"},
    "secrets": {"pass": "correct horse"},
}
STORAGE = {
    "id": 2,
    "name": "Netdisk",
    "backend": "webdav",
    "root": "/backup",
    "options": {"url": "https://dav.example.org/dav", "user": "li"},
    "secrets_set": ["pass"],
    "secrets_readable": True,
    "max_concurrent_runs": 2,
    "remark": "",
    "created_at": "2026-03-01T10:00:00Z",
    "updated_at": "2026-03-01T10:00:00Z",
}
CONFIG_WISH = {
    "name": "Photos",
    "remark": "nightly",
    "cron": "0 2 * * *",
    "timezone": "Asia/Shanghai",
    "source_storage": 1,
    "source_path": "photos",
    "destination_storage": 2,
    "destination_path": "photos",
    "method": "INCREMENTAL",
    "channels": [{"channel": 1, "events": ["FAILURE", "GUARD", "RECOVERED"]}],
}
CONFIG = CONFIG_WISH | {
    "id": 1,
    "enable": True,
    "next_run": "2026-03-02T02:00:00+08:00",
    "misfire_policy": "RUN_ONCE",
    "compare": "SIZE_TIME",
    "filters": "- /cache/**",
    "max_attempts": 3,
    "max_delete_files": 1000,
    "max_delete_percent": 50,
    "created_at": "2026-03-01T10:05:00Z",
    "updated_at": "2026-03-01T10:05:00Z",
}
RUN = {
    "id": 17,
    "task_id": TASK_ID,
    "config": 1,
    "config_name": "Photos",
    "state": "SUCCEEDED",
    "status": "SUCCESS",
    "reason": "",
    "trigger": "CRON",
    "slot": "2026-03-01T18:00:00Z",
    "attempt": 1,
    "attempts": [
        {
            "number": 1,
            "worker": "worker@nas",
            "started_at": "2026-03-01T18:00:01Z",
            "ended_at": "2026-03-01T18:00:43Z",
            "state": "SUCCEEDED",
            "reason": "",
            "failure_class": "",
            "message": "",
        }
    ],
    "started_at": "2026-03-01T18:00:01Z",
    "finished_at": "2026-03-01T18:00:43Z",
    "duration_s": 42.1,
    "worker": "worker@nas",
    "files_transferred": 31,
    "bytes_transferred": 88_442_113,
    "files_deleted": 0,
    "files_renamed": 0,
    "files_failed": 0,
    "message": "",
}
ITEM = {
    "id": 401,
    "action": "FAILED",
    "path": "2026/03/img_0417.jpg",
    "size_bytes": 2_816_431,
    "error": "permission denied",
    "old_path": "",
}
LOG = """\
2026-03-01T18:00:02.114 INFO     2026/03/img_0416.jpg: Copied (new)
2026-03-01T18:00:02.209 ERROR    2026/03/img_0417.jpg: Failed to copy: permission denied
"""
EXECUTE = {"dry_run": True}
MEND = {"only_failed_of": 17}
QUEUED = {"task_id": TASK_ID, "config_id": 1, "status": "PENDING"}
BATCH = {
    "queued": 1,
    "total": 2,
    "results": [
        {
            "config_id": 1,
            "name": "Photos",
            "task_id": TASK_ID,
            "status": "queued",
            "detail": "",
        },
        {
            "config_id": 2,
            "name": "Music",
            "task_id": None,
            "status": "run_active",
            "detail": "Music has a run that is running already: wait for it, or cancel it",
        },
    ],
}
RESULT = {
    "task_id": TASK_ID,
    "status": "SUCCESS",
    "ready": True,
    "successful": True,
    "failed": False,
    "result": {"run_id": 17, "files_transferred": 31},
    "error": None,
    "progress": None,
    "run": RUN,
}
STATUS = {
    "beat": {
        "running": True,
        "leader": "beat@nas",
        "standbys": 0,
        "last_seen_at": "2026-03-01T18:00:03Z",
        "last_slot": "2026-03-01T18:00:00Z",
        "lag_s": 0.4,
        "missed_slots": 0,
        "processes": [],
    },
    "workers": [
        {
            "name": "worker@nas",
            "seen_at": "2026-03-01T18:00:01Z",
            "alive": True,
            "slots": 4,
            "busy": 1,
            "free": 3,
        }
    ],
    "slots": {"busy": 1, "free": 3},
    "broker": {"reachable": True},
    "database": {"reachable": True, "vendor": "postgresql"},
    "scheduled_count": 12,
    "scheduled": [
        {
            "config_id": 1,
            "name": "Photos",
            "cron": "0 2 * * *",
            "timezone": "Asia/Shanghai",
            "next_run": "2026-03-01T18:00:00Z",
        }
    ],
    "running": [],
    "queued": [],
    "queue_depth": 0,
    "warnings": [],
}
SWITCH = {"ids": [1, 2, 3], "enabled": False}
SWITCHED = {"changed": [1, 2], "unchanged": [], "missing": [3]}
AHEAD = {
    "begins": "2026-03-01T10:00:00Z",
    "span_s": 900,
    "starts": [0, 0, 3, 1],
    "clashes": [
        {
            "storage": 2,
            "begins": "2026-03-01T18:00:00Z",
            "ends": "2026-03-01T18:20:00Z",
            "runs": 3,
            "limit": 2,
            "configs": [1, 4, 7],
        }
    ],
    "clock_changes": [],
    "moves": [{"config": 7, "name": "Music", "cron": "0 2 * * *", "new_cron": "20 2 * * *"}],
}
HOOK = {"exists": True, "created_at": "2026-03-01T10:00:00Z", "last_used_at": None}
NEW_HOOK = {
    "url": "https://sync.example.org/api/v1/hooks/hk_3v9cP0nOeXAMPLEeXAMPLEeXAMPLEeXAMPLE0000",
    "token": "hk_3v9cP0nOeXAMPLEeXAMPLEeXAMPLEeXAMPLE0000",
    "created_at": "2026-03-01T10:00:00Z",
}

TOKEN_WISH = {"name": "backup script", "expires_at": "2026-12-31T00:00:00Z"}
TOKEN = TOKEN_WISH | {
    "id": 3,
    "username": "li",
    "created_at": "2026-03-01T10:00:00Z",
    "last_used_at": None,
}
NEW_TOKEN = TOKEN | {"token": "sb_3v9cP0nOeXAMPLEeXAMPLEeXAMPLEeXAMPLE0000"}

CHANNEL_WISH = {"name": "Ops", "url": "ntfys://ntfy.example.org/syncbeat", "enabled": True}
CHANNEL = {
    "id": 1,
    "name": "Ops",
    "remark": "",
    "scheme": "ntfys",
    "enabled": True,
    "configs": [],
    "chosen_only": False,
    "language": "",
    "last_sent_at": None,
    "last_error": "",
}
DELIVERY = {"id": 5, "channel": 1, "run": 17, "title": "Photos failed", "attempts": 1, "error": ""}
CATALOGUE = {
    "rclone": "1.75.2",
    "backends": [{"name": "webdav", "description": "WebDAV"}],
    "refused": [{"name": "alias", "why": "it only points to another storage"}],
    "presets": [],
}
BACKEND = {
    "name": "webdav",
    "description": "WebDAV",
    "needs": ["url"],
    "options": [],
    "refused": [],
    "presets": [],
}
TESTED = {"ok": True, "duration_s": 0.21, "entries": 12, "failure": None}
BROWSED = {
    "path": "photos",
    "page": 1,
    "pages": 1,
    "total": 1,
    "cut": False,
    "entries": [
        {"name": "2026", "is_dir": True, "size_bytes": -1, "modified_at": "2026-03-01T10:00:00Z"}
    ],
    "failure": None,
}
RULE_SET_WISH = {"name": "No caches", "filters": "- /cache/**\n- *.tmp"}
RULE_SET = RULE_SET_WISH | {
    "id": 1,
    "remark": "",
    "created_at": "2026-03-01T10:00:00Z",
    "updated_at": "2026-03-01T10:00:00Z",
}
RETRY = {"only_failed": True}
TRY = {"filters": "- *.tmp", "rule_sets": [1], "paths": ["a.tmp", "2026/b.jpg"]}
VERDICT = {"path": "a.tmp", "goes": False, "rule": "- *.tmp"}
