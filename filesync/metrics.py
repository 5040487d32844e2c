"""What Prometheus reads: everything from the database, so that any process tells all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.models import Count, Min, Sum
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from filesync import selectors
from filesync.models import Delivery, RunTotal, Storage, Story, SyncConfig, SyncRun
from filesync.models.run_total import DURATION_BOUNDS_S, LAG_BOUNDS_S
from scheduler.models import Heartbeat

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition() -> bytes:
    """Return all metrics in Prometheus's text format; a handful of queries."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Database())
    return generate_latest(registry)


class _Database(Collector):
    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from _totals()
        yield from _active()
        yield from _processes()
        yield from _rest()


def _totals() -> Iterator[Metric]:
    totals = list(RunTotal.objects.order_by("state", "failure_class"))
    labels = ["state", "failure_class"]
    runs = CounterMetricFamily("syncbeat_runs", "Runs that ended, and slots missed", labels=labels)
    files = CounterMetricFamily("syncbeat_files", "Files transferred", labels=labels)
    sent = CounterMetricFamily("syncbeat_bytes", "Bytes transferred", labels=labels)
    for total in totals:
        values = [total.state, total.failure_class]
        runs.add_metric(values, total.runs)
        files.add_metric(values, total.files)
        sent.add_metric(values, total.size_bytes)
    yield from (runs, files, sent)
    durations = HistogramMetricFamily(
        "syncbeat_run_duration_seconds", "How long runs took", labels=labels
    )
    lags = HistogramMetricFamily(
        "syncbeat_slot_lag_seconds", "How long after its slot a run started", labels=labels
    )
    for total in totals:
        values = [total.state, total.failure_class]
        durations.add_metric(values, _buckets(DURATION_BOUNDS_S, total.durations), total.duration_s)
        lags.add_metric(values, _buckets(LAG_BOUNDS_S, total.lags), total.lag_s)
    yield from (durations, lags)


def _buckets(bounds: Sequence[int], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Return cumulative buckets, as the format wants them."""
    found: list[tuple[str, float]] = []
    running = 0
    for bound, count in zip([*(f"{bound:.1f}" for bound in bounds), "+Inf"], counts, strict=True):
        running += count
        found.append((bound, running))
    return found


def _active() -> Iterator[Metric]:
    now = timezone.now()
    counted = dict.fromkeys(SyncRun.ACTIVE, 0) | dict(
        SyncRun.objects.filter(state__in=SyncRun.ACTIVE)
        .order_by()
        .values_list("state")
        .annotate(runs=Count("pk"))
    )
    active = GaugeMetricFamily("syncbeat_runs_active", "Runs under way", labels=["state"])
    for state, count in counted.items():
        active.add_metric([state], count)
    yield active
    queued = SyncRun.objects.filter(state=SyncRun.State.QUEUED)
    oldest = queued.aggregate(at=Min("created_at"))["at"]
    age_s = (now - oldest).total_seconds() if oldest else 0
    yield GaugeMetricFamily("syncbeat_queue_age_seconds", "Age of the oldest queued run", age_s)
    late = SyncRun.objects.filter(state__in=SyncRun.ACTIVE).exclude(late=SyncRun.Late.NO)
    yield GaugeMetricFamily("syncbeat_runs_late", "Active runs that are late", late.count())


def _processes() -> Iterator[Metric]:
    now = timezone.now()
    seen = GaugeMetricFamily(
        "syncbeat_heartbeat_age_seconds", "Since a process was seen", labels=["role", "name"]
    )
    for beat in Heartbeat.objects.order_by("role", "name"):
        seen.add_metric([beat.role, beat.name], max(0.0, (now - beat.seen_at).total_seconds()))
    yield seen
    beats, workers = selectors.processes()
    alive = GaugeMetricFamily("syncbeat_processes_alive", "Processes alive", labels=["role"])
    alive.add_metric(["beat"], sum(one.alive for one in beats))
    alive.add_metric(["worker"], sum(one.alive for one in workers))
    yield alive
    leading = any(one.leading for one in beats)
    yield GaugeMetricFamily("syncbeat_beat_leading", "Whether a beat leads", float(leading))
    living = [one for one in workers if one.alive]
    slots = sum(one.slots for one in living)
    yield GaugeMetricFamily("syncbeat_worker_slots", "Runs at once that live workers take", slots)
    serving = GaugeMetricFamily(
        "syncbeat_queue_workers", "Live workers that serve a queue in use", labels=["queue"]
    )
    for queue in sorted(selectors.used_queues()):
        # One that does not say what it serves may serve each.
        count = sum(not one.queues or queue in one.queues for one in living)
        serving.add_metric([queue], count)
    yield serving


def _rest() -> Iterator[Metric]:
    enabled = SyncConfig.objects.filter(enable=True).count()
    configs = GaugeMetricFamily("syncbeat_configs", "Sync configs", labels=["enabled"])
    configs.add_metric(["true"], enabled)
    configs.add_metric(["false"], SyncConfig.objects.count() - enabled)
    yield configs
    paused = Storage.objects.filter(paused_at__isnull=False).count()
    yield GaugeMetricFamily("syncbeat_storages_paused", "Storages whose runs wait", paused)
    waiting = Delivery.objects.filter(state__in=Delivery.OPEN)
    yield GaugeMetricFamily(
        "syncbeat_notifications_waiting", "Messages not sent yet", waiting.count()
    )
    stories = Story.objects.filter(closed_at=None)
    yield GaugeMetricFamily("syncbeat_stories_open", "Troubles that go on", stories.count())
    troubles = stories.aggregate(count=Sum("count"))["count"] or 0
    yield GaugeMetricFamily(
        "syncbeat_stories_open_events", "What happened within those troubles", troubles
    )
