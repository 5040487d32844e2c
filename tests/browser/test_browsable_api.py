"""The browsable API as a person uses it who knows only /api/v1/, and its documentation."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, Visitor
from tests.browser.test_pages import make_config
from tests.project.system import System

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

API = "/api/v1"


def answer(page: Page) -> str:
    """Return what the page shows of the answer: its status line, headers and body."""
    return page.locator(".response-info").inner_text()


def follow(page: Page, name: str | re.Pattern[str]) -> None:
    page.get_by_role("link", name=name, exact=isinstance(name, str)).first.click()


def choose_action(page: Page, name: str) -> None:
    page.get_by_role("button", name="Extra Actions").click()
    page.get_by_role("link", name=name, exact=True).click()


def send(page: Page, method: str = "POST") -> None:
    page.locator(".tab-pane.active").get_by_role("button", name=method).click()
    expect(page.locator(".request-info")).to_contain_text(f"{method} {API}")


def field(name: str) -> str:
    return f"#post-object-form [name={name}]"


def filter_by(page: Page, **values: str) -> None:
    page.get_by_role("button", name="Filters").click()
    form = page.locator("#filtersModal form").filter(has=page.locator("[name=since]"))
    expect(form).to_be_visible()
    for name, value in values.items():
        entry = form.locator(f"[name={name}]")
        if entry.evaluate("one => one.tagName") == "SELECT":
            entry.select_option(value)
        else:
            entry.fill(value)
    form.locator("[type=submit]").click()
    page.wait_for_url(re.compile(r"/sync/runs\?"))


def forgive(visit: Visit, *, status: int) -> None:
    """Take back what the browser's console says of one answer that was meant to be an error."""
    said = f"the server responded with a status of {status}"
    (found,) = [wrong for wrong in visit.wrong if said in wrong]
    visit.wrong.remove(found)


def sign_in(page: Page, name: str, password: str) -> None:
    page.get_by_role("link", name="Log in").click()
    page.fill("[name=username]", name)
    page.fill("[name=password]", password)
    page.click("[type=submit]")


def test_a_person_makes_runs_and_reads_all_from_the_root(system: System, visitor: Visitor) -> None:
    make_config(system, "by hand")
    folder = system.files / "by hand"
    (folder / "source" / "a.txt").write_text("a")
    (folder / "source" / "junk.tmp").write_text("x")
    visit = visitor(own_session=True)
    page = visit.go(f"{API}/")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in")).to_be_visible()
    forgive(visit, status=401)
    sign_in(page, "admin", system.password)
    expect(page.get_by_role("button", name="Log out")).to_be_visible()

    # Each of the root's addresses is a page.
    root = page.locator(".response-info a")
    addresses = [one.inner_text() for one in root.all()]
    assert len(addresses) == 17
    for address in addresses:
        follow(page, address)
        expect(page.locator(".response-info")).to_contain_text("HTTP 200 OK")
        page.go_back()

    follow(page, re.compile(r"v1.sync.rule-sets$"))
    page.fill(field("name"), "no junk")
    page.fill(field("filters"), "- *.tmp")
    send(page)
    assert "HTTP 201 Created" in answer(page)

    visit.go(f"{API}/")
    follow(page, re.compile(r"v1.sync.configs$"))
    page.fill(field("name"), "by form")
    page.fill(field("cron"), "61 2 * * *")
    page.select_option(field("source_storage"), label="storage of by hand")
    page.fill(field("source_path"), "source")
    page.select_option(field("destination_storage"), label="storage of by hand")
    page.fill(field("destination_path"), "by form")
    page.select_option(field("rule_sets"), label="no junk")
    send(page)
    assert "HTTP 400 Bad Request" in answer(page)
    forgive(visit, status=400)
    wrong = page.locator("#post-object-form .has-error")
    expect(wrong).to_have_count(1)
    expect(wrong.locator("label")).to_have_text("Cron")
    expect(wrong).to_contain_text("61")
    expect(page.locator(field("name"))).to_have_value("by form")
    page.fill(field("cron"), "1 2 * * *")
    send(page)
    assert "HTTP 201 Created" in answer(page)
    follow(page, re.compile(r"^\d+ by form$"))
    page.wait_for_url(re.compile(r"/sync/configs/\d+$"))
    config = page.url.rpartition("/")[2]

    # Planned only, then in earnest.
    for plan in (True, False):
        visit.go(f"{API}/sync/configs/{config}")
        choose_action(page, "Run now")
        page.set_checked(field("dry_run"), plan)
        for name in ("force", "only_failed_of"):
            expect(page.locator(field(name))).to_be_visible()
        send(page)
        assert "HTTP 202 Accepted" in answer(page)
        follow(page, "task_id")
        page.wait_for_url("**/task-result/*")
        visit.go(f"{page.url.removeprefix(visit.base)}?wait=30")
        assert '"status": "SUCCESS"' in answer(page)
        assert (folder / "by form").exists() is not plan
    assert sorted(path.name for path in (folder / "by form").iterdir()) == ["a.txt"]
    follow(page, "run")
    page.wait_for_url(re.compile(r"/sync/runs/\d+$"))
    run = page.url.rpartition("/")[2]
    assert '"files_transferred": 1' in answer(page)
    choose_action(page, "Items")
    assert '"path": "a.txt"' in answer(page)

    visit.go(f"{API}/")
    follow(page, re.compile(r"v1.sync.runs$"))
    filter_by(page, config=config, state="SUCCEEDED", since="2026-01-01T00:00:00Z")
    assert answer(page).count('"task_id"') == 2
    filter_by(page, config=config, state="FAILED")
    assert answer(page).count('"task_id"') == 0
    filter_by(page, config=config, state="", since="2100-01-01")
    assert answer(page).count('"task_id"') == 0
    filter_by(page, since="", dry_run="false")
    assert answer(page).count('"task_id"') == 1
    follow(page, re.compile(rf"^{run} by form"))
    page.wait_for_url(f"**/sync/runs/{run}")

    # What cannot be undone says why.
    choose_action(page, "Restore")
    send(page)
    assert "HTTP 409 Conflict" in answer(page)
    forgive(visit, status=409)


def test_a_viewer_is_offered_reading_only(system: System, visitor: Visitor) -> None:
    config = make_config(system, "looked at")
    made = system.manage(
        "shell",
        "-c",
        "from django.contrib.auth.models import Group, User\n"
        "user = User.objects.create_user('vera', password='only-looks-7')\n"
        "user.groups.add(Group.objects.get(name='viewer'))",
    )
    assert made.returncode == 0, made.stderr
    visit = visitor(own_session=True)
    page = visit.go(f"{API}/")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in")).to_be_visible()
    forgive(visit, status=401)
    sign_in(page, "vera", "only-looks-7")
    expect(page.get_by_text("vera")).to_be_visible()

    for path in ("sync/configs", f"sync/configs/{config}", "sync/storages", "sync/runs"):
        visit.go(f"{API}/{path}")
        expect(page.locator(".response-info")).to_contain_text("HTTP 200 OK")
        assert page.locator(".tab-pane, #deleteModal").count() == 0
    visit.go(f"{API}/sync/configs/{config}")
    page.get_by_role("button", name="Extra Actions").click()
    assert page.locator("[aria-labelledby=extra-actions-menu] a").all_inner_texts() == ["Runs"]


def test_swagger_opens_and_asks_nobody_else(visitor: Visitor) -> None:
    visit = visitor()
    page = visit.go("/api/docs")

    expect(page.get_by_text("/api/v1/sync/configs", exact=True).first).to_be_visible()
    page.locator(".opblock-summary", has_text="Run one config now").click()
    expect(page.get_by_text("only_failed_of").first).to_be_visible()


def test_redoc_opens_and_asks_nobody_else(visitor: Visitor) -> None:
    """Its makers' logo would be asked for once the menu is drawn: what has no picture goes away."""
    visit = visitor()

    page = visit.go("/api/redoc")
    expect(page.get_by_role("heading", name="Run one config now")).to_be_visible()
    expect(page.get_by_text("API docs by Redocly")).to_be_visible()
    expect(page.get_by_alt_text("redocly logo")).to_have_count(0)


def test_a_chinese_reader_fills_in_a_form_and_switches_the_language(visitor: Visitor) -> None:
    visit = visitor(language="zh-hans")
    page = visit.go(f"{API}/task/scheduler/validate-cron")
    expect(page.get_by_role("heading", level=1)).to_have_text("校验 cron 表达式")
    page.fill(field("cron"), "61 2 * * *")
    send(page)
    expect(page.locator(".response-info")).to_contain_text("61 超出范围 0-59")

    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Validate cron")
    page.get_by_role("button", name="简体中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("校验 cron 表达式")
