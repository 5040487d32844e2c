"""Undoing runs from the outside: kept for days, undone on wish, deleted when the time is over."""

from __future__ import annotations

import gzip
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django.fixtures import SettingsWrapper

from filesync import engine
from filesync.engine import KEPT_FOLDER, StopSignal
from filesync.errors import NotFound, NothingToUndo, RunActive
from filesync.models import RunLog, Storage, SyncConfig, SyncRun
from filesync.services.execution import execute
from filesync.services.finishing import cancel_run, requeue_run
from filesync.services.requests import start_engine
from filesync.services.retention import delete_expired
from filesync.services.run_logs import log_path, store
from filesync.services.sweeping import sweep
from filesync.services.undo import keep_for, purge_expired, queue_restore, undo_request
from tests.filesync.engine.lab import engine_remote, tree, write_tree
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, client_of, make_config, make_run, make_storage
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.django_db

RUNS = "/api/v1/sync/runs"


def carry_out(run: SyncRun) -> SyncRun:
    execute(claim(run))
    run.refresh_from_db()
    return run


def changing_run(config: SyncConfig, root: Path, text: str = "new and longer") -> SyncRun:
    """Carry out a run that updates, adds and deletes a file."""
    write_tree(root / "source", {"changed": text, f"added {text}": "added"})
    (root / "source" / "gone").unlink(missing_ok=True)
    run = carry_out(make_run(config))
    assert (run.state, run.message) == ("SUCCEEDED", "")
    return run


@pytest.fixture
def config(local_root: Path) -> SyncConfig:
    """Return a config that keeps for a week, whose destination holds an old state."""
    old = {"changed": "old", "gone": "gone", "same/file": "same"}
    write_tree(local_root / "source", old)
    write_tree(local_root / "destination", old)
    full = SyncConfig.Method.FULL
    return make_config(local_root, method=full, keep_deleted_days=7, max_delete_percent=100)


def test_what_a_run_deletes_is_kept_outside_the_tree_and_comes_back(
    local_root: Path, config: SyncConfig
) -> None:
    before = tree(local_root / "destination")
    run = changing_run(config, local_root)

    assert run.kept_until is not None
    assert timedelta(days=6.9) < run.kept_until - timezone.now() < timedelta(days=7.1)
    assert KEPT_FOLDER.encode() not in tree(local_root / "destination")
    assert run.kept is not None
    kept = local_root / run.kept["folder"]
    assert {path.name for path in kept.rglob("*") if path.is_file()} == {"changed", "gone"}

    undone = carry_out(queue_restore(run.pk))

    assert (undone.state, undone.trigger, undone.restore_of) == ("SUCCEEDED", "RESTORE", run)
    assert tree(local_root / "destination") == before
    assert (undone.files_transferred, undone.files_deleted) == (2, 1)
    assert set(undone.items.values_list("action", "path")) >= {
        ("RESTORED", "gone"),
        ("RESTORED", "changed"),
        ("DELETED", "added new and longer"),
    }
    with pytest.raises(NothingToUndo, match="already"):
        queue_restore(run.pk)


def test_a_rehearsal_changes_nothing_and_shows_the_plan(
    local_root: Path, config: SyncConfig
) -> None:
    run = changing_run(config, local_root)
    before = tree(local_root / "destination")

    rehearsed = carry_out(queue_restore(run.pk, dry_run=True))

    assert tree(local_root / "destination") == before
    assert rehearsed.state == "SUCCEEDED"
    assert rehearsed.plan is not None
    assert [rehearsed.plan[key] for key in ("adds", "updates", "deletes")] == [1, 1, 1]
    assert carry_out(queue_restore(run.pk)).state == "SUCCEEDED"


def test_the_kept_folder_of_a_run_bears_the_day_on_which_it_was_asked_for(
    local_root: Path, config: SyncConfig
) -> None:
    write_tree(local_root / "source", {"changed": "new and longer"})
    run = make_run(config)
    SyncRun.objects.filter(pk=run.pk).update(created_at=datetime(2026, 3, 1, 23, 30, tzinfo=UTC))

    carry_out(run)

    assert run.kept is not None
    assert run.kept["folder"] == f"{KEPT_FOLDER}/2026-03-01-run-{run.pk}"
    assert (local_root / run.kept["folder"]).is_dir()


def test_what_an_earlier_attempt_kept_is_not_forgotten_by_one_that_changes_nothing(
    local_root: Path, config: SyncConfig
) -> None:
    run = make_run(config)
    data = gzip.compress(b"")
    RunLog.objects.create(run=run, claim=uuid4(), started_at=timezone.now(), part=0, data=data)

    carry_out(run)

    assert (run.state, run.files_transferred) == ("SUCCEEDED", 0)
    assert run.kept_until is not None


def test_a_run_whose_rclone_was_killed_before_a_file_came_can_be_undone(
    local_root: Path, config: SyncConfig
) -> None:
    before = tree(local_root / "destination")
    write_tree(local_root / "source", {"changed": "x" * 4_000_000, "added": "x" * 4_000_000})
    SyncConfig.objects.filter(pk=config.pk).update(bandwidth="1M", max_attempts=1)
    pids: list[int] = []

    def kill(event: engine.Event) -> None:
        if isinstance(event, engine.ProcessStarted):
            pids.append(event.pid)
        elif isinstance(event, engine.Progress) and event.bytes_done:
            os.kill(pids[-1], signal.SIGKILL)

    run = make_run(config)
    execute(claim(run), watch=kill)
    run.refresh_from_db()

    assert (run.state, run.files_transferred, run.files_deleted) == ("PARTIAL", 0, 0)
    assert tree(local_root / "destination") == before
    assert run.kept_until is not None
    assert carry_out(queue_restore(run.pk)).state == "SUCCEEDED"
    assert tree(local_root / "destination") == before


def test_an_undoing_shows_its_progress_while_it_goes_on_and_obeys_cancel(
    local_root: Path, config: SyncConfig
) -> None:
    write_tree(local_root / "destination", {"changed": "x" * 2_000_000})
    run = changing_run(config, local_root)
    SyncConfig.objects.filter(pk=config.pk).update(bandwidth="64K")
    undoing = queue_restore(run.pk)
    seen: list[SyncRun] = []

    def look(_event: engine.Event) -> None:
        row = SyncRun.objects.get(pk=undoing.pk)
        if row.progress.get("bytes_done"):
            seen.append(row)
            cancel_run(row.pk)

    execute(claim(undoing), watch=look)

    undoing.refresh_from_db()
    assert (undoing.state, undoing.reason) == ("CANCELLED", "CANCELLED_BY_USER")
    progress = seen[0].progress
    assert seen[0].phase == "TRANSFERRING"
    # The file that came is removed, and of two that were there one is on its way.
    assert (progress["files_total"], progress["bytes_total"]) == (3, 2_000_004)
    assert 1 <= progress["files_done"] < 3
    assert 0 < progress["percent"] < 100


def test_the_latest_run_is_undone_first(local_root: Path, config: SyncConfig) -> None:
    before = tree(local_root / "destination")
    first = changing_run(config, local_root)
    second = changing_run(config, local_root, "newer and much longer")

    with pytest.raises(NothingToUndo, match=f"run {second.pk} "):
        queue_restore(first.pk)
    for run in (second, first):
        assert carry_out(queue_restore(run.pk)).state == "SUCCEEDED"
    assert tree(local_root / "destination") == before


def test_a_run_whose_last_attempt_changed_nothing_is_undone_before_the_one_below(
    local_root: Path, config: SyncConfig
) -> None:
    first = changing_run(config, local_root)
    second = changing_run(config, local_root, "newer and much longer")
    # As after an attempt that changed files, and further ones that could not even connect.
    SyncRun.objects.filter(pk=second.pk).update(
        state="FAILED", files_transferred=0, files_deleted=0, files_renamed=0
    )

    with pytest.raises(NothingToUndo, match=f"run {second.pk} changed files .*, or may have"):
        queue_restore(first.pk)
    assert carry_out(queue_restore(second.pk)).state == "SUCCEEDED"
    assert carry_out(queue_restore(first.pk)).state == "SUCCEEDED"


def test_a_run_that_renamed_is_told_counted_and_undone(
    local_root: Path, config: SyncConfig, s3_server: S3Server
) -> None:
    remote = engine_remote(s3_server.remote)
    config.destination_storage = make_storage(
        local_root,
        backend="s3",
        root=f"{remote.root}/{uuid4()}",
        options=dict(remote.options),
        secrets=dict(remote.secrets),
    )
    config.save()
    first = carry_out(make_run(config))
    assert (first.state, first.files_transferred) == ("SUCCEEDED", 3)
    (local_root / "source" / "gone").rename(local_root / "source" / "new")

    run = carry_out(make_run(config))

    assert (run.state, run.files_renamed, run.files_deleted) == ("SUCCEEDED", 1, 0)
    assert run.plan is not None
    assert (run.plan["renames"], run.plan["bytes_renamed"]) == (1, 4)
    assert run.plan["items"] == [
        {"action": "RENAMED", "path": "new", "size_bytes": 4, "old_path": "gone"}
    ]
    answer = client_of("viewer").get(f"{RUNS}/{run.pk}/items")
    assert [(row["action"], row["path"], row["old_path"]) for row in answer.data] == [
        ("RENAMED", "new", "gone")
    ]
    with pytest.raises(NothingToUndo, match=f"run {run.pk} changed files after"):
        queue_restore(first.pk)
    undone = carry_out(queue_restore(run.pk))
    assert (undone.state, undone.files_renamed) == ("SUCCEEDED", 1)
    assert list(undone.items.values_list("action", "path", "old_path")) == [
        ("RENAMED", "gone", "new")
    ]


def test_conflicts_are_left_and_told(local_root: Path, config: SyncConfig) -> None:
    run = changing_run(config, local_root)
    (local_root / "destination" / "changed").write_text("mine")

    undone = carry_out(queue_restore(run.pk))

    assert (undone.state, undone.failure_class, undone.guard) == (
        "PARTIAL",
        "GUARD",
        "changed_since",
    )
    assert undone.advice
    assert list(undone.items.filter(action="FAILED").values_list("path", flat=True)) == ["changed"]
    assert (local_root / "destination" / "changed").read_text() == "mine"
    assert (local_root / "destination" / "gone").read_text() == "gone"


def test_the_run_after_an_undoing_is_guarded_as_the_undone_one_was(
    local_root: Path, config: SyncConfig
) -> None:
    config.max_shrink_percent = 20
    config.save()
    write_tree(local_root / "source", {"one": "1", "two": "2"})
    assert carry_out(make_run(config)).state == "SUCCEEDED"
    before = tree(local_root / "destination")
    for name in ("one", "two", "changed", "gone"):
        (local_root / "source" / name).unlink()
    assert carry_out(make_run(config)).guard == "source_shrunk"
    forced = carry_out(make_run(config, force=True))
    assert forced.state == "SUCCEEDED"
    assert carry_out(queue_restore(forced.pk)).state == "SUCCEEDED"

    repeated = carry_out(make_run(config))

    assert (repeated.state, repeated.guard) == ("FAILED", "source_shrunk")
    assert tree(local_root / "destination") == before


def test_an_undoing_knows_when_the_first_attempt_at_it_began(
    local_root: Path, config: SyncConfig
) -> None:
    old = changing_run(config, local_root)
    carry_out(queue_restore(old.pk, dry_run=True))
    first = queue_restore(old.pk)
    assert undo_request(first).begun_at_s is None
    held = claim(first)
    first.refresh_from_db()
    assert first.started_at is not None
    assert undo_request(first).begun_at_s is None
    requeue_run(held, SyncRun.Reason.WORKER_STOPPED)
    cancel_run(first.pk)

    for dry_run in (False, True):
        begun = queue_restore(old.pk, dry_run=dry_run)
        assert undo_request(begun).begun_at_s == first.started_at.timestamp()
        cancel_run(begun.pk)


def test_a_run_that_kept_nothing_cannot_be_undone(local_root: Path, config: SyncConfig) -> None:
    idle = carry_out(make_run(config))
    assert (idle.kept, idle.kept_until) == (None, None)
    dry = carry_out(make_run(config, dry_run=True))
    config.keep_deleted_days = 0
    config.save()
    write_tree(local_root / "source", {"new": "1"})
    unkept = carry_out(make_run(config))
    queued = make_run(config)

    for run in (idle, dry, unkept, queued):
        with pytest.raises(NothingToUndo):
            queue_restore(run.pk)
    with pytest.raises(NotFound):
        queue_restore(999_999)


def test_nothing_is_undone_while_the_config_runs(local_root: Path, config: SyncConfig) -> None:
    run = changing_run(config, local_root)
    make_run(config)

    with pytest.raises(RunActive):
        queue_restore(run.pk)


def test_a_disabled_config_can_be_undone(local_root: Path, config: SyncConfig) -> None:
    run = changing_run(config, local_root)
    config.enable = False
    config.save()

    assert carry_out(queue_restore(run.pk)).state == "SUCCEEDED"


def test_kept_files_go_when_their_time_is_over_and_only_then(
    local_root: Path, config: SyncConfig, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_KEEP_RUNS_PER_CONFIG = 1
    old, young = changing_run(config, local_root), changing_run(config, local_root, "newer still")
    assert old.kept is not None
    assert young.kept is not None
    assert (purge_expired(), delete_expired()) == (0, 0)
    SyncRun.objects.filter(pk=old.pk).update(kept_until=timezone.now() - timedelta(seconds=1))

    assert purge_expired() == 1

    assert not (local_root / old.kept["folder"]).exists()
    assert (local_root / young.kept["folder"]).exists()
    with pytest.raises(NothingToUndo):
        queue_restore(old.pk)
    assert delete_expired() == 1
    assert not SyncRun.objects.filter(pk=old.pk).exists()


def test_a_storage_that_does_not_answer_is_asked_again_later(local_root: Path) -> None:
    away = make_storage(local_root, backend="webdav", options={"url": "http://127.0.0.1:9/"})
    run = make_run(make_config(local_root), state=SyncRun.State.SUCCEEDED)
    past = timezone.now() - timedelta(days=1)
    kept = {"storage": away.pk, "folder": f"{KEPT_FOLDER}/2026-11-24-run-1"}
    SyncRun.objects.filter(pk=run.pk).update(kept=kept, kept_until=past)

    assert purge_expired() == 0

    run.refresh_from_db()
    assert run.kept == {**kept, "purging": True}
    assert run.kept_until is not None
    assert run.kept_until > timezone.now()


def let_time_pass(run: SyncRun) -> None:
    """Let the time be over for which a run keeps its files."""
    past = timezone.now() - timedelta(seconds=1)
    SyncRun.objects.filter(pk=run.pk).update(kept_until=past)


def test_all_that_is_over_its_time_goes_at_once(local_root: Path, config: SyncConfig) -> None:
    past = timezone.now() - timedelta(days=1)
    for _ in range(45):
        run = make_run(config, state=SyncRun.State.SUCCEEDED)
        folder = f"{KEPT_FOLDER}/2026-11-24-run-{run.pk}"
        kept = {"storage": config.destination_storage_id, "folder": folder}
        SyncRun.objects.filter(pk=run.pk).update(kept=kept, kept_until=past)

    assert purge_expired() == 45


def test_a_run_whose_time_is_over_is_not_undone(local_root: Path, config: SyncConfig) -> None:
    run = changing_run(config, local_root)
    let_time_pass(run)

    with pytest.raises(NothingToUndo, match="its time is over"):
        queue_restore(run.pk)


def test_a_run_whose_kept_files_began_to_go_is_not_undone(
    local_root: Path, config: SyncConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = changing_run(config, local_root)
    let_time_pass(run)

    def break_off(_remote: engine.Remote, folder: str, **_: object) -> engine.Failure:
        for path in (local_root / folder).rglob("changed"):
            path.unlink()
        return engine.Failure.of(engine.FailureClass.TIMEOUT, "it took too long")

    monkeypatch.setattr(engine, "purge_kept", break_off)
    assert purge_expired() == 0
    run.refresh_from_db()
    assert run.kept_until is not None
    assert run.kept_until > timezone.now()

    with pytest.raises(NothingToUndo):
        queue_restore(run.pk)


def test_what_an_undoing_needs_stays_while_it_waits_and_runs(
    local_root: Path, config: SyncConfig
) -> None:
    before = tree(local_root / "destination")
    run = changing_run(config, local_root)
    soon = timezone.now() + timedelta(minutes=1)
    SyncRun.objects.filter(pk=run.pk).update(kept_until=soon)
    undoing = queue_restore(run.pk)
    run.refresh_from_db()
    assert run.kept_until is not None
    assert run.kept_until > timezone.now() + timedelta(hours=23)
    purged: list[int] = []

    def purge(event: engine.Event) -> None:
        if isinstance(event, engine.PlanReady):
            let_time_pass(run)
            purged.append(purge_expired())

    let_time_pass(run)
    assert purge_expired() == 0
    execute(claim(undoing), watch=purge)

    undoing.refresh_from_db()
    assert (undoing.state, undoing.message) == ("SUCCEEDED", "")
    assert purged == [0]
    assert tree(local_root / "destination") == before
    assert purge_expired() == 1


@pytest.mark.parametrize("change", ["method", "source_path", "destination_path", "destination"])
def test_a_config_that_is_changed_between_two_attempts_ends_the_run_and_the_undoing_is_whole(
    local_root: Path, config: SyncConfig, change: str
) -> None:
    """Else what one attempt moved would be taken for what the other added, and be deleted."""
    SyncConfig.objects.filter(pk=config.pk).update(method=SyncConfig.Method.MOVE)
    write_tree(local_root / "source", {"added": "only one", "changed": "new and longer"})
    (local_root / "source" / "gone").unlink()
    before = tree(local_root / "source"), tree(local_root / "destination")
    run = make_run(config)
    held = claim(run)
    run.refresh_from_db()
    for _ in start_engine(run, held, work_dir=local_root / "w", stop=StopSignal(), inherit=()):
        pass
    store(log_path(run, held))
    requeue_run(held, SyncRun.Reason.WORKER_STOPPED)
    moved = tree(local_root / "destination")
    assert moved != before[1]
    if change == "destination":
        other = Storage.objects.create(name="other", backend="local", root=str(local_root / "d"))
        SyncConfig.objects.filter(pk=config.pk).update(destination_storage=other)
    else:
        value = SyncConfig.Method.INCREMENTAL if change == "method" else "elsewhere"
        SyncConfig.objects.filter(pk=config.pk).update(**{change: value})

    run = carry_out(SyncRun.objects.get(pk=run.pk))

    assert (run.state, run.failure_class) == ("FAILED", "CONFIG")
    assert "was changed since this run began" in run.message
    assert tree(local_root / "destination") == moved
    undone = carry_out(queue_restore(run.pk))
    assert undone.state == "SUCCEEDED", undone.message
    assert (tree(local_root / "source"), tree(local_root / "destination")) == before


def test_what_changed_while_a_run_waited_for_its_next_attempt_is_not_the_runs(
    local_root: Path, config: SyncConfig
) -> None:
    run = changing_run(config, local_root)
    assert run.finished_at is not None
    ended_at = run.finished_at - timedelta(hours=2)
    attempts = [{"number": 1, "ended_at": ended_at.isoformat(), "started_at": None}]
    undoing = queue_restore(run.pk)
    told_s = undo_request(undoing).ended_at_s
    assert told_s == pytest.approx(run.finished_at.timestamp(), abs=1)

    SyncRun.objects.filter(pk=run.pk).update(attempts=attempts, started_at=None)

    undoing = SyncRun.objects.get(pk=undoing.pk)
    assert undo_request(undoing).ended_at_s == ended_at.timestamp()


def test_what_an_attempt_replaced_that_kept_nothing_is_left_alone(
    local_root: Path, config: SyncConfig
) -> None:
    """The days to keep files were set to 0 between two attempts."""
    write_tree(local_root / "source", {"changed": "new and longer", "added": "added"})
    (local_root / "source" / "gone").unlink()
    run = make_run(config)
    held = claim(run)
    run.refresh_from_db()
    assert keep_for(run, held) is not None
    requeue_run(held, SyncRun.Reason.WORKER_STOPPED)
    SyncConfig.objects.filter(pk=config.pk).update(keep_deleted_days=0)
    run = carry_out(SyncRun.objects.get(pk=run.pk))
    assert (run.state, run.files_transferred, run.files_deleted) == ("SUCCEEDED", 2, 1)

    undone = carry_out(queue_restore(run.pk))

    assert undone.guard == "changed_since"
    assert set(undone.items.filter(action="FAILED").values_list("path", flat=True)) >= {
        "changed",
        "gone",
    }
    there = {path.name for path in (local_root / "destination").iterdir()}
    assert there == {"changed", "same"}
    assert (local_root / "destination" / "changed").read_text() == "new and longer"


def stopped_run(config: SyncConfig, root: Path) -> SyncRun:
    """Return a run whose worker was stopped when it had set most files aside."""
    old = {f"f{number:02}": "old" for number in range(40)}
    write_tree(root / "destination", old)
    write_tree(root / "source", {name: os.urandom(100_000) for name in old})
    SyncConfig.objects.filter(pk=config.pk).update(bandwidth="200K", transfers=1)
    stopped: list[int] = []

    def stop(event: engine.Event) -> None:
        if isinstance(event, engine.Progress) and event.bytes_done and not stopped:
            stopped.append(os.getpid())
            os.kill(os.getpid(), signal.SIGTERM)

    run = make_run(config)
    execute(claim(run), watch=stop)
    SyncConfig.objects.filter(pk=config.pk).update(bandwidth="", transfers=None)
    run.refresh_from_db()
    assert (run.state, run.reason) == ("QUEUED", "WORKER_STOPPED")
    assert len(list((root / "destination").iterdir())) < 20
    return SyncRun.objects.get(pk=run.pk)


def test_a_run_that_was_cancelled_before_its_next_attempt_says_that_it_can_be_undone(
    local_root: Path, config: SyncConfig
) -> None:
    run = stopped_run(config, local_root)
    run = cancel_run(run.pk)

    assert run.state == "CANCELLED"
    assert "is kept" in run.message
    assert "Undo the run" in run.advice
    assert carry_out(queue_restore(run.pk)).state == "SUCCEEDED"
    there = {path.name for path in (local_root / "destination").iterdir() if path.is_file()}
    assert {f"f{number:02}" for number in range(40)} <= there


def test_a_run_whose_next_attempt_is_refused_leaves_every_file(
    local_root: Path, config: SyncConfig
) -> None:
    run = stopped_run(config, local_root)
    (local_root / "source").rename(local_root / "unplugged")
    (local_root / "source").mkdir()

    run = carry_out(run)

    assert (run.state, run.guard) == ("FAILED", "source_empty")
    assert "is kept: undo it" in run.message
    files = [path for path in (local_root / "destination").iterdir() if path.is_file()]
    assert len(files) == 42


def test_a_run_that_is_given_up_says_that_it_can_be_undone(
    local_root: Path, config: SyncConfig
) -> None:
    run = stopped_run(config, local_root)
    claim(run)
    past = timezone.now() - timedelta(seconds=1)
    SyncRun.objects.filter(pk=run.pk).update(lease_expires_at=past, crashes=2)

    assert sweep().lost == 1

    run.refresh_from_db()
    assert "died 3 times" in run.message
    assert "Undo the run" in run.advice


class KilledError(BaseException):
    """This worker is no more."""


def killed_run(config: SyncConfig, log_dir: Path, *, loses_log: bool) -> SyncRun:
    """Return a run whose worker was killed in its first attempt, and that was done in its second.

    The log is what had been written to the disk by then, or is lost with it.
    """
    run = make_run(config)
    items: list[engine.Event] = []
    left: list[bytes] = []

    def kill(event: engine.Event) -> None:
        items.extend([event] if isinstance(event, engine.ItemDone) else [])
        if len(items) == 20:
            left.extend(path.read_bytes() for path in log_dir.iterdir())
            raise KilledError

    with pytest.raises(KilledError):
        execute(claim(run), watch=kill)
    for path, data in zip(log_dir.iterdir(), left, strict=True):
        path.write_bytes(data)
        if loses_log:
            path.unlink()
    past = timezone.now() - timedelta(seconds=1)
    SyncRun.objects.filter(pk=run.pk).update(lease_expires_at=past)
    assert sweep().requeued == 1
    sweep()  # takes the log of a run that nobody holds any more
    run = carry_out(SyncRun.objects.get(pk=run.pk))
    assert run.state == "SUCCEEDED"
    return run


@pytest.mark.parametrize(
    ("loses_log", "told"), [(False, "the log of the run was cut"), (True, "log of 1 attempt")]
)
def test_an_undoing_says_what_it_does_not_know_of_an_attempt_that_was_killed(
    local_root: Path, config: SyncConfig, settings: SettingsWrapper, *, loses_log: bool, told: str
) -> None:
    write_tree(local_root / "source", {f"f{number:03}": "x" * 1000 for number in range(100)})
    run = killed_run(config, settings.FILESYNC_LOG_DIR, loses_log=loses_log)

    undone = carry_out(queue_restore(run.pk))

    assert undone.state != "SUCCEEDED"
    assert undone.guard == "changed_since"
    errors = undone.items.filter(action="FAILED").values_list("error", flat=True)
    assert any(told in error for error in errors), list(errors)


def test_where_an_attempt_keeps_whose_log_is_on_its_way_is_not_forgotten(
    local_root: Path, config: SyncConfig
) -> None:
    run = make_run(config)
    held = claim(run)
    run.refresh_from_db()
    keep_for(run, held)
    requeue_run(held, SyncRun.Reason.WORKER_STOPPED)

    run = carry_out(SyncRun.objects.get(pk=run.pk))

    assert (run.state, run.files_transferred) == ("SUCCEEDED", 0)
    assert run.kept_until is not None


def test_a_storage_that_cannot_keep_files_is_refused(local_root: Path) -> None:
    config = make_config(local_root, keep_deleted_days=1)
    config.destination_storage = make_storage(local_root, backend="http")

    with pytest.raises(Exception, match="neither move nor copy") as refused:
        config.clean()

    assert list(refused.value.message_dict) == ["keep_deleted_days"]  # type: ignore[attr-defined]


# From outside ------------------------------------------------------------------------------------


def test_the_api_undoes_a_run(local_root: Path, config: SyncConfig) -> None:
    run = changing_run(config, local_root)

    answer = client_of("operator").post(f"{RUNS}/{run.pk}/restore", {"dry_run": True})

    assert answer.status_code == 202
    assert (answer.json()["restore_of"], answer.json()["dry_run"]) == (run.pk, True)
    assert answer.json()["trigger"] == "RESTORE"
    SyncRun.objects.filter(pk=answer.json()["id"]).delete()
    idle = make_run(config, state=SyncRun.State.SUCCEEDED)
    refused = client_of("operator").post(f"{RUNS}/{idle.pk}/restore")
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_undo")


def test_the_command_undoes_a_run_here_and_now(
    local_root: Path, config: SyncConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(local_root / "destination")
    run = changing_run(config, local_root)

    call_command("restore_run", str(run.pk), "--dry-run")
    assert "would put back 2, remove 1, rename 0" in capsys.readouterr().out
    assert tree(local_root / "destination") != before
    call_command("restore_run", str(run.pk))

    assert tree(local_root / "destination") == before
    with pytest.raises(CommandError, match="already"):
        call_command("restore_run", str(run.pk))
