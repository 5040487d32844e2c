"""What a running attempt writes of itself: only what it still holds, the lease and items as one."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import OperationalError, connections
from django.db.models.query import QuerySet

from filesync import engine
from filesync.admin.live import run_document
from filesync.models import RunItem, SyncRun
from filesync.services import leases
from filesync.services.recorder import Recorder
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, make_config, make_run

pytestmark = pytest.mark.django_db


def failed(path: str) -> engine.ItemDone:
    return engine.ItemDone(engine.Action.FAILED, path, error="no room")


def paths_of(run: SyncRun) -> list[str]:
    return list(RunItem.objects.filter(run=run).order_by("pk").values_list("path", flat=True))


def give_away(run: SyncRun) -> leases.Claim:
    """Let another worker hold the run."""
    SyncRun.objects.filter(pk=run.pk).update(
        state=SyncRun.State.QUEUED, lease_token=None, lease_expires_at=None
    )
    return claim(run, worker="other")


def progress(eta_s: float | None) -> engine.Progress:
    return engine.Progress(
        bytes_done=0,
        bytes_total=0,
        files_done=0,
        files_total=0,
        checks_done=7,
        checks_total=9,
        deletes=0,
        errors=0,
        speed_bytes_per_s=0.0,
        eta_s=eta_s,
    )


@pytest.mark.parametrize(
    ("eta_s", "words"), [(None, ""), (0.0, "0.0 s left"), (75, "1 min 15 s left")]
)
def test_how_long_a_run_takes_is_told_once_it_is_known(
    local_root: Path, eta_s: float | None, words: str
) -> None:
    run = make_run(make_config(local_root))
    recorder = Recorder(claim(run), engine.StopSignal())

    recorder.take(progress(eta_s))
    recorder.write()

    run.refresh_from_db()
    assert (run.progress["checks_done"], run.progress["eta_s"]) == (7, eta_s)
    assert run_document(run)["eta"] == words


def test_a_worker_whose_run_was_given_away_adds_nothing_to_its_items(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    stale = Recorder(claim(run), engine.StopSignal())
    holder = Recorder(give_away(run), engine.StopSignal())
    stale.take(failed("of the stale one"))
    holder.take(failed("of the holder"))

    with pytest.raises(leases.LeaseLost):
        stale.write()
    holder.write()

    assert paths_of(run) == ["of the holder"]


def test_nor_does_it_at_its_end(local_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = make_run(make_config(local_root))
    stale = Recorder(claim(run), engine.StopSignal())
    give_away(run)
    stale.take(failed("of the stale one"))

    stale.finish()

    assert paths_of(run) == []
    assert f"1 items are not stored: run {run.pk} is no longer held" in caplog.text


def test_items_that_could_not_be_stored_are_stored_with_the_next_renewal(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(make_config(local_root))
    recorder = Recorder(claim(run), engine.StopSignal())
    before = SyncRun.objects.get(pk=run.pk).lease_expires_at
    store = QuerySet.bulk_create

    def store_and_fail(*args: object, **how: object) -> object:
        store(*args, **how)  # type: ignore[arg-type]
        raise OperationalError("gone as it was committed")

    monkeypatch.setattr(connections, "close_all", lambda: None)
    recorder.take(failed("a"))
    monkeypatch.setattr(QuerySet, "bulk_create", store_and_fail)
    recorder.write()
    monkeypatch.setattr(QuerySet, "bulk_create", store)
    assert paths_of(run) == []
    assert SyncRun.objects.get(pk=run.pk).lease_expires_at == before

    recorder.take(failed("b"))
    recorder.write()

    assert paths_of(run) == ["a", "b"]
    assert SyncRun.objects.get(pk=run.pk).lease_expires_at != before
