"""The admin in a real browser, on a real system: made, run, watched, cancelled and understood."""

from __future__ import annotations

import json
import os
import re
from importlib.resources import files
from pathlib import Path

import pytest
from django.utils.translation import gettext, override
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visit, Visitor
from tests.project.system import System

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

LANGUAGES = ["en", "zh-hans"]
CONFIGS = "/admin/filesync/syncconfig/"
RUNS = "/admin/filesync/syncrun/"
# At this rate what is synced takes minutes, so that a run is seen while it runs.
SLOW = "256K"
SLOW_BYTES = 24 << 20
# A run waits for its message, for rclone, and on two busy cores for both.
expect.set_options(timeout=30_000)
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
SERIOUS = ("serious", "critical")


def said(visit: Visit, text: str) -> str:
    """Return a text of ours in the visitor's language."""
    with override(visit.language):
        return gettext(text)


def pick(page: Page, field: str, name: str) -> None:
    """Choose in one of the lists that search while one types."""
    page.click(f".field-{field} .select2-selection")
    page.fill(".select2-search__field", name)
    page.click(f".select2-results__option:has-text('{name}')")


def tab(visit: Visit, name: str) -> None:
    visit.page.locator("#content-main nav a", has_text=said(visit, name)).click()


def add_storage(visit: Visit, name: str, root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    page = visit.go("/admin/filesync/storage/add/")
    page.get_by_role("link", name="local", exact=True).click()
    page.fill("[name=name]", name)
    page.fill("[name=root]", str(root))
    save(page)


def save(page: Page) -> None:
    page.click("[name=_save]")
    expect(page).not_to_have_url(re.compile(r"/(add|change)/(\?.*)?$"))


def press(visit: Visit, label: str) -> None:
    """Press a button at the top of a page, and agree in its dialog."""
    visit.page.get_by_role("link", name=said(visit, label)).first.click()
    agree(visit.page)


def agree(page: Page) -> None:
    page.locator("#modal-content button[type=submit]").click()


def badge(page: Page | Locator) -> Locator:
    return page.locator("[data-text=state_label]").first


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_person_makes_a_sync_watches_it_cancels_it_and_runs_it_again(
    system: System, visitor: Visitor, language: str
) -> None:
    visit = visitor(language=language)
    page = visit.page
    source, destination = f"in {language}", f"out {language}"
    add_storage(visit, source, system.files / source)
    add_storage(visit, destination, system.files / destination)
    folder = system.files / source / "子文件夹"
    folder.mkdir()
    (folder / "large.bin").write_bytes(os.urandom(SLOW_BYTES))

    visit.go(f"{CONFIGS}add/")
    page.fill("[name=name]", f"sync {language}")
    pick(page, "source_storage", source)
    pick(page, "destination_storage", destination)
    choose_folder(visit, "source_path", "子文件夹")
    try_rules(visit, "- *.tmp")
    tab(visit, "Schedule")
    page.fill("[name=cron]", "61 * * * *")
    expect(page.locator("[data-cron-error]")).to_contain_text("61")
    page.fill("[name=cron]", "30 2 * * *")
    expect(page.locator("[data-cron-words]")).to_contain_text("02:30")
    expect(page.locator("[data-cron-fires] li")).to_have_count(5)
    expect(page.locator("[data-cron-error]")).to_be_hidden()
    tab(visit, "Limits & safety")
    page.fill("[name=bandwidth]", SLOW)
    save(page)
    page.locator("#result_list").get_by_role("link", name=f"sync {language}").click()

    press(visit, "Run now")
    expect(badge(page)).to_have_text(said(visit, "Running"))
    bar = page.locator("progress").first
    expect(bar).to_have_attribute("value", re.compile(r"^[1-9]"))
    seen = bar.get_attribute("value") or ""
    expect(bar).not_to_have_attribute("value", seen)
    expect(page.locator(".sb-files .sb-path")).to_have_text(["large.bin"])
    # It had no lines when the page was loaded: they come while it runs.
    expect(page.locator(".sb-pre[data-text=commands]")).to_contain_text("rclone copy")

    press(visit, "Cancel")
    expect(badge(page)).to_have_text(said(visit, "Cancelled"))

    page.get_by_role("link", name=f"sync {language}", exact=True).click()
    tab(visit, "Limits & safety")
    page.fill("[name=bandwidth]", "")
    save(page)
    visit.go(RUNS)
    page.get_by_role("link", name=re.compile(f"sync {language} #")).first.click()
    press(visit, "Run again")
    expect(badge(page)).to_have_text(said(visit, "Succeeded"))
    page.reload()
    expect(page.locator("#items ~ * .sb-path, .sb-table td.sb-path")).to_have_text(["large.bin"])
    expect(page.locator(".sb-pre").first).to_contain_text("rclone copy")
    copied = system.files / destination / "large.bin"
    assert copied.read_bytes() == (folder / "large.bin").read_bytes()


def choose_folder(visit: Visit, field: str, name: str) -> None:
    """Click through a storage's folders; what was entered stands in the field."""
    box = visit.page.locator(f"[data-folders-input={field}]")
    box.get_by_role("button", name=said(visit, "Test the storage")).click()
    expect(box.locator("[data-folders-tested]")).to_have_text(
        said(visit, "The connection to the storage works.")
    )
    box.get_by_role("button", name=said(visit, "Choose a folder")).click()
    box.get_by_role("button", name=name).click()
    expect(box.locator("[data-folders-note]")).to_have_text(
        said(visit, "There is no folder in here. This one is chosen.")
    )
    expect(box.locator(f"[name={field}]")).to_have_value(name)
    box.get_by_role("button", name=said(visit, "One up")).click()
    expect(box.locator(f"[name={field}]")).to_have_value("")
    box.get_by_role("button", name=name).click()
    expect(box.locator(f"[name={field}]")).to_have_value(name)


def try_rules(visit: Visit, rule: str) -> None:
    """Try a rule on the source's own names and on one that it holds back."""
    tab(visit, "Rules")
    box = visit.page.locator("[data-rules]")
    box.locator("[name=filters]").fill(rule)
    box.locator("summary").click()
    box.get_by_role("button", name=said(visit, "Names from the source folder")).click()
    names = box.locator("[data-rules-paths]")
    expect(names).to_have_value("large.bin")
    names.fill("large.bin\n<b>x</b>.tmp")
    box.get_by_role("button", name=said(visit, "Which would go?")).click()
    expect(box.locator("tbody tr")).to_have_count(2)
    goes, stays = box.locator("tbody tr").all()
    expect(goes).to_contain_text(said(visit, "goes"))
    expect(stays.locator("td")).to_have_text(["<b>x</b>.tmp", said(visit, "stays"), rule])


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_failed_run_explains_itself_on_its_page_and_on_the_dashboard(
    system: System, visitor: Visitor, language: str
) -> None:
    config = make_config(system, f"broken {language}", source_path="nowhere")
    visit = visitor(language=language)
    visit.go(f"{CONFIGS}{config}/change/")

    press(visit, "Run now")

    expect(badge(visit.page)).to_have_text(said(visit, "Failed"))
    expect(visit.page.locator("#why")).to_contain_text(said(visit, "Not found"))
    expect(visit.page.locator(".sb-note.sb-bad")).to_contain_text(said(visit, "What to do"))
    visit.go("/admin/")
    failures = visit.page.locator("[aria-labelledby=failures]")
    expect(failures).to_contain_text(f"broken {language}")
    failures.get_by_role("button", name=said(visit, "Run again")).first.click()
    agree(visit.page)
    visit.page.wait_for_url("**/change/")
    expect(badge(visit.page)).to_have_text(said(visit, "Failed"))


def make_config(system: System, name: str, *, source_path: str = "source") -> int:
    """Make a config over the API, and return its id."""
    client = system.client()
    (system.files / name / "source").mkdir(parents=True, exist_ok=True)
    storage = client.call(
        "POST",
        "/api/v1/sync/storages",
        {"name": f"storage of {name}", "backend": "local", "root": str(system.files / name)},
    )
    assert storage.status_code == 201, storage.text
    config = client.call(
        "POST",
        "/api/v1/sync/configs",
        {
            "name": name,
            "source_storage": storage.json()["id"],
            "source_path": source_path,
            "destination_storage": storage.json()["id"],
            "destination_path": "destination",
        },
    )
    assert config.status_code == 201, config.text
    return int(config.json()["id"])


def test_the_list_shows_the_last_run_and_switches_a_config_off_and_on(
    system: System, visitor: Visitor
) -> None:
    make_config(system, "switched")
    visit = visitor()
    page = visit.go(CONFIGS)
    switch = page.locator("tr", has_text="switched").get_by_role("switch")

    for state in ("false", "true"):
        switch.click()
        expect(switch).to_have_attribute("aria-checked", state)

    page.get_by_role("link", name="Run all enabled").click()
    expect(page.locator("#modal-content")).to_contain_text("every enabled")
    page.keyboard.press("Escape")
    expect(page.locator("#modal-content")).to_be_hidden()
    assert not [run for run in runs_of(system, "switched")]

    page.locator("tr", has_text="switched").locator("td.field-actions_holder span").first.click()
    page.locator("nav a:visible", has_text="Dry run").click()
    agree(page)
    expect(badge(page)).to_have_text("Succeeded")
    visit.go(CONFIGS)
    expect(badge(page.locator("tr", has_text="switched"))).to_have_text("Succeeded")


def runs_of(system: System, name: str) -> list[object]:
    found = system.query(f"list(SyncRun.objects.filter(config_name={name!r}).values('state'))")
    assert isinstance(found, list)
    return found


def test_the_poll_stops_in_a_hidden_tab_and_goes_on_when_it_is_seen(visitor: Visitor) -> None:
    visit = visitor()
    page = visit.page
    page.add_init_script(
        "window.unseen = false;"
        "Object.defineProperty(document, 'hidden', { get: () => window.unseen });"
    )
    page.clock.install()
    polls: list[str] = []
    page.on(
        "request", lambda request: polls.append(request.url) if "live/" in request.url else None
    )
    visit.go("/admin/")

    def seen(hidden: str) -> None:
        page.evaluate(
            f"window.unseen = {hidden}; document.dispatchEvent(new Event('visibilitychange'))"
        )

    with page.expect_response("**/admin/live/"):
        page.clock.run_for(2_100)
    seen("true")
    before = len(polls)
    page.clock.run_for(60_000)
    assert len(polls) == before
    with page.expect_response("**/admin/live/"):
        seen("false")


def test_language_and_theme_are_switched_in_the_page(visitor: Visitor) -> None:
    visit = visitor()
    page = visit.go("/admin/")
    expect(page.get_by_role("heading", name="Running now")).to_be_visible()

    page.get_by_text("admin", exact=True).click()
    page.locator("form[action='/i18n/setlang/'] button", has_text="简体中文").click()

    expect(page.get_by_role("heading", name="正在运行")).to_be_visible()
    page.get_by_text("admin", exact=True).click()
    for theme, dark in (("深色", True), ("浅色", False), ("深色", True)):
        page.get_by_role("button", name=theme).click()
        seen = expect(page.locator("html"))
        (seen.to_have_class if dark else seen.not_to_have_class)(re.compile("dark"))
    page.reload()
    expect(page.locator("html")).to_have_class(re.compile("dark"))


def serious(page: Page, *rules: str) -> list[str]:
    """Return what axe-core calls serious or worse, with the element that has it."""
    # A field that searches gets its name a moment after the page is loaded.
    page.wait_for_function(
        "[...document.querySelectorAll('.select2-selection[role=combobox]')]"
        ".every((box) => box.getAttribute('aria-labelledby').includes('_label'))"
        " && [...document.querySelectorAll('.select2-selection--multiple input')]"
        ".every((box) => box.hasAttribute('aria-label'))"
    )
    page.evaluate(AXE)
    only = f"runOnly: {json.dumps(rules)}, " if rules else ""
    results = page.evaluate(f"axe.run(document, {{ {only} resultTypes: ['violations'] }})")
    return [
        json.dumps([violation["id"], node["html"][:160], node.get("failureSummary", "")[:200]])
        for violation in results["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"][:3]
    ]
