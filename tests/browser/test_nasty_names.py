"""Five hundred file names that want to be something else, on each page that shows names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, Visitor
from tests.browser.test_pages import CONFIGS, RUNS, badge, make_config, press
from tests.filesync.nasty_names import nasty_file_names, nasty_names
from tests.project.system import System

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

expect.set_options(timeout=60_000)

PLANNED_PER_RUN = 50
SEED = """
import json, sys
from filesync.models import RunItem, SyncConfig, SyncRun
names = json.loads({names!r})
ended = dict(config=SyncConfig.objects.get(pk={config}), config_name="seeded",
             trigger="MANUAL", state="SUCCEEDED")
run = SyncRun.objects.create(**ended)
RunItem.objects.bulk_create(RunItem(run=run, action="ADDED", path=name) for name in names)
plans = []
for start in range(0, len(names), {per_run}):
    items = [dict(action="ADDED", path=name, size_bytes=1) for name in names[start:][:{per_run}]]
    plan = SyncRun.objects.create(dry_run=True, plan=dict(adds=len(items), items=items), **ended)
    plans.append(plan.pk)
print("SEEDED", json.dumps([run.pk, plans]))
"""


def shown(page: Page, places: str) -> list[str]:
    """Return what stands in some places as it stands there, on a page that nothing has broken."""
    assert page.locator("#broken").count() == 0
    expect(page.locator("#nav-sidebar")).to_be_visible()
    found: list[str] = page.locator(places).evaluate_all("all => all.map(e => e.textContent)")
    return found


def pages(visit: Visit, path: str, following: str) -> Iterator[Page]:
    """Click from page to page until there is no next one."""
    page = visit.go(path)
    yield page
    while (link := page.get_by_role("link", name=following, exact=True)).count():
        address = link.get_attribute("href")
        assert address is not None
        link.click()
        page.wait_for_url(re.compile(re.escape(address.partition("#")[0])))
        yield page


def items_of_run(visit: Visit, path: str) -> list[str]:
    """Return the names that the page of a run lists, of what it did or what it would do."""
    return [
        text
        for page in pages(visit, path, "next")
        for text in shown(page, "[aria-labelledby=items] td.sb-path")
    ]


def test_they_stay_names_where_they_are_browsed_planned_and_synced(
    system: System, visitor: Visitor
) -> None:
    config = make_config(system, "nasty")
    names = nasty_file_names()
    for name in names:
        (system.files / "nasty" / "source" / name).write_text("x")
    visit = visitor()
    # rclone tells a tab as its picture, a name of its own.
    wanted = {name.replace("\t", "␉") for name in names}

    answer = system.client().call("GET", f"/api/v1/sync/configs/{config}").json()
    browse = f"/admin/filesync/storage/{answer['source_storage']}/browse/?path=source"
    browsed = [
        text.strip()
        for page in pages(visit, browse, "Next page")
        for text in shown(page, "#content tbody td:first-child")
    ]
    assert {text.replace("\t", "␉") for text in browsed} == {name.strip() for name in wanted}

    visit.go(f"{CONFIGS}{config}/change/")
    press(visit, "Dry run")
    expect(badge(visit.page)).to_have_text("Succeeded")
    planned = items_of_run(visit, visit.page.url.removeprefix(visit.base))
    assert {text.replace("\t", "␉") for text in planned} == wanted

    visit.go(f"{CONFIGS}{config}/change/")
    press(visit, "Run now")
    expect(badge(visit.page)).to_have_text("Succeeded")
    sent = items_of_run(visit, visit.page.url.removeprefix(visit.base))
    assert {text.replace("\t", "␉") for text in sent} == wanted


def test_they_stay_names_as_items_and_in_plans(system: System, visitor: Visitor) -> None:
    names = nasty_names()
    config = make_config(system, "seeded")
    code = SEED.format(names=json.dumps(names), config=config, per_run=PLANNED_PER_RUN)
    done = system.manage("shell", "--no-imports", "-c", code)
    assert "SEEDED" in done.stdout, done.stderr
    run, plans = json.loads(done.stdout.partition("SEEDED ")[2])
    visit = visitor()

    of_run = items_of_run(visit, f"{RUNS}{run}/change/")
    listed = [
        text
        for number in range(1, 1 + len(names) // 100)
        for text in shown(
            visit.go(f"/admin/filesync/runitem/?run__id__exact={run}&p={number}"),
            "#result_list tbody th",
        )
    ]
    planned = [text for plan in plans for text in items_of_run(visit, f"{RUNS}{plan}/change/")]

    assert of_run == names
    assert planned == names
    # The theme puts white space around a name.
    assert sorted(text.strip() for text in listed) == sorted(name.strip() for name in names)
