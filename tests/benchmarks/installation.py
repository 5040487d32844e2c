"""An empty installation for benchmarks: its servers, and code that runs in its environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port, short_temp_dir
from tests.servers.redis import RedisServer


@contextmanager
def servers(database: str) -> Iterator[dict[str, str]]:
    """Yield the environment of an empty installation on `sqlite` or `postgres`, with a broker."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        data_dir = short_temp_dir("sb-bench-")
        stack.callback(shutil.rmtree, data_dir, ignore_errors=True)
        environment = dict(os.environ) | {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "SYNCBEAT_DATA_DIR": str(data_dir),
            "SYNCBEAT_PORT": str(free_port()),
            "CELERY_BROKER": redis.url,
            "LOG_LEVEL": "error",
        }
        environment.pop("DATABASE_URL", None)
        if database == "postgres":
            environment["DATABASE_URL"] = stack.enter_context(PostgresServer()).url
        yield environment


def in_child(module: str, environment: dict[str, str], *arguments: str) -> Any:
    """Run a module in that environment; return the JSON of the last line that it prints."""
    argv = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])
