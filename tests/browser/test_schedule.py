"""Schedules by clicking: what a form says of one as it changes, and how a day is spread."""

from __future__ import annotations

import re

import pytest
from django.utils.translation import ngettext, override
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visit, Visitor
from tests.browser.test_pages import CONFIGS, LANGUAGES, make_config, said, tab
from tests.project.system import System

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

expect.set_options(timeout=30_000)

VALIDATE = "**/validate-cron"


def schedule_of(visit: Visit, config: int) -> Page:
    """Open the tab of a config's schedule."""
    page = visit.go(f"{CONFIGS}{config}/change/")
    tab(visit, "Schedule")
    return page


def fires(page: Page) -> Locator:
    return page.locator("[data-cron-fires] li")


@pytest.mark.parametrize("language", LANGUAGES)
def test_presets_and_time_zones_say_when_it_fires(
    system: System, visitor: Visitor, language: str
) -> None:
    visit = visitor(language=language)
    page = schedule_of(visit, make_config(system, f"preset {language}"))
    expect(fires(page)).to_have_count(0)

    page.get_by_role("button", name=said(visit, "every night at 02:00")).click()
    expect(page.locator("[name=cron]")).to_have_value("0 2 * * *")
    expect(page.locator("[data-cron-words]")).to_contain_text("02:00")
    expect(fires(page)).to_have_text([re.compile(r"02:00 \+08:00$")] * 5)
    page.fill("[name=timezone]", "Asia/Kathmandu")
    expect(fires(page)).to_have_text([re.compile(r"02:00 \+05:45$")] * 5)
    page.get_by_role("button", name=said(visit, "every hour"), exact=True).click()
    expect(page.locator("[name=cron]")).to_have_value("0 * * * *")
    expect(fires(page)).to_have_text([re.compile(r":00 \+05:45$")] * 5)

    page.fill("[name=timezone]", "Nowhere/Land")
    expect(page.locator("[data-cron-error]")).to_contain_text("Nowhere/Land")
    expect(fires(page)).to_have_count(0)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_old_words_stand_beside_a_new_cron_while_the_server_is_away(
    system: System, visitor: Visitor, language: str
) -> None:
    visit = visitor(language=language)
    page = schedule_of(visit, make_config(system, f"unchecked {language}"))
    page.fill("[name=cron]", "0 2 * * *")
    expect(fires(page)).to_have_count(5)

    page.route(VALIDATE, lambda route: route.abort())
    page.fill("[name=cron]", "0 3 * * *")

    words = said(visit, "The server did not answer: the schedule was not checked.")
    expect(page.locator("[data-cron-error]")).to_have_text(words)
    expect(page.locator("[data-cron-words]")).to_have_text("")
    expect(fires(page)).to_have_count(0)
    assert page.locator("[name=cron]").get_attribute("aria-invalid") == "false"
    page.unroute(VALIDATE)
    page.fill("[name=cron]", "0 4 * * *")
    expect(page.locator("[data-cron-words]")).to_contain_text("04:00")
    expect(page.locator("[data-cron-error]")).to_be_hidden()
    assert all("ERR_FAILED" in wrong for wrong in visit.wrong)
    visit.wrong.clear()


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_ticked_of_a_day_ahead_is_applied_and_the_rest_is_not(
    system: System, visitor: Visitor, language: str
) -> None:
    names = [f"clash {number} {language}" for number in range(4)]
    configs = clashing(system, names)
    visit = visitor(language=language)
    page = visit.go(f"{CONFIGS}ahead/")
    spread = page.locator("[aria-labelledby=spread] tbody tr")
    moved = [name for name in names if spread.filter(has_text=name).count()]
    assert len(moved) > 1
    proposed = spread.filter(has_text=moved[0]).locator("td").last.text_content()
    for box in spread.get_by_role("checkbox").all():
        box.set_checked(box.get_attribute("aria-label") == moved[0])

    page.get_by_role("button", name=said(visit, "Apply what is ticked")).click()

    with override(language):
        told = ngettext("%d sync starts at another minute", "%d syncs start at another minute", 1)
    expect(page.get_by_text(told % 1)).to_be_visible()
    crons = {name: cron_of(system, config) for name, config in zip(names, configs, strict=True)}
    assert crons == {name: proposed if name == moved[0] else "10 3 * * *" for name in names}


def clashing(system: System, names: list[str]) -> list[int]:
    """Make configs that want the same storage at once, more than it takes."""
    client = system.client()
    configs = [make_config(system, name) for name in names]
    storage = client.call("GET", f"/api/v1/sync/configs/{configs[0]}").json()["source_storage"]
    one = client.call("PATCH", f"/api/v1/sync/storages/{storage}", {"max_concurrent_runs": 1})
    assert one.status_code == 200, one.text
    for config, name in zip(configs, names, strict=True):
        fields = {
            "source_storage": storage,
            "source_path": f"of {name}",
            "destination_storage": storage,
            "destination_path": f"to {name}",
            "cron": "10 3 * * *",
            "enable": True,
        }
        saved = client.call("PATCH", f"/api/v1/sync/configs/{config}", fields)
        assert saved.status_code == 200, saved.text
    return configs


def cron_of(system: System, config: int) -> str:
    return str(system.client().call("GET", f"/api/v1/sync/configs/{config}").json()["cron"])
