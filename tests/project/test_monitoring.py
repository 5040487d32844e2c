"""What monitors ask: /metrics in Prometheus's format and for those who may, /health/ready."""

from __future__ import annotations

import ipaddress
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from django.test import Client
from django.utils import timezone
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from pytest_django.fixtures import DjangoAssertNumQueries, SettingsWrapper

from filesync import health
from filesync.models import Storage, SyncRun
from filesync.notifications.watch import watch
from filesync.services import retention
from scheduler.models import Heartbeat
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    forget_newest_migration,
    make_config,
    make_run,
    make_storage,
    point_broker_at,
)
from tests.filesync.factories import use_broker as use_broker
from tests.project.docs import code_blocks
from tests.servers.process import REPOSITORY, free_port
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.django_db

TOKEN = "a long random token"


@pytest.fixture(autouse=True)
def token(settings: SettingsWrapper) -> None:
    settings.METRICS_TOKEN = TOKEN


def scrape() -> dict[str, Metric]:
    answer = Client().get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.content.decode())
    return {family.name: family for family in families}


def value(families: dict[str, Metric], sample: str, **labels: str) -> float:
    (found,) = (
        one.value
        for family in families.values()
        for one in family.samples
        if one.name == sample and labels.items() <= one.labels.items()
    )
    return found


def test_every_family_has_a_help_text_and_a_type() -> None:
    families = scrape()
    assert len(families) >= 15
    for family in families.values():
        assert family.name.startswith("syncbeat_")
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram")


def test_counters_count_each_ended_run_once_and_outlive_it(local_root: Path) -> None:
    now = timezone.now()
    config = make_config(local_root)
    for seconds in (0.5, 30, 100_000):
        run = make_run(
            config,
            state=SyncRun.State.SUCCEEDED,
            slot=now - timedelta(seconds=seconds, days=1),
            started_at=now - timedelta(seconds=seconds),
            finished_at=now,
        )
        SyncRun.objects.filter(pk=run.pk).update(files_transferred=2, bytes_transferred=1000)
    make_run(config, state=SyncRun.State.FAILED, failure_class="AUTH")
    make_run(config, state=SyncRun.State.MISSED, slot=now, finished_at=now - timedelta(minutes=5))
    for _ in range(3):
        watch()
    SyncRun.objects.update(finished_at=now - timedelta(days=1000))
    retention.delete_expired()
    assert SyncRun.objects.count() == 0

    families = scrape()

    assert value(families, "syncbeat_runs_total", state="SUCCEEDED", failure_class="") == 3
    assert value(families, "syncbeat_runs_total", state="FAILED", failure_class="AUTH") == 1
    assert value(families, "syncbeat_runs_total", state="MISSED") == 1
    assert value(families, "syncbeat_bytes_total", state="SUCCEEDED") == 3000
    assert value(families, "syncbeat_files_total", state="SUCCEEDED") == 6
    took = "syncbeat_run_duration_seconds"
    buckets = {le: value(families, f"{took}_bucket", state="SUCCEEDED", le=le) for le in BOUNDS}
    assert buckets == {"1.0": 1, "60.0": 2, "43200.0": 2, "+Inf": 3}
    assert value(families, f"{took}_count", state="SUCCEEDED") == 3
    assert value(families, f"{took}_sum", state="SUCCEEDED") == pytest.approx(100_030.5)
    lag = value(families, "syncbeat_slot_lag_seconds_sum", state="SUCCEEDED")
    assert lag == pytest.approx(3 * 86_400)


BOUNDS = ("1.0", "60.0", "43200.0", "+Inf")


def test_gauges_say_what_is_now(local_root: Path) -> None:
    storage = make_storage(local_root)
    now = timezone.now()
    for state in (SyncRun.State.QUEUED, SyncRun.State.QUEUED, SyncRun.State.RUNNING):
        run = make_run(make_config(local_root, source_storage=storage), state=state)
    make_config(local_root, source_storage=storage, enable=False)
    SyncRun.objects.update(created_at=now - timedelta(seconds=90))
    SyncRun.objects.filter(pk=run.pk).update(late="TOO_LONG")
    Storage.objects.filter(pk=storage.pk).update(paused_at=now)
    Heartbeat.objects.create(
        role="worker", name="here", started_at=now, seen_at=now - timedelta(seconds=5), slots=4
    )
    Heartbeat.objects.create(
        role="beat", name="gone", started_at=now, seen_at=now - timedelta(hours=1), leading=True
    )

    families = scrape()

    assert value(families, "syncbeat_runs_active", state="QUEUED") == 2
    assert value(families, "syncbeat_runs_active", state="RUNNING") == 1
    assert value(families, "syncbeat_queue_age_seconds") == pytest.approx(90, abs=30)
    assert value(families, "syncbeat_runs_late") == 1
    assert value(families, "syncbeat_processes_alive", role="worker") == 1
    assert value(families, "syncbeat_processes_alive", role="beat") == 0
    assert value(families, "syncbeat_beat_leading") == 0
    assert value(families, "syncbeat_worker_slots") == 4
    assert value(families, "syncbeat_heartbeat_age_seconds", role="beat") >= 3600
    assert value(families, "syncbeat_configs", enabled="false") == 1
    assert value(families, "syncbeat_storages_paused") == 1


def test_a_scrape_takes_the_same_number_of_queries_however_much_there_is(
    local_root: Path, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(13):
        scrape()
    storage = make_storage(local_root)
    for _ in range(5):
        make_run(make_config(local_root, source_storage=storage))
    with django_assert_num_queries(13):
        scrape()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [(f"Bearer {TOKEN}", 200), ("Bearer wrong", 403), ("Bearer ", 403), ("", 403)],
)
def test_metrics_are_for_those_with_the_token(authorization: str, status: int) -> None:
    headers = {"authorization": authorization} if authorization else {}
    assert Client().get("/metrics", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("address", "status"), [("10.1.2.3", 200), ("192.168.1.1", 403), ("", 403), ("fd00::1", 403)]
)
def test_metrics_are_for_allowed_networks(
    settings: SettingsWrapper, address: str, status: int
) -> None:
    settings.METRICS_TOKEN = ""
    settings.METRICS_NETWORKS = [ipaddress.ip_network("10.0.0.0/8")]
    client = Client(headers={"x-forwarded-for": "10.1.2.3"}, REMOTE_ADDR=address)
    assert client.get("/metrics").status_code == status


def test_metrics_are_off_unless_somebody_may_read_them(settings: SettingsWrapper) -> None:
    settings.METRICS_TOKEN = ""
    answer = Client().get("/metrics", headers={"authorization": "Bearer "})
    assert answer.status_code == 404
    assert b"SYNCBEAT_METRICS_TOKEN" in answer.content


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    dashboard = json.loads((REPOSITORY / "docs" / "grafana-dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(asked) >= 8
    ends = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    known = {family.name + end for family in scrape().values() for end in ends[family.type]}
    for expression in asked:
        names = re.findall(r"syncbeat_\w+", expression)
        assert names
        assert set(names) <= known


def test_the_alert_rules_ask_for_metrics_and_labels_that_exist(local_root: Path) -> None:
    make_run(make_config(local_root), state=SyncRun.State.FAILED, failure_class="AUTH")
    watch()
    families = scrape()
    samples = {sample.name: sample.labels for one in families.values() for sample in one.samples}
    document = yaml.safe_load((REPOSITORY / "docs" / "prometheus-alerts.yml").read_text())
    (group,) = document["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names) >= 8
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")
        for name, selector in re.findall(r"(syncbeat_\w+)(?:\{([^}]*)\})?", rule["expr"]):
            assert set(re.findall(r"(\w+)=", selector)) <= set(samples[name])
        [*asked] = re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])
        assert not asked or asked == ["queue"]


@pytest.mark.parametrize("page", ["docs/operations.md", "docs/operations.zh.md"])
def test_the_scrape_configuration_gives_what_is_asked_for(page: str) -> None:
    (block,) = (block for block in code_blocks(page, "yaml") if "scrape_configs" in block)
    document = yaml.safe_load(block)
    (job,) = document["scrape_configs"]
    # Prometheus sends credentials as a bearer's, and asks for /metrics unless told otherwise.
    assert set(job) == {"job_name", "authorization", "static_configs"}
    (rules,) = document["rule_files"]
    assert (REPOSITORY / rules.removeprefix("/opt/syncbeat/")).exists()
    assert f'job="{job["job_name"]}"' in (REPOSITORY / "docs/prometheus-alerts.yml").read_text()


# Ready -------------------------------------------------------------------------------------------


def test_ready_says_that_all_is_well(broker: RedisServer) -> None:
    answer = Client(headers={"host": "10.9.8.7"}).get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "database": "ok",
        "migrations": "ok",
        "broker": "ok",
    }


def test_without_a_broker_it_is_not_ready_but_live(broker: RedisServer) -> None:
    point_broker_at(f"redis://127.0.0.1:{free_port()}/0")
    answer = Client().get("/health/ready")
    assert answer.status_code == 503
    assert (answer.json()["ready"], answer.json()["broker"]) == (False, "does not answer")
    assert Client().get("/health/live").status_code == 200


def test_with_a_migration_missing_it_is_not_ready(
    broker: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_migrated", False)
    forget_newest_migration()
    answer = Client().get("/health/ready")
    assert answer.status_code == 503
    assert "manage.py migrate" in answer.json()["migrations"]
