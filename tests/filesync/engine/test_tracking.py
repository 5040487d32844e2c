"""A file that was only renamed at the source is renamed at the destination: found by hash alone."""

from __future__ import annotations

import gzip
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import (
    Action,
    Endpoint,
    Event,
    Guards,
    ItemDone,
    Limits,
    Method,
    Outcome,
    Plan,
    PlanItem,
    PlanReady,
    ProcessStarted,
    Remote,
    Rules,
    StopSignal,
    SyncRequest,
)
from tests.filesync.engine.lab import Lab, Ran, engine_remote, files_of, tree, write_tree
from tests.filesync.engine.test_restore import keeping, restore, undo_of

FOLDER = {f"old/{number}.bin": os.urandom(50_000 + number) for number in range(4)}
SERVERS = ("openssh", "s3")


@pytest.fixture(params=SERVERS)
def remote(request: pytest.FixtureRequest) -> Remote:
    """Return a storage that hashes its files, pointed at a folder of this test alone."""
    found = engine_remote(request.getfixturevalue(f"{request.param}_server").remote)
    return replace(found, root="/".join(filter(None, (found.root, f"t{time.monotonic_ns()}"))))


def full(lab: Lab, remote: Remote, **changes: object) -> SyncRequest:
    return lab.asking(Method.FULL, destination=Endpoint(remote, "copy"), **changes)


def look(lab: Lab, remote: Remote, *, folders: bool = False) -> dict[bytes, str]:
    """Return the files of the storage's folder, and its folders, by a fresh copy of it."""
    into = f"look{time.monotonic_ns()}"
    local = lab.request.source.remote
    ran = lab.run(SyncRequest(Endpoint(remote, "copy"), Endpoint(local, into), Method.FULL))
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    found = Path(local.root) / into
    return tree(found) if folders else files_of(found)


def sent(lab: Lab, request: SyncRequest) -> None:
    ran = lab.run(request)
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure


def test_a_renamed_folder_is_renamed_and_not_sent(lab: Lab, remote: Remote) -> None:
    write_tree(lab.source, {**FOLDER, "gone": "gone", "changed": "1", "same": "same"})
    request = full(lab, remote)
    sent(lab, request)
    (lab.source / "old").rename(lab.source / "new")
    (lab.source / "gone").unlink()
    write_tree(lab.source, {"changed": "12", "added": "added"})

    planned = lab.run(replace(request, dry_run=True)).result.plan
    ran = lab.run(request)

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert look(lab, remote) == files_of(lab.source)
    plan = ran.result.plan
    assert plan is not None
    assert planned is not None
    assert in_order(plan) == in_order(planned)
    assert (plan.adds, plan.updates, plan.deletes, plan.renames) == (1, 1, 1, 4)
    assert plan.bytes_renamed == sum(map(len, FOLDER.values()))
    assert (plan.bytes_to_send, plan.bytes_to_delete) == (7, 4)
    renamed = {(item.old_path, item.path, item.size_bytes) for item in renames_in(plan)}
    assert renamed == {
        (old, old.replace("old", "new"), len(content)) for old, content in FOLDER.items()
    }
    done = {(item.old_path, item.path) for item in ran.items if item.action is Action.RENAMED}
    assert done == {(old, new) for old, new, _ in renamed}
    told = {pair for pair in ran.actions() if pair[0] is not Action.RENAMED}
    folders = {(Action.DIR_REMOVED, "old")} if remote.backend == "sftp" else set()
    assert told - {(Action.DIR_MADE, "new")} == {
        (Action.ADDED, "added"),
        (Action.UPDATED, "changed"),
        (Action.DELETED, "gone"),
        *folders,
    }
    totals = ran.result.totals
    assert (totals.files_renamed, totals.files_transferred, totals.files_deleted) == (4, 2, 1)
    assert totals.bytes_transferred == 7


def in_order(plan: Plan) -> Plan:
    return replace(plan, items=tuple(sorted(plan.items, key=lambda item: item.path)))


def renames_in(plan: Plan) -> list[PlanItem]:
    return [item for item in plan.items if item.action is Action.RENAMED]


def test_renames_are_no_deletions_for_the_guards(lab: Lab, remote: Remote) -> None:
    write_tree(lab.source, FOLDER)
    request = full(lab, remote, guards=Guards(max_delete_files=0))
    sent(lab, request)
    (lab.source / "old").rename(lab.source / "new")

    ran = lab.run(request)

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.result.totals.files_renamed == len(FOLDER)


def test_another_file_of_equal_size_and_time_is_no_rename(lab: Lab, remote: Remote) -> None:
    write_tree(lab.source, {"a": "one", "b": "same"})
    request = full(lab, remote)
    sent(lab, request)
    time_of = (lab.source / "a").stat().st_mtime
    (lab.source / "a").unlink()
    (lab.source / "c").write_text("two")
    os.utime(lab.source / "c", (time_of, time_of))

    ran = lab.run(request)

    assert ran.actions() >= {(Action.ADDED, "c"), (Action.DELETED, "a")}
    assert ran.result.totals.files_renamed == 0
    assert look(lab, remote) == files_of(lab.source)


def test_what_cannot_be_renamed_safely_is_sent(lab: Lab, remote: Remote) -> None:
    for request in (
        full(lab, remote, rules=Rules(renames=((r"\.never$", ".x"),))),
        lab.between_storages(Method.FULL),
        lab.asking(Method.FULL),
    ):
        write_tree(lab.source, {"old": "content"})
        sent(lab, request)
        (lab.source / "old").rename(lab.source / "new")
        ran = lab.run(request)
        assert ran.actions() >= {(Action.ADDED, "new"), (Action.DELETED, "old")}
        (lab.source / "new").unlink()


def test_odd_names_are_renamed_by_their_own_names(lab: Lab, remote: Remote) -> None:
    odd = ["-dash", '\N{ROCKET} "q" \\n', "  blank ", "#%20&+", "\u0421\u0456"]
    if remote.backend != "s3":
        odd += ["line\nbreak", "tab\t", "\u240areal"]
    contents = {f"old {name}": os.urandom(1000 + number) for number, name in enumerate(odd)}
    write_tree(lab.source, contents)
    request = full(lab, remote)
    sent(lab, request)
    for name in odd:
        (lab.source / f"old {name}").rename(lab.source / f"new {name}")

    ran = lab.run(request)

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert look(lab, remote) == files_of(lab.source)
    assert ran.result.totals.files_renamed == len(odd)
    done = {(item.old_path, item.path) for item in ran.items if item.action is Action.RENAMED}
    assert {old.replace("old", "new") for old, _ in done} == {new for _, new in done}


@pytest.mark.parametrize("remote", ["openssh"], indirect=True)
def test_a_name_that_a_log_cannot_show_is_sent_anew(lab: Lab, remote: Remote) -> None:
    source = os.fsencode(lab.source)
    with open(os.path.join(source, b"old \xff"), "wb") as file:
        file.write(b"content")
    request = full(lab, remote)
    sent(lab, request)
    os.rename(os.path.join(source, b"old \xff"), os.path.join(source, b"new \xff"))

    ran = lab.run(request)

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.result.totals.files_renamed == 0
    assert look(lab, remote) == files_of(lab.source)


def test_nothing_more_is_asked_where_nothing_may_be_renamed(lab: Lab, remote: Remote) -> None:
    write_tree(lab.source, {"a": "1", "b": "22"})
    request = full(lab, remote)

    def processes(ran: Ran) -> int:
        return sum(isinstance(event, ProcessStarted) for event in ran.events)

    first = processes(lab.run(request))
    (lab.source / "b").unlink()
    write_tree(lab.source, {"c": "333"})

    assert first == 2
    assert processes(lab.run(request)) == 2
    assert processes(lab.run(request)) == 1


def test_a_file_that_is_another_by_then_is_sent(lab: Lab, remote: Remote) -> None:
    """The source changes between the plan and the run."""
    write_tree(lab.source, FOLDER)
    request = full(lab, remote)
    sent(lab, request)
    (lab.source / "old").rename(lab.source / "new")

    def change(event: Event) -> None:
        if isinstance(event, PlanReady):
            (lab.source / "new/1.bin").write_bytes(os.urandom(50_001))
            (lab.source / "new/2.bin").rename(lab.source / "else")

    ran = lab.run(request, on_event=change)

    assert ran.result.plan is not None
    assert ran.result.plan.renames == 4
    assert look(lab, remote) == files_of(lab.source), ran.result.failure
    assert ran.result.totals.files_renamed == 2
    assert ran.result.totals.files_deleted == 2


@pytest.mark.parametrize("remote", ["s3"], indirect=True)
@pytest.mark.parametrize("at_once", [False, True])
def test_a_run_that_ends_among_its_renames_is_gone_on_with(
    lab: Lab, remote: Remote, *, at_once: bool
) -> None:
    files = {f"old/{number}": os.urandom(2000 + number) for number in range(60)}
    write_tree(lab.source, files)
    request = full(lab, remote, limits=Limits(transfers=1, checkers=1, calls_per_s=60))
    sent(lab, full(lab, remote))
    (lab.source / "old").rename(lab.source / "new")
    stop = StopSignal()
    renamed = 0

    def end(event: Event) -> None:
        nonlocal renamed
        if isinstance(event, ItemDone) and event.action is Action.RENAMED:
            renamed += 1
            stop.request(at_once=at_once)

    cut = lab.run(request, stop=stop, on_event=end)

    assert cut.result.outcome is Outcome.CANCELLED
    assert 0 < renamed < len(files)
    assert set(look(lab, remote).values()) == set(files_of(lab.source).values())
    ran = lab.run(full(lab, remote))
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert look(lab, remote) == files_of(lab.source)
    assert ran.result.totals.bytes_transferred == 0


@pytest.mark.parametrize("path", ["new", "old/inner", "."])
def test_a_run_with_renames_that_is_undone_equals_the_tree_before_it(
    lab: Lab, remote: Remote, path: str
) -> None:
    folder = {name.replace("old", "old/deep"): content for name, content in FOLDER.items()}
    write_tree(lab.source, {**folder, "old/one": "renamed alone", "gone": "gone", "same": "s"})
    request = keeping(full(lab, remote))
    sent(lab, full(lab, remote))
    before = look(lab, remote, folders=remote.backend != "s3")
    (lab.source / "old/deep").rename(lab.root / "files/aside")
    (lab.source / path).mkdir(exist_ok=True)
    (lab.root / "files/aside").rename(lab.source / path / "deep")
    (lab.source / "old/one").rename(lab.source / "two \N{ROCKET}")
    (lab.source / "gone").unlink()
    write_tree(lab.source, {"same": "not the same", "added/added": "added"})
    ran = lab.run(request)
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert ran.result.totals.files_renamed == 5
    undo = undo_of(request, lab)
    assert look(lab, remote) == files_of(lab.source)

    rehearsed = restore(lab, replace(undo, dry_run=True))
    back = restore(lab, undo)
    again = restore(lab, undo)

    assert back.result.outcome is Outcome.SUCCEEDED, (back.result.failure, back.items)
    assert look(lab, remote, folders=remote.backend != "s3") == before
    assert back.result.plan == rehearsed.result.plan
    assert back.result.plan is not None
    assert back.result.plan.renames == back.result.totals.files_renamed == 5
    assert {(item.path, item.old_path) for item in back.items if item.old_path} == {
        ("old/one", "two \N{ROCKET}"),
        *((name, name.replace("old", path).removeprefix("./")) for name in folder),
    }
    assert again.result.totals.files_renamed == 0
    assert look(lab, remote, folders=remote.backend != "s3") == before


@pytest.mark.parametrize("remote", ["openssh"], indirect=True)
def test_a_renamed_file_that_changed_since_keeps_its_name_and_is_told(
    lab: Lab, remote: Remote
) -> None:
    contents = {f"old {what}": what * 3 for what in ("edited", "gone", "old", "fine", "back")}
    write_tree(lab.source, contents)
    request = keeping(full(lab, remote))
    sent(lab, full(lab, remote))
    for name in contents:
        (lab.source / name).rename(lab.source / name.replace("old ", "new "))
    sent(lab, request)
    copy = Path("/", remote.root, "copy")
    (copy / "new edited").write_text("EDITED" * 3)
    os.utime(copy / "new edited", (time.time() + 3600,) * 2)
    (copy / "new gone").unlink()
    (copy / "old old").write_text("another")
    (copy / "new back").rename(copy / "old back")

    ran = restore(lab, undo_of(request, lab))

    assert (ran.result.outcome, ran.guard) == (Outcome.PARTIAL, "changed_since")
    failed = {item.path for item in ran.items if item.action is Action.FAILED}
    assert failed == {"new edited", "new gone", "new old"}
    assert {path.name: path.read_text() for path in copy.iterdir()} == {
        "new edited": "EDITED" * 3,
        "new old": "oldoldold",
        "old old": "another",
        "old fine": "finefinefine",
        "old back": "backbackback",
    }


@pytest.mark.parametrize("remote", ["s3"], indirect=True)
def test_an_undoing_that_ended_within_a_rename_is_finished_by_the_next(
    lab: Lab, remote: Remote
) -> None:
    """Where a storage cannot rename, a file has both names for a moment."""
    write_tree(lab.source, {**FOLDER, "old/person's": "12345"})
    sent(lab, full(lab, remote))
    before = look(lab, remote)
    (lab.source / "old").rename(lab.source / "new")
    request = keeping(full(lab, remote))
    sent(lab, request)
    undo = undo_of(request, lab, begun_at_s=time.time())
    copied(lab, remote, "new", "old", "1.bin", "2.bin")
    write_tree(lab.source, {"old/person's": "54321"})
    sent(lab, full(lab, remote, only_paths=("old/person's",)))

    rehearsed = restore(lab, replace(undo, dry_run=True))
    back = restore(lab, undo)

    assert (back.result.outcome, back.guard) == (Outcome.PARTIAL, "changed_since")
    failed = {item.path for item in back.items if item.action is Action.FAILED}
    assert failed == {"new/person's"}
    after = look(lab, remote)
    assert after.keys() == {*before, b"new/person's"}
    assert after[b"new/person's"] == before.pop(b"old/person's") != after.pop(b"old/person's")
    assert {name: after[name] for name in before} == before
    assert back.result.plan == rehearsed.result.plan


@pytest.mark.parametrize("remote", ["s3"], indirect=True)
@pytest.mark.parametrize("is_gone", [False, True])
@pytest.mark.parametrize("goes_on", [False, True])
def test_a_run_that_was_killed_within_a_rename_is_undone_whole(
    lab: Lab, remote: Remote, *, is_gone: bool, goes_on: bool
) -> None:
    """It was killed before it deleted the old name, or before it told so."""
    write_tree(lab.source, FOLDER)
    sent(lab, full(lab, remote))
    before = look(lab, remote)
    (lab.source / "old").rename(lab.source / "new")
    request = keeping(full(lab, remote))
    sent(lab, request)
    first, second = lab.root / "first", lab.root / "second"
    said = gzip.decompress(lab.log_path.read_bytes()).splitlines(keepends=True)
    cut = max(number for number, line in enumerate(said) if b"server-side copy" in line)
    first.write_bytes(gzip.compress(b"".join(said[: cut + 1])))
    if not is_gone:
        copied(lab, remote, "new", "old", json.loads(said[cut])["object"].removeprefix("old/"))
    if goes_on:
        sent(lab, keeping(full(lab, remote), 1))
        lab.log_path.rename(second)

    back = restore(lab, undo_of(request, lab, first, *([second] if goes_on else [])))

    assert back.result.outcome is Outcome.SUCCEEDED, (back.result.failure, back.items)
    assert look(lab, remote) == before


def copied(lab: Lab, remote: Remote, folder: str, into: str, *names: str) -> None:
    """Let the storage copy files from one of its folders into another."""
    source, destination = (Endpoint(remote, f"copy/{path}") for path in (folder, into))
    sent(lab, SyncRequest(source, destination, Method.INCREMENTAL, only_paths=names))


@pytest.mark.parametrize(("old", "new"), [("old", "archive/old"), ("a/old", "b/a/old")])
def test_a_folder_that_was_moved_into_another_comes_back_as_one(
    lab: Lab, remote: Remote, old: str, new: str
) -> None:
    """What else is in the folder stays there."""
    folder = {name.replace("old", old): content for name, content in FOLDER.items()}
    write_tree(lab.source, {**folder, f"{old}/deep/{old}/one": "one"})
    sent(lab, full(lab, remote))
    before = look(lab, remote)
    (lab.source / old).rename(lab.root / "files/aside")
    (lab.source / new).parent.mkdir(parents=True, exist_ok=True)
    (lab.root / "files/aside").rename(lab.source / new)
    request = keeping(full(lab, remote))
    sent(lab, request)
    undo = undo_of(request, lab)
    write_tree(lab.source, {f"{new}/mine": "mine", f"{new}/deep/mine": "mine too"})
    sent(lab, replace(request, method=Method.INCREMENTAL))

    back = restore(lab, undo)

    assert back.result.outcome is Outcome.SUCCEEDED, (back.result.failure, back.items)
    mine = {f"{new}/mine".encode(), f"{new}/deep/mine".encode()}
    after = look(lab, remote)
    assert after.keys() == {*before, *mine}
    assert {name: after[name] for name in before} == before
    assert verbs_of(lab.undo_log_path).count("move") == 1
    assert "moveto" not in verbs_of(lab.undo_log_path)


def verbs_of(log: Path) -> list[str]:
    """Return what each process was to do whose command line a log tells."""
    lines = map(json.loads, gzip.decompress(log.read_bytes()).splitlines())
    return [line["msg"].split()[1] for line in lines if line["level"] == "command"]
