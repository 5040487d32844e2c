"""`make bench-api`: the API as shipped (gunicorn, its threads, the broker) over many rows.

The database is filled by a child process, as settings are read once. The clients are threads of
this process: they share the machine with the server, so the times hold their share too.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from tests.benchmarks.report import Row, write_section
from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port, short_temp_dir
from tests.servers.redis import RedisServer

CRONS = 2_000
ACCOUNTS = 20
READERS = 2
STARTERS = 8
WARM_UP = 20
SIZES = {"postgres": (100_000, 1_000_000), "sqlite": (1_000, 10_000)}
BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the child has made: tokens, and the command of the web server."""

    tokens: list[str]
    argv: list[str]
    first_config: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The times of one kind of request, in seconds, and the statuses that were not meant."""

    times_s: list[float]
    wrong: list[int]
    took_s: float

    def shown(self, *, with_rate: bool) -> str:
        cuts = statistics.quantiles(self.times_s, n=100)
        text = f"p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms"
        if with_rate:
            text = f"{len(self.times_s) / self.took_s:.0f} per s, {text}"
        return text + (f", {len(self.wrong)} errors" if self.wrong else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=list(SIZES), action="append")
    parser.add_argument("--configs", type=int)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--requests", type=int, default=400, help="of each kind")
    parser.add_argument("--wait", action="store_true", help="ask before measuring")
    parser.add_argument("--write", type=Path, help="docs file whose section is replaced")
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        print(json.dumps(prepare(options.configs, options.runs)))
        return
    for database in options.database or list(SIZES):
        configs, runs = SIZES[database]
        configs, runs = options.configs or configs, options.runs or runs
        rows = run_on(database, configs, runs, options.requests, wait=options.wait)
        title = f"API, {configs:,} configs, {runs:,} runs, {database}"
        write_section(options.write, title, "make bench-api", rows)


def run_on(database: str, configs: int, runs: int, requests: int, *, wait: bool) -> list[Row]:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        port = free_port()
        environment = dict(os.environ) | {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "SYNCBEAT_DATA_DIR": str(short_temp_dir("sb-bench-")),
            "SYNCBEAT_PORT": str(port),
            "CELERY_BROKER": redis.url,
            "LOG_LEVEL": "error",
        }
        environment.pop("DATABASE_URL", None)
        if database == "postgres":
            environment["DATABASE_URL"] = stack.enter_context(PostgresServer()).url
        argv = [sys.executable, "-m", "tests.benchmarks.api", "--prepare"]
        argv += ["--configs", str(configs), "--runs", str(runs)]
        done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, check=True)
        prepared = Prepared(**json.loads(done.stdout.splitlines()[-1]))
        if wait:
            input("prepared; press Enter to measure: ")
        stack.enter_context(served(prepared.argv, environment, port))
        return measure(port, prepared, configs, runs, requests)


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


def measure(port: int, prepared: Prepared, configs: int, runs: int, requests: int) -> list[Row]:
    middle = BEGIN + (datetime.now(UTC) - BEGIN) / 2
    since = (middle - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    until = middle.strftime("%Y-%m-%dT%H:%M:%SZ")
    config = prepared.first_config + configs // 2
    reads = {
        "task-status": ("/api/v1/task/scheduler/task-status", "p99 <= 100 ms"),
        "configs, first page": ("/api/v1/sync/configs", "p99 <= 150 ms"),
        "configs, last page": (f"/api/v1/sync/configs?page={configs // 50}", "p99 <= 150 ms"),
        "configs, enabled": ("/api/v1/sync/configs?enable=true", "p99 <= 150 ms"),
        "runs, first page": ("/api/v1/sync/runs", "p99 <= 150 ms"),
        "runs of a config": (f"/api/v1/sync/runs?config={config}", "p99 <= 150 ms"),
        "runs that failed": ("/api/v1/sync/runs?state=FAILED", "p99 <= 150 ms"),
        "runs of a day a month ago": (
            f"/api/v1/sync/runs?since={since}&until={until}",
            "p99 <= 150 ms",
        ),
    }
    rows: list[Row] = []
    for work, (path, goal) in reads.items():
        send(port, prepared.tokens, READERS, [("GET", path)] * WARM_UP)
        done = send(port, prepared.tokens, READERS, [("GET", path)] * requests)
        rows.append(Row(work, "-", done.shown(with_rate=False), "-", goal))
        print(rows[-1], file=sys.stderr, flush=True)
    starts = [
        ("POST", f"/api/v1/task/scheduler/execute-sync/{prepared.first_config + number}")
        for number in range(min(configs, 5 * requests))
    ]
    done = send(port, prepared.tokens, STARTERS, starts)
    goal = ">= 100 per s, p99 <= 300 ms"
    rows.append(Row("execute-sync", "-", done.shown(with_rate=True), "-", goal))
    print(rows[-1], file=sys.stderr, flush=True)
    return rows


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


# In the child: the rows ---------------------------------------------------------------------------


def prepare(configs: int, runs: int) -> dict[str, object]:
    """Fill the database; return what `Prepared` holds."""
    import django

    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command
    from django.db import connection

    from filesync.models import ApiToken, Storage, SyncConfig
    from project.services import build_services
    from scheduler.sync_scheduler import get_sync_scheduler
    from tests.benchmarks.scheduler import cron_of

    call_command("migrate", verbosity=0)
    storages = [
        Storage.objects.create(name=name, backend="local", root=f"/srv/{name}")
        for name in ("source", "destination")
    ]
    SyncConfig.objects.bulk_create(
        (
            SyncConfig(
                name=f"config {number:06}",
                source_storage=storages[0],
                source_path=f"{number}",
                destination_storage=storages[1],
                destination_path=f"{number}",
                cron=cron_of(number % CRONS),
            )
            for number in range(configs)
        ),
        batch_size=2_000,
    )
    get_sync_scheduler().refresh()
    first = SyncConfig.objects.order_by("pk").values_list("pk", flat=True)[0]
    make_runs(first, configs, runs)
    tokens = []
    for number in range(ACCOUNTS):
        user = User.objects.create(username=f"operator {number}")
        user.groups.add(Group.objects.get(name="operator"))
        tokens.append(ApiToken.issue(user, "benchmark")[1])
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
        cursor.execute("ANALYZE")
    (web,) = (entry for entry in build_services(settings.DATA_DIR) if entry.name == "web")
    return {"tokens": tokens, "argv": list(web.argv), "first_config": first}


def make_runs(first_config: int, configs: int, runs: int) -> None:
    """Multiply one run of the model's making: each row inserted by itself would take minutes."""
    from django.db import connection
    from django.utils import timezone

    from filesync.models import SyncRun
    from scheduler.models import Heartbeat

    # Signs of life from the future: beat and worker stay alive as long as this takes.
    later = timezone.now() + timedelta(hours=1)
    for role, slots in (("beat", 0), ("worker", 4)):
        Heartbeat.objects.create(
            role=role, name=f"{role}@a", started_at=BEGIN, seen_at=later, slots=slots, leading=True
        )
    model = SyncRun.objects.create(
        config_id=first_config, config_name="config", state="SUCCEEDED", trigger="CRON", slot=BEGIN
    )
    apart_s = max(1, int((datetime.now(UTC) - BEGIN).total_seconds()) // runs)
    postgres = connection.vendor == "postgresql"
    moment = (
        f"slot + n * interval '{apart_s} seconds'"
        if postgres
        else f"strftime('%Y-%m-%d %H:%M:%f', slot, '+' || (n * {apart_s}) || ' seconds')"
    )
    columns = {field.column: f'"{field.column}"' for field in SyncRun._meta.concrete_fields}
    del columns["id"]
    columns |= {
        "task_id": "gen_random_uuid()" if postgres else "lower(hex(randomblob(16)))",
        "config_id": f"{first_config} + n % {configs}",
        "slot": moment,
        "created_at": moment,
        "started_at": moment,
        "finished_at": moment,
        "state": "CASE WHEN n % 100 = 0 THEN 'FAILED' ELSE 'SUCCEEDED' END",
    }
    names = ", ".join(f'"{name}"' for name in columns)
    with connection.cursor() as cursor:
        if postgres:
            cursor.execute("SET statement_timeout = 0")
        cursor.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
            f"WHERE n < {runs}) INSERT INTO filesync_syncrun ({names}) "
            f"SELECT {', '.join(columns.values())} FROM numbers, filesync_syncrun "
            f"WHERE filesync_syncrun.id = {model.pk}"
        )


if __name__ == "__main__":
    main()
