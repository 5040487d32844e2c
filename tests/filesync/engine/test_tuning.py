"""What each backend is set to when a person sets nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from filesync.engine import Limits, Method, Remote
from filesync.engine.tuning import (
    RemoteFacts,
    go_runtime,
    is_careful,
    known_facts,
    read_features,
    timetable_clock,
    tuned_options,
)


@pytest.mark.parametrize(
    ("url", "vendor", "careful"),
    [
        ("http://h:5244/dav", "other", True),
        ("http://h:5244/dav/\u767e\u5ea6", None, True),
        ("https://disk.example.com/dav/", "other", True),
        ("https://disk.example.com/dav/quark", "", True),
        ("http://h:5244/", "other", True),
        ("https://cloud.example.com/remote.php/dav/files/me", "nextcloud", False),
        ("https://h/dav", "nextcloud", False),
        ("https://nas.example.com:5006/", "other", False),
        ("https://h/webdav/dav", "other", False),
        ("https://h/davros", "other", False),
        ("http://h:not-a-port/dav", "other", False),
        ("", "other", False),
    ],
)
def test_a_netdisk_front_is_told_by_its_address(
    url: str, vendor: str | None, careful: bool
) -> None:
    options = {"url": url} if vendor is None else {"url": url, "vendor": vendor}
    assert is_careful(Remote("webdav", "", options)) is careful


@pytest.mark.parametrize("careful", [True, False])
def test_the_users_word_on_care_counts(careful: bool) -> None:
    assert (
        is_careful(Remote("webdav", "", {"url": "http://h:5244/dav"}, careful=careful)) is careful
    )
    assert is_careful(Remote("webdav", "", {"url": "http://h/"}, careful=careful)) is careful


@pytest.mark.parametrize(
    ("remote", "method", "options"),
    [
        (Remote("webdav", "", {"url": "http://h/"}), Method.FULL, {"pacer_min_sleep": "0s"}),
        (Remote("webdav", "", {"url": "http://h:5244/dav"}), Method.FULL, {}),
        (Remote("s3", "b"), Method.FULL, {"no_check_bucket": "true", "no_head": "true"}),
        (Remote("s3", "b"), Method.MOVE, {"no_check_bucket": "true"}),
        (
            Remote("s3", "b", {"endpoint": "HTTP://nas:9000"}),
            Method.MOVE,
            {"no_check_bucket": "true", "use_unsigned_payload": "true"},
        ),
        (
            Remote("s3", "b", {"endpoint": "https://nas:9000"}),
            Method.MOVE,
            {"no_check_bucket": "true"},
        ),
        (Remote("sftp"), Method.FULL, {}),
        (Remote("local", "/a"), Method.FULL, {"no_preallocate": "true"}),
    ],
)
def test_backends_are_tuned(remote: Remote, method: Method, options: dict[str, str]) -> None:
    assert tuned_options(remote, method) == options


def test_features_are_read_as_rclone_prints_them(rclone_binary: Path, tmp_path: Path) -> None:
    config = tmp_path / "r.conf"
    config.write_text("[src]\ntype = local\n")
    argv = [str(rclone_binary), "--config", str(config), "backend", "features", f"src:{tmp_path}"]
    facts = read_features(subprocess.run(argv, capture_output=True, check=True).stdout)
    known = known_facts(Remote("local"))
    assert known is not None
    assert facts.has_mtime
    assert known.hashes <= facts.hashes


def test_a_server_without_times_and_hashes_is_seen() -> None:
    answer = {"Precision": 3153600000000000000, "Hashes": None}
    assert read_features(json.dumps(answer).encode()) == RemoteFacts(False, frozenset())


def test_only_runs_between_local_disks_may_hold_more_memory() -> None:
    assert go_runtime((Remote("local"), Remote("local"))) == {"GOGC": "400", "GOMEMLIMIT": "384MiB"}
    assert go_runtime((Remote("local"), Remote("s3"))) == {}


def test_only_a_timetable_needs_a_clock() -> None:
    zone = "Asia/Shanghai"
    assert timetable_clock(Limits(bandwidth="08:00,1M 23:00,off", timezone=zone)) == {"TZ": zone}
    assert timetable_clock(Limits(bandwidth="1M", timezone=zone)) == {}
    assert timetable_clock(Limits(timezone=zone)) == {}
    assert timetable_clock(Limits(bandwidth="08:00,1M")) == {}
