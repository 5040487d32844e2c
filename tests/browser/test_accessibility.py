"""Every page there is, with a history on it: no serious violation, and none wider than a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE, Visit, Visitor
from tests.browser.screenshots import CONFIGS, PAGES, SCENE, SIGNED_OUT, TABS
from tests.browser.test_pages import LANGUAGES, said, serious, tab
from tests.project.system import System

pytestmark = [pytest.mark.browser, pytest.mark.timeout(480)]

expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def system(system: System) -> System:
    """Return the system with the history that is photographed."""
    done = system.manage("shell", "--no-imports", "-c", SCENE)
    assert done.returncode == 0, done.stderr
    return system


def every_page(visit: Visit) -> Iterator[tuple[str, Page]]:
    """Open each page, the last ones without an account."""
    for name, path in PAGES.items():
        yield name, visit.go(path)
    visit.page.context.clear_cookies()
    for name, path in SIGNED_OUT.items():
        yield name, visit.go(path)


# In the dark only the colours are others.
@pytest.mark.parametrize(
    ("language", "theme", "rules"),
    [("en", "light", ()), ("zh-hans", "light", ()), ("en", "dark", ("color-contrast",))],
)
def test_axe_finds_no_serious_violation(
    visitor: Visitor, language: str, theme: str, rules: tuple[str, ...]
) -> None:
    visit = visitor(language=language, theme=theme)

    found = {name: serious(page, *rules) for name, page in every_page(visit)}

    assert {name: problems for name, problems in found.items() if problems} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_axe_finds_nothing_in_what_is_opened(visitor: Visitor, language: str, theme: str) -> None:
    visit = visitor(language=language, theme=theme)
    page = visit.go(CONFIGS)
    found = {}

    def look(name: str, opened: str) -> None:
        expect(page.locator(opened).first).to_be_visible()
        # What still fades in has other colours.
        page.wait_for_timeout(500)
        found[name] = serious(page)

    page.get_by_role("button", name=said(visit, "More actions")).first.click()
    look("menu of a row", "nav a:visible")
    page.keyboard.press("Escape")
    page.get_by_role("button", name=said(visit, "Filters")).click()
    look("filters", "#changelist-filter")
    page.keyboard.press("Escape")
    page.get_by_text("admin", exact=True).click()
    look("menu of the user", "#logout-form")
    page.keyboard.press("Escape")
    page.get_by_role("link", name=said(visit, "Run all enabled")).click()
    look("dialog", "#modal-content form")

    assert {name: problems for name, problems in found.items() if problems} == {}


def test_no_page_is_wider_than_a_phone(visitor: Visitor) -> None:
    visit = visitor(screen=PHONE)

    wide = {
        name: page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        for name, page in every_page(visit)
    }

    assert {name: pixels for name, pixels in wide.items() if pixels > 0} == {}


# What is cut off at the edge of the page does not make the page wider.
TOO_WIDE = """() => [...document.querySelectorAll("#content-main *")]
  .filter((one) => one.checkVisibility() && !one.closest(".overflow-x-auto, .sb-scroll"))
  .filter((one) => one.getBoundingClientRect().right > window.innerWidth + 1)
  .map((one) => one.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("screen", [DESKTOP, PHONE])
def test_every_tab_of_the_config_form_is_accessible_and_fits(
    visitor: Visitor, screen: tuple[int, int]
) -> None:
    visit = visitor(screen=screen)
    visit.go(PAGES["sync-config"])
    problems, wide = {}, {}
    for name in TABS:
        tab(visit, name)
        problems[name], wide[name] = serious(visit.page), visit.page.evaluate(TOO_WIDE)

    assert {name: found for name, found in problems.items() if found} == {}
    assert {name: found for name, found in wide.items() if found} == {}
