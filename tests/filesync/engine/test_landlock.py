"""What the kernel holds a transfer to: no byte is written outside, whenever a link was made."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from filesync.engine import Event, Limits, Method, Outcome, ProcessStarted
from filesync.engine.landlock import restrict_self, ruleset
from tests.filesync.engine.lab import Lab, files_of, tree, write_tree


@pytest.fixture
def landlock(tmp_path: Path) -> None:
    """Skip where the kernel has no Landlock: there the tree is walked before each run."""
    rules = ruleset([tmp_path])
    if rules is None:
        pytest.skip("this kernel has no Landlock")
    os.close(rules)


@pytest.mark.usefixtures("landlock")
@pytest.mark.parametrize(
    ("command", "works"),
    [
        ("echo x > inside/new", True),
        ("mv inside/file inside/sub/file && rm inside/sub/file", True),
        ("cat outside/file > inside/copy", True),
        ("echo x > outside/new", False),
        ("echo x > outside/file", False),
        ("echo x > inside/link/new", False),
        ("rm outside/file", False),
        ("mkdir outside/folder", False),
        ("mv inside/file outside/file", False),
    ],
)
def test_a_child_writes_inside_only(tmp_path: Path, command: str, works: bool) -> None:
    write_tree(tmp_path, {"inside/file": "1", "inside/sub/": "", "outside/file": "1"})
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    before = tree(tmp_path / "outside")
    rules = ruleset([tmp_path / "inside"])
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


def test_a_folder_that_is_not_there_gives_no_rules(tmp_path: Path) -> None:
    assert ruleset([tmp_path, tmp_path / "missing"]) is None


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


def test_without_landlock_the_tree_is_walked_first(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filesync.engine.run.ruleset", lambda _: None)
    outside = tmp_path / "outside"
    outside.mkdir()
    write_tree(lab.source, {"file": "1", "link/file": "escaped"})
    (lab.destination / "link").symlink_to(outside)

    ran = lab.run(lab.asking(Method.INCREMENTAL))

    assert ran.result.outcome is Outcome.FAILED
    assert files_of(lab.destination) == {b"link": "link " + str(outside)}
    assert tree(outside) == {}
