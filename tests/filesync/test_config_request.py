"""What a config asks of the engine, and which field is named where the engine refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from filesync import engine
from filesync.config_request import request_of
from filesync.models import SyncConfig, SyncRun
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import complaints, make_config, make_run, make_storage

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("source", "destination"),
    [("a", "a"), ("a", "a/b"), ("a/b/c", "a"), ("", "a"), ("a", ""), ("a/", "/a")],
)
def test_source_and_destination_must_not_overlap(
    local_root: Path, source: str, destination: str
) -> None:
    config = make_config(local_root)
    config.source_path, config.destination_path = source, destination

    assert "overlap" in str(complaints(config))


def test_folders_that_overlap_through_two_storages_are_refused_too(local_root: Path) -> None:
    inner = make_storage(local_root / "photos")
    outer = make_storage(local_root)
    config = make_config(
        local_root,
        source_storage=outer,
        source_path="photos/2026",
        destination_storage=inner,
        destination_path="",
    )

    assert "overlap" in str(complaints(config))


def test_folders_that_overlap_through_a_link_are_refused_too(local_root: Path) -> None:
    (local_root / "real").mkdir()
    (local_root / "alias").symlink_to(local_root / "real")
    config = make_config(local_root)
    config.source_path, config.destination_path = "real", "alias/sub"

    assert "overlap" in str(complaints(config))


def test_neighbours_whose_names_begin_alike_do_not_overlap(local_root: Path) -> None:
    config = make_config(local_root)
    config.source_path, config.destination_path = "photos", "photos2"

    config.full_clean()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source_path", "../../etc"),
        ("destination_path", "a/../../b"),
        ("source_path", "other:bucket"),
        ("filters", "photos/**"),
        ("filters", "- [a-"),
        ("bandwidth", "4 MB/s"),
        ("bandwidth", "25:00,1M"),
        ("renames", "no arrow"),
        ("renames", "(?=x) => y"),
        ("renames", "x => a/b"),
        ("min_size_bytes", -1),
        ("min_age_s", -1),
        ("transfers", 0),
        ("checkers", 129),
        ("calls_per_s", 0),
        ("max_bytes", 0),
        ("max_files", 0),
        ("max_shrink_percent", 101),
        ("method", "MIRROR"),
        ("max_delete_percent", 101),
        ("name", ""),
    ],
)
def test_clean_names_the_field_that_cannot_be(local_root: Path, field: str, value: object) -> None:
    config = make_config(local_root)
    setattr(config, field, value)

    assert list(complaints(config)) == [field]


def test_filter_lines_leave_out_blanks_and_comments(local_root: Path) -> None:
    config = make_config(local_root, filters="# photos\n + *.jpg \n\n- /cache/**\r\n  # end\n")

    assert request_of(config).rules.filters == ("+ *.jpg", "- /cache/**")


@pytest.mark.parametrize(
    ("least", "most"), [("min_size_bytes", "max_size_bytes"), ("min_age_s", "max_age_s")]
)
def test_bounds_between_which_no_file_lies_are_refused(
    local_root: Path, least: str, most: str
) -> None:
    config = make_config(local_root)
    setattr(config, least, 2)
    setattr(config, most, 1)

    assert list(complaints(config)) == [least]


def test_the_engines_request_holds_what_the_config_says(local_root: Path) -> None:
    config = make_config(
        local_root,
        method=SyncConfig.Method.FULL,
        compare=SyncConfig.Compare.CHECKSUM,
        filters="- /tmp/**",
        renames="# no arrows in names\n(.*)=>(.*) => ${1}-${2}\n\n^IMG_ =>\n",
        min_size_bytes=1,
        max_size_bytes=5_000_000_000,
        min_age_s=2,
        max_age_s=3,
        bandwidth="08:00,512K 23:00,off",
        timezone="Asia/Shanghai",
        transfers=3,
        checkers=5,
        calls_per_s=0.5,
        max_bytes=6_000_000_000,
        max_files=8,
        max_delete_files=7,
        max_delete_percent=9,
    )
    config.full_clean()

    request = request_of(config, dry_run=True, force=True)

    assert (request.method, request.compare) == ("FULL", "CHECKSUM")
    assert (request.source.path, request.destination.path) == ("source", "destination")
    assert request.rules == engine.Rules(
        filters=("- /tmp/**",),
        min_size_bytes=1,
        max_size_bytes=5_000_000_000,
        min_age_s=2,
        max_age_s=3,
        renames=(("(.*)=>(.*)", "${1}-${2}"), ("^IMG_", "")),
    )
    assert request.limits == engine.Limits(
        transfers=3,
        checkers=5,
        bandwidth="08:00,512K 23:00,off",
        calls_per_s=0.5,
        max_bytes=6_000_000_000,
        max_files=8,
        timezone="Asia/Shanghai",
    )
    assert request.guards == engine.Guards(max_delete_files=7, max_delete_percent=9)
    assert (request.dry_run, request.force) == (True, True)


def test_limits_of_deletions_that_are_empty_are_none(local_root: Path) -> None:
    config = make_config(local_root, max_delete_files=None, max_delete_percent=None)
    config.full_clean()

    assert request_of(config).guards == engine.Guards(None, None)


def test_the_shrink_guard_compares_with_the_last_good_run(local_root: Path) -> None:
    config = make_config(local_root, max_shrink_percent=20)
    succeeded, failed = SyncRun.State.SUCCEEDED, SyncRun.State.FAILED
    make_run(config, state=succeeded, plan={"source_files": 9, "source_bytes": 90})
    make_run(config, state=succeeded, plan={"source_files": 10, "source_bytes": 100})
    make_run(config, state=succeeded, plan={"source_files": 1}, dry_run=True)
    make_run(config, state=failed, plan={"source_files": 2})
    make_run(config, state=succeeded, plan=None)

    assert request_of(config).guards == engine.Guards(
        max_shrink_percent=20, last_good_source_files=10, last_good_source_bytes=100
    )


WHOLE: dict[str, object] = {"source_files": 10, "source_bytes": 100}


@pytest.mark.parametrize("kind", ["only failed", "undo", "undo of a run that is gone"])
def test_the_shrink_guard_compares_with_no_run_that_saw_but_a_part(
    local_root: Path, kind: str
) -> None:
    config = make_config(local_root, max_shrink_percent=20)
    succeeded, restore = SyncRun.State.SUCCEEDED, SyncRun.Trigger.RESTORE
    make_run(config, state=succeeded, plan=WHOLE)
    latest = make_run(config, state=SyncRun.State.PARTIAL, plan={"source_files": 9})
    if kind == "only failed":
        few: dict[str, object] = {"source_files": 1, "source_bytes": 1}
        make_run(config, state=succeeded, plan=few, only_failed=True, retry_of=latest)
    else:
        undone: dict[str, object] = {"source_files": None, "source_bytes": None}
        make_run(config, state=succeeded, plan=undone, trigger=restore, restore_of=latest)
    if kind == "undo of a run that is gone":
        latest.delete()

    guards = request_of(config).guards

    assert (guards.last_good_source_files, guards.last_good_source_bytes) == (10, 100)


@pytest.mark.parametrize(
    ("state", "dry_run", "files"),
    [
        (SyncRun.State.SUCCEEDED, False, 10),
        (SyncRun.State.PARTIAL, False, 10),
        (SyncRun.State.SUCCEEDED, True, 2),
        (SyncRun.State.FAILED, False, 2),
    ],
)
def test_a_run_that_was_undone_is_no_good_one(
    local_root: Path, state: SyncRun.State, files: int, *, dry_run: bool
) -> None:
    config = make_config(local_root, max_shrink_percent=20)
    make_run(config, state=SyncRun.State.SUCCEEDED, plan=WHOLE)
    bad = make_run(config, state=SyncRun.State.SUCCEEDED, plan={"source_files": 2})
    make_run(config, state=state, dry_run=dry_run, trigger=SyncRun.Trigger.RESTORE, restore_of=bad)

    assert request_of(config).guards.last_good_source_files == files


def test_rules_that_change_what_they_made_cannot_be_kept_under(local_root: Path) -> None:
    config = make_config(local_root, keep_deleted_days=7)
    config.renames = "^(.*)$ => x-${1}"
    assert "x-" in str(complaints(config)["renames"])

    config.renames = r"^IMG_(.*)$ => ${1}"
    config.full_clean()
    config.renames, config.keep_deleted_days = "^(.*)$ => x-${1}", 0
    config.full_clean()
