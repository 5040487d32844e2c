"""What a person does with runs and configs by clicking: mend, undo, many at once, who is told."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.utils.translation import gettext, override
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, Visitor
from tests.browser.test_live import moves
from tests.browser.test_pages import (
    CONFIGS,
    LANGUAGES,
    SLOW,
    SLOW_BYTES,
    agree,
    badge,
    make_config,
    press,
    runs_of,
    said,
    save,
    serious,
    tab,
)
from tests.project.system import System

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

expect.set_options(timeout=30_000)


def change(system: System, config: int, **fields: object) -> None:
    answer = system.client().call("PATCH", f"/api/v1/sync/configs/{config}", fields)
    assert answer.status_code == 200, answer.text


def run_to(visit: Visit, config: int, state: str) -> str:
    """Run a config by clicking until it ends in a state; return the path of the run's page."""
    visit.go(f"{CONFIGS}{config}/change/")
    press(visit, "Run now")
    visit.page.wait_for_url("**/syncrun/*/change/")
    expect(badge(visit.page)).to_have_text(said(visit, state))
    return urlsplit(visit.page.url).path


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_failed_says_why_and_succeeds_again_once_it_is_mended(
    system: System, visitor: Visitor, language: str
) -> None:
    name = f"mended {language}"
    config = make_config(system, name, source_path="later")
    change(system, config, method="FULL", max_attempts=1)
    visit = visitor(language=language)
    page = visit.page

    failed = run_to(visit, config, "Failed")

    why = page.locator(".sb-note.sb-bad")
    with override(language):
        sentence = gettext("The source does not exist: {text}. Nothing was deleted.")
        advice = gettext(
            "The folder, bucket or file does not exist. Check the path; if it lives on a mounted "
            "disk, check that the disk is mounted."
        )
    expect(why).to_contain_text(sentence.partition("{")[0])
    expect(why).to_contain_text(advice)
    attempts = page.locator("[aria-labelledby=attempts] tbody tr")
    expect(attempts).to_have_count(1)
    expect(attempts).to_contain_text(said(visit, "Failed"))
    expect(attempts).to_contain_text(sentence.partition("{")[0])

    folder = system.files / name / "later"
    folder.mkdir()
    (folder / "one.txt").write_text("1")
    press(visit, "Run again")

    expect(page).not_to_have_url(re.compile(re.escape(failed)))
    expect(badge(page)).to_have_text(said(visit, "Succeeded"))
    expect(page.locator(f"a[href='{failed}']")).to_be_visible()
    assert (system.files / name / "destination" / "one.txt").read_text() == "1"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_is_undone_by_clicking(system: System, visitor: Visitor, language: str) -> None:
    name = f"restored {language}"
    config = make_config(system, name)
    source, destination = system.files / name / "source", system.files / name / "destination"
    for number in range(4):
        (source / f"{number}.txt").write_text(str(number))
    change(system, config, method="FULL", keep_deleted_days=7)
    visit = visitor(language=language)
    run_to(visit, config, "Succeeded")
    (source / "0.txt").unlink()
    (source / "new <b>.txt").write_text("new")
    ended = run_to(visit, config, "Succeeded")
    assert names_in(destination) == ["1.txt", "2.txt", "3.txt", "new <b>.txt"]

    visit.go(ended)
    press(visit, "Undo")

    page = visit.page
    expect(page).not_to_have_url(re.compile(re.escape(ended)))
    expect(badge(page)).to_have_text(said(visit, "Succeeded"))
    page.reload()
    rows = page.locator("#items ~ *, [aria-labelledby=items] tbody tr")
    expect(rows.filter(has_text="0.txt").first).to_contain_text(said(visit, "put back"))
    assert names_in(destination) == ["0.txt", "1.txt", "2.txt", "3.txt"]
    assert (destination / "0.txt").read_text() == "0"


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_undoing_is_watched_cancelled_and_finished(
    system: System, visitor: Visitor, language: str
) -> None:
    name = f"restored slowly {language}"
    config = make_config(system, name)
    source, destination = system.files / name / "source", system.files / name / "destination"
    (source / "large.bin").write_bytes(os.urandom(SLOW_BYTES))
    change(system, config, method="FULL", keep_deleted_days=7, max_delete_percent=100)
    visit = visitor(language=language)
    run_to(visit, config, "Succeeded")
    (source / "large.bin").write_text("small")
    (source / "new.txt").write_text("new")
    ended = run_to(visit, config, "Succeeded")
    change(system, config, bandwidth=SLOW)
    page = visit.page

    visit.go(ended)
    press(visit, "Undo")

    expect(page).not_to_have_url(re.compile(re.escape(ended)))
    moves(page.locator("progress").first)
    expect(page.locator("#progress")).to_contain_text(said(visit, "Transferring"))
    amount = said(visit, "%(done)s of %(total)s, %(files)d of %(all)d files")
    told = amount % {"done": "DONE", "total": "TOTAL", "files": 1, "all": 2}
    parts = re.escape(told).replace("DONE", ".+").replace("TOTAL", r"24[^\d].*")
    expect(page.locator("[data-text=amount]")).to_have_text(re.compile(parts))
    undoing = page.url
    visit.go("/admin/")
    entry = page.locator("[aria-labelledby=running] .sb-runs > li", has_text=name)
    moves(entry.locator("progress").first)
    expect(entry).to_contain_text(re.compile(parts))
    entry.get_by_role("button", name=said(visit, "Cancel")).click()
    agree(page)
    page.wait_for_url(undoing)
    expect(badge(page)).to_have_text(said(visit, "Cancelled"))

    change(system, config, bandwidth="")
    visit.go(ended)
    press(visit, "Undo")
    expect(page).not_to_have_url(re.compile(re.escape(ended)))
    expect(badge(page)).to_have_text(said(visit, "Succeeded"))
    assert names_in(destination) == ["large.bin"]
    assert (destination / "large.bin").stat().st_size == SLOW_BYTES


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize("language", LANGUAGES)
def test_many_are_switched_and_run_together(
    system: System, visitor: Visitor, language: str
) -> None:
    names = [f"many {number} {language}" for number in range(3)]
    for name in names:
        make_config(system, name)
    visit = visitor(language=language)
    page = visit.page

    def act(action: str, *chosen: str) -> None:
        visit.go(f"{CONFIGS}?q=many")
        for name in chosen:
            page.locator("tr", has_text=name).locator("input.action-select").check()
        page.select_option("select[name=action]", value=action)
        page.locator("#changelist-actions button[type=submit], button[name=index]").first.click()
        page.wait_for_load_state()

    act("disable_selected", *names[:2])
    expect(page.get_by_text(said(visit, "%d sync configs changed") % 2)).to_be_visible()
    assert [switched_on(page, name) for name in names] == [False, False, True]
    act("enable_selected", names[0])
    assert [switched_on(page, name) for name in names] == [True, False, True]
    act("run_selected", names[0])
    expect(page.get_by_text(said(visit, "%d runs queued") % 1)).to_be_visible()
    assert len(runs_of(system, names[0])) == 1

    visit.go(CONFIGS)
    page.get_by_role("link", name=said(visit, "Run all enabled")).click()
    expect(page.locator("#modal-content")).to_contain_text(
        said(visit, "Queue a run of every enabled sync config.")
    )
    assert runs_of(system, names[2]) == []
    agree(page)
    page.wait_for_url("**/syncrun/")
    assert len(runs_of(system, names[2])) == 1
    assert runs_of(system, names[1]) == []


def switched_on(page: Page, name: str) -> bool:
    switch = page.locator("tr", has_text=name).get_by_role("switch")
    return switch.get_attribute("aria-checked") == "true"


def add_channel(system: System, name: str, *configs: int) -> int:
    """Make a channel that hears of some configs only, over the API; return its id."""
    made = system.client().call(
        "POST",
        "/api/v1/notifications/channels",
        {"name": name, "url": "jsons://example.org/x", "configs": configs},
    )
    assert made.status_code == 201, made.text
    return int(made.json()["id"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_is_told_is_chosen_in_the_config_form(
    system: System, visitor: Visitor, language: str
) -> None:
    mine = make_config(system, f"told {language}")
    other = make_config(system, f"told other {language}")
    channel = add_channel(system, f"duty {language}", other)
    visit = visitor(language=language)
    page = visit.go(f"{CONFIGS}{mine}/change/")

    tab(visit, "Notifications")
    box = page.get_by_role(
        "checkbox", name=re.compile(f"duty {language}: {said(visit, 'A run failed')}")
    )
    expect(box).not_to_be_checked()
    box.check()
    row = page.locator("details", has=page.locator(f"[name=notified_channels_{channel}]"))
    partial = row.get_by_role("checkbox", name=said(visit, "Some files failed"))
    expect(partial).to_be_hidden()
    row.get_by_text(said(visit, "Other events for this sync")).click()
    partial.check()
    assert serious(page) == []
    page.fill("[name=late_after_s]", "600")
    save(page)

    visit.go(f"{CONFIGS}{mine}/change/")
    tab(visit, "Notifications")
    expect(box).to_be_checked()
    # What is chosen is not folded away.
    expect(partial).to_be_visible()
    expect(partial).to_be_checked()
    expect(row.get_by_role("checkbox", checked=True)).to_have_count(1)
    config = system.client().call("GET", f"/api/v1/sync/configs/{mine}").json()
    assert config["channels"] == [{"channel": channel, "events": ["PARTIAL"]}]
    told = system.client().call("GET", f"/api/v1/notifications/channels/{channel}").json()
    assert sorted(told["configs"]) == sorted([mine, other])


@pytest.mark.parametrize("language", LANGUAGES)
def test_only_what_failed_is_sent_again(system: System, visitor: Visitor, language: str) -> None:
    name = f"some failed {language}"
    config = make_config(system, name)
    source, destination = system.files / name / "source", system.files / name / "destination"
    for file in ("good.txt", "bad.txt"):
        (source / file).write_text("1")
    # A folder stands where the file should go.
    (destination / "bad.txt" / "inside").mkdir(parents=True)
    change(system, config, method="INCREMENTAL", max_attempts=1)
    visit = visitor(language=language)
    page = visit.page
    ended = run_to(visit, config, "Partly failed")
    page.reload()
    failed = page.locator("[aria-labelledby=items] tbody tr", has_text=said(visit, "failed"))
    expect(failed.locator(".sb-path")).to_have_text(["bad.txt"])

    shutil.rmtree(destination / "bad.txt")
    (destination / "good.txt").unlink()
    press(visit, "Send the failed files again")

    expect(page).not_to_have_url(re.compile(re.escape(ended)))
    expect(badge(page)).to_have_text(said(visit, "Succeeded"))
    assert names_in(destination) == ["bad.txt"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_config_is_duplicated_and_its_history_read_by_the_menu_of_its_row(
    system: System, visitor: Visitor, language: str
) -> None:
    name = f"twice {language}"
    config = make_config(system, name)
    visit = visitor(language=language)
    page = visit.page
    run_to(visit, config, "Succeeded")

    choose(visit, name, "Duplicate")
    expect(page.locator("#modal-content")).to_contain_text(
        said(visit, "Make a copy of this sync. It is disabled until you enable it.")
    )
    agree(page)
    page.wait_for_url("**/syncconfig/*/change/")
    copied = page.locator("[name=name]").input_value()
    assert copied != name
    assert copied.startswith(name)
    expect(page.locator("[name=enable]")).not_to_be_checked()
    expect(page.locator("[name=source_path]")).to_have_value("source")

    choose(visit, name, "History")
    page.wait_for_url(f"**/syncrun/?config__id__exact={config}")
    expect(page.locator("#result_list").get_by_text(f"{name} #")).to_have_count(1)


def choose(visit: Visit, name: str, entry: str) -> None:
    """Choose in the menu of the first config that is found by a name."""
    page = visit.go(f"{CONFIGS}?q={name}")
    label = f"{said(visit, 'More actions')}: {name}"
    page.get_by_role("button", name=label, exact=True).click()
    page.get_by_role("link", name=said(visit, entry), exact=True).click()


def test_the_themes_own_parts_work_without_eval(visitor: Visitor) -> None:
    """Each of these was written by the theme in a way that Alpine's strict build cannot read."""
    visit = visitor()
    page = visit.go("/admin/")
    side = page.locator("#nav-sidebar")
    toggle = page.locator("[x-on\\:click*=keepSidebar]:visible")
    expect(side).to_be_visible()
    toggle.click()
    expect(side).to_be_hidden()
    page.reload()
    expect(side).to_be_hidden()
    toggle.click()
    expect(side).to_be_visible()

    search = page.locator("#nav-filter")
    search.press_sequentially("run")
    results = page.locator("#search-results")
    expect(results.get_by_role("link").first).to_be_visible()
    search.press("Escape")
    expect(results).to_be_hidden()
    expect(search).to_have_value("")
