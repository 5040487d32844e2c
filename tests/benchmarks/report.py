"""Writes benchmark tables into docs/benchmarks.md, each section replaced as a whole."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path

HEADER = (
    "# Benchmarks\n\n"
    "Every table is written by the command above it, but that of the drills; trust ratios first.\n"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table, all cells as text."""

    work: str
    contender: str
    ours: str
    ratio: str
    goal: str

    def as_list(self) -> list[str]:
        return list(astuple(self))


def quantiles_ms(times_s: Sequence[float]) -> str:
    """Return the median and the 99th percentile in words; of 40 times that is all but the worst."""
    cuts = statistics.quantiles(times_s, n=100, method="inclusive")
    return f"p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms"


def write_section(target: Path | None, title: str, command: str, rows: Sequence[Row]) -> None:
    """Print the table, and replace its section in `target` where one is named."""
    text = render(title, command, rows)
    print(text)
    if target is None:
        return
    old = target.read_text(encoding="utf-8") if target.exists() else HEADER
    head, marker, rest = old.partition(f"\n## {title}\n")
    if marker:
        _, following, tail = rest.partition("\n## ")
        rest = following + tail
    target.write_text(head.rstrip() + "\n\n" + text + rest, encoding="utf-8")


def render(title: str, command: str, rows: Sequence[Row]) -> str:
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    lines = [
        f"## {title}",
        "",
        f"`{command}`, {day}, {machine()}",
        "",
        "| work | contender | Syncbeat | ratio | goal |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(row.as_list())} |" for row in rows),
        "",
    ]
    return "\n".join(lines)


def machine() -> str:
    """Return what the numbers were measured on, without its name."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}"
    )
