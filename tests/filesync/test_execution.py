"""A worker's side of a run, with the real rclone on local trees: what is done, stored and told."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography.fernet import Fernet
from django.db import OperationalError, connections
from pytest_django.fixtures import SettingsWrapper

from filesync import config_request, engine
from filesync.engine.outcome import killed
from filesync.models import RunItem, Storage, SyncConfig, SyncRun
from filesync.services import execution, journal, leases, requests
from filesync.services.execution import _tell, config_lock, execute
from filesync.services.finishing import cancel_run, finish_run
from filesync.services.queueing import retry_run
from filesync.services.recorder import Recorder
from filesync.services.storages import store_refreshed
from tests.filesync.engine.lab import files_of, names, tree, write_tree
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    claim,
    make_config,
    make_run,
    make_storage,
    stored_status,
)

pytestmark = pytest.mark.django_db

FILES: Mapping[str, str | bytes] = {
    "a.txt": "alpha",
    "sub/b.txt": "beta",
    "sub/deep/c.bin": b"\x00" * 2048,
}
BYTES = 5 + 4 + 2048
CANARY = "canary-2d8f"


def carry_out(run: SyncRun, watch: Callable[[engine.Event], None] | None = None) -> SyncRun:
    """Claim and execute a run as a worker does; return it as it stands afterwards."""
    execute(claim(run), watch=watch)
    run.refresh_from_db()
    return run


def items(run: SyncRun) -> set[tuple[str, str]]:
    return set(run.items.values_list("action", "path"))


def test_an_incremental_run_copies_what_is_new_and_says_what_it_did(local_root: Path) -> None:
    source, destination = local_root / "source", local_root / "destination"
    write_tree(source, FILES)
    write_tree(destination, {"kept.txt": "only here"})

    run = carry_out(make_run(make_config(local_root)))

    assert (run.state, run.reason, run.message, run.failure_class) == ("SUCCEEDED", "", "", "")
    assert stored_status(run) == "SUCCESS"
    expected = files_of(source) | {b"kept.txt": files_of(destination)[b"kept.txt"]}
    assert files_of(destination) == expected
    assert (run.files_transferred, run.bytes_transferred) == (3, BYTES)
    assert (run.files_deleted, run.files_failed) == (0, 0)
    assert {entry for entry in items(run) if entry[0] == "ADDED"} == {
        ("ADDED", name) for name in FILES
    }
    assert run.items.get(path="sub/deep/c.bin").size_bytes == 2048
    assert run.started_at is not None
    assert run.finished_at is not None
    assert run.finished_at >= run.started_at


def test_a_second_run_sends_only_what_changed(local_root: Path) -> None:
    config = make_config(local_root)
    write_tree(local_root / "source", FILES)
    carry_out(make_run(config))
    write_tree(local_root / "source", {"a.txt": "alpha, and more"})

    run = carry_out(make_run(config))

    assert (run.state, run.files_transferred, run.bytes_transferred) == ("SUCCEEDED", 1, 15)
    assert items(run) == {("UPDATED", "a.txt")}
    third = carry_out(make_run(config))
    assert (third.state, third.files_transferred, items(third)) == ("SUCCEEDED", 0, set())


def test_filters_count(local_root: Path) -> None:
    write_tree(local_root / "source", {"a.jpg": "1", "b.tmp": "2", "cache/c.jpg": "3"})
    config = make_config(local_root, filters="# photos only\n- /cache/**\n+ *.jpg\n- *\n")

    run = carry_out(make_run(config))

    assert run.state == "SUCCEEDED"
    assert names(files_of(local_root / "destination")) == {"a.jpg"}


def test_a_full_run_makes_the_destination_the_source(local_root: Path) -> None:
    write_tree(local_root / "source", FILES)
    write_tree(local_root / "destination", {"extra.txt": "goes", **FILES})
    config = make_config(local_root, method=SyncConfig.Method.FULL)

    run = carry_out(make_run(config))

    assert run.state == "SUCCEEDED"
    assert tree(local_root / "destination") == tree(local_root / "source")
    assert run.files_deleted == 1
    assert ("DELETED", "extra.txt") in items(run)
    assert run.plan is not None
    assert run.plan["deletes"] == 1


@pytest.mark.parametrize("method", list(SyncConfig.Method))
def test_a_source_that_is_missing_fails_and_says_what_to_do(
    local_root: Path, method: SyncConfig.Method
) -> None:
    write_tree(local_root / "destination", FILES)
    before = tree(local_root / "destination")

    run = carry_out(make_run(make_config(local_root, method=method)))

    assert run.state == "FAILED"
    assert run.failure_class in ("NOT_FOUND", "GUARD")
    assert run.message
    assert run.advice
    assert tree(local_root / "destination") == before
    assert stored_status(run) == "FAILURE"


@pytest.mark.parametrize("method", [SyncConfig.Method.FULL, SyncConfig.Method.OVERWRITE])
def test_too_many_deletions_stop_a_run_before_it_starts(
    local_root: Path, method: SyncConfig.Method
) -> None:
    write_tree(local_root / "source", {"new.txt": "new"})
    write_tree(local_root / "destination", {f"{number}.txt": "old" for number in range(10)})
    before = tree(local_root / "destination")
    config = make_config(local_root, method=method, max_delete_files=9, max_delete_percent=100)

    run = carry_out(make_run(config))

    assert (run.state, run.failure_class) == ("FAILED", "GUARD")
    assert run.guard
    assert "10" in run.message
    assert "9" in run.message
    assert run.advice
    assert run.plan is not None
    assert run.plan["deletes"] == 10
    assert tree(local_root / "destination") == before
    assert items(run) == set()


def test_too_large_a_share_of_deletions_stops_a_run_too(local_root: Path) -> None:
    write_tree(local_root / "source", {"0.txt": "old"})
    write_tree(local_root / "destination", {f"{number}.txt": "old" for number in range(10)})
    before = tree(local_root / "destination")
    config = make_config(local_root, method=SyncConfig.Method.FULL, max_delete_percent=50)

    run = carry_out(make_run(config))

    assert (run.state, run.failure_class) == ("FAILED", "GUARD")
    assert tree(local_root / "destination") == before


def test_force_goes_past_the_count_guards_once(local_root: Path) -> None:
    write_tree(local_root / "source", {"new.txt": "new"})
    write_tree(local_root / "destination", {f"{number}.txt": "old" for number in range(10)})
    config = make_config(local_root, method=SyncConfig.Method.FULL, max_delete_files=1)

    run = carry_out(make_run(config, force=True))

    assert (run.state, run.files_deleted) == ("SUCCEEDED", 10)
    assert tree(local_root / "destination") == tree(local_root / "source")


def test_a_retry_of_a_forced_run_is_guarded_again(local_root: Path) -> None:
    old = {f"{number}.txt": "old" for number in range(10)}
    write_tree(local_root / "source", {"new.txt": "new"})
    write_tree(local_root / "destination", old)
    config = make_config(local_root, method=SyncConfig.Method.FULL, max_delete_files=1)
    forced = carry_out(make_run(config, force=True))
    assert (forced.state, forced.files_deleted) == ("SUCCEEDED", 10)
    write_tree(local_root / "destination", old)
    before = tree(local_root / "destination")

    run = carry_out(retry_run(forced.pk))

    assert (run.state, run.guard, run.force) == ("FAILED", "max_delete_files", False)
    assert tree(local_root / "destination") == before


def test_a_further_attempt_deletes_no_more_than_was_forced(local_root: Path) -> None:
    source, destination = local_root / "source", local_root / "destination"
    files = {f"{number}.txt": "x" for number in range(20)}
    write_tree(destination, files)
    write_tree(source, dict(list(files.items())[5:]))
    config = make_config(local_root, method=SyncConfig.Method.FULL, max_delete_files=1)
    run = make_run(config, force=True)

    def stop(event: engine.Event) -> None:
        if isinstance(event, engine.PlanReady):
            os.kill(os.getpid(), signal.SIGTERM)

    assert carry_out(run, watch=stop).state == "QUEUED"
    assert run.plan is not None
    assert run.plan["deletes"] == 5
    for path in source.iterdir():
        if path.name != "19.txt":
            path.unlink()

    run = carry_out(run)

    assert (run.state, run.guard) == ("FAILED", "max_delete_files")
    assert len(tree(destination)) >= 15


def test_a_source_that_shrank_since_the_last_good_run_stops_the_next(local_root: Path) -> None:
    source = local_root / "source"
    write_tree(source, {f"{number}.txt": "x" for number in range(10)})
    config = make_config(
        local_root,
        method=SyncConfig.Method.FULL,
        max_delete_percent=None,
        max_shrink_percent=30,
    )
    assert carry_out(make_run(config)).state == "SUCCEEDED"
    for number in range(4):
        (source / f"{number}.txt").unlink()
    before = tree(local_root / "destination")

    run = carry_out(make_run(config))

    assert (run.state, run.guard) == ("FAILED", "source_shrunk")
    assert "from 10 to 6 files" in run.message
    assert tree(local_root / "destination") == before
    assert carry_out(make_run(config, force=True)).state == "SUCCEEDED"
    assert carry_out(make_run(config)).state == "SUCCEEDED"


def test_rules_of_size_and_name_reach_the_transfer(
    local_root: Path,
) -> None:
    write_tree(local_root / "source", {"IMG_1": "x" * 10, "IMG_2": "x", "IMG_3": "x" * 100})
    config = make_config(
        local_root, renames="^IMG_(.*)$ => ${1}.jpg", min_size_bytes=5, max_size_bytes=50
    )

    assert carry_out(make_run(config)).state == "SUCCEEDED"
    assert names(files_of(local_root / "destination")) == {"1.jpg"}


def test_a_retry_of_the_failed_files_sends_those_and_deletes_nothing(local_root: Path) -> None:
    write_tree(local_root / "source", {"failed.txt": "1", "new since.txt": "2"})
    write_tree(local_root / "destination", {"extra.txt": "x"})
    config = make_config(local_root, method=SyncConfig.Method.FULL)
    before = make_run(config, state=SyncRun.State.PARTIAL)
    RunItem.objects.create(run=before, action="ADDED", path="new since.txt")
    RunItem.objects.create(run=before, action="DELETED", path="extra.txt")
    RunItem.objects.create(run=before, action="FAILED", path="failed.txt", error="no right")

    run = carry_out(retry_run(before.pk, only_failed=True))

    assert (run.state, run.only_failed, run.retry_of) == ("SUCCEEDED", True, before)
    assert names(files_of(local_root / "destination")) == {"failed.txt", "extra.txt"}


def test_a_retry_whose_failed_files_are_forgotten_says_so(local_root: Path) -> None:
    write_tree(local_root / "source", {"new.txt": "2"})
    config = make_config(local_root)
    before = make_run(config, state=SyncRun.State.PARTIAL)
    item = RunItem.objects.create(run=before, action="FAILED", path="failed.txt", error="no right")
    queued = retry_run(before.pk, only_failed=True)
    item.delete()

    run = carry_out(queued)

    assert (run.state, run.failure_class) == ("FAILED", "CONFIG")
    assert "run it whole" in run.message
    assert not (local_root / "destination").exists()


@pytest.mark.parametrize("method", list(SyncConfig.Method))
def test_a_dry_run_changes_nothing_and_stores_its_plan(
    local_root: Path, method: SyncConfig.Method
) -> None:
    write_tree(local_root / "source", FILES)
    write_tree(local_root / "destination", {"a.txt": "alpha", "extra.txt": "extra"})
    before = tree(local_root / "source"), tree(local_root / "destination")

    run = carry_out(make_run(make_config(local_root, method=method), dry_run=True))

    assert run.state == "SUCCEEDED"
    assert (tree(local_root / "source"), tree(local_root / "destination")) == before
    assert run.files_transferred == run.files_deleted == 0
    if method != SyncConfig.Method.CHECK:
        assert run.plan is not None
        assert run.plan["adds"] >= 2
        assert "sub/b.txt" in {item["path"] for item in run.plan["items"]}
        extra = method in (SyncConfig.Method.FULL, SyncConfig.Method.OVERWRITE)
        assert run.plan["deletes"] == int(extra)
        assert run.plan["bytes_to_delete"] == (5 if extra else 0)
        again = method in (SyncConfig.Method.OVERWRITE, SyncConfig.Method.MOVE)
        assert run.plan["bytes_to_send"] == (BYTES if again else BYTES - len("alpha"))


@pytest.mark.parametrize("days", [0, 7])
def test_a_dry_run_is_planned_as_the_run_that_keeps_files(local_root: Path, days: int) -> None:
    """Where the old file is kept a new time is not only set: the file is sent."""
    write_tree(local_root / "source", {"a.txt": "alpha"})
    write_tree(local_root / "destination", {"a.txt": "alpha"})
    os.utime(local_root / "source" / "a.txt", (1_600_000_000, 1_600_000_000))
    config = make_config(local_root, method=SyncConfig.Method.FULL, keep_deleted_days=days)
    planned = carry_out(make_run(config, dry_run=True))
    ran = carry_out(make_run(config))

    assert planned.plan is not None
    assert planned.plan["updates"] == ran.files_transferred == int(days > 0)
    assert (planned.kept, planned.kept_until) == (None, None)
    assert not days or not list(local_root.rglob(f"*-run-{planned.pk}"))


def test_a_plan_of_folders_and_times_alone_stores_them(local_root: Path) -> None:
    source, destination = local_root / "source", local_root / "destination"
    write_tree(source, {"a.txt": "alpha", "b.txt": "beta"})
    write_tree(destination, {"a.txt": "alpha", "b.txt": "beta", "gone/deeper/c.txt": "gamma"})
    (destination / "gone" / "deeper" / "c.txt").unlink()
    (source / "empty").mkdir()
    for path in (source / "a.txt", source / "b.txt"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    config = make_config(local_root, method=SyncConfig.Method.FULL)

    plan = carry_out(make_run(config, dry_run=True)).plan

    assert plan is not None
    kinds = ("adds", "updates", "deletes", "dirs_made", "dirs_removed", "times_updated")
    assert [plan[kind] for kind in kinds] == [0, 0, 0, 1, 2, 2]


def test_a_check_tells_the_differences_and_changes_nothing(local_root: Path) -> None:
    write_tree(local_root / "source", {"a.txt": "alpha", "b.txt": "beta"})
    write_tree(local_root / "destination", {"a.txt": "other", "c.txt": "gamma"})
    before = tree(local_root / "destination")

    run = carry_out(make_run(make_config(local_root, method=SyncConfig.Method.CHECK)))

    assert {
        ("DIFFERS", "a.txt"),
        ("MISSING_ON_DESTINATION", "b.txt"),
        ("MISSING_ON_SOURCE", "c.txt"),
    } <= items(run)
    assert run.is_terminal
    assert tree(local_root / "destination") == before


def test_a_move_takes_the_source_away(local_root: Path) -> None:
    write_tree(local_root / "source", FILES)
    before = files_of(local_root / "source")

    run = carry_out(make_run(make_config(local_root, method=SyncConfig.Method.MOVE)))

    assert (run.state, run.files_transferred) == ("SUCCEEDED", 3)
    assert files_of(local_root / "destination") == before
    assert files_of(local_root / "source") == {}


# Stopping ----------------------------------------------------------------------------------------


def slow_config(root: Path) -> SyncConfig:
    """Return a config whose run takes minutes unless it is stopped."""
    write_tree(root / "source", {"big.bin": os.urandom(8 * 1024 * 1024)})
    return make_config(root, bandwidth="64K")


def test_a_running_run_obeys_cancel_and_leaves_no_partial_file(local_root: Path) -> None:
    run = make_run(slow_config(local_root))
    seen: list[int] = []

    def cancel_once_it_transfers(event: engine.Event) -> None:
        if isinstance(event, engine.Progress) and event.in_flight and not seen:
            seen.append(event.bytes_done)
            cancel_run(run.pk)

    carry_out(run, cancel_once_it_transfers)

    assert seen
    assert (run.state, run.reason) == ("CANCELLED", "CANCELLED_BY_USER")
    assert stored_status(run) == run.task_status == "REVOKED"
    assert files_of(local_root / "destination") == {}
    assert run.finished_at is not None


def test_a_stopped_worker_gives_the_run_back(local_root: Path) -> None:
    run = make_run(slow_config(local_root))
    sent: list[engine.Event] = []

    def stop_worker(event: engine.Event) -> None:
        if isinstance(event, engine.Progress) and event.in_flight and not sent:
            sent.append(event)
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    assert execute(claim(run), watch=stop_worker) is False

    run.refresh_from_db()
    assert (run.state, run.reason, run.attempt) == ("QUEUED", "WORKER_STOPPED", 0)
    assert stored_status(run) == "PENDING"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_stop_that_reached_rclone_first_gives_the_run_back_too(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    held = claim(run)
    stopped = threading.Event()
    stopped.set()

    _tell(held, run, engine.SyncResult(engine.Outcome.PARTIAL, failure=killed(143)), stopped)

    run.refresh_from_db()
    assert (run.state, run.reason, run.attempt) == ("QUEUED", "WORKER_STOPPED", 0)


def test_an_outcome_that_is_not_taken_at_once_is_in_a_file_until_it_is(
    local_root: Path, monkeypatch: pytest.MonkeyPatch, settings: SettingsWrapper
) -> None:
    run = make_run(make_config(local_root))
    folder = Path(settings.FILESYNC_WORK_DIR) / "journal"
    kept: list[int] = []

    def away_at_first(held: leases.Claim, result: engine.SyncResult) -> SyncRun | None:
        kept.append(len(list(folder.glob("*.json"))))
        if len(kept) < 3:
            raise OperationalError("the server closed the connection")
        return finish_run(held, result)

    monkeypatch.setattr(execution, "finish_run", away_at_first)
    monkeypatch.setattr(connections, "close_all", lambda: None)
    _tell(claim(run), run, engine.SyncResult(engine.Outcome.SUCCEEDED), threading.Event())

    run.refresh_from_db()
    assert run.state == "SUCCEEDED"
    assert kept == [0, 1, 1]
    assert list(folder.glob("*.json")) == []


def test_what_rclone_did_before_a_write_hung_too_long_is_told(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(local_root / "source", FILES)
    run = make_run(make_config(local_root))
    pids: list[int] = []

    def hang_until_rclone_has_ended(*_: object, **__: object) -> bool:
        if not pids:
            return False
        # Longer than the lease, as a database behind a black hole does.
        os.waitid(os.P_PID, pids[-1], os.WEXITED | os.WNOWAIT)
        raise OperationalError("timed out")

    def note(event: engine.Event) -> None:
        if isinstance(event, engine.ProcessStarted):
            pids.append(event.pid)

    monkeypatch.setattr("filesync.services.recorder.keep_lease", hang_until_rclone_has_ended)
    monkeypatch.setattr(connections, "close_all", lambda: None)
    for limit in ("FENCE_S", "TRY_S", "WRITE_EVERY_S"):
        monkeypatch.setattr(f"filesync.services.recorder.{limit}", 0.0)

    carry_out(run, note)

    assert (run.state, run.files_transferred, run.attempt) == ("SUCCEEDED", 3, 1)
    assert len(pids) == 1


def test_a_run_that_was_given_away_stops_and_writes_nothing(local_root: Path) -> None:
    run = make_run(slow_config(local_root))
    taken: list[leases.Claim] = []

    def give_away(event: engine.Event) -> None:
        if isinstance(event, engine.Progress) and event.in_flight and not taken:
            SyncRun.objects.filter(pk=run.pk).update(
                state=SyncRun.State.QUEUED, lease_token=None, lease_expires_at=None
            )
            taken.append(claim(run, worker="other"))

    carry_out(run, give_away)

    assert taken
    assert (run.state, run.worker, run.lease_token) == ("RUNNING", "other", taken[0].token)
    assert stored_status(run) == "STARTED"


def test_a_run_keeps_its_lease_and_shows_its_progress_while_it_goes(local_root: Path) -> None:
    run = make_run(slow_config(local_root))
    stored: list[dict[str, object]] = []

    def look(event: engine.Event) -> None:
        row = SyncRun.objects.get(pk=run.pk)
        if row.progress.get("bytes_done"):
            stored.append(row.progress | {"phase": row.phase})
            cancel_run(run.pk)

    carry_out(run, look)

    assert stored[0]["phase"] == "TRANSFERRING"
    assert stored[0]["bytes_total"] == 8 * 1024 * 1024
    assert stored[0]["in_flight"]


# What else is kept -------------------------------------------------------------------------------


def test_the_private_files_of_a_run_go_with_it_and_its_log_stays(
    local_root: Path, settings: SettingsWrapper
) -> None:
    write_tree(local_root / "source", FILES)

    run = carry_out(make_run(make_config(local_root)))

    assert not list(settings.FILESYNC_WORK_DIR.glob("run-*"))
    assert run.logs.exists()


def test_more_items_than_are_kept_are_still_counted(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filesync.services.recorder.ITEMS_PER_RUN", 5)
    write_tree(local_root / "source", {f"{number}.txt": "x" for number in range(12)})

    run = carry_out(make_run(make_config(local_root)))

    assert run.files_transferred == 12
    assert RunItem.objects.filter(run=run).count() == 5


def test_files_that_failed_are_recorded_when_others_have_taken_all_places(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filesync.services.recorder.ITEMS_PER_RUN", 3)
    monkeypatch.setattr("filesync.services.recorder.FAILED_PER_RUN", 4)
    run = make_run(make_config(local_root))
    recorder = Recorder(claim(run), engine.StopSignal())
    for number in range(5):
        recorder.take(engine.ItemDone(engine.Action.ADDED, f"sent {number}"))
    for number in range(6):
        error = "no room"
        recorder.take(engine.ItemDone(engine.Action.FAILED, f"failed {number}", error=error))
    recorder.finish()

    assert items(run) == {
        *(("ADDED", f"sent {number}") for number in range(3)),
        *(("FAILED", f"failed {number}") for number in range(4)),
    }


def test_what_a_run_does_is_written_while_it_goes_on_and_once_a_second_at_most(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr("filesync.services.recorder.time.monotonic", lambda: now_s[0])
    written: list[float] = []
    keep_lease = leases.keep_lease

    def counted(*args: object, **values: object) -> bool:
        written.append(now_s[0])
        return keep_lease(*args, **values)  # type: ignore[arg-type]

    monkeypatch.setattr("filesync.services.recorder.keep_lease", counted)
    run = make_run(make_config(local_root))
    recorder = Recorder(claim(run), engine.StopSignal(), written_at=now_s[0], tried_at=now_s[0])
    stored: list[int] = []
    for number in range(100):
        now_s[0] += 0.1
        recorder.take(engine.ItemDone(engine.Action.ADDED, f"file {number}"))
        progress = engine.Progress(number, 100, number, 100, 0, 0, 0, 0, 1.0, None)
        recorder.take(progress)
        stored.append(RunItem.objects.filter(run=run).count())

    assert stored[:12] == [0] * 9 + stored[9:12]
    assert 0 < stored[12] < stored[50] < stored[99] <= 100
    assert 8 <= len(written) <= 10
    assert min(later - earlier for earlier, later in pairwise(written)) > 0.95
    run.refresh_from_db()
    assert run.progress["files_done"] > 80


def test_settings_that_went_bad_since_the_save_fail_the_run(
    local_root: Path, settings: SettingsWrapper
) -> None:
    write_tree(local_root / "source", FILES)
    config = make_config(local_root)
    settings.FILESYNC_LOCAL_ROOTS = [local_root / "elsewhere"]

    run = carry_out(make_run(config))

    assert (run.state, run.failure_class) == ("FAILED", "CONFIG")
    assert str(local_root) in run.message
    assert not (local_root / "destination").exists()


def test_secrets_that_no_key_opens_fail_the_run_and_say_so(
    local_root: Path, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_SECRET_KEYS = [Fernet.generate_key().decode()]
    write_tree(local_root / "source", FILES)
    remote = make_storage(
        local_root,
        backend="webdav",
        options={"url": "http://127.0.0.1:9/"},
        secrets={"pass": CANARY},
    )
    config = make_config(
        local_root, source_storage=make_storage(local_root), destination_storage=remote
    )
    run = make_run(config)
    settings.FILESYNC_SECRET_KEYS = [Fernet.generate_key().decode()]

    carry_out(run)

    assert (run.state, run.failure_class) == ("FAILED", "CONFIG")
    assert "FILESYNC_SECRET_KEYS" in run.message
    assert CANARY not in run.message


def test_an_unreachable_storage_waits_for_another_attempt(local_root: Path) -> None:
    write_tree(local_root / "source", FILES)
    remote = make_storage(local_root, backend="webdav", options={"url": "http://127.0.0.1:9/"})
    config = make_config(
        local_root,
        source_storage=make_storage(local_root),
        destination_storage=remote,
        destination_path="d",
    )

    run = carry_out(make_run(config))

    assert (run.state, run.reason, run.failure_class) == ("QUEUED", "RETRY", "NETWORK")
    assert run.not_before is not None
    assert stored_status(run) == "RETRY"


def test_a_config_that_was_deleted_before_the_work_began_does_nothing(local_root: Path) -> None:
    write_tree(local_root / "source", FILES)
    config = make_config(local_root)
    run = make_run(config)
    held = claim(run)
    config.delete()

    execute(held)

    run.refresh_from_db()
    assert (run.state, run.reason) == ("CANCELLED", "CONFIG_DELETED")
    assert not (local_root / "destination").exists()
    assert Storage.objects.exists()


# What keeps runs apart and in bounds --------------------------------------------------------------


def test_a_config_whose_transfer_still_lives_on_this_host_waits(local_root: Path) -> None:
    write_tree(local_root / "source", FILES)
    run = make_run(make_config(local_root))
    assert run.config_id is not None

    with config_lock(run.config_id) as descriptor:
        assert descriptor is not None
        waiting = carry_out(run)

    assert (waiting.state, waiting.reason, waiting.attempt) == ("QUEUED", "OVERLAP", 0)
    assert waiting.not_before is not None
    SyncRun.objects.update(not_before=None)
    assert carry_out(SyncRun.objects.get()).state == "SUCCEEDED"


def test_a_database_that_blinks_as_a_run_begins_gives_the_run_back(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (local_root / "source").mkdir()
    asked: list[int] = []
    really = config_request.request_of

    def away_once(*args: Any, **fields: Any) -> engine.SyncRequest:
        asked.append(1)
        if len(asked) == 1:
            raise OperationalError("terminating connection due to administrator command")
        return really(*args, **fields)

    monkeypatch.setattr(requests, "request_of", away_once)
    run = carry_out(make_run(make_config(local_root)))
    assert (run.state, run.failure_class, run.crashes) == ("QUEUED", "", 0)

    assert carry_out(run).state == "SUCCEEDED"


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_outcome_is_told_though_no_file_can_be_written(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(make_config(local_root))
    monkeypatch.setattr(journal, "_write", full_disk)

    _tell(
        claim(run),
        run,
        engine.SyncResult(engine.Outcome.SUCCEEDED),
        threading.Event(),
        in_doubt=True,
    )

    run.refresh_from_db()
    assert run.state == "SUCCEEDED"


def test_a_storage_that_cannot_be_tested_does_not_hold_up_the_end(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = make_storage(local_root, backend="webdav", options={"url": "http://127.0.0.1:9/"})
    run = make_run(make_config(local_root, source_storage=away))
    held = claim(run)
    monkeypatch.setattr("tempfile.mkdtemp", full_disk)
    failure = engine.Failure.of(engine.FailureClass.AUTH, "wrong password")

    _tell(held, run, engine.SyncResult(engine.Outcome.FAILED, failure=failure), threading.Event())

    run.refresh_from_db()
    assert (run.state, run.failure_class) == ("FAILED", "AUTH")


def test_an_error_that_nobody_foresaw_ends_the_run_with_its_name(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("s3cret")

    monkeypatch.setattr(requests, "request_of", fail)
    run = carry_out(make_run(make_config(local_root)))

    assert (run.state, run.failure_class) == ("FAILED", "INTERNAL")
    assert "ZeroDivisionError" in run.message
    assert "s3cret" not in run.message
    assert stored_status(run) == "FAILURE"


def test_a_lease_that_is_overdue_kills_the_transfer_and_the_run_is_queued_again(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (local_root / "source").mkdir()
    (local_root / "source" / "big.bin").write_bytes(bytes(4_000_000))
    run = make_run(make_config(local_root, bandwidth="256K"))
    pids: list[int] = []

    def note(event: engine.Event) -> None:
        if isinstance(event, engine.ProcessStarted):
            pids.append(event.pid)

    def hang(*_: object, **__: object) -> bool:
        """Hold the run's own thread in a write, as a database behind a black hole does."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and is_alive(pids[-1]):
            time.sleep(0.05)
        return False

    monkeypatch.setattr("filesync.services.recorder.FENCE_S", 0.5)
    monkeypatch.setattr("filesync.services.recorder.keep_lease", hang)
    execute(claim(run), watch=note)

    run.refresh_from_db()
    assert (run.state, run.reason, run.attempt) == ("QUEUED", "LEASE_LOST", 0)
    assert not (local_root / "destination" / "big.bin").exists()


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_an_engine_that_is_silent_is_not_fenced_while_the_lease_can_be_renewed(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(local_root / "source", FILES)
    monkeypatch.setattr("filesync.services.recorder.FENCE_S", 0.5)
    slept: list[engine.Event] = []

    def slow_disk(event: engine.Event) -> None:
        if not slept:
            slept.append(event)
            time.sleep(2.5)

    assert carry_out(make_run(make_config(local_root)), slow_disk).state == "SUCCEEDED"


def test_secrets_entered_during_a_run_are_not_overwritten_by_its_end(local_root: Path) -> None:
    storage = make_storage(local_root / "source", backend="webdav", secrets={"pass": "first"})
    started_with = Storage.objects.get(pk=storage.pk)

    store_refreshed(started_with, {"bearer_token": "rotated"})
    assert Storage.objects.get(pk=storage.pk).secrets == {
        "pass": "first",
        "bearer_token": "rotated",
    }
    store_refreshed(started_with, {"bearer_token": "rotated twice"})
    changed = Storage.objects.get(pk=storage.pk)
    assert changed.secrets["bearer_token"] == "rotated"
    changed.secrets = {"pass": "entered meanwhile"}
    changed.save()
    store_refreshed(started_with, {"bearer_token": "rotated"})
    assert Storage.objects.get(pk=storage.pk).secrets == {"pass": "entered meanwhile"}


def test_items_of_an_earlier_attempt_do_not_stand_beside_those_of_the_last(
    local_root: Path,
) -> None:
    write_tree(local_root / "source", FILES)
    run = make_run(make_config(local_root))
    RunItem.objects.create(run=run, action="FAILED", path="of the first attempt")

    carry_out(run)

    assert not RunItem.objects.filter(run=run, action="FAILED").exists()
    assert RunItem.objects.filter(run=run).exists()
