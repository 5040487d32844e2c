"""Drills on runs that delete, killed at any moment: no file is ever in neither place."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from filesync.engine.request import KEPT_FOLDER
from filesync.models import RunItem, Storage, SyncConfig
from filesync.services.undo import queue_restore
from tests.drills.kills import kill_something, lapse_the_dead
from tests.drills.run_lab import (
    ENDS_WITHIN_S,
    SLOW,
    RecordProperty,
    RunLab,
    age_bells,
    contents,
    name_of,
)
from tests.drills.run_lab import open_lab as open_lab
from tests.servers.webdav import WebdavServer

pytestmark = [
    pytest.mark.drill,
    pytest.mark.each_database,
    pytest.mark.each_broker,
    pytest.mark.timeout(600),
]

SEED = 20_261_130
CONFIGS = 4
TRANSFERS = 2
KILLS = 6
# Two parts of a move that no checksum proves.
FILES = 2_300


def test_a_move_without_a_checksum_that_is_killed_again_and_again_loses_no_file(
    lab: RunLab, record_property: RecordProperty
) -> None:
    with WebdavServer() as server:
        lab.start_worker()
        lab.ask(add_webdav, dict(server.remote.options))
        config_ids = lab.add_syncs(CONFIGS, remote="webdav")
        lab.ask(change_method, config_ids, SyncConfig.Method.MOVE)
        trees = {name: fill(lab.files / f"from {name}") for name in names(lab, config_ids)}
        run_ids = lab.queue(config_ids)
        kills = kill_at_random(lab, lambda: assert_in_one_place(lab, server.root, trees))
        record_property("kills", dict(kills))
        ended = lab.end()
        assert [run.pk for run in ended] == run_ids
        otherwise = [run for run in ended if run.state != "SUCCEEDED"]
        assert otherwise == [], lab.failed(str([lab.ask(failures, run.pk) for run in otherwise]))
        record_property("attempts", dict(Counter(run.attempt for run in ended)))
        for name, tree in trees.items():
            assert contents(server.root / f"to {name}") == tree
            assert contents(lab.files / f"from {name}") == {}


def test_a_mirror_that_is_killed_again_and_again_is_in_step_and_is_undone_as_far_as_is_known(
    lab: RunLab, record_property: RecordProperty
) -> None:
    lab.start_worker()
    config_ids = lab.add_syncs(CONFIGS)
    lab.ask(change_method, config_ids, SyncConfig.Method.FULL, SLOW)
    before = {}
    for name in names(lab, config_ids):
        before[name] = fill(lab.files / f"to {name}")
        change(lab.files / f"from {name}", before[name])
    run_ids = lab.queue(config_ids)
    kills = kill_at_random(lab, lambda: assert_kept(lab, before))
    record_property("kills", dict(kills))
    record_property("attempts", dict(Counter(lab.run(pk).attempt for pk in run_ids)))
    for run_id in run_ids:
        run = lab.run(run_id)
        assert run.state == "SUCCEEDED"
        lab.assert_in_step(run)
    undoing = lab.ask(undo, run_ids)
    for run_id, (name, tree) in zip(undoing, before.items(), strict=True):
        undone = lab.wait_for_state(run_id, "SUCCEEDED", "PARTIAL")
        now, told = contents(lab.files / f"to {name}"), lab.ask(failures, run_id)
        # What the log of a killed worker does not tell stays, and that is told.
        not_back = {path for path in tree if tree[path] != now.get(path)}
        assert not_back <= set(told)
        if undone.state == "SUCCEEDED":
            assert now.keys() == tree.keys()
        else:
            assert any("the log of the run was cut" in error for error in told.values())
        record_property(f"left of {name}", len(now.keys() - tree.keys()) + len(not_back))
    lab.end()


# --- what is moved and changed


def names(lab: RunLab, config_ids: Sequence[int]) -> list[str]:
    return [lab.ask(name_of, config_id) for config_id in config_ids]


def fill(folder: Path) -> dict[str, bytes]:
    """Put files of known contents into a folder, and return all that is in it then."""
    for number in range(FILES):
        path = folder / f"目录 {number % 20}" / f"{number:04}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"contents of {number} in {folder.name};".encode() * 60)
    return contents(folder)


def change(source: Path, there: Mapping[str, bytes]) -> None:
    """Make a source of which much differs from what is there: edited, new, gone, a folder."""
    for number, (path, data) in enumerate(sorted(there.items())):
        file = source / path
        if number % 3 == 0:
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        if number % 100 == 1:
            file.mkdir()
            (file / "within").write_bytes(data)
        else:
            file.write_bytes(data if number % 3 == 2 else b"edited: " + data)
    for number in range(200):
        (source / f"new {number}.bin").write_bytes(b"new")


def add_webdav(options: dict[str, str]) -> None:
    password = options.pop("pass")
    storage = Storage(name="webdav", backend="webdav", options=options, max_concurrent_runs=8)
    storage.secrets = {"pass": password}
    storage.save()


def change_method(config_ids: Sequence[int], method: str, bandwidth: str = "") -> None:
    """Let configs keep what they delete, and delete what they will."""
    SyncConfig.objects.filter(pk__in=config_ids).update(
        method=method,
        bandwidth=bandwidth,
        # The server has ten threads, and ends connections that wait long for one.
        transfers=TRANSFERS,
        keep_deleted_days=7,
        max_delete_percent=100,
        max_delete_files=100_000,
    )


def undo(run_ids: Sequence[int]) -> list[int]:
    return [queue_restore(run_id).pk for run_id in run_ids]


def failures(run_id: int) -> dict[str, str]:
    return dict(RunItem.objects.filter(run=run_id, action="FAILED").values_list("path", "error"))


# --- kills


def kill_at_random(lab: RunLab, look: Callable[[], None]) -> Counter[str]:
    """Kill what carries the runs out, look after each, and wait until all have ended."""
    chance = random.Random(SEED)
    kills: Counter[str] = Counter()
    while sum(kills.values()) < KILLS:
        kills.update(kill_something(lab, chance))
        look()
        time.sleep(chance.uniform(0.5, 3.0))
        lapse_the_dead(lab)
    lab.ask(age_bells)
    lab.wait_for(lambda: lapse_the_dead(lab), "all have ended", timeout_s=2 * ENDS_WITHIN_S)
    return kills


def assert_in_one_place(lab: RunLab, root: Path, trees: Mapping[str, dict[str, bytes]]) -> None:
    """Assert that each file is whole at the source, or else at the destination."""
    for name, tree in trees.items():
        # What has left the source by now was at the destination before.
        standing = still_in(lab.files / f"from {name}") | still_in(root / f"to {name}")
        assert set(tree.values()) - standing == set(), "in neither place"


def assert_kept(lab: RunLab, before: Mapping[str, dict[str, bytes]]) -> None:
    """Assert that what stood at the destination stands there, or is kept."""
    kept, missing = lab.files / KEPT_FOLDER, set[bytes]()
    for name, tree in before.items():
        missing |= set(tree.values()) - still_in(lab.files / f"to {name}")
    missing -= still_in(kept)
    for name in before if missing else ():
        # The next attempt may have put it back meanwhile.
        missing -= still_in(lab.files / f"to {name}")
    assert missing == set(), "neither there nor kept"


def still_in(folder: Path) -> set[bytes]:
    """Return the contents of the files below a folder, some of which may go meanwhile."""
    found = set()
    for at, _, files in os.walk(folder):
        for file in files:
            with suppress(FileNotFoundError):
                found.add((Path(at) / file).read_bytes())
    return found
