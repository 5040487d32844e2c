"""A real system and a real chromium; each page that a test opens is watched while it is open.

A page that asked another host, broke the content security policy, raised an error in its scripts
or opened an alert fails its test at the end, whatever the test itself looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, sync_playwright

from tests.project.system import System
from tests.servers.installed import program, skip_unless_installed

DESKTOP, PHONE = (1280, 900), (390, 844)
# What the browser's own console says of a page that breaks the policy.
TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error("POLICY", event.effectiveDirective, event.blockedURI, event.sample);
});
"""


@dataclass(slots=True)
class Visit:
    """One person's browser: signed in, in a language, on a screen, in a theme."""

    page: Page
    base: str
    language: str = "en"
    wrong: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        answer = self.page.goto(f"{self.base}{path}")
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"
        return self.page

    def watch(self) -> None:
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"alert: {dialog.message}"))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("console", lambda said: self._said(said.type, said.text))

    def _asked(self, url: str) -> None:
        if not url.startswith((self.base, "data:", "blob:")):
            self.wrong.append(f"asked another host: {url}")

    def _said(self, kind: str, text: str) -> None:
        if kind == "error":
            self.wrong.append(f"{self.page.url}: {text}")


Visitor = Callable[..., Visit]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """Return a running system with an account; its settings are those of a fresh checkout."""
    skip_unless_installed("chromium")
    with System() as system:
        yield system


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    skip_unless_installed("chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program("chromium"))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def signed_in(system: System) -> list[StorageState]:
    """Hold the cookies of the first who signed in to this system: the next ones come with them."""
    return []


@pytest.fixture
def visitor(system: System, browser: Browser, signed_in: list[StorageState]) -> Iterator[Visitor]:
    """Return a function that opens a signed-in browser; all are judged at the end of the test.

    Who will sign out asks for a session of his own.
    """
    contexts: list[BrowserContext] = []
    visits: list[Visit] = []

    def visit(
        *,
        language: str = "en",
        theme: str = "light",
        screen: tuple[int, int] = DESKTOP,
        own_session: bool = False,
    ) -> Visit:
        width, height = screen
        shared = None if own_session or not signed_in else signed_in[0]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            locale={"en": "en-GB", "zh-hans": "zh-CN"}[language],
            storage_state=shared,
        )
        context.set_default_timeout(20_000)
        context.add_init_script(TELL_VIOLATIONS)
        contexts.append(context)
        found = Visit(context.new_page(), system.base, language)
        found.watch()
        visits.append(found)
        if shared is not None:
            found.go("/admin/")
            return found
        sign_in(found, system.password)
        if not own_session:
            signed_in.append({"cookies": context.storage_state()["cookies"]})
        return found

    yield visit
    for context in contexts:
        context.close()
    assert [wrong for found in visits for wrong in found.wrong] == []


def sign_in(visit: Visit, password: str) -> None:
    page = visit.go("/admin/login/")
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url("**/admin/")
