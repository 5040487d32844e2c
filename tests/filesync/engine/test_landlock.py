"""What the kernel holds a transfer to: no byte is written outside, whenever a link was made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from filesync.engine import (
    Endpoint,
    Event,
    Limits,
    Method,
    Outcome,
    PathRefused,
    PlanReady,
    ProcessStarted,
    Progress,
    Remote,
    StopSignal,
    run_restore,
)
from filesync.engine.confine import confine
from filesync.engine.landlock import restrict_self, ruleset
from tests.filesync.engine.lab import Lab, Ran, files_of, tree, write_tree
from tests.filesync.engine.test_restore import keeping, undo_of


@pytest.fixture
def landlock(tmp_path: Path) -> None:
    """Skip where the kernel has no Landlock: there the tree is walked before each run."""
    rules = ruleset(writable=[tmp_path], readable=[])
    if rules is None:
        pytest.skip("this kernel has no Landlock")
    os.close(rules)


@pytest.mark.usefixtures("landlock")
@pytest.mark.parametrize(
    ("command", "works"),
    [
        ("echo x > inside/new", True),
        ("mv inside/file inside/sub/file && rm inside/sub/file", True),
        ("cat inside/file > inside/copy", True),
        ("cat shown/file > inside/copy", True),
        ("ls shown", True),
        ("cat outside/file", False),
        ("cat inside/link/file", False),
        ("ls outside", False),
        ("echo x > shown/new", False),
        ("rm shown/file", False),
        ("echo x > outside/new", False),
        ("echo x > outside/file", False),
        ("echo x > inside/link/new", False),
        ("rm outside/file", False),
        ("mkdir outside/folder", False),
        ("mv inside/file outside/file", False),
    ],
)
def test_a_child_reads_and_writes_only_where_it_may(
    tmp_path: Path, command: str, works: bool
) -> None:
    write_tree(
        tmp_path, {"inside/file": "1", "inside/sub/": "", "outside/file": "1", "shown/file": "1"}
    )
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    before = tree(tmp_path / "outside")
    system = [Path(os.path.realpath(path)) for path in ("/bin", "/usr", "/lib", "/lib64", "/etc")]
    # The last two cannot be opened: one is not there, one is below a file.
    shown = [tmp_path / "shown", *system, tmp_path / "none", tmp_path / "outside/file/none"]
    rules = ruleset(writable=[tmp_path / "inside"], readable=shown)
    assert rules is not None
    try:
        child = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=tmp_path,
            capture_output=True,
            pass_fds=(rules,),
            preexec_fn=lambda: restrict_self(rules),
        )
    finally:
        os.close(rules)

    assert (child.returncode == 0) is works, child.stderr
    assert tree(tmp_path / "outside") == before


@pytest.mark.usefixtures("landlock")
def test_a_folder_that_is_not_there_or_became_a_link_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, {"real/sub/": ""})
    (tmp_path / "link").symlink_to(tmp_path / "real")

    for folder in ("missing", "link", "link/sub"):
        with pytest.raises(OSError, match=folder):
            ruleset(writable=[tmp_path / folder], readable=[])


@pytest.mark.usefixtures("landlock")
def test_a_link_that_is_made_while_the_run_goes_on_is_not_written_through(
    lab: Lab, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    write_tree(lab.source, {"first": os.urandom(200_000), "sub/file": "escaped"})

    def swap(event: Event) -> None:
        if isinstance(event, ProcessStarted):
            (lab.destination / "sub").symlink_to(outside)

    ran = lab.run(lab.asking(Method.INCREMENTAL, limits=Limits(transfers=1)), on_event=swap)

    assert tree(outside) == {}
    assert ran.result.outcome is Outcome.FAILED
    assert ran.result.failure is not None
    assert str(lab.destination / "sub") in ran.result.failure.message


@pytest.mark.usefixtures("landlock")
def test_a_folder_that_becomes_a_link_while_the_run_goes_on_is_not_read_through(
    lab: Lab, tmp_path: Path
) -> None:
    write_tree(tmp_path / "outside", {"file": "secret"})
    write_tree(lab.source, {"first": os.urandom(600_000), "sub/file": "public"})
    for folder in (tmp_path / "outside", lab.source / "sub"):
        os.utime(folder / "file", (1_700_000_000, 1_700_000_000))

    def swap(event: Event) -> None:
        # Both files were found, and the first one takes three seconds.
        if isinstance(event, Progress) and event.files_total == 2 and not moved.exists():
            (lab.source / "sub").rename(moved)
            (lab.source / "sub").symlink_to(tmp_path / "outside")

    moved = lab.root / "moved"
    limits = Limits(transfers=1, bandwidth="200K")
    ran = lab.run(lab.asking(Method.INCREMENTAL, limits=limits), on_event=swap)

    assert moved.exists()
    assert files_of(lab.destination).keys() == {b"first"}
    assert ran.result.outcome is not Outcome.SUCCEEDED


@pytest.mark.usefixtures("landlock")
def test_undoing_writes_through_no_link_that_is_made_while_it_goes_on(
    lab: Lab, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    write_tree(lab.source, {"same": "1"})
    write_tree(lab.destination, {"same": "1", "sub/gone": "escaped"})
    request = keeping(lab.asking(Method.FULL))
    assert lab.run(request).result.outcome is Outcome.SUCCEEDED
    events: list[Event] = []
    for event in run_restore(
        undo_of(request, lab),
        work_dir=lab.work_dir,
        rclone=lab.rclone,
        local_roots=(lab.root / "files",),
        stop=StopSignal(),
    ):
        events.append(event)
        if isinstance(event, PlanReady):
            (lab.destination / "sub").symlink_to(outside)

    assert tree(outside) == {}
    assert Ran(events).result.outcome is not Outcome.SUCCEEDED


@pytest.mark.usefixtures("landlock")
def test_a_root_that_is_still_to_be_made_is_held_too(lab: Lab, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = lab.root / "files" / "later"
    write_tree(lab.source, {"sub/file": "escaped"})

    def make(event: Event) -> None:
        if isinstance(event, ProcessStarted) and not root.exists():
            (root / "copy").mkdir(parents=True)
            (root / "copy" / "sub").symlink_to(outside)

    destination = Endpoint(Remote("local", str(root)), "copy")
    lab.run(lab.asking(Method.INCREMENTAL, destination=destination), on_event=make)

    assert root.exists()
    assert tree(outside) == {}


def test_a_missing_root_is_made_and_one_without_an_allowed_root_is_refused(lab: Lab) -> None:
    write_tree(lab.source, {"file": "1"})
    made = Endpoint(Remote("local", str(lab.root / "files" / "new" / "deep")), "copy")

    ran = lab.run(lab.asking(Method.INCREMENTAL, destination=made))

    assert ran.result.outcome is Outcome.SUCCEEDED
    assert files_of(lab.root / "files" / "new" / "deep" / "copy").keys() == {b"file"}
    with pytest.raises(PathRefused, match="not there: make it, or mount"):
        confine(
            rclone=lab.rclone,
            work_dir=lab.work_dir,
            reads=(),
            writes=(Remote("local", str(lab.root / "away" / "root")),),
            local_roots=(lab.root / "away",),
        )


def test_without_landlock_the_tree_is_walked_first(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filesync.engine.confine.ruleset", lambda **_: None)
    outside = tmp_path / "outside"
    outside.mkdir()
    write_tree(lab.source, {"file": "1", "link/file": "escaped"})
    (lab.destination / "link").symlink_to(outside)

    ran = lab.run(lab.asking(Method.INCREMENTAL))

    assert ran.result.outcome is Outcome.FAILED
    assert files_of(lab.destination) == {b"link": "link " + str(outside)}
    assert tree(outside) == {}


@pytest.mark.usefixtures("landlock")
def test_a_listing_shows_nothing_outside_whenever_a_link_is_made(
    tmp_path: Path, rclone_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write_tree(root, {"folder/inside.txt": b"1"})
    write_tree(outside, {"key": b"secret"})
    remote = Remote("local", str(root))
    probing = import_module("filesync.engine.probe")
    look = partial(probing.list_folder, remote, "folder", rclone=rclone_binary, local_roots=(root,))
    assert [entry.name for entry in look().entries] == ["inside.txt"]
    check = probing.check_encrypted_links

    def swap_meanwhile(*checked: object) -> Iterator[None]:
        yield from check(*checked)
        (root / "folder").rename(root / "before")
        (root / "folder").symlink_to(outside)

    monkeypatch.setattr(probing, "check_encrypted_links", swap_meanwhile)
    open_before = len(os.listdir("/proc/self/fd"))
    listing = look()
    assert listing.entries == ()
    assert listing.failure is not None
    assert len(os.listdir("/proc/self/fd")) == open_before
