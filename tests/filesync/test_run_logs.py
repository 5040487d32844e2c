"""The logs of runs: stored whole and compressed, read anywhere, without a secret, gone in time."""

from __future__ import annotations

import gzip
import tracemalloc
import uuid
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import SettingsWrapper
from rest_framework.test import APIClient

from filesync import engine, run_log
from filesync.errors import NotFound
from filesync.models import RunLog, SyncRun
from filesync.run_log import read_log
from filesync.services import run_logs
from filesync.services.execution import execute
from filesync.services.retention import delete_expired
from filesync.services.run_logs import collect, log_path, store, text_lines
from filesync.services.sweeping import sweep
from tests.filesync.engine.lab import write_tree
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, client_of, make_config, make_run, make_storage

pytestmark = pytest.mark.django_db

RUNS = "/api/v1/sync/runs"
CANARY = "canary-9d41"


def finished_run(root: Path, **files: str) -> SyncRun:
    write_tree(root / "source", files or {"a.txt": "1", "b.txt": "2"})
    run = make_run(make_config(root))
    execute(claim(run))
    return run


def body(client: APIClient, run: SyncRun, query: str = "") -> str:
    answer = client.get(f"{RUNS}/{run.pk}/log{query}")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Content-Disposition"] == f'attachment; filename="run-{run.pk}.log"'
    return b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]


def test_the_whole_log_of_a_run_is_read_over_the_api(
    local_root: Path, settings: SettingsWrapper
) -> None:
    run = finished_run(local_root)

    text = body(client_of("viewer"), run)

    assert "INFO     a.txt: Copied (new)" in text
    assert "INFO     b.txt: Copied (new)" in text
    assert not list(Path(settings.FILESYNC_LOG_DIR).iterdir())
    last = body(client_of("viewer"), run, "?tail=1")
    assert last == text.splitlines()[-1] + "\n"


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("tail=0", "tail"),
        ("tail=-1", "tail"),
        ("tail=x", "tail"),
        ("tail=100001", "tail"),
        ("format=&tail=1", "format"),
        ("tails=1", "tails"),
    ],
)
def test_a_query_that_cannot_be_is_400(local_root: Path, query: str, name: str) -> None:
    answer = client_of("viewer").get(f"{RUNS}/{finished_run(local_root).pk}/log?{query}")

    assert (answer.status_code, list(answer.json())) == (400, [name])


def test_a_run_that_has_not_run_has_no_log(local_root: Path) -> None:
    run = make_run(make_config(local_root))

    answer = client_of("viewer").get(f"{RUNS}/{run.pk}/log")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    with pytest.raises(NotFound):
        text_lines(run.pk)


def test_no_secret_is_in_a_log(local_root: Path) -> None:
    write_tree(local_root / "source", {"a": "1"})
    remote = make_storage(
        local_root,
        backend="webdav",
        options={"url": f"http://127.0.0.1:9/{CANARY}", "user": "me"},
        secrets={"pass": CANARY},
    )
    storage = make_storage(local_root)
    config = make_config(local_root, source_storage=storage, destination_storage=remote)
    run = make_run(config)
    execute(claim(run))

    text = "\n".join(text_lines(run.pk))

    assert "[secret]" in text
    assert CANARY not in text
    raw = b"".join(bytes(data) for data in run.logs.values_list("data", flat=True))
    assert CANARY.encode() not in gzip.decompress(raw)


def add_log(run: SyncRun, text: bytes, *, minutes: int = 0) -> None:
    """Store the log of an attempt that began so many minutes after the run, in two parts."""
    data, token = gzip.compress(text), uuid.uuid4()
    started_at = run.created_at + timedelta(minutes=minutes)
    for part, piece in enumerate((data[:15], data[15:])):
        RunLog.objects.create(run=run, claim=token, started_at=started_at, part=part, data=piece)


def test_the_logs_of_all_attempts_stand_in_their_order(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    for minutes, word in ((2, b"third"), (0, b"first"), (1, b"second")):
        add_log(run, word + b" line\n" + word + b" end\n", minutes=minutes)

    words = ["first", "second", "third"]
    expected = [f"{word} {where}" for word in words for where in ("line", "end")]
    assert list(text_lines(run.pk)) == expected
    for tail in range(1, 8):
        assert list(text_lines(run.pk, tail=tail)) == expected[-tail:]


def test_the_end_of_a_log_costs_no_more_for_the_attempts_before(
    local_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    run = make_run(make_config(local_root))
    for minutes in range(5):
        add_log(run, b"line\n" * 100, minutes=minutes)
    render = Mock(wraps=engine.render_line)
    monkeypatch.setattr(engine, "render_line", render)

    with django_assert_num_queries(2):
        assert list(text_lines(run.pk, tail=3)) == ["line"] * 3
    assert render.call_count == 3


@pytest.mark.parametrize("tail", [None, 1])
def test_a_log_that_packs_well_is_never_unpacked_whole(local_root: Path, tail: int | None) -> None:
    run = make_run(make_config(local_root))
    add_log(run, (b"x" * 65_535 + b"\n") * 512)

    tracemalloc.start()
    try:
        count = sum(1 for _ in text_lines(run.pk, tail=tail))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == (tail or 512)
    assert peak_bytes < 8 << 20


@pytest.mark.parametrize("lines", [4, 5])
def test_a_page_shows_no_log_of_too_many_lines(
    local_root: Path, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "MAX_LINES", 4)
    run = make_run(make_config(local_root))
    add_log(run, b"old\n" * 9)
    add_log(run, b"line\n" * lines, minutes=1)

    view = read_log(run)

    assert view.too_long is (lines > 4)
    assert view.lines == (() if view.too_long else ("line",) * 4)


def test_a_log_that_its_killed_worker_left_is_collected(
    local_root: Path, settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_logs, "PART_BYTES", 100)
    run = make_run(make_config(local_root))
    held = claim(run)
    run.refresh_from_db()
    path = log_path(run, held)
    whole = gzip.compress("".join(f"line {number}\n" for number in range(500)).encode())
    path.write_bytes(whole[:-20])  # a worker that is killed does not end its file

    sweep()
    assert path.exists()  # the attempt still goes on
    SyncRun.objects.filter(pk=run.pk).update(state="FAILED", lease_token=None)
    sweep()

    assert not path.exists()
    lines = list(text_lines(run.pk))
    assert lines[:2] == ["line 0", "line 1"]
    assert len(lines) > 400
    assert RunLog.objects.filter(run=run).count() > 5


def test_storing_twice_stores_once_and_what_is_no_log_is_left(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    held = claim(run)
    run.refresh_from_db()
    path = log_path(run, held)
    for _ in range(2):
        path.write_bytes(gzip.compress(b"line\n"))
        store(path)
    other = path.parent / "notes.jsonl.gz"
    other.write_bytes(b"x")
    collect()

    assert list(text_lines(run.pk)) == ["line"]
    assert other.exists()


def test_logs_go_with_their_runs(local_root: Path, settings: SettingsWrapper) -> None:
    run = finished_run(local_root)
    SyncRun.objects.update(finished_at=timezone.now() - timedelta(days=3650))

    assert delete_expired() == 1
    assert not RunLog.objects.exists()
    assert not SyncRun.objects.filter(pk=run.pk).exists()
