"""New crons for many configs: what somebody else changes meanwhile is neither undone nor lost."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from django.db import transaction
from django.db.models.signals import post_save
from django_celery_beat.models import PeriodicTask

from filesync.models import SyncConfig
from filesync.services.configs import change_crons
from filesync.services.switching import switch_configs
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import close_connections, make_config, periodic_row

OLD = "0 1 * * *"


def row_of(config: SyncConfig) -> PeriodicTask:
    row = periodic_row(config)
    assert row is not None
    return row


@pytest.mark.django_db
def test_configs_get_their_new_crons_and_one_that_was_edited_is_left_alone(
    local_root: Path,
) -> None:
    first, edited = make_config(local_root, cron=OLD), make_config(local_root, cron="7 7 * * *")
    gone_id = edited.pk + 1

    changed = change_crons(
        {gone_id: (OLD, "3 1 * * *"), edited.pk: (OLD, "4 1 * * *"), first.pk: (OLD, "5 1 * * *")}
    )

    assert changed == [first.pk]
    assert row_of(first).crontab.minute == "5"
    assert row_of(edited).crontab.minute == "7"


@pytest.mark.django_db
def test_a_config_that_is_disabled_while_others_get_new_crons_stays_disabled(
    local_root: Path,
) -> None:
    first, second = (make_config(local_root, cron=OLD) for _ in range(2))

    def disable_second(instance: SyncConfig, **_: object) -> None:
        if instance.pk == first.pk:
            switch_configs([second.pk], enable=False)

    post_save.connect(disable_second, sender=SyncConfig)
    try:
        change_crons({first.pk: (OLD, "5 1 * * *"), second.pk: (OLD, "9 1 * * *")})
    finally:
        post_save.disconnect(disable_second, sender=SyncConfig)

    second.refresh_from_db()
    assert (second.enable, second.cron) == (False, "9 1 * * *")
    assert not row_of(second).enabled
    assert row_of(second).crontab.minute == "9"


@pytest.mark.django_db(transaction=True)
def test_so_does_one_that_is_just_being_disabled(local_root: Path) -> None:
    config = make_config(local_root, cron=OLD)
    disabled = threading.Event()

    def disable() -> None:
        try:
            with transaction.atomic():
                switch_configs([config.pk], enable=False)
                disabled.set()
                # For as long as the other waits for the lock.
                time.sleep(1)
        finally:
            close_connections()

    thread = threading.Thread(target=disable)
    thread.start()
    assert disabled.wait(30)
    change_crons({config.pk: (OLD, "9 1 * * *")})
    thread.join()

    config.refresh_from_db()
    assert (config.enable, config.cron) == (False, "9 1 * * *")
    assert not row_of(config).enabled
