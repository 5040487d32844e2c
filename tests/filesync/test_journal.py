"""Outcomes that the database did not take are kept in files and told when it is back."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django.fixtures import SettingsWrapper

from filesync import engine
from filesync.models import SyncRun
from filesync.services import journal
from filesync.services.finishing import finish_run
from filesync.services.sweeping import sweep
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, lapse, make_config, make_run, stored_status
from tests.filesync.factories import use_broker as use_broker
from tests.filesync.test_finishing import SUCCEEDED

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("broker")]

GUARDED = engine.SyncResult(
    outcome=engine.Outcome.FAILED,
    totals=engine.Totals(files_checked=7),
    failure=engine.Failure.of(engine.FailureClass.GUARD, "the source is empty", guard="empty"),
)


def kept(settings: SettingsWrapper) -> list[Path]:
    return sorted((Path(settings.FILESYNC_WORK_DIR) / "journal").glob("*"))


@pytest.mark.parametrize("result", [SUCCEEDED, GUARDED], ids=["succeeded", "guarded"])
def test_the_sweep_tells_a_kept_outcome_as_it_was(
    local_root: Path, settings: SettingsWrapper, result: engine.SyncResult
) -> None:
    run = make_run(make_config(local_root))
    journal.keep(claim(run), result)
    assert len(kept(settings)) == 1

    assert sweep().told == 1

    run.refresh_from_db()
    assert run.state == result.outcome.value
    assert run.files_checked == result.totals.files_checked
    assert run.guard == (result.failure.guard if result.failure else "")
    assert stored_status(run) == run.task_status
    assert kept(settings) == []


def test_it_is_told_even_where_the_lease_has_lapsed_meanwhile(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    journal.keep(claim(run), SUCCEEDED)
    lapse(run)

    report = sweep()

    run.refresh_from_db()
    assert (report.told, report.requeued, run.state) == (1, 0, "SUCCEEDED")


def test_a_run_that_another_worker_has_taken_keeps_that_workers_story(
    local_root: Path, settings: SettingsWrapper
) -> None:
    run = make_run(make_config(local_root))
    journal.keep(claim(run), SUCCEEDED)
    SyncRun.objects.filter(pk=run.pk).update(state="QUEUED", lease_token=None)
    second = claim(SyncRun.objects.get(pk=run.pk))

    assert journal.replay() == 0

    run.refresh_from_db()
    assert run.state == "RUNNING"
    assert kept(settings) == []
    assert finish_run(second, GUARDED) is not None


def test_an_outcome_that_cannot_be_read_is_put_aside_and_stops_no_other(
    local_root: Path, settings: SettingsWrapper
) -> None:
    run = make_run(make_config(local_root))
    journal.keep(claim(run), SUCCEEDED)
    broken = Path(settings.FILESYNC_WORK_DIR) / "journal" / "1-broken.json"
    broken.write_text("{", encoding="utf-8")

    assert sweep().told == 1

    assert [path.name for path in kept(settings)] == ["1-broken.bad"]


def test_what_is_kept_is_for_this_account_alone(
    local_root: Path, settings: SettingsWrapper
) -> None:
    folder = settings.FILESYNC_WORK_DIR / "journal"
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    held = claim(make_run(make_config(local_root)))

    journal.keep(held, SUCCEEDED)

    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
