"""Measure the engine beside bare rclone, rsync and aws: `python -m tests.benchmarks.engine`.

Contenders take turns in each round, and the median of the rounds counts. What is not installed is
left out and said so. Nothing but loopback and a temporary folder is touched.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count, repeat
from pathlib import Path

from filesync.engine import (
    Endpoint,
    Finished,
    Method,
    Outcome,
    Remote,
    StopSignal,
    SyncRequest,
    find_rclone,
    run_sync,
)
from filesync.engine.ini import render_ini, section_of
from filesync.engine.tuning import go_runtime
from tests.benchmarks.engine_runs import memory_rows, prepared, timed_run
from tests.benchmarks.measuring import make_tree
from tests.benchmarks.report import Row, write_section
from tests.filesync.engine.lab import engine_remote
from tests.servers.distant import DistantServer
from tests.servers.s3 import S3Server
from tests.servers.webdav import WebdavServer

RCLONE = find_rclone()
# What the engine passes too and what changes the work: the rest is about messages and secrets.
SAME_FLAGS = ("--create-empty-src-dirs", "--transfers", "4", "--checkers", "8", "--retries", "1")
# As of a data centre in the same country; moto itself answers within 4 ms.
ROUND_TRIP_S = 0.02
# Rounds of what is over in seconds: the disk's share of it differs from round to round.
SHORT_ROUNDS = 9
MEMORY = Path("/dev/shm")
PARTS = ("local", "servers", "memory")
Contender = Callable[[], float]


def timed(command: list[str], env: Mapping[str, str] | None = None) -> float:
    """Return the seconds a command takes; `env` is added to ours."""
    started_s = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **(env or {})})
    return time.perf_counter() - started_s


def ours(request: SyncRequest, root: Path) -> float:
    """Return the seconds that the engine takes for a request."""
    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        events = run_sync(
            request,
            work_dir=Path(work),
            rclone=RCLONE,
            local_roots=(root,),
            stop=StopSignal(),
            log_path=Path(work).with_suffix(".log"),
        )
        for event in events:
            if isinstance(event, Finished):
                assert event.result.outcome is Outcome.SUCCEEDED, event.result.failure
    Path(work).with_suffix(".log").unlink(missing_ok=True)
    return time.perf_counter() - started_s


def race(
    rounds: int, contenders: Mapping[str, Contender], before: Callable[[], None]
) -> dict[str, list[float]]:
    """Let the contenders take turns; return the seconds of each, round by round."""
    seen: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        names = list(contenders)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            before()
            os.sync()  # what the one before wrote must not be written in this one's time
            seen[name].append(contenders[name]())
    return seen


def row(
    work: str, seen: Mapping[str, Sequence[float]], rival: str, goal: str, *, faster: bool
) -> Row:
    """Tell the median of each, and how many times as long as the rival we took.

    Where we are to be `faster`, it is how many times as long the rival took. Both of a ratio are of
    one round, and its median counts: what slows a machine down for a while slows both.
    """
    medians = {name: statistics.median(times) for name, times in seen.items()}
    others = ", ".join(f"{name} {s:.2f} s" for name, s in medians.items() if name != "Syncbeat")
    rounds = zip(seen["Syncbeat"], seen[rival], strict=True)
    ratio = statistics.median(its / own if faster else own / its for own, its in rounds)
    return Row(work, others, f"{medians['Syncbeat']:.2f} s", f"{ratio:.2f} x", goal)


def local_rows(root: Path, rounds: int, small: int, many: int) -> list[Row]:
    """Measure first copies and reruns between local folders, and first copies in memory."""
    rows = [
        local_row(root, rounds, "first copy, local", small, fresh=True),
        local_row(root, rounds, "rerun, no change, local", many, fresh=False),
    ]
    if MEMORY.is_dir():
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            work = "first copy, in memory (tmpfs)"
            rows.append(local_row(Path(folder), rounds, work, small, fresh=True))
    return rows


def local_row(root: Path, rounds: int, work: str, files: int, *, fresh: bool) -> Row:
    """Measure a run between two folders below `root`, beside bare rclone and rsync.

    A first copy gets a folder of its own, and none is removed in between: ext4 gives no inode of a
    deleted file away for some seconds, and who came next would search for one.
    """
    source = root / f"s{files}"
    make_tree(source, files)
    remote = Remote("local", str(root))
    numbers = count() if fresh else repeat(0)

    def destination() -> Path:
        return root / f"d{files}-{next(numbers)}"

    defaults = [str(RCLONE), "copy", "--config", "/dev/null"]
    # The engine leaves reading a copy again out between local disks, so rclone may too.
    bare = [*defaults, *SAME_FLAGS, "--ignore-checksum"]
    # How much of the time is ours, whatever the settings gain.
    tuned, settings = [*bare, "--local-no-preallocate"], go_runtime([remote])
    # As every run here tells what it did.
    log = ["-v", "--use-json-log", "--log-file", str(root / "rclone.log")]

    def syncbeat() -> float:
        ends = Endpoint(remote, source.name), Endpoint(remote, destination().name)
        return ours(SyncRequest(*ends, Method.INCREMENTAL), root)

    commands: dict[str, tuple[list[str], dict[str, str]]] = {
        "rclone's defaults": (defaults, {}),
        "bare rclone": (bare, {}),
        "bare rclone, our settings": (tuned, settings),
        "the same with the log of a run": ([*tuned, *log], settings),
    }

    def by_rclone(command: list[str], env: dict[str, str]) -> float:
        return timed([*command, str(source), str(destination())], env)

    rivals: dict[str, Contender] = {
        **{name: partial(by_rclone, *how) for name, how in commands.items()},
        "Syncbeat": syncbeat,
    }
    if rsync := shutil.which("rsync"):
        rivals["rsync"] = lambda: timed([rsync, "-a", f"{source}/", str(destination())])
    if not fresh:
        rivals["bare rclone"]()
    seen = race(rounds, rivals, lambda: None)
    return row(f"{work}, {files:,} files", seen, "bare rclone", "<= 1.05 x", faster=False)


def server_rows(root: Path, rounds: int, files: int) -> list[Row]:
    """Measure first copies of small files to servers, against rclone as it comes."""
    make_tree(root / "small", files)
    rows: list[Row] = []
    with (
        WebdavServer() as webdav,
        S3Server() as s3,
        DistantServer(s3.port, ROUND_TRIP_S) as distant,
    ):
        far = replace(s3.remote, options={**s3.remote.options, "endpoint": distant.url})
        for name, remote, goal, before in (
            ("WebDAV (wsgidav)", webdav.remote, ">= 5 x", lambda: None),
            # moto slows down with what it holds, and forgets it in a restart.
            ("S3 (moto)", s3.remote, ">= 2 x", s3.restart),
            (f"S3 (moto), {ROUND_TRIP_S * 1000:.0f} ms away", far, ">= 2 x", s3.restart),
        ):
            seen = race(rounds, _to_server(root, engine_remote(remote)), before)
            work = f"{files:,} small files to {name}"
            rows.append(row(work, seen, "rclone's defaults", goal, faster=True))
    return rows


def _to_server(root: Path, remote: Remote) -> dict[str, Contender]:
    """Each round sends to a new folder: nothing needs to be deleted between them."""
    config = root / f"{remote.backend}.conf"
    config.write_text(render_ini({"dst": section_of(remote, {})}))

    def path() -> str:
        return f"b{time.monotonic_ns()}"

    def defaults() -> float:
        to = f"dst:{'/'.join(filter(None, (remote.root, path())))}"
        return timed([str(RCLONE), "copy", "--config", str(config), str(root / "small"), to])

    def syncbeat() -> float:
        source = Endpoint(Remote("local", str(root)), "small")
        return ours(SyncRequest(source, Endpoint(remote, path())), root)

    contenders: dict[str, Contender] = {"rclone's defaults": defaults, "Syncbeat": syncbeat}
    aws = shutil.which("aws") if remote.backend == "s3" else None
    if aws:
        keys = {
            "AWS_ACCESS_KEY_ID": remote.options["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": remote.secrets["secret_access_key"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        copy = [aws, "--endpoint-url", remote.options["endpoint"], "s3", "cp", "--recursive"]

        def by_aws() -> float:
            return timed([*copy, str(root / "small"), f"s3://{remote.root}/{path()}"], keys)

        contenders["aws cli"] = by_aws
    return contenders


def overhead_row(top: Path, root: Path, rounds: int) -> Row:
    """Measure a run with nothing to do, from queued to its terminal state, over bare rclone."""
    make_tree(root / "few", 10)
    whole_run = prepared(top, root / "few")
    bare = [str(RCLONE), "copy", "--config", "/dev/null", *SAME_FLAGS]
    bare += [str(root / "few"), str(root / "few-copy")]
    whole_run()
    seen = race(
        max(rounds, 15),
        {"bare rclone": lambda: timed(bare), "Syncbeat": partial(timed_run, whole_run)},
        lambda: None,
    )
    medians = {name: statistics.median(times) for name, times in seen.items()}
    over_ms = 1000 * (medians["Syncbeat"] - medians["bare rclone"])
    return Row(
        "a run with nothing to do, queued to terminal, no broker",
        f"bare rclone {1000 * medians['bare rclone']:.0f} ms",
        f"{1000 * medians['Syncbeat']:.0f} ms",
        f"+{over_ms:.0f} ms",
        "<= +150 ms",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="the page whose section is replaced")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=20_000, help="files of the first copy")
    parser.add_argument("--many", type=int, default=200_000, help="files of the rerun")
    parser.add_argument("--to-servers", type=int, default=2_000)
    parser.add_argument("--memory", type=int, default=1_000_000)
    parser.add_argument("--part", choices=PARTS, action="append", help="only these")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="syncbeat-bench-") as folder:
        top = Path(folder)
        for part in chosen.part or PARTS:
            root = top / part
            root.mkdir()
            rows = rows_of(part, top, root, chosen)
            write_section(chosen.write, f"Transfer engine, {part}", "make bench-engine", rows)
            shutil.rmtree(root)


def rows_of(part: str, top: Path, root: Path, chosen: argparse.Namespace) -> list[Row]:
    if part == "local":
        return [
            overhead_row(top, root, chosen.rounds),
            *local_rows(root, max(chosen.rounds, SHORT_ROUNDS), chosen.small, chosen.many),
        ]
    if part == "servers":
        return server_rows(root, chosen.rounds, chosen.to_servers)
    return memory_rows(top, root, chosen.memory)


if __name__ == "__main__":
    main()
