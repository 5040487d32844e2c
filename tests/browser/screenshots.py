"""`make screenshots`: photographs of every page, both languages and themes, desktop and phone.

The first folder gets them all, the second those that the READMEs show. Chinese pages need a
Chinese font, such as the one that tests/install_services.sh installs.
"""

from __future__ import annotations

import shutil
import sys
from itertools import product
from pathlib import Path

import django
from django.utils.translation import gettext, override
from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import DESKTOP, PHONE, Visit, sign_in
from tests.project.system import System
from tests.servers.installed import program

CONFIGS = "/admin/filesync/syncconfig/"
RUNS = "/admin/filesync/syncrun/"
STORAGES = "/admin/filesync/storage/"
BEAT = "/admin/django_celery_beat/"
RESULTS = "/admin/django_celery_results/"
PAGES = {
    "dashboard": "/admin/",
    "sync-configs": CONFIGS,
    "sync-config": f"{CONFIGS}1/change/",
    "sync-config-new": f"{CONFIGS}add/",
    "sync-config-delete": f"{CONFIGS}1/delete/",
    "sync-config-changes": f"{CONFIGS}1/history/",
    "day-ahead": f"{CONFIGS}ahead/",
    "week-ahead": f"{CONFIGS}ahead/?window=week",
    "runs": RUNS,
    "run": f"{RUNS}169/change/",
    "failed-run": f"{RUNS}158/change/",
    "ended-run": f"{RUNS}1/change/",
    "run-items": "/admin/filesync/runitem/?run__id__exact=1",
    "run-item": "/admin/filesync/runitem/1/change/",
    "storages": STORAGES,
    "storage-types": f"{STORAGES}add/",
    "storage": f"{STORAGES}add/?preset=nextcloud",
    "storage-saved": f"{STORAGES}1/change/",
    "storage-browsed": f"{STORAGES}1/browse/",
    "rule-sets": "/admin/filesync/ruleset/",
    "rule-set": "/admin/filesync/ruleset/1/change/",
    "channels": "/admin/filesync/notificationchannel/",
    "channel": "/admin/filesync/notificationchannel/1/change/",
    "notifications": "/admin/filesync/delivery/",
    "notification": "/admin/filesync/delivery/1/change/",
    "tokens": "/admin/filesync/apitoken/",
    "token": "/admin/filesync/apitoken/add/",
    "hooks": "/admin/filesync/hook/",
    "hook": "/admin/filesync/hook/add/",
    "users": "/admin/auth/user/",
    "user": "/admin/auth/user/1/change/",
    "user-new": "/admin/auth/user/add/",
    "user-password": "/admin/auth/user/1/password/",
    "groups": "/admin/auth/group/",
    "group": "/admin/auth/group/1/change/",
    "password": "/admin/password_change/",
    "periodic-tasks": f"{BEAT}periodictask/",
    "periodic-task": f"{BEAT}periodictask/add/",
    "crontabs": f"{BEAT}crontabschedule/",
    "crontab": f"{BEAT}crontabschedule/1/change/",
    "intervals": f"{BEAT}intervalschedule/",
    "interval": f"{BEAT}intervalschedule/1/change/",
    "solars": f"{BEAT}solarschedule/",
    "solar": f"{BEAT}solarschedule/1/change/",
    "clockeds": f"{BEAT}clockedschedule/",
    "clocked": f"{BEAT}clockedschedule/1/change/",
    "task-results": f"{RESULTS}taskresult/",
    "task-result": f"{RESULTS}taskresult/1/change/",
    "group-results": f"{RESULTS}groupresult/",
    "group-result": f"{RESULTS}groupresult/1/change/",
}
SIGNED_OUT = {"login": "/admin/login/"}
TABS = ("Source & target", "Schedule", "Rules", "Limits & safety", "Notifications")
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
    for pages in (SIGNED_OUT, PAGES):
        for name, path in pages.items():
            page = visit.go(path)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=folder / file_name(name, screen, theme, language))
        if pages is SIGNED_OUT:
            sign_in(visit, system.password)
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
        for choice in product(("en", "zh-hans"), ("light", "dark"), SCREENS):
            language, theme, screen = choice
            photograph(browser, system, folder, language=language, theme=theme, screen=screen)
        browser.close()
    for name in SHOWN:
        shutil.copy(folder / f"{name}.png", shown / f"{name}.png")


if __name__ == "__main__":
    # For the words on the tabs.
    django.setup()
    main(Path(sys.argv[1]), Path(sys.argv[2]))
