"""How benchmarks measure in their own process: times, queries, and a database at rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that the work takes, and what it returns."""
    started = time.perf_counter()
    answer = work()
    return time.perf_counter() - started, answer


@contextmanager
def counted_queries() -> Iterator[list[str]]:
    """Yield a list that the queries of the block are added to."""
    from django.db import connection

    seen: list[str] = []

    def count(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        seen.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(count):
        yield seen


def settle() -> None:
    """Let PostgreSQL clear up what the benchmark's own mass update left, as it does overnight."""
    from django.db import connection

    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")


def make_tree(folder: Path, files: int, size_bytes: int = 3) -> None:
    """Write files of a few bytes, a hundred to a folder."""
    for number in range(files):
        path = folder / f"d{number // 10_000:03d}" / f"e{number // 100:05d}" / f"f{number}.txt"
        if number % 100 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (size_bytes + number % 7))
