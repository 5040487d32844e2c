"""`make screenshots`: photographs of every page, both themes, on a desktop and a phone.

The first folder gets them all, the second those that the READMEs show. Chinese pages need a
Chinese font, such as the one that tests/install_services.sh installs.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import django
from django.utils.translation import gettext, override
from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import DESKTOP, PHONE, Visit, sign_in
from tests.project.system import System
from tests.servers.installed import program

CONFIGS = "/admin/filesync/syncconfig/"
RUNS = "/admin/filesync/syncrun/"
PAGES = {
    "dashboard": "/admin/",
    "sync-configs": CONFIGS,
    "sync-config": f"{CONFIGS}1/change/",
    "runs": RUNS,
    "run": f"{RUNS}169/change/",
    "failed-run": f"{RUNS}158/change/",
    "day-ahead": f"{CONFIGS}ahead/",
    "storages": "/admin/filesync/storage/",
    "storage-types": "/admin/filesync/storage/add/",
    "storage": "/admin/filesync/storage/add/?preset=nextcloud",
    "rule-sets": "/admin/filesync/ruleset/",
    "channels": "/admin/filesync/notificationchannel/",
    "channel": "/admin/filesync/notificationchannel/1/change/",
    "tokens": "/admin/filesync/apitoken/",
    "hooks": "/admin/filesync/hook/",
    "users": "/admin/auth/user/",
    "periodic-tasks": "/admin/django_celery_beat/periodictask/",
    "task-results": "/admin/django_celery_results/taskresult/",
}
TABS = ("Schedule", "Rules", "Limits & safety", "Notifications")
SHOWN = (
    "dashboard-desktop-light",
    "sync-configs-desktop-light-zh-hans",
    "failed-run-desktop-dark",
    "day-ahead-desktop-light",
    "dashboard-phone-dark",
    "dashboard-desktop-light-zh-hans",
    "failed-run-desktop-light-zh-hans",
)
SCREENS = {"desktop": DESKTOP, "phone": PHONE}
SCENE = "from tests.browser.scene import make_scene; make_scene()"


def photograph(
    browser: Browser, system: System, folder: Path, *, language: str, theme: str, screen: str
) -> None:
    width, height = SCREENS[screen]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
        locale={"en": "en-GB", "zh-hans": "zh-CN"}[language],
    )
    visit = Visit(context.new_page(), system.base, language)
    sign_in(visit, system.password)
    for name, path in PAGES.items():
        page = visit.go(path)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=folder / file_name(name, screen, theme, language))
    for name in TABS:
        page = visit.go(PAGES["sync-config"])
        page.wait_for_load_state("networkidle")
        with override(language):
            page.locator("#content-main nav a", has_text=gettext(name)).click()
        place = f"sync-config-{name.split()[0].lower()}"
        page.screenshot(path=folder / file_name(place, screen, theme, language))
    context.close()


def file_name(*parts: str) -> str:
    return "-".join(part for part in parts if part != "en") + ".png"


def main(folder: Path, shown: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with System() as system, sync_playwright() as playwright:
        done = system.manage("shell", "--no-imports", "-c", SCENE)
        if done.returncode:
            raise SystemExit(done.stderr)
        browser = playwright.chromium.launch(executable_path=program("chromium"))
        for theme in ("light", "dark"):
            for screen in SCREENS:
                photograph(browser, system, folder, language="en", theme=theme, screen=screen)
        for screen in SCREENS:
            photograph(browser, system, folder, language="zh-hans", theme="light", screen=screen)
        browser.close()
    for name in SHOWN:
        shutil.copy(folder / f"{name}.png", shown / f"{name}.png")


if __name__ == "__main__":
    # For the words on the tabs.
    django.setup()
    main(Path(sys.argv[1]), Path(sys.argv[2]))
