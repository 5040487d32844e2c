"""What a saved row always is: normalised, allowed, and held by the database's own constraints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from filesync.models import NotificationChannel, RuleSet, Storage, SyncConfig, SyncRun
from scheduler.cron import InvalidCron
from scheduler.writing import ScheduleConflict
from tests.filesync.factories import (
    SLOT,
    client_of,
    complaints,
    make_config,
    make_run,
    make_storage,
    periodic_row,
)
from tests.filesync.factories import allow_local_root as allow_local_root

pytestmark = pytest.mark.django_db


# Names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\x1b", "\x85", "\u2028"])
def test_a_name_is_one_line(local_root: Path, character: str) -> None:
    channel = NotificationChannel(name="ops")
    channel.url = "json://203.0.113.5/"
    rows = (
        make_config(local_root),
        make_storage(local_root),
        RuleSet(name="junk", filters="- *.tmp"),
        channel,
    )
    for row in rows:
        row.full_clean()
        row.name = f"a{character}b"
        assert list(complaints(row)) == ["name"], row
        row.name = "\u7167\u7247 a-b"
        row.full_clean()


def test_a_row_whose_name_is_older_than_the_rule_is_still_read_and_renamed(
    local_root: Path,
) -> None:
    config = make_config(local_root, name="a\nb")
    client = client_of("editor")
    path = f"/api/v1/sync/configs/{config.pk}"

    assert client.get(path).json()["name"] == "a\nb"
    assert client.patch(path, {"name": "x\ny"}).json()["name"][0].startswith("A name is one line")
    assert client.patch(path, {"name": "a b"}).status_code == 200


# The schedule of a config ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("0 2 * * *", "0 2 * * *"),
        ("  0   2  *  *  * ", "0 2 * * *"),
        ("0 2 * * MON", "0 2 * * mon"),
        ("", ""),
        ("   ", ""),
    ],
)
def test_a_cron_is_normalised_whoever_saves_it(local_root: Path, written: str, stored: str) -> None:
    config = make_config(local_root, cron=written)

    config.refresh_from_db()
    assert config.cron == stored


@pytest.mark.parametrize(
    ("field", "value", "names"),
    [
        ("cron", "61 * * * *", "minute"),
        ("cron", "0 0 30 2 *", "day_of_month"),
        ("cron", "0 2 * *", "cron"),
        ("timezone", "Nowhere/Town", "timezone"),
        ("timezone", "", "timezone"),
    ],
)
def test_a_schedule_that_beat_could_not_read_is_not_saved(
    local_root: Path, field: str, value: str, names: str
) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    setattr(config, field, value)

    with pytest.raises(InvalidCron) as refused:
        config.save()

    assert refused.value.field == names
    config.refresh_from_db()
    assert (config.cron, config.timezone != "Nowhere/Town") == ("0 2 * * *", True)


@pytest.mark.parametrize(
    ("field", "value"),
    [("cron", "61 * * * *"), ("cron", "x"), ("timezone", "Nowhere/Town")],
)
def test_clean_names_the_field_of_a_wrong_schedule(
    local_root: Path, field: str, value: str
) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    setattr(config, field, value)

    assert list(complaints(config)) == [field]


def test_an_end_before_the_start_is_refused(local_root: Path) -> None:
    config = make_config(local_root)
    config.start_time = SLOT
    config.end_time = SLOT

    assert list(complaints(config)) == ["end_time"]


def test_a_saved_config_has_its_periodic_row_and_a_deleted_one_has_none(local_root: Path) -> None:
    config = make_config(local_root, cron="0 2 * * *", timezone="Asia/Shanghai")
    row = periodic_row(config)
    assert row is not None
    assert row.enabled

    config.delete()
    assert periodic_row(config) is None


def test_config_and_schedule_are_written_together_or_not_at_all(local_root: Path) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    row = periodic_row(config)
    assert row is not None
    row.task = "someone.elses"
    row.save()
    config.cron, config.remark = "0 3 * * *", "changed"

    with pytest.raises(ScheduleConflict):
        config.save()

    config.refresh_from_db()
    assert (config.cron, config.remark) == ("0 2 * * *", "")


def test_a_rolled_back_save_leaves_no_schedule(local_root: Path) -> None:
    config = make_config(local_root)

    with transaction.atomic():
        config.cron = "0 2 * * *"
        config.save()
        assert periodic_row(config) is not None
        transaction.set_rollback(True)

    assert periodic_row(config) is None


NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, datetime(2026, 3, 2, 2, 0, tzinfo=UTC)),
        ({"cron": "0 13 * * *"}, datetime(2026, 3, 1, 13, 0, tzinfo=UTC)),
        ({"cron": "0 12 * * *"}, datetime(2026, 3, 2, 12, 0, tzinfo=UTC)),
        ({"enable": False}, None),
        ({"cron": ""}, None),
        (
            {"start_time": datetime(2026, 3, 9, 2, 0, tzinfo=UTC)},
            datetime(2026, 3, 9, 2, 0, tzinfo=UTC),
        ),
        (
            {"start_time": datetime(2026, 3, 9, 2, 1, tzinfo=UTC)},
            datetime(2026, 3, 10, 2, 0, tzinfo=UTC),
        ),
        (
            {"start_time": datetime(2026, 2, 1, tzinfo=UTC)},
            datetime(2026, 3, 2, 2, 0, tzinfo=UTC),
        ),
        ({"end_time": datetime(2026, 3, 2, 2, 0, tzinfo=UTC)}, None),
        (
            {"end_time": datetime(2026, 3, 2, 2, 1, tzinfo=UTC)},
            datetime(2026, 3, 2, 2, 0, tzinfo=UTC),
        ),
        ({"end_time": datetime(2026, 2, 1, tzinfo=UTC)}, None),
        ({"timezone": "Asia/Shanghai"}, datetime(2026, 3, 1, 18, 0, tzinfo=UTC)),
    ],
)
def test_the_next_slot_keeps_to_enable_zone_start_and_end(
    local_root: Path, changes: dict[str, object], expected: datetime | None
) -> None:
    config = make_config(local_root, cron="0 2 * * *", timezone="UTC")
    for name, value in changes.items():
        setattr(config, name, value)

    assert config.next_slot(now=NOON) == expected


def test_the_next_slot_is_told_in_the_configs_own_zone(local_root: Path) -> None:
    config = make_config(local_root, cron="0 2 * * *", timezone="Asia/Shanghai")

    slot = config.next_slot(now=NOON)

    assert slot is not None
    assert (slot.hour, slot.utcoffset()) == (2, timedelta(hours=8))


# Storages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"backend": "carrier-pigeon"}, "backend"),
        ({"options": {"url": "https://x", "colour": "red"}}, "options"),
        ({"options": {"url": "https://x", "bearer_token_command": "id"}}, "options"),
        ({"options": {"url": "https://x", "pass": "p"}}, "options"),
        ({"options": ["url"]}, "options"),
        ({"secrets": {"colour": "red"}}, "options"),
        ({"max_concurrent_runs": 0}, "max_concurrent_runs"),
        ({"root": "../up"}, "root"),
        ({"backend": "local", "options": {}, "root": "/etc"}, "root"),
        ({"backend": "local", "options": {}, "root": "here"}, "root"),
        ({"backend": "local", "options": {"links": "true"}, "root": "{root}"}, "options"),
    ],
)
def test_clean_names_what_a_storage_cannot_be(
    local_root: Path, fields: dict[str, object], names: str
) -> None:
    storage = Storage(name="s", backend="webdav", options={"url": "https://dav.example.org"})
    for name, value in fields.items():
        text = value.format(root=local_root) if isinstance(value, str) else value
        setattr(storage, name, text)

    assert list(complaints(storage)) == [names]


def test_a_storage_that_is_allowed_passes(local_root: Path) -> None:
    Storage(name="here", backend="local", root=str(local_root)).full_clean()
    there = Storage(
        name="there",
        backend="webdav",
        options={"url": "https://dav.example.org", "user": "kim"},
    )
    there.secrets = {"pass": "p"}
    there.full_clean()


def test_a_storage_in_use_cannot_be_deleted(local_root: Path) -> None:
    config = make_config(local_root)

    with pytest.raises(ProtectedError):
        config.source_storage.delete()


# What the database itself holds ------------------------------------------------------------------


@pytest.mark.parametrize("first", SyncRun.ACTIVE)
@pytest.mark.parametrize("second", SyncRun.ACTIVE)
def test_the_database_holds_one_active_run_per_config(
    local_root: Path, first: SyncRun.State, second: SyncRun.State
) -> None:
    config = make_config(local_root)
    make_run(config, state=first)

    with pytest.raises(IntegrityError), transaction.atomic():
        make_run(config, state=second)


def test_runs_that_have_ended_and_other_configs_are_free(local_root: Path) -> None:
    config = make_config(local_root)
    for state in SyncRun.TERMINAL:
        make_run(config, state=state)

    make_run(config)
    make_run(make_config(local_root))

    assert SyncRun.objects.count() == len(SyncRun.TERMINAL) + 2


def test_the_database_holds_one_run_per_slot(local_root: Path) -> None:
    config = make_config(local_root)
    make_run(config, state=SyncRun.State.SUCCEEDED, slot=SLOT)

    with pytest.raises(IntegrityError), transaction.atomic():
        make_run(config, state=SyncRun.State.MISSED, slot=SLOT)

    make_run(config, state=SyncRun.State.MISSED, slot=SLOT + timedelta(hours=1))
    make_run(make_config(local_root), state=SyncRun.State.MISSED, slot=SLOT)


def test_the_database_refuses_a_running_run_without_a_lease(local_root: Path) -> None:
    run = make_run(make_config(local_root))

    with pytest.raises(IntegrityError), transaction.atomic():
        SyncRun.objects.filter(pk=run.pk).update(state=SyncRun.State.RUNNING)


def test_the_database_refuses_two_runs_of_one_task(local_root: Path) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.SUCCEEDED)

    with pytest.raises(IntegrityError), transaction.atomic():
        make_run(make_config(local_root), task_id=run.task_id)


def test_the_database_refuses_a_storage_without_a_place(local_root: Path) -> None:
    storage = make_storage(local_root)

    with pytest.raises(IntegrityError), transaction.atomic():
        Storage.objects.filter(pk=storage.pk).update(max_concurrent_runs=0)


@pytest.mark.parametrize("model", [Storage, SyncConfig])
def test_the_database_refuses_two_of_one_name(
    local_root: Path, model: type[Storage] | type[SyncConfig]
) -> None:
    make_config(local_root, name="one", source_storage=make_storage(local_root, name="one"))
    make_config(local_root, name="two", source_storage=make_storage(local_root, name="two"))

    with pytest.raises(IntegrityError), transaction.atomic():
        model._default_manager.filter(name="two").update(name="one")


# The words of a run ------------------------------------------------------------------------------


def test_active_and_terminal_states_are_all_states() -> None:
    assert sorted([*SyncRun.ACTIVE, *SyncRun.TERMINAL]) == sorted(SyncRun.State)


@pytest.mark.parametrize(
    ("state", "attempt", "word"),
    [
        ("QUEUED", 0, "PENDING"),
        ("QUEUED", 1, "RETRY"),
        ("RUNNING", 1, "STARTED"),
        ("SUCCEEDED", 1, "SUCCESS"),
        ("PARTIAL", 1, "FAILURE"),
        ("FAILED", 1, "FAILURE"),
        ("LOST", 1, "FAILURE"),
        ("CANCELLED", 1, "REVOKED"),
        ("SKIPPED", 0, "IGNORED"),
        ("MISSED", 0, "IGNORED"),
    ],
)
def test_each_state_has_its_word_in_celery(state: str, attempt: int, word: str) -> None:
    assert SyncRun(state=state, attempt=attempt).task_status == word


def test_a_run_lasts_from_its_start_to_its_end() -> None:
    now = timezone.now()

    assert SyncRun().duration_s is None
    assert SyncRun(started_at=now).duration_s is None
    assert SyncRun(started_at=now, finished_at=now + timedelta(seconds=90)).duration_s == 90.0
