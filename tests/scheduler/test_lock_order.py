"""Beat's claim beside a refresh, a save, a deletion and a clearing: no two wait in a circle.

On PostgreSQL only: SQLite has one lock, in which nobody can. A row in the middle is held until
both wait, so that who locks in another order than that of the ids meets the other for sure.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from pathlib import Path

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from filesync.models import SyncConfig
from scheduler.claims import claim
from scheduler.slots import Due, Member
from scheduler.sync_scheduler import SyncTaskScheduler
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import close_connections, make_config, make_storage, periodic_row

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.only_on("postgres")]

ROWS = 9
MIDDLE = ROWS // 2
PATIENCE_S = 30
scheduler = SyncTaskScheduler()
Action = Callable[[list[SyncConfig]], object]


@pytest.fixture
def configs(local_root: Path) -> list[SyncConfig]:
    """Save configs whose rows lie on the disk in the reverse order of their ids."""
    storage = make_storage(local_root)
    made = [
        make_config(local_root, cron="* * * * *", source_storage=storage, source_path=f"s{number}")
        for number in range(ROWS)
    ]
    yesterday = timezone.now() - timedelta(days=1)
    for pk in list(PeriodicTask.objects.order_by("-pk").values_list("pk", flat=True)):
        PeriodicTask.objects.filter(pk=pk).update(start_time=yesterday)
    return made


def claim_all(configs: list[SyncConfig]) -> None:
    rows = dict(PeriodicTask.objects.values_list("name", "pk"))
    slot = timezone.now()
    due = [
        Due(
            Member(
                rows[f"filesync.syncconfig:{config.pk}"],
                "filesync.syncconfig",
                config.pk,
                slot,
                None,
            ),
            (slot,),
        )
        for config in reversed(configs)
    ]
    claim(due, now=slot)


def refresh_all(configs: list[SyncConfig]) -> None:
    """Refresh rows of which each is another than it should be."""
    ids = [config.pk for config in configs]
    SyncConfig.objects.filter(pk__in=ids).order_by("pk").update(cron="7 * * * *")
    scheduler.refresh()


def save_one(configs: list[SyncConfig]) -> None:
    configs[MIDDLE].cron = "8 * * * *"
    configs[MIDDLE].save()


def delete_some(configs: list[SyncConfig]) -> None:
    """Delete in one transaction, as the admin does; asked for in the wrong order."""
    ids = [config.pk for config in configs[MIDDLE - 1 : MIDDLE + 2]]
    SyncConfig.objects.filter(pk__in=ids).order_by("-pk").delete()


def clear(_: list[SyncConfig]) -> None:
    scheduler.clear()


@pytest.mark.parametrize(
    "pair",
    permutations([claim_all, refresh_all, save_one, delete_some, clear], 2),
    ids=lambda pair: "-".join(action.__name__ for action in pair),
)
def test_two_writers_never_wait_for_each_other(
    configs: list[SyncConfig], pair: tuple[Action, Action]
) -> None:
    troubles: list[str] = []

    def act(action: Action) -> None:
        try:
            # As its statistics may make it at any time, PostgreSQL reads the rows as they lie.
            with connection.cursor() as cursor:
                cursor.execute("SET enable_indexscan = off")
                cursor.execute("SET enable_bitmapscan = off")
            action(list(configs))
        except OperationalError as error:
            troubles.append(f"{action.__name__}: {error}")
        finally:
            close_connections()

    threads = [threading.Thread(target=act, args=[action]) for action in pair]
    row = periodic_row(configs[MIDDLE])
    assert row is not None
    with transaction.atomic():
        PeriodicTask.objects.select_for_update().get(pk=row.pk)
        for number, thread in enumerate(threads, start=1):
            thread.start()
            wait_until_waiting(number)
    for thread in threads:
        thread.join(PATIENCE_S)

    assert troubles == []


def wait_until_waiting(count: int) -> None:
    """Wait until so many connections wait for a lock."""
    deadline = time.monotonic() + PATIENCE_S
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
            [(waiting,)] = cursor.fetchall()
            if waiting == count:
                return
            assert time.monotonic() < deadline, f"{waiting} of {count} wait"
            time.sleep(0.02)
