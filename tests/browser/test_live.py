"""What changes on a page while one looks at it, and what the page says when nothing comes."""

from __future__ import annotations

import os
import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import PHONE, Visit, Visitor, sign_in
from tests.browser.test_pages import (
    CONFIGS,
    LANGUAGES,
    SLOW,
    SLOW_BYTES,
    agree,
    badge,
    make_config,
    said,
)
from tests.project.system import System

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

expect.set_options(timeout=30_000)

POLL = "**/admin/live/"
UNSEEN = """
window.unseen = false;
Object.defineProperty(document, 'hidden', { get: () => window.unseen });
"""


def hide(page: Page, *, hidden: bool) -> None:
    page.evaluate(
        "hidden => { window.unseen = hidden;"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_one_poll_at_a_time_when_the_tab_is_hidden_and_seen_meanwhile(visitor: Visitor) -> None:
    visit = visitor()
    page = visit.page
    page.add_init_script(UNSEEN)
    page.clock.install(time="2026-01-01T00:00:00Z")
    held: list[Route] = []
    polls: list[str] = []
    page.route(POLL, lambda route: held.append(route))
    visit.go("/admin/")
    page.clock.pause_at("2026-01-01T01:00:00Z")
    page.wait_for_timeout(500)
    assert len(held) == 1

    for _ in range(3):
        hide(page, hidden=True)
        hide(page, hidden=False)
    page.wait_for_timeout(500)
    page.on("request", lambda one: polls.append(one.url) if "admin/live/" in one.url else None)
    for route in held:
        route.continue_()
    page.unroute(POLL)

    # No loop polls more than once in the time of one poll.
    rounds = 5
    for _ in range(rounds):
        page.wait_for_timeout(500)
        page.clock.run_for(2_100)
    page.wait_for_timeout(500)
    assert 1 < len(polls) <= rounds
    assert len(held) == 1


def test_a_page_says_that_the_server_is_away_and_when_it_is_back(visitor: Visitor) -> None:
    visit = visitor()
    page = visit.go("/admin/")
    lost = page.get_by_text("The server does not answer; this page shows what was known last.")
    expect(lost).to_be_hidden()

    page.route(POLL, lambda route: route.fulfill(status=503))
    expect(lost).to_be_visible()
    page.unroute(POLL)
    expect(lost).to_be_hidden()

    assert all("status of 503" in wrong for wrong in visit.wrong)
    visit.wrong.clear()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_says_that_one_is_signed_out_and_leads_back(
    system: System, visitor: Visitor, language: str
) -> None:
    visit = visitor(language=language)
    page = visit.go(f"{CONFIGS}?q=x")
    polls: list[str] = []
    page.context.clear_cookies()
    words = said(visit, "You are signed out; this page shows what was known last.")
    expect(page.get_by_text(words)).to_be_visible()
    expect(page.locator("[data-note=lost]")).to_be_hidden()
    page.on("request", lambda one: polls.append(one.url))
    page.wait_for_timeout(2_500)
    assert polls == []

    page.get_by_role("link", name=said(visit, "Sign in again")).click()

    page.fill("[name=username]", "admin")
    page.fill("[name=password]", system.password)
    page.click("button[type=submit]")
    page.wait_for_url(f"**{CONFIGS}?q=x")


def test_who_signed_in_elsewhere_comes_back_to_a_page_that_goes_on(
    system: System, visitor: Visitor
) -> None:
    visit = visitor()
    page = visit.go("/admin/")
    page.context.clear_cookies()
    note = page.locator("[data-note=left]")
    expect(note).to_be_visible()
    sign_in(Visit(page.context.new_page(), visit.base), system.password)

    page.bring_to_front()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    expect(note).to_be_hidden()


def test_what_comes_next_and_what_failed_is_renewed_while_one_looks(
    system: System, visitor: Visitor
) -> None:
    visit = visitor()
    page = visit.page
    page.add_init_script(UNSEEN)
    visit.go("/admin/")
    config = make_config(system, "renewed <b>", source_path="nowhere")
    coming = page.locator("section[aria-labelledby=next]")
    failed = page.locator("section[aria-labelledby=failures]")
    page.evaluate("window.isThePageOfBefore = true")
    client = system.client()
    fields = {"cron": "* * * * *", "max_attempts": 1}
    assert client.call("PATCH", f"/api/v1/sync/configs/{config}", fields).status_code == 200
    client.call("POST", f"/api/v1/task/scheduler/execute-sync/{config}")
    ended = f"/api/v1/sync/runs?config={config}&state=FAILED"
    system.wait_for(
        lambda: client.call("GET", ended).json()["results"], "the run failed", timeout_s=60
    )

    # Seen again it asks at once.
    hide(page, hidden=True)
    hide(page, hidden=False)

    expect(coming).to_contain_text("renewed <b>")
    expect(failed).to_contain_text("renewed <b>")
    assert page.evaluate("window.isThePageOfBefore")
    failed.get_by_role("button", name="Run again").first.click()
    agree(page)
    page.wait_for_url("**/syncrun/*/change/")


def slow_run(system: System, name: str) -> None:
    """Start a run that takes minutes."""
    config = make_config(system, name)
    (system.files / name / "source" / "large.bin").write_bytes(os.urandom(SLOW_BYTES))
    client = system.client()
    slow = client.call("PATCH", f"/api/v1/sync/configs/{config}", {"bandwidth": SLOW})
    assert slow.status_code == 200, slow.text
    run = client.call("POST", f"/api/v1/task/scheduler/execute-sync/{config}")
    assert run.status_code == 202, run.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_is_watched_and_cancelled_on_the_dashboard_and_in_the_list(
    system: System, visitor: Visitor, language: str
) -> None:
    name = f"watched {language}"
    slow_run(system, name)
    visit = visitor(language=language)
    page = visit.go("/admin/")

    entry = page.locator("[aria-labelledby=running] .sb-runs > li", has_text=name)
    moves(entry.locator("progress").first)
    # By itself it came, and by itself it says all there is to say.
    expect(entry).to_contain_text(said(visit, "Transferring"))
    speed = said(visit, "%s/s").replace("%s", r"\d\s[KM]B")
    for words in (r"\d %", speed, said(visit, "%s left").replace("%s", ".*")):
        expect(entry).to_contain_text(re.compile(words))
    expect(entry.locator(".sb-files .sb-path")).to_have_text(["large.bin"])
    expect(page.get_by_text(said(visit, "Nothing runs at this moment."))).to_be_hidden()
    path = entry.locator("a").first.get_attribute("href")
    assert path is not None

    visit.go(CONFIGS)
    row = page.locator("tr", has_text=name)
    moves(row.locator("progress"))
    expect(badge(row)).to_have_text(said(visit, "Running"))
    expect(row.locator(".sb-last a")).to_have_attribute("href", path)

    phone = visitor(language=language, screen=PHONE)
    for there in ("/admin/", path, CONFIGS):
        shown = phone.go(there)
        expect(shown.locator("progress:visible").first).to_be_visible()
        assert shown.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0

    visit.go("/admin/")
    entry.get_by_role("button", name=said(visit, "Cancel")).click()
    agree(page)
    page.wait_for_url(f"**{path}")
    expect(badge(page)).to_have_text(said(visit, "Cancelled"))
    visit.go("/admin/")
    expect(page.get_by_role("heading", name=said(visit, "Running now"))).to_be_visible()
    expect(entry).to_have_count(0)
    visit.go(CONFIGS)
    expect(badge(row)).to_have_text(said(visit, "Cancelled"))
    expect(row.locator("[data-text=took]")).not_to_be_empty()
    expect(row.locator("progress")).to_be_hidden()


def moves(bar: Locator) -> None:
    """Wait until a bar has begun and grown, without the page being loaded anew."""
    expect(bar).to_have_attribute("value", re.compile(r"^[1-9]"))
    seen = bar.get_attribute("value") or ""
    expect(bar).not_to_have_attribute("value", seen)
