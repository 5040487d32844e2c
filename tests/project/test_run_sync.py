"""`manage.py run_sync` as a person meets it: a bar on a terminal, one line in a pipe."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.drills.lab import migrate
from tests.project.system import own_environment, run_command
from tests.servers.process import REPOSITORY, short_temp_dir

FILES = {f"照片/图 {number}.bin": bytes([number]) * 400_000 for number in range(8)}
# 3.2 MB at this rate take about three seconds, in which the bar must move.
RATE = "1M"
# Slow enough to be under way still when a busy machine gets to stop it.
SLOW_RATE = "200K"
MAKE = """
from filesync.models import Storage, SyncConfig
storage = Storage.objects.create(name="disk", backend="local", root={root!r})
for name, source, bandwidth in (
    ("terminal", "source", {rate!r}), ("stopped", "source", {slow_rate!r}),
    ("pipe", "source", ""), ("json", "source", ""), ("dry", "source", ""),
    ("missing", "not there", ""), ("in the way", "source", ""),
):
    config = SyncConfig(
        name=name, source_storage=storage, source_path=source, bandwidth=bandwidth,
        destination_storage=storage, destination_path=f"to {{name}}", enable=False,
    )
    config.save()
    print(name, config.pk)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A database with disabled configs, one a test, and the folder that they sync in."""

    root: Path
    environment: dict[str, str]
    configs: dict[str, str]

    def run_sync(self, config: str, *flags: str) -> subprocess.CompletedProcess[str]:
        arguments = ["run_sync", self.configs.get(config, config), *flags]
        return run_command(arguments, self.environment)

    def state_of(self, config: str) -> str:
        code = (
            "from filesync.models import SyncRun;"
            f"print(SyncRun.objects.get(config__name={config!r}).state)"
        )
        return run_command(["shell", "-c", code], self.environment).stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    folder = short_temp_dir("sb-cli-")
    root = folder / "files"
    for name, content in FILES.items():
        (root / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "source" / name).write_bytes(content)
    environment = own_environment(
        folder / "data", FILESYNC_LOCAL_ROOTS=str(root), CELERY_BROKER="redis://127.0.0.1:9/0"
    )
    migrate(environment)
    code = MAKE.format(root=str(root), rate=RATE, slow_rate=SLOW_RATE)
    made = run_command(["shell", "-c", code], environment)
    assert made.returncode == 0, made.stderr
    yield Place(root, environment, dict(re.findall(r"^([\w ]+) (\d+)$", made.stdout, re.MULTILINE)))
    shutil.rmtree(folder)


def tree(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def on_a_terminal(place: Place, config: str) -> tuple[int, str]:
    """Run the command with a terminal as its outputs; return its exit code and what was shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "run_sync", place.configs[config], "--force"],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=place.environment | {"TERM": "xterm", "COLUMNS": "120"},
        cwd=REPOSITORY,
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # Linux's word for a terminal whose other side is closed
            break
        shown += part
    os.close(ours)
    return process.wait(60), shown.decode(errors="replace")


def test_a_terminal_shows_a_bar_that_moves_and_the_outcome(place: Place) -> None:
    code, shown = on_a_terminal(place, "terminal")
    assert code == 0, shown
    # "1.2/3.2 MB", drawn again and again.
    done = [float(amount) for amount in re.findall(r"([\d.]+)/3\.2 MB", shown)]
    between = {amount for amount in done if 0 < amount < 3.2}
    assert len(between) >= 2, shown
    assert done == sorted(done)
    assert "transferring" in shown
    assert "SUCCEEDED: 8 files, 3,200,000 bytes, 0 deleted, 0 renamed, 0 failed" in shown
    assert tree(place.root / "to terminal") == FILES


def test_a_pipe_gets_the_outcome_and_no_bar(place: Place) -> None:
    done = place.run_sync("pipe", "--force")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"SUCCEEDED: 8 files, 3,200,000 bytes, .*\n", done.stdout)
    assert "\x1b" not in done.stderr
    assert "transferring" not in done.stderr
    assert tree(place.root / "to pipe") == FILES


def test_json_says_what_the_run_row_says(place: Place) -> None:
    done = place.run_sync("json", "--json", "--force")
    document = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (document["state"], document["files_transferred"]) == ("SUCCEEDED", 8)
    assert place.state_of("json") == "SUCCEEDED"


def test_a_dry_run_says_what_would_change_and_changes_nothing(place: Place) -> None:
    before = tree(place.root)
    done = place.run_sync("dry", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        "would add 8, update 0, rename 0, delete 0 (0 bytes), send 3200000 bytes, "
        "correct the time of 0 files, make 1 and remove 0 folders\n"
    )
    assert tree(place.root) == before


def test_a_run_that_fails_exits_with_1_and_says_why_and_what_to_do(place: Place) -> None:
    done = place.run_sync("missing", "--force")
    assert done.returncode == 1
    assert "FAILED NOT_FOUND" in done.stderr
    assert 'Source: "not there", destination: "to missing".' in done.stderr
    assert "Check the path" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_goes_wrong_with_a_file_is_told_on_stderr_as_it_happens(place: Place) -> None:
    name = next(iter(FILES))
    (place.root / "to in the way" / name / "\x1b[31m").mkdir(parents=True)
    done = place.run_sync("in the way", "--force")
    assert done.returncode == 1
    assert f"failed: {name}: " in done.stderr
    assert "\x1b" not in done.stderr
    assert "FAILED" not in done.stdout
    assert done.stdout.startswith("PARTIAL: 7 files")


def test_a_disabled_config_is_refused_and_what_force_skips_is_said(place: Place) -> None:
    done = place.run_sync("pipe")
    assert done.returncode == 1
    assert "pipe is disabled: enable it" in done.stderr
    assert "also past the guards on deletions" in done.stderr


def test_an_unknown_config_is_refused_with_its_number(place: Place) -> None:
    done = place.run_sync("4711")
    assert done.returncode == 1
    assert "4711" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_cancels_the_run_and_leaves_nothing_half_done(place: Place) -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "run_sync", place.configs["stopped"], "--force"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=place.environment,
        cwd=REPOSITORY,
        text=True,
        process_group=0,
        # Whoever runs the tests in the background may have it ignored, which would be inherited.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    target = place.root / "to stopped"
    while process.poll() is None and not (target.exists() and any(target.rglob("*.bin"))):
        pass
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "Traceback" not in said, said
    assert "CANCELLED: it was stopped from outside" in said, said
    assert place.state_of("stopped") == "CANCELLED"
    assert not list(target.rglob("*.partial"))
