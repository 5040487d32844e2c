"""What is unwise about a config is told when it is saved, in the API's answer and in the admin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from filesync.models import SyncConfig, SyncRun
from filesync.services.transfer import export_document, import_document
from filesync.services.warnings import warnings_of
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_config, make_run, make_storage, make_user

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def took(config: SyncConfig, seconds: float, times: int = 5) -> None:
    now = timezone.now()
    for _ in range(times):
        make_run(
            config,
            state=SyncRun.State.SUCCEEDED,
            started_at=now - timedelta(seconds=seconds),
            finished_at=now,
        )


@pytest.mark.parametrize(
    ("cron", "seconds", "warned"),
    [("*/5 * * * *", 400, True), ("*/5 * * * *", 200, False), ("", 9999, False)],
)
def test_a_cron_more_frequent_than_the_usual_run_is_told(
    local_root: Path, cron: str, seconds: float, *, warned: bool
) -> None:
    config = make_config(local_root, cron=cron)
    took(config, seconds)
    assert [text.startswith("It fires every 5 min") for text in warnings_of(config)] == (
        [True] if warned else []
    )


@pytest.mark.parametrize(
    ("cron", "minutes", "warned"),
    [
        ("0,10 9 * * *", 15, True),
        ("0,10 9 * * *", 9, False),
        ("0 9,12 * * 1-5", 200, True),
        ("0 9,12 * * 1-5", 170, False),
    ],
)
@pytest.mark.parametrize("hour", [9, 12])
def test_slots_that_lie_close_together_are_told_whenever_it_is_saved(
    local_root: Path, cron: str, minutes: int, hour: int, *, warned: bool
) -> None:
    config = make_config(local_root, cron=cron, timezone="UTC")
    took(config, 60 * minutes)
    told = warnings_of(config, now=datetime(2026, 3, 2, hour, 7, tzinfo=UTC))
    assert [text.startswith("It fires as soon as") for text in told] == [True] * warned


@pytest.mark.parametrize(
    ("others", "cron", "jitter_s", "warned"),
    [
        (4, "0 2 * * *", 0, True),
        (3, "0 2 * * *", 0, False),
        (4, "1 2 * * *", 0, False),
        (4, "0 2 * * *", 600, False),
    ],
)
def test_many_syncs_of_one_storage_in_a_minute_are_told(
    local_root: Path, others: int, cron: str, jitter_s: int, *, warned: bool
) -> None:
    storage = make_storage(local_root, name="NAS")
    for _ in range(others):
        make_config(local_root, source_storage=storage, cron="0 2 * * *", timezone="UTC")
    config = make_config(
        local_root, source_storage=storage, cron=cron, timezone="UTC", jitter_s=jitter_s
    )
    told = warnings_of(config, now=NOON)
    assert [text.split(":")[0] for text in told] == (
        ["5 syncs use NAS in the minute of 02"] if warned else []
    )


@pytest.mark.parametrize(
    ("method", "percent", "files", "has_run", "warned"),
    [
        ("FULL", 100, None, False, True),
        ("FULL", None, None, False, True),
        ("OVERWRITE", 100, None, False, True),
        ("FULL", 50, None, False, False),
        ("FULL", 100, 1000, False, False),
        ("FULL", 100, None, True, False),
        ("INCREMENTAL", 100, None, False, False),
    ],
)
def test_a_full_sync_without_limits_that_never_ran_is_told(
    local_root: Path,
    method: str,
    percent: int | None,
    files: int | None,
    *,
    has_run: bool,
    warned: bool,
) -> None:
    config = make_config(
        local_root,
        method=SyncConfig.Method(method),
        max_delete_percent=percent,
        max_delete_files=files,
    )
    if has_run:
        took(config, 1, times=1)
    assert bool(warnings_of(config)) is warned


@pytest.mark.parametrize(
    ("change", "warned"),
    [
        ({"destination_path": "another"}, True),
        ({"destination_path": "destination"}, False),
        ({"destination_storage": "another"}, True),
        ({"source_path": "another"}, True),
        ({"source_path": "source", "remark": "another"}, False),
        ({"destination_path": "another", "max_delete_percent": 50}, False),
        ({"destination_path": "another", "method": "INCREMENTAL"}, False),
    ],
)
@pytest.mark.parametrize("verb", ["put", "patch"])
def test_the_api_tells_it_again_when_its_folders_are_others(
    local_root: Path, verb: str, change: dict[str, object], *, warned: bool
) -> None:
    config = deleting_config(local_root)
    client, route = client_of("editor"), f"/api/v1/sync/configs/{config.pk}"
    if "destination_storage" in change:
        change = {"destination_storage": make_storage(local_root).pk}
    body = {
        "name": config.name,
        "source_storage": config.source_storage_id,
        "source_path": config.source_path,
        "destination_storage": config.destination_storage_id,
        "destination_path": config.destination_path,
        "method": "FULL",
        "max_delete_percent": 100,
        "max_delete_files": None,
    }
    answer = getattr(client, verb)(route, body | change if verb == "put" else change)
    assert answer.status_code == 200, answer.json()
    told = answer.json()["warnings"]
    assert [text.startswith("Its source or destination is another one now") for text in told] == (
        [True] * warned
    )
    assert client.get(route).json()["warnings"] == []


@pytest.mark.parametrize(
    ("change", "warned"),
    [
        ({"destination_path": "another"}, True),
        ({"source_path": "another"}, True),
        ({"remark": "another"}, False),
    ],
)
def test_an_import_tells_it_again_when_its_folders_are_others(
    local_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    *,
    warned: bool,
) -> None:
    deleting_config(local_root, name="Photos")
    document = export_document()
    document["configs"][0] |= change
    file = tmp_path / "export.yaml"
    file.write_text(yaml.safe_dump(document))

    told = []
    for _ in range(2):
        call_command("import_configs", str(file))
        said = capsys.readouterr().out
        told.append("warning: configs Photos: Its source or destination is another one now" in said)

    # The second import changes nothing.
    assert told == [warned, False]


def test_an_import_tells_of_a_full_sync_without_limits_that_is_new(local_root: Path) -> None:
    config = deleting_config(local_root, name="Photos")
    document = export_document()
    config.delete()
    (warned,) = import_document(document).warnings
    assert warned.startswith("configs Photos: It may delete everything at the destination, and ")


def deleting_config(local_root: Path, name: str = "deleting") -> SyncConfig:
    """Return a Full sync without limits, which has run."""
    config = make_config(
        local_root,
        name=name,
        method=SyncConfig.Method.FULL,
        max_delete_percent=100,
        max_delete_files=None,
    )
    took(config, 1, times=1)
    assert warnings_of(config) == []
    return config


def test_the_api_tells_it_in_its_answers_and_not_in_lists(local_root: Path) -> None:
    config = make_config(local_root)
    client, route = client_of("editor"), f"/api/v1/sync/configs/{config.pk}"
    limits = {"max_delete_percent": 100, "max_delete_files": None}
    answer = client.patch(route, {"method": "FULL", **limits})
    assert answer.status_code == 200
    (text,) = answer.json()["warnings"]
    assert "make a dry run first" in text
    assert client.get(route).json()["warnings"] == [text]
    listed = client.get("/api/v1/sync/configs").json()["results"]
    assert [row["warnings"] for row in listed] == [None]


def save_in_admin(config: SyncConfig, change: dict[str, object]) -> str:
    """Change fields in the config's form; return the page that comes then."""
    client = Client()
    client.force_login(make_user("superuser"))
    page = reverse("admin:filesync_syncconfig_change", args=[config.pk])
    form = client.get(page).context["adminform"].form
    data = {name: value for name, value in form.initial.items() if value is not None}
    data |= {"max_delete_percent": "100", "max_delete_files": ""}
    data |= {"rule_set_uses-TOTAL_FORMS": "0", "rule_set_uses-INITIAL_FORMS": "0"}
    answer = client.post(page, data | change, follow=True)
    assert answer.redirect_chain, answer.context["adminform"].form.errors
    return answer.content.decode()


def test_the_admin_tells_it_when_it_is_saved(local_root: Path) -> None:
    config = make_config(local_root)
    assert "make a dry run first" in save_in_admin(config, {"method": "FULL"})


@pytest.mark.parametrize(
    ("change", "warned"),
    [
        ({"destination_path": "another"}, True),
        ({"destination_storage": "another"}, True),
        ({"source_path": "another"}, True),
        ({"remark": "another"}, False),
    ],
)
def test_the_admin_tells_it_again_when_its_folders_are_others(
    local_root: Path, change: dict[str, object], *, warned: bool
) -> None:
    config = deleting_config(local_root)
    if "destination_storage" in change:
        change = {"destination_storage": make_storage(local_root).pk}
    page = save_in_admin(config, change)
    assert ("Its source or destination is another one now" in page) is warned
