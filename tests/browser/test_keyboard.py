"""The admin without a mouse: each menu and dialog is reached, used and left by keys alone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PHONE, Visitor
from tests.browser.test_pages import CONFIGS, RUNS, make_config
from tests.project.system import System

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

expect.set_options(timeout=30_000)

# More stops than any page of these has.
STOPS = 150


def reach(place: Locator, *, key: str = "Tab") -> Locator:
    """Go to a place as who has no mouse does."""
    wanted = place.element_handle()
    page = place.page
    for _ in range(STOPS):
        page.keyboard.press(key)
        if page.evaluate("one => one === document.activeElement", wanted):
            return place
    raise AssertionError(f"{key} never comes to {place}")


def button(page: Page, name: str | re.Pattern[str]) -> Locator:
    return page.get_by_role("button", name=name)


def opened(place: Locator) -> str | None:
    return place.get_attribute("aria-expanded")


def test_the_menu_of_a_row(system: System, visitor: Visitor) -> None:
    config = make_config(system, "by keys")
    page = visitor().go(f"{CONFIGS}?q=by+keys")
    menu = reach(button(page, "More actions: by keys"))
    first = page.get_by_role("link", name="Run now", exact=True)
    last = page.get_by_role("link", name="History", exact=True)

    def is_closed() -> None:
        expect(menu).to_be_focused()
        expect(menu).to_have_attribute("aria-expanded", "false")
        # What still fades out would take the next key for a click beside it.
        expect(first).to_be_hidden()

    page.keyboard.press("Enter")
    expect(first).to_be_focused()
    assert opened(menu) == "true"
    page.keyboard.press("Escape")
    is_closed()

    # Behind its last entry, and before its first one, one is where one came from.
    for key, end in (("Tab", last), ("Shift+Tab", first)):
        page.keyboard.press("Space")
        expect(first).to_be_focused()
        while not end.evaluate("one => one === document.activeElement"):
            page.keyboard.press("Tab")
        page.keyboard.press(key)
        is_closed()

    page.keyboard.press("Enter")
    expect(first).to_be_focused()
    reach(page.get_by_role("link", name="Duplicate", exact=True))
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Duplicate")
    expect(dialog).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    is_closed()

    page.keyboard.press("Enter")
    expect(first).to_be_focused()
    reach(last)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{RUNS}?config__id__exact={config}")


def test_a_dialog_has_the_focus_and_keeps_it(system: System, visitor: Visitor) -> None:
    config = make_config(system, "asks")
    page = visitor().go(f"{CONFIGS}{config}/change/")
    opener = reach(page.get_by_role("link", name="Run now"))
    dialog = page.get_by_role("dialog", name="Run now")

    def open_dialog() -> None:
        page.keyboard.press("Enter")
        expect(dialog).to_be_focused()

    open_dialog()
    seen = set()
    for _ in range(10):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.closest('#modal-content, body').id"))
    assert seen <= {"modal-content", ""}
    for name in ("Close", "Cancel"):
        reach(dialog.get_by_role("button", name=name))
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(opener).to_be_focused()
        open_dialog()
    page.keyboard.press("Escape")
    expect(opener).to_be_focused()

    open_dialog()
    reach(dialog.get_by_role("button", name="Run"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/syncrun/*/change/")


def test_the_menu_of_the_user(visitor: Visitor) -> None:
    page = visitor().go("/admin/")
    menu = reach(button(page, re.compile("admin$")))
    page.keyboard.press("Enter")
    expect(button(page, "Light")).to_be_focused()

    reach(button(page, "Dark"))
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_class(re.compile("dark"))
    expect(button(page, "Dark")).to_have_attribute("aria-pressed", "true")
    expect(button(page, "Light")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    expect(button(page, "Dark")).to_be_hidden()

    page.keyboard.press("Enter")
    reach(button(page, "简体中文"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="正在运行")).to_be_visible()


def test_the_filters(visitor: Visitor) -> None:
    page = visitor().go(CONFIGS)
    filters = reach(button(page, "Filters"))
    panel = page.locator("#changelist-filter")
    page.keyboard.press("Enter")
    expect(panel.locator(":focus")).to_have_count(1)

    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(filters).to_be_focused()

    page.keyboard.press("Enter")
    expect(panel.locator(":focus")).to_have_count(1)
    reach(panel.get_by_role("link", name="Yes"))
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{CONFIGS}?enable__exact=1")


def test_the_menu_at_the_side(visitor: Visitor) -> None:
    page = visitor().go("/admin/")
    side = page.locator("#nav-sidebar")

    advanced = reach(button(page, "Advanced"))
    page.keyboard.press("Enter")
    assert opened(advanced) == "true"
    expect(side.get_by_role("link", name="Periodic tasks")).to_be_visible()
    menu = reach(button(page, "Menu"))
    for state in ("false", "true"):
        page.keyboard.press("Space")
        expect(menu).to_have_attribute("aria-expanded", state)
        expect(side).to_be_visible(visible=state == "true")


def test_the_menu_of_a_phone(visitor: Visitor) -> None:
    page = visitor(screen=PHONE).go("/admin/")
    side = page.locator("#nav-sidebar")
    expect(side).to_be_hidden()
    menu = reach(button(page, "Menu"))

    page.keyboard.press("Enter")
    expect(side.locator(":focus")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(side).to_be_hidden()
    expect(menu).to_be_focused()

    page.keyboard.press("Enter")
    expect(side.locator(":focus")).to_have_count(1)
    reach(button(page, "Close"))
    page.keyboard.press("Enter")
    expect(side).to_be_hidden()
    expect(menu).to_be_focused()

    page.keyboard.press("Enter")
    expect(side.locator(":focus")).to_have_count(1)
    reach(side.get_by_role("link", name="Runs", exact=True))
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{RUNS}")


def test_the_tabs_of_a_form(system: System, visitor: Visitor) -> None:
    config = make_config(system, "tabbed")
    page = visitor().go(f"{CONFIGS}{config}/change/")

    reach(button(page, "Schedule"))
    page.keyboard.press("Space")

    expect(page.locator("[name=cron]")).to_be_visible()
    expect(button(page, "Schedule")).to_have_attribute("aria-pressed", "true")
    expect(button(page, "Source & target")).to_have_attribute("aria-pressed", "false")


def test_what_is_an_icon_alone_has_a_name_in_the_readers_language(
    system: System, visitor: Visitor
) -> None:
    make_config(system, "named")
    page = visitor(language="zh-hans").go(f"{CONFIGS}?q=named")

    expect(button(page, "更多操作: named")).to_be_visible()
    expect(button(page, "菜单")).to_be_visible()
    page.context.clear_cookies()
    page.goto(page.url)
    expect(button(page, "主题")).to_be_visible()
