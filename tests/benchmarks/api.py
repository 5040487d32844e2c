"""`make bench-api`: the API as shipped (gunicorn, its threads, the broker) over many rows.

The clients are threads of this process: they share the machine with the server, so the times hold
their share too.
"""

from __future__ import annotations

import argparse
import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from tests.benchmarks.filling import RUNNING, SINCE, Filled
from tests.benchmarks.installation import in_child, servers
from tests.benchmarks.report import Row, quantiles_ms, write_section

READERS = 2
STARTERS = 8
WARM_UP = 20
SIZES = {"postgres": (100_000, 1_000_000), "sqlite": (1_000, 10_000)}
STARTS_GOAL = {"postgres": ">= 100 per s, p99 <= 300 ms, 0 errors", "sqlite": "0 errors"}
FILLING = "tests.benchmarks.filling"


@dataclass(frozen=True, slots=True)
class Measured:
    """The times of one kind of request, in seconds, and the statuses that were not meant."""

    times_s: list[float]
    wrong: list[int]
    took_s: float

    def shown(self, *, with_rate: bool) -> str:
        text = quantiles_ms(self.times_s)
        if with_rate:
            text = f"{len(self.times_s) / self.took_s:.0f} per s, {text}"
        return f"{text}, {len(self.wrong)} errors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=list(SIZES), action="append")
    parser.add_argument("--configs", type=int)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--requests", type=int, default=400, help="of each kind")
    parser.add_argument("--wait", action="store_true", help="ask before measuring")
    parser.add_argument("--write", type=Path, help="docs file whose section is replaced")
    options = parser.parse_args()
    for database in options.database or list(SIZES):
        configs, runs = SIZES[database]
        configs, runs = options.configs or configs, options.runs or runs
        rows = run_on(database, configs, runs, options.requests, wait=options.wait)
        title = f"API, {configs:,} configs, {runs:,} runs, {database}"
        write_section(options.write, title, "make bench-api", rows)


def run_on(database: str, configs: int, runs: int, requests: int, *, wait: bool) -> list[Row]:
    with servers(database) as environment:
        sizes = ("--configs", str(configs), "--runs", str(runs))
        filled = Filled(**in_child(FILLING, environment, *sizes))
        if wait:
            input("prepared; press Enter to measure: ")
        port = int(environment["SYNCBEAT_PORT"])
        with served(filled.web, environment, port):
            return [
                *measure_reads(port, filled, configs, requests),
                measure_starts(port, filled, configs, requests, STARTS_GOAL[database]),
            ]


@contextmanager
def served(argv: Sequence[str], environment: dict[str, str], port: int) -> Iterator[None]:
    """Run the web server until it is no longer needed."""
    with subprocess.Popen(argv, env=environment) as server:
        try:
            deadline = time.monotonic() + 60
            while not _answers(port):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the web server did not come up")
                time.sleep(0.1)
            yield
        finally:
            server.terminate()


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except OSError:
        return False


def reads(filled: Filled, configs: int) -> dict[str, str]:
    """Return the query of each kind of list that is asked for, by what it is called."""
    middle = datetime.now(UTC) - SINCE / 2
    since = (middle - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    until = middle.strftime("%Y-%m-%dT%H:%M:%SZ")
    config = filled.first_config + configs // 2
    return {
        "configs, first page": "configs",
        "configs, a page in the middle": f"configs?page={configs // 100}",
        "configs, last page": f"configs?page={configs // 50}",
        "configs, enabled": "configs?enable=true",
        "configs, newest first": "configs?ordering=-created_at",
        "configs, searched": "configs?search=00777",
        "runs, first page": "runs",
        "runs of a config": f"runs?config={config}",
        "runs that failed": "runs?state=FAILED",
        "runs of a day a month ago": f"runs?since={since}&until={until}",
        "runs of a config that failed since a day": (
            f"runs?config={config}&state=FAILED&since={since}"
        ),
        "runs, dry: none": "runs?dry_run=true",
        "runs, searched": "runs?search=00777",
        "runs, searched: none": "runs?search=nowhere",
    }


def measure_reads(port: int, filled: Filled, configs: int, requests: int) -> Iterator[Row]:
    status = "/api/v1/task/scheduler/task-status"
    paths = {"task-status": (status, "p99 <= 100 ms, 0 errors")} | {
        work: (f"/api/v1/sync/{query}", "p99 <= 150 ms, 0 errors")
        for work, query in reads(filled, configs).items()
    }
    for work, (path, goal) in paths.items():
        send(port, filled.tokens, READERS, [("GET", path)] * WARM_UP)
        done = send(port, filled.tokens, READERS, [("GET", path)] * requests)
        yield told(Row(work, "-", done.shown(with_rate=False), "-", goal))


def measure_starts(port: int, filled: Filled, configs: int, requests: int, goal: str) -> Row:
    starts = [
        ("POST", f"/api/v1/task/scheduler/execute-sync/{filled.first_config + number}")
        for number in range(min(configs - RUNNING, 5 * requests))
    ]
    done = send(port, filled.tokens, STARTERS, starts)
    return told(Row("execute-sync", "-", done.shown(with_rate=True), "-", goal))


def told(row: Row) -> Row:
    print(row, file=sys.stderr, flush=True)
    return row


def send(
    port: int, tokens: Sequence[str], clients: int, requests: Sequence[tuple[str, str]]
) -> Measured:
    """Send the requests from a number of clients, each on a connection that it keeps."""
    numbers = count()
    lock = threading.Lock()
    times_s: list[float] = []
    wrong: list[int] = []

    def client(which: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                number = next(numbers)
            if number >= len(requests):
                return
            method, path = requests[number]
            headers = {"Authorization": f"Bearer {tokens[number % len(tokens)]}"}
            began = time.perf_counter()
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            times_s.append(time.perf_counter() - began)
            if answer.status >= 300:
                wrong.append(answer.status)

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return Measured(times_s, wrong, time.perf_counter() - began)


if __name__ == "__main__":
    main()
