"""`make bench-admin`: the server's time for every page of the admin, and for what pages poll.

In one process and one request at a time, through Django's test client with the middleware as
shipped; a superuser sees the most. Queries are counted in a request apart.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import astuple
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.filling import MANY, RUNNING, SINCE, Filled, fill
from tests.benchmarks.installation import in_child, servers
from tests.benchmarks.measuring import counted_queries, timed
from tests.benchmarks.report import Row, quantiles_ms, write_section

WARM_UP = 2
POLLS = 10
PAGE_GOAL = "p99 <= 300 ms"
POLL_GOAL = "p99 <= 20 ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["postgres", "sqlite"], default="postgres")
    parser.add_argument("--configs", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=40, help="of each page")
    parser.add_argument("--write", type=Path, help="docs file whose section is replaced")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = ("--configs", str(options.configs), "--runs", str(options.runs))
    if options.child:
        rows = measure(options.configs, options.runs, options.requests)
        print(json.dumps([astuple(row) for row in rows]))
        return
    requests = ("--requests", str(options.requests))
    with servers(options.database) as environment:
        told = in_child("tests.benchmarks.admin", environment, "--child", *sizes, *requests)
    title = f"Admin, {options.configs:,} configs, {options.runs:,} runs, {options.database}"
    write_section(options.write, title, "make bench-admin", [Row(*row) for row in told])


# In the child -------------------------------------------------------------------------------------


def measure(configs: int, runs: int, requests: int) -> list[Row]:
    filled = fill(configs, runs)
    # What a web process does on its start, and beside its requests.
    import project.wsgi

    assert project.wsgi.application is not None
    from django.contrib.auth.models import User
    from django.test import Client

    # The host is checked as for everybody.
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_superuser("benchmark"))
    rows: list[Row] = []
    for work, url, goal in (
        *_own_pages(filled, configs, runs),
        *_polls(filled, configs),
        *_stock(),
    ):
        rows.append(_measured(client, work, url, goal, requests))
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _measured(client: Any, work: str, url: str, goal: str, requests: int) -> Row:
    for _ in range(WARM_UP):
        client.get(url)
    with counted_queries() as queries:
        answer = client.get(url)
    if answer.status_code != 200:
        raise RuntimeError(f"{url} answers {answer.status_code}")
    # A poll is so short that its 99th percentile needs more of them.
    asked = requests * (POLLS if goal == POLL_GOAL else 1)
    times_s = [timed(partial(client.get, url))[0] for _ in range(asked)]
    return Row(work, "-", f"{quantiles_ms(times_s)}, {len(queries)} queries", "-", goal)


def _own_pages(filled: Filled, configs: int, history: int) -> Iterator[tuple[str, str, str]]:
    """Yield the pages that are not the plain list or form of a model's last row."""
    from django_celery_beat.models import CrontabSchedule

    from filesync.admin.filters import COUNTED
    from filesync.models import RuleSet

    today = datetime.now(UTC)
    past = f"{today - SINCE / 2:%Y-%m-%d}"
    runs, synced = "/admin/filesync/syncrun/", "/admin/filesync/syncconfig/"
    config = filled.first_config + configs // 2
    storage = f"storage={filled.rare_storage - 1}"
    rule_set = RuleSet.objects.earliest("pk").pk
    minute, hour, *_ = MANY.split()
    crontab = CrontabSchedule.objects.get(minute=minute, hour=hour, day_of_week="*").pk
    pages = {
        "dashboard": "/admin/",
        "a day ahead, 24 hours": f"{synced}ahead/",
        "a day ahead, 7 days": f"{synced}ahead/?window=week",
        "a day ahead, 7 days of a storage": f"{synced}ahead/?window=week&{storage}",
        "a day ahead, the last page": f"{synced}ahead/?page=999",
        "configs, a page in the middle": f"{synced}?p={configs // 50}",
        "configs, enabled": f"{synced}?enable__exact=1",
        "configs, searched": f"{synced}?q=00777",
        "configs of a rule set that all use": f"{synced}?rule_sets__id__exact={rule_set}",
        "rule set that all use": f"/admin/filesync/ruleset/{rule_set}/change/",
        "crontab of every tenth": f"/admin/django_celery_beat/crontabschedule/{crontab}/change/",
        "runs, active": f"{runs}?state__in=QUEUED,RUNNING",
        "runs, succeeded": f"{runs}?state__in=SUCCEEDED",
        "runs, failed": f"{runs}?state__in=FAILED,PARTIAL,LOST",
        "runs, cancelled: none": f"{runs}?state__in=CANCELLED",
        "runs, the last page": f"{runs}?p={min(history, COUNTED) // 25}",
        "runs of a config": f"{runs}?config__id__exact={config}",
        "runs of a storage": f"{runs}?{storage}",
        "runs of a storage that few use": f"{runs}?storage={filled.rare_storage}",
        "runs of a day a month ago": f"{runs}?finished_at_from={past}&finished_at_to={past}",
        "runs of a day a month ago, failed": (
            f"{runs}?finished_at_from={past}&finished_at_to={past}&state__in=FAILED,PARTIAL,LOST"
        ),
        "runs by a hook: none": f"{runs}?trigger__exact=HOOK",
        "runs, searched": f"{runs}?q=00777",
        "run with 1,000 items": f"{runs}{filled.run_with_items}/change/",
        "results that failed": "/admin/django_celery_results/taskresult/?status=FAILURE",
        "history of a config": f"{synced}{config}/history/",
        "choosing a config, typed": (
            "/admin/autocomplete/?app_label=filesync&model_name=syncrun&field_name=config&term=00"
        ),
    }
    for work, url in pages.items():
        yield work, url, PAGE_GOAL


def _polls(filled: Filled, configs: int) -> Iterator[tuple[str, str, str]]:
    last = filled.first_config + configs - 1
    shown = ",".join(str(last - number) for number in range(25))
    yield f"poll of the dashboard, {RUNNING} runs", "/admin/live/", POLL_GOAL
    yield "poll of 25 configs", f"/admin/filesync/syncconfig/live/?ids={shown}", POLL_GOAL
    yield "poll of a run", f"/admin/filesync/syncrun/{filled.last_run}/live/", POLL_GOAL
    yield "poll of a run's log", f"/admin/filesync/syncrun/{filled.last_run}/log/", POLL_GOAL


def _stock() -> Iterator[tuple[str, str, str]]:
    """Yield the list and the forms of every model in the admin; a form where there is a row."""
    from django.contrib import admin
    from django.contrib.auth.models import User
    from django.test import RequestFactory
    from django.urls import reverse

    request = RequestFactory().get("/")
    request.user = User.objects.get(username="benchmark")
    for model, model_admin in admin.site._registry.items():
        meta = model._meta
        place, name = f"admin:{meta.app_label}_{meta.model_name}", str(meta.verbose_name)
        yield f"{name}: list", reverse(f"{place}_changelist"), PAGE_GOAL
        if model_admin.has_add_permission(request):
            yield f"{name}: empty form", reverse(f"{place}_add"), PAGE_GOAL
        row = model_admin.get_queryset(request).order_by("-pk").first()
        if row is not None:
            yield f"{name}: page of one", reverse(f"{place}_change", args=[row.pk]), PAGE_GOAL


if __name__ == "__main__":
    main()
