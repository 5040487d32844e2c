"""`make bench-scheduler`: stock DatabaseScheduler and ours on the same rows, in one run.

Each database gets a process of its own (settings are read once), and so does each measurement of
memory. Stock's slow paths are measured over fewer rows and scaled; the table says where.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.contenders import (
    STOCK_REFRESH_SAMPLE,
    load_memory_mb,
    our_scheduler,
    stock_refresh_s,
    stock_scheduler,
)
from tests.benchmarks.filling import CRONS, cron_of
from tests.benchmarks.installation import in_child, servers
from tests.benchmarks.measuring import counted_queries, settle, timed
from tests.benchmarks.report import Row, write_section

MODULE = "tests.benchmarks.scheduler"
CONFIGS = 100_000
STOCK_DISPATCH_SAMPLE = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", type=int, default=CONFIGS)
    parser.add_argument("--database", choices=["sqlite", "postgres"], action="append")
    parser.add_argument("--write", type=Path, help="docs file whose section is replaced")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--memory-of", choices=["stock", "ours"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(load_memory_mb(options.memory_of)))
        return
    if options.inside:
        print(json.dumps([row.as_list() for row in Bench(options.configs).run()]))
        return
    for database in options.database or ["sqlite", "postgres"]:
        rows = run_on(database, options.configs)
        title = f"Scheduler, {options.configs:,} configs, {CRONS:,} distinct crons, {database}"
        write_section(options.write, title, "make bench-scheduler", rows)


def run_on(database: str, configs: int) -> list[Row]:
    """Run the measurements in a child process with servers of its own."""
    with servers(database) as environment:
        told = in_child(MODULE, environment, "--inside", "--configs", str(configs))
    return [Row(*values) for values in told]


class Bench:
    """The measurements of one database, in the order in which they need each other's rows."""

    def __init__(self, configs: int) -> None:
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        self.configs = configs
        self.rows: list[Row] = []

    def run(self) -> list[Row]:
        self.make_configs()
        self.refresh()
        self.load()
        self.reload()
        self.idle_tick()
        for count in (1_000, 10_000):
            self.dispatch(min(count, self.configs))
        self.stock_dispatch()
        self.validate_cron()
        return self.rows

    def note(self, work: str, stock: str, ours: str, ratio: float | None, goal: str) -> None:
        shown = "-" if ratio is None else f"{ratio:,.0f} x"
        self.rows.append(Row(work, stock, ours, shown, goal))
        print(f"{work}: stock {stock}, ours {ours}, ratio {shown}", file=sys.stderr, flush=True)

    def make_configs(self) -> None:
        from filesync.models import Storage, SyncConfig

        storages = [
            Storage.objects.create(name=name, backend="local", root=f"/srv/{name}")
            for name in ("source", "destination")
        ]
        SyncConfig.objects.bulk_create(
            (
                SyncConfig(
                    name=f"config {number}",
                    source_storage=storages[0],
                    source_path=f"{number}",
                    destination_storage=storages[1],
                    destination_path=f"{number}",
                    cron=cron_of(number % CRONS),
                )
                for number in range(self.configs)
            ),
            batch_size=2_000,
        )

    def refresh(self) -> None:
        from scheduler.sync_scheduler import get_sync_scheduler

        stock_all_s, stock_none_s = stock_refresh_s(self.configs)
        scheduler = get_sync_scheduler()
        created_s, report = timed(scheduler.refresh)
        assert report.created == self.configs, report
        with counted_queries() as queries:
            none_s = statistics.median(timed(scheduler.refresh)[0] for _ in range(3))
        per_chunk = len(queries) / 3 / max(1, self.configs / 2_000)
        scaled = f"(over {STOCK_REFRESH_SAMPLE:,}, scaled)"
        self.note(
            "refresh: create all",
            f"{stock_all_s:,.0f} s {scaled}",
            f"{created_s:.1f} s",
            stock_all_s / created_s,
            "<= 12 s",
        )
        self.note(
            "refresh: nothing to do",
            f"{stock_none_s:,.0f} s {scaled}",
            f"{none_s:.2f} s, {per_chunk:.1f} queries per 2,000",
            stock_none_s / none_s,
            "<= 1.5 s",
        )

    def load(self) -> None:
        stock, ours = memory_of("stock"), memory_of("ours")
        stock_text = stock.get("error") or f"{stock['seconds']:.1f} s, +{stock['mb']:.0f} MB"
        ratio = stock["seconds"] / ours["seconds"] if "seconds" in stock else None
        self.note(
            "load",
            str(stock_text),
            f"{ours['seconds']:.2f} s, +{ours['mb']:.0f} MB",
            ratio,
            "<= 1.5 s, <= 100 MB",
        )

    def reload(self) -> None:
        from django.utils import timezone
        from django_celery_beat.models import PeriodicTask

        from filesync.models import SyncConfig

        # One change among rows that have stood for a while, as on any day but the first.
        PeriodicTask.objects.update(date_changed=timezone.now() - timedelta(hours=1))
        settle()
        ours = our_scheduler()
        config = SyncConfig.objects.order_by("pk").first()
        assert config is not None
        samples = []
        for minute in range(5):
            config.cron = f"{minute} 3 * * *"
            config.save()
            assert ours._read_stamp()
            samples.append(timed(ours._reload_changed)[0])
        ours_s = statistics.median(samples)
        stock = stock_scheduler()
        stock_s = None if stock is None else timed(stock.all_as_schedule)[0]
        self.note(
            "reload after one change",
            "does not start" if stock_s is None else f"{stock_s:.1f} s",
            f"{ours_s * 1000:.0f} ms",
            None if stock_s is None else stock_s / ours_s,
            "<= 30 ms",
        )

    def idle_tick(self) -> None:
        ours = our_scheduler()
        ours.tick()
        ours_s = statistics.median(timed(ours.tick)[0] for _ in range(200))
        stock = stock_scheduler()
        stock_s = None
        if stock is not None:
            stock.tick()
            stock_s = statistics.median(timed(stock.tick)[0] for _ in range(5))
        self.note(
            "idle tick",
            "does not start" if stock_s is None else f"{stock_s * 1000:.0f} ms",
            f"{ours_s * 1000:.2f} ms",
            None if stock_s is None else stock_s / ours_s,
            "<= 1 ms",
        )

    def dispatch(self, count: int) -> None:
        """Make `count` configs due at one slot, five times; time heap, claim, rows and messages."""
        from django.utils import timezone
        from django_celery_beat.models import PeriodicTask

        from filesync.models import SyncConfig, SyncRun
        from scheduler import cron
        from scheduler.claims import claim
        from scheduler.slots import Member, SlotHeap

        ids = list(SyncConfig.objects.order_by("-pk").values_list("pk", flat=True)[:count])
        names = [f"filesync.syncconfig:{pk}" for pk in ids]
        tasks = dict(PeriodicTask.objects.filter(name__in=names).values_list("name", "pk"))
        first = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=10)
        ours = our_scheduler()
        # After the load, which would catch up what these rows then seem to have missed.
        PeriodicTask.objects.filter(pk__in=tasks.values()).update(
            start_time=first - timedelta(days=1), last_run_at=None
        )
        settle()
        every_minute = cron.schedule("* * * * *", "UTC")
        samples = []
        for number in range(5):
            SyncRun.objects.all().delete()
            slot = first + timedelta(minutes=number)
            heap = SlotHeap()
            for pk, name in zip(ids, names, strict=True):
                since = slot - timedelta(seconds=30)
                member = Member(tasks[name], "filesync.syncconfig", pk, since, None)
                heap.put(member, every_minute, 0, now=since)

            def fire(heap: SlotHeap = heap, slot: datetime = slot) -> None:
                ours._publish(claim(heap.due(slot), now=slot))

            samples.append(timed(fire)[0])
            fired = SyncRun.objects.filter(slot=slot, state=SyncRun.State.QUEUED).count()
            assert fired == count, f"{fired} of {count} fired"
        seconds = statistics.median(samples)
        self.dispatch_per_s = count / seconds
        self.note(
            f"dispatch of {count:,} due at once",
            "see below",
            f"{self.dispatch_per_s:,.0f} per s ({seconds:.2f} s)",
            None,
            ">= 2,000 per s",
        )

    def stock_dispatch(self) -> None:
        """Time stock's ticks over rows that are due, each of which it sends and saves."""
        from django.utils import timezone
        from django_celery_beat.models import PeriodicTask

        stock = stock_scheduler()
        if stock is None:
            self.note("dispatch, stock", "does not start", "-", None, "-")
            return
        due = list(stock.schedule.values())[: STOCK_DISPATCH_SAMPLE + 5]
        for entry in due:
            entry.last_run_at = entry.model.last_run_at = timezone.now() - timedelta(days=400)
        stock.populate_heap()
        samples = [timed(stock.tick)[0] for _ in range(STOCK_DISPATCH_SAMPLE)]
        per_s = len(samples) / sum(samples)
        ratio = self.dispatch_per_s / per_s
        self.note(
            f"dispatch, stock, {len(samples)} of {PeriodicTask.objects.count():,}",
            f"{per_s:.1f} per s",
            f"{self.dispatch_per_s:,.0f} per s",
            ratio,
            "-",
        )

    def validate_cron(self) -> None:
        from scheduler.sync_scheduler import get_sync_scheduler

        scheduler = get_sync_scheduler()
        samples = []
        for number in range(300):
            # Each is seen for the first time: nothing is read from a cache.
            expr = f"{number % 60} {number % 24} {1 + number % 28} * {number % 6}-6"
            samples.append(timed(partial(scheduler.validate_cron_expression, expr))[0])
        self.note(
            "validate-cron with five times",
            "-",
            f"{statistics.median(samples) * 1000:.2f} ms",
            None,
            "<= 1 ms",
        )


def memory_of(who: str) -> dict[str, Any]:
    """Load in a fresh process; return seconds and megabytes, or the error."""
    answer: dict[str, Any] = in_child(MODULE, dict(os.environ), "--memory-of", who)
    return answer


if __name__ == "__main__":
    main()
