"""One of everything that an address of the API can name."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from uuid import uuid4

from filesync.models import (
    ApiToken,
    Delivery,
    Hook,
    NotificationChannel,
    RuleSet,
    RunItem,
    RunLog,
    SyncRun,
)
from tests.filesync.factories import make_config, make_run, make_user


def known_places(path: str, root: Path) -> dict[str, object]:
    """Make one of everything; return what is named in a path of the schema, as it exists."""
    run = make_run(make_config(root, cron="0 2 * * *"), state=SyncRun.State.PARTIAL)
    assert run.config is not None
    RunItem.objects.create(run=run, action="FAILED", path="a", error="no right")
    log = gzip.compress(b'{"level":"info","msg":"a"}\n')
    RunLog.objects.create(run=run, claim=uuid4(), started_at=run.created_at, part=0, data=log)
    channel = NotificationChannel(name="dead")
    # Refused before anything is sent: it lies in a private network.
    channel.url = "json://127.0.0.1:1/"
    channel.save()
    ids: dict[str, object] = {
        "backends": "webdav",
        "channels": channel.pk,
        "configs": run.config_id,
        "messages": Delivery.objects.create(
            channel=channel, event="FAILURE", dedupe_key="x", state="SENT"
        ).pk,
        "rule-sets": RuleSet.objects.create(name="junk", filters="- *.tmp").pk,
        "runs": run.pk,
        "storages": run.config.source_storage_id,
        "tokens": ApiToken.issue(make_user("viewer"), "script")[0].pk,
    }
    resource = re.search(r"([\w-]+)/{id}", path)
    known = {
        "config_id": run.config_id,
        "task_id": str(run.task_id),
        "token": Hook.issue(run.config)[1],
        "id": ids[resource[1]] if resource else None,
    }
    return {name: value for name, value in known.items() if f"{{{name}}}" in path}


def address_of(path: str, root: Path) -> str:
    """Return the address of something that exists, for a path of the schema."""
    places = known_places(path, root)
    return re.sub(r"{(\w+)}", lambda found: str(places[found[1]]), path)
