"""The command lines, word by word: a flag that comes or goes must be meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import Compare, Endpoint, Limits, Method, Remote, Rules, SyncRequest
from filesync.engine.command import RunFiles, Sides, build_argv
from filesync.engine.passes import Stage, plan_stages, run_stages
from filesync.engine.tuning import PairFacts, RemoteFacts

LOCAL = Remote("local", "/data")
DAV = Remote("webdav", "", {"url": "http://h/"}, {"pass": "canary-secret"})
REQUEST = SyncRequest(Endpoint(LOCAL, "a"), Endpoint(LOCAL, "b"))
SIDES = Sides("src:/data/a", "dst:/data/b")
FILES = RunFiles(Path("/run/1"))

FULL_FACTS = RemoteFacts(True, frozenset({"md5"}))
BLIND = RemoteFacts(False, frozenset())
COPY = Stage("copy")
EQUALS = PairFacts(FULL_FACTS, FULL_FACTS)
SIZES = PairFacts(FULL_FACTS, BLIND)
TIMES = PairFacts(FULL_FACTS, RemoteFacts(True, frozenset()))
HASHES = PairFacts(FULL_FACTS, RemoteFacts(False, frozenset({"md5"})))


def argv(request: SyncRequest, stage: Stage, **more: int) -> list[str]:
    built = build_argv(Path("/bin/rclone"), stage, request, sides=SIDES, files=FILES, **more)
    return list(built)


BASE = [
    *["--config", "/run/1/r.conf", "--cache-dir", "/run/1/cache", "--temp-dir", "/run/1"],
    *["--ask-password=false", "--use-json-log", "--log-level", "INFO"],
    *["--stats", "1s", "--stats-log-level", "NOTICE", "--stats-file-name-length", "0"],
    *["--retries", "1", "--low-level-retries", "3", "--contimeout", "15s", "--timeout", "60s"],
]


def test_a_plain_copy() -> None:
    assert argv(REQUEST, Stage("copy")) == [
        *["/bin/rclone", "copy", *BASE, "--transfers", "4", "--checkers", "8"],
        *["--filter-from", "/run/1/filter", "--create-empty-src-dirs"],
        *["--partial-suffix", ".08efed3.partial", "--ignore-checksum"],
        *["--", "src:/data/a", "dst:/data/b"],
    ]


def test_a_planned_sync_with_everything_set() -> None:
    request = replace(
        REQUEST,
        method=Method.FULL,
        rules=Rules(
            min_size_bytes=1,
            max_size_bytes=1000,
            min_age_s=60,
            max_age_s=3600,
            renames=(("^a=(.*)$", "${1}"),),
        ),
        limits=Limits(
            transfers=2,
            checkers=3,
            bandwidth="08:00,512K 23:00,off",
            calls_per_s=2.5,
            max_bytes=10**9,
        ),
    )
    sides = replace(SIDES, backup="dst:/data/kept")
    stage = Stage("sync", ("--checksum",))
    built = build_argv(Path("/bin/rclone"), stage, request, sides=sides, files=FILES, max_delete=7)
    assert list(built) == [
        *["/bin/rclone", "sync", *BASE, "--transfers", "2", "--checkers", "3"],
        *["--bwlimit", "08:00,512K 23:00,off", "--tpslimit", "2.5"],
        *["--max-transfer", "1000000000B", "--cutoff-mode", "SOFT"],
        *["--filter-from", "/run/1/filter", "--min-size", "1B", "--max-size", "1000B"],
        *["--min-age", "60s", "--max-age", "3600s"],
        *["--name-transform", r"file,regex=^a\x3d(.*)$/${1}"],
        *["--create-empty-src-dirs", "--partial-suffix", ".08efed3.partial"],
        *["--backup-dir", "dst:/data/kept", "--max-delete", "7"],
        *["--ignore-checksum", "--local-hashes", "none"],
        *["--checksum", "--", "src:/data/a", "dst:/data/b"],
    ]


def test_a_copy_by_size_looks_at_the_whole_destination() -> None:
    request = replace(REQUEST, rules=Rules(min_size_bytes=1))
    words = argv(request, Stage("copy"))
    assert words[words.index("--min-size") :][:3] == ["--min-size", "1B", "--delete-excluded"]
    assert "--delete-excluded" not in argv(request, Stage("sync", sized=False))
    assert "--min-size" not in argv(request, Stage("sync", sized=False))
    assert "--delete-excluded" not in argv(replace(REQUEST, rules=Rules(filters=("- a",))), COPY)


def test_deleting_apart_is_limited_to_what_the_plan_found() -> None:
    request = replace(REQUEST, method=Method.FULL, rules=Rules(max_age_s=1))
    for facts in (EQUALS, SIZES):
        *copies, last = run_stages(request, facts)
        assert {stage.verb for stage in copies} == {"copy"}
        words = argv(request, last, max_delete=3)
        assert words[words.index("--files-from0") + 1] == "/run/1/deletions"
        assert words[words.index("--max-delete") + 1] == "3"
        assert not {"--max-age", "--filter-from", "--create-empty-src-dirs"} & set(words)


def test_a_dry_run_has_no_byte_limit_and_a_report() -> None:
    request = replace(REQUEST, limits=Limits(max_bytes=1))
    words = argv(request, Stage("sync", dry_run=True, report=True))
    assert words[-6:] == [
        *["--combined", "/run/1/report", "--dry-run", "--", "src:/data/a", "dst:/data/b"]
    ]
    assert "--max-transfer" not in words


@pytest.mark.parametrize(("sent_bytes", "left"), [(0, "500B"), (400, "100B"), (501, "0B")])
def test_a_later_stage_may_send_what_the_earlier_ones_left(sent_bytes: int, left: str) -> None:
    request = replace(REQUEST, limits=Limits(max_bytes=500))
    words = argv(request, Stage("copy"), sent_bytes=sent_bytes)
    assert words[words.index("--max-transfer") + 1] == left


def test_a_check_copies_nothing() -> None:
    words = argv(replace(REQUEST, method=Method.CHECK), Stage("check", report=True))
    assert words == [
        *["/bin/rclone", "check", *BASE, "--transfers", "4", "--checkers", "8"],
        *["--filter-from", "/run/1/filter", "--combined", "/run/1/report"],
        *["--", "src:/data/a", "dst:/data/b"],
    ]


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Stage("features"), ["backend", "features", *BASE, "--", "src:/data/a"]),
        (
            Stage("features", at_destination=True),
            ["backend", "features", *BASE, "--", "dst:/data/b"],
        ),
        (Stage("mkdir", at_destination=True), ["mkdir", *BASE, "--", "dst:/data/b"]),
        (
            Stage("size"),
            ["size", "--json", *BASE, "--filter-from", "/run/1/filter", "--", "src:/data/a"],
        ),
    ],
)
def test_commands_about_one_side(stage: Stage, words: list[str]) -> None:
    assert argv(REQUEST, stage) == ["/bin/rclone", *words]


def test_a_run_limited_to_paths_uses_no_filters() -> None:
    words = argv(replace(REQUEST, only_paths=("a", "b")), Stage("copy"))
    assert "--filter-from" not in words
    assert words[words.index("--files-from0") + 1] == "/run/1/only"


@pytest.mark.parametrize(
    ("source", "files", "by_name"),
    [(Endpoint(DAV, "a"), 2, True), (Endpoint(DAV, "a"), 101, False), (REQUEST.source, 2, False)],
)
def test_few_files_of_a_server_are_asked_for_by_name(
    source: Endpoint, files: int, by_name: bool
) -> None:
    only = tuple(map(str, range(files)))
    words = argv(replace(REQUEST, source=source, only_paths=only), Stage("copy"))
    assert ("--no-traverse" in words) is by_name


SIZE_ONLY, UPDATE = ("--size-only",), ("--update", "--use-server-modtime")
MOVE = ("--ignore-times", "--disable", "DirMove")


@pytest.mark.parametrize(
    ("method", "compare", "facts", "stages"),
    [
        (Method.INCREMENTAL, Compare.SIZE_TIME, EQUALS, [("copy", ())]),
        (Method.INCREMENTAL, Compare.CHECKSUM, EQUALS, [("copy", ("--checksum",))]),
        (Method.INCREMENTAL, Compare.SIZE, EQUALS, [("copy", SIZE_ONLY)]),
        (Method.INCREMENTAL, Compare.SIZE_TIME, HASHES, [("copy", ("--checksum",))]),
        (Method.INCREMENTAL, Compare.SIZE_TIME, SIZES, [("copy", SIZE_ONLY), ("copy", UPDATE)]),
        (Method.INCREMENTAL, Compare.CHECKSUM, SIZES, [("copy", SIZE_ONLY), ("copy", UPDATE)]),
        (Method.INCREMENTAL, Compare.CHECKSUM, TIMES, [("copy", ())]),
        (Method.INCREMENTAL, Compare.SIZE, SIZES, [("copy", SIZE_ONLY)]),
        (Method.FULL, Compare.SIZE_TIME, EQUALS, [("sync", ())]),
        (Method.FULL, Compare.SIZE_TIME, SIZES, [("copy", SIZE_ONLY), ("sync", UPDATE)]),
        (
            Method.OVERWRITE,
            Compare.SIZE_TIME,
            EQUALS,
            [("copy", ("--ignore-times",)), ("sync", SIZE_ONLY)],
        ),
        (Method.MOVE, Compare.SIZE_TIME, EQUALS, [("move", MOVE)]),
        (Method.MOVE, Compare.SIZE, SIZES, [("move", MOVE)]),
        (Method.CHECK, Compare.SIZE_TIME, EQUALS, [("check", ())]),
        (Method.CHECK, Compare.SIZE_TIME, TIMES, [("copy", ())]),
        (Method.CHECK, Compare.SIZE_TIME, SIZES, [("check", SIZE_ONLY), ("copy", UPDATE)]),
        (Method.CHECK, Compare.SIZE, EQUALS, [("check", SIZE_ONLY)]),
        (Method.CHECK, Compare.CHECKSUM, EQUALS, [("check", ())]),
        (Method.CHECK, Compare.CHECKSUM, SIZES, [("check", ("--download",))]),
    ],
)
def test_each_method_has_its_stages(
    method: Method, compare: Compare, facts: PairFacts, stages: list[tuple[str, tuple[str, ...]]]
) -> None:
    request = replace(REQUEST, method=method, compare=compare)
    assert [(stage.verb, stage.flags) for stage in run_stages(request, facts)] == stages


COPIED_NAMES = Rules(filters=("- x",), renames=(("a", "b"),))


@pytest.mark.parametrize(
    ("rules", "compare", "facts", "stages"),
    [
        (Rules(max_size_bytes=9), Compare.SIZE_TIME, EQUALS, [("copy", ("--checksum",))]),
        (Rules(max_size_bytes=9), Compare.SIZE_TIME, TIMES, [("copy", ())]),
        (
            *(Rules(min_age_s=9), Compare.SIZE_TIME, SIZES),
            [("copy", SIZE_ONLY), ("copy", UPDATE)],
        ),
        (Rules(min_age_s=9), Compare.SIZE, EQUALS, [("copy", SIZE_ONLY)]),
        (
            *(Rules(min_age_s=9), Compare.CHECKSUM, SIZES),
            [("copy", SIZE_ONLY), ("check", ("--download",))],
        ),
        (COPIED_NAMES, Compare.CHECKSUM, EQUALS, [("copy", ("--checksum",))]),
        (COPIED_NAMES, Compare.CHECKSUM, SIZES, [("copy", SIZE_ONLY)]),
    ],
)
def test_a_check_asks_copies_where_rules_hide_files_on_one_side(
    rules: Rules, compare: Compare, facts: PairFacts, stages: list[tuple[str, tuple[str, ...]]]
) -> None:
    request = replace(REQUEST, method=Method.CHECK, compare=compare, rules=rules)
    found = run_stages(request, facts)
    assert [(stage.verb, stage.flags) for stage in found] == stages
    assert all(stage.report and (stage.dry_run or stage.verb == "check") for stage in found)


@pytest.mark.parametrize("facts", [EQUALS, SIZES, HASHES, TIMES])
@pytest.mark.parametrize("compare", list(Compare))
@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL, Method.OVERWRITE, Method.MOVE])
def test_every_planning_stage_is_a_dry_run(
    method: Method, compare: Compare, facts: PairFacts
) -> None:
    request = replace(REQUEST, method=method, compare=compare)
    stages = plan_stages(request, facts)
    assert all(stage.dry_run for stage in stages)
    assert [stage.report for stage in stages] == [True] + [False] * (len(stages) - 1)
    assert all("--dry-run" in argv(request, stage) for stage in stages)


@pytest.mark.parametrize("method", [Method.FULL, Method.OVERWRITE])
def test_only_the_last_stage_can_delete(method: Method) -> None:
    for facts in (EQUALS, SIZES):
        *first, last = run_stages(replace(REQUEST, method=method), facts)
        assert last.verb == "sync"
        assert {stage.verb for stage in first} <= {"copy"}


@pytest.mark.parametrize("method", list(Method))
def test_a_run_limited_to_paths_never_mirrors(method: Method) -> None:
    request = replace(REQUEST, method=method, only_paths=("a",))
    for facts in (EQUALS, SIZES):
        stages = [*run_stages(request, facts), *plan_stages(request, facts)]
        assert "sync" not in {stage.verb for stage in stages}


@pytest.mark.parametrize(
    ("request_", "skipped"),
    [
        (REQUEST, True),
        (replace(REQUEST, method=Method.OVERWRITE), True),
        (replace(REQUEST, method=Method.MOVE), False),
        (replace(REQUEST, compare=Compare.CHECKSUM), False),
        (replace(REQUEST, destination=Endpoint(DAV, "b")), False),
        (replace(REQUEST, source=Endpoint(DAV, "b")), False),
    ],
)
def test_reading_a_copy_back_is_left_out_between_local_disks_only(
    request_: SyncRequest, skipped: bool
) -> None:
    assert ("--ignore-checksum" in argv(request_, Stage("copy"))) is skipped


@pytest.mark.parametrize("method", list(Method))
def test_no_command_line_holds_a_secret_or_a_forbidden_flag(method: Method) -> None:
    request = replace(REQUEST, method=method, destination=Endpoint(DAV, "b"))
    for facts in (EQUALS, SIZES):
        for stage in (*run_stages(request, facts), *plan_stages(request, facts)):
            words = argv(request, stage)
            assert "canary-secret" not in " ".join(words)
            assert not {"--inplace", "-L", "-l", "--rc", "--delete-excluded"} & set(words)
            assert words[-3:] == ["--", SIDES.source, SIDES.destination]


@pytest.mark.parametrize(
    ("source", "destination", "transfers", "checkers"),
    [
        (LOCAL, LOCAL, "4", "8"),
        (LOCAL, Remote("sftp", ""), "4", "8"),
        (LOCAL, DAV, "16", "16"),
        (DAV, LOCAL, "16", "16"),
        (LOCAL, Remote("s3", "b"), "16", "16"),
        (LOCAL, replace(DAV, careful=True), "2", "4"),
        (Remote("s3", "b"), replace(DAV, careful=True), "2", "4"),
    ],
)
def test_each_pair_has_its_pace(
    source: Remote, destination: Remote, transfers: str, checkers: str
) -> None:
    request = SyncRequest(Endpoint(source), Endpoint(destination))
    words = argv(request, Stage("copy"))
    assert words[words.index("--transfers") + 1] == transfers
    assert words[words.index("--checkers") + 1] == checkers
