"""`make soak`: very many configs that fire each minute and find nothing to do, for half an hour.

It fails when memory, descriptors or threads grow, messages pile up in the broker, a zombie stays, a
slot is lost or doubled, a run never ends, or is not told as it is to be. That a machine is too slow
for all slots is no failure: those are SKIPPED, and counted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.report import Row, write_section
from tests.benchmarks.steady import percentiles, trend
from tests.servers.postgres import PostgresServer
from tests.servers.process import short_temp_dir
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

if TYPE_CHECKING:
    from tests.benchmarks.soak_lab import Sample, SlotRow, SoakLab

MINUTE_S = 60
SAMPLE_EVERY_S = 30.0
# At the end every config may have a run that waits.
ENDS_WITHIN_S = 600.0
TOLD_WITHIN_S = 120.0
# Less is noise: what the allocator keeps, a pipe that is open just now.
GROWS_FROM = {"memory": 4.0, "descriptors": 3.0, "threads": 1.0, "processes": 0.5}
UNITS = {"memory": " MiB"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--configs", type=int, default=500)
    parser.add_argument("--broker", choices=["redis", "rabbitmq"], default="redis")
    parser.add_argument("--every", type=float, default=SAMPLE_EVERY_S, help="seconds per sample")
    parser.add_argument("--write", type=Path, help="docs file whose section is replaced")
    options = parser.parse_args()
    folder = short_temp_dir("sb-soak-")
    set_up_django(folder / "own")
    try:
        lines, failures = soak(folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    title = (
        f"Soak, {options.configs:,} configs each minute for {options.minutes:g} minutes, "
        f"PostgreSQL, {options.broker}"
    )
    write_section(options.write, title, "make soak", lines)
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)


def set_up_django(data_dir: Path) -> None:
    """Let this process load the models; it asks no database, that does the lab's own process."""
    os.environ.pop("DATABASE_URL", None)
    os.environ |= {"DJANGO_SETTINGS_MODULE": "project.settings", "SYNCBEAT_DATA_DIR": str(data_dir)}
    import django

    django.setup()


def soak(folder: Path, options: argparse.Namespace) -> tuple[list[Row], list[str]]:
    """Run it, and return the table and what was wrong."""
    from tests.benchmarks.soak_lab import SoakLab, rows, slot_rows
    from tests.benchmarks.soak_told import judge_telling
    from tests.drills.lab import PostgresDatabases

    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer())
        broker: RabbitmqServer | RedisServer = (
            RabbitmqServer() if options.broker == "rabbitmq" else RedisServer()
        )
        stack.enter_context(broker)
        url = PostgresDatabases(server, folder).fresh(folder)
        lab = stack.enter_context(SoakLab(url, broker, folder))
        lab.start(options.configs)
        before = lab.cpu_s(server.process, broker.process)
        samples = []
        for sample in lab.watch(options.minutes, options.every):
            samples.append(sample)
            shown = {name: round(value, 1) for name, value in sample.seen.items()}
            print(f"minute {sample.minute:.1f}: {shown}", file=sys.stderr, flush=True)
        after = lab.cpu_s(server.process, broker.process)
        active = lab.stop_firing(patience_s=ENDS_WITHIN_S)
        unsent = lab.stop_telling(patience_s=TOLD_WITHIN_S)
        found, made = lab.ask(slot_rows), lab.ask(rows)
        lab.stop()
        spent_s = {part: after[part] - before[part] for part in after}
        lines, failures = judge_slots(lab, found, options.minutes, active)
        told, untold = judge_telling(lab, found, unsent)
        more, grown = judge_processes(samples, options.configs)
        counts = ", ".join(f"{count:,} {name}" for name, count in made.counts.items() if count)
        kept = Row("rows, and the database", "-", f"{counts}; {made.size_mb:.0f} MB", "-", "-")
        return [*lines, *told, *cpu_rows(spent_s, found), kept, *more], failures + untold + grown


def judge_slots(
    lab: SoakLab, found: Sequence[SlotRow], minutes: float, active: int
) -> tuple[list[Row], list[str]]:
    from tests.benchmarks.soak_lab import lost_and_doubled

    slots = [lab.first_slot + number * MINUTE_S for number in range(int(minutes))]
    lost, doubled = lost_and_doubled(found, lab.config_ids, slots)
    states = Counter(row.state for row in found)
    again = sum(row.attempt > 1 for row in found)
    ran = [row for row in found if row.started_at]
    per_minute = ended_per_minute(ran, lab.first_slot, len(slots))
    lines = [
        row_of("slots lost / doubled", f"{lost} / {doubled} of {len(found):,}", "0 / 0"),
        row_of("what became of them", ", ".join(f"{n:,} {state}" for state, n in states.items())),
        row_of(
            "runs that ended per minute",
            f"median {statistics.median(per_minute):.0f}, least {min(per_minute)}, "
            f"most {max(per_minute)}",
        ),
        row_of("from slot to row", percentiles([row.created_at - row.slot for row in found])),
        row_of("from slot to start", percentiles([row.started_at - row.slot for row in ran])),
        row_of(
            "from start to end",
            percentiles([row.finished_at - row.started_at for row in ran if row.finished_at]),
        ),
    ]
    failures = [f"{lost} slots are lost and {doubled} doubled"] if lost or doubled else []
    failures += [f"{active} runs did not end"] if active else []
    failures += [f"{again} runs took more than one attempt"] if again else []
    wrong = {state: n for state, n in states.items() if state not in ("SUCCEEDED", "SKIPPED")}
    failures += [f"unforeseen ends: {wrong}"] if wrong else []
    return lines, failures


def ended_per_minute(ran: Sequence[SlotRow], first_slot: float, minutes: int) -> list[int]:
    ended = Counter(int((row.finished_at - first_slot) // MINUTE_S) for row in ran)
    return [ended[minute] for minute in range(minutes)]


def cpu_rows(spent_s: Mapping[str, float], found: Sequence[SlotRow]) -> Iterator[Row]:
    runs = max(1, sum(bool(row.started_at) for row in found))
    for part, seconds in spent_s.items():
        yield row_of(f"CPU of {part}", f"{seconds:.0f} s, {seconds / runs * 1000:.0f} ms per run")


def judge_processes(samples: Sequence[Sample], configs: int) -> tuple[list[Row], list[str]]:
    from tests.benchmarks.soak_lab import zombies_that_stay

    zombies = zombies_that_stay(samples)
    lines = [row_of("zombies in two samples in a row", str(len(zombies)), "0")]
    failures = [f"zombies: {zombies}"] if zombies else []
    minutes = [sample.minute for sample in samples]
    waiting = [sample.seen["broker: messages"] for sample in samples]
    seen = f"median {statistics.median(waiting):.0f}, at most {max(waiting):.0f}"
    lines.append(row_of("messages in the broker", seen, f"<= {2 * configs:,}"))
    if max(waiting) > 2 * configs:
        failures.append(f"messages pile up in the broker, where one per config is enough: {seen}")
    for name in samples[0].seen:
        if name == "broker: messages":
            continue
        values = [sample.seen[name] for sample in samples]
        unit = UNITS.get(name.partition(": ")[2], "")
        line = trend(minutes, values)
        shown = f"{values[0]:.1f}{unit} at first, {line.mean:.1f}{unit} in the second half"
        shown += f", {line.per_hour:+.1f}{unit} per hour"
        lines.append(row_of(name, shown, "flat"))
        if line.grows(at_least=GROWS_FROM[name.partition(": ")[2]]):
            failures.append(f"{name} grows: {shown}")
    return lines, failures


def row_of(what: str, seen: str, goal: str = "-") -> Row:
    return Row(what, "-", seen, "-", goal)


if __name__ == "__main__":
    main()
