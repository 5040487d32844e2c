"""What third-party pages and rclone's own texts would leave in English on Chinese pages."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.contrib.admin import site
from django.test import Client
from django.utils.translation import override
from django_celery_beat.models import CrontabSchedule

from filesync import engine
from filesync.admin.option_help import HELPS
from filesync.admin.storage_fields import help_of
from filesync.admin.storage_form import offered
from filesync.admin.words import GUARDS, guard
from filesync.engine.watch import MAX_RUNTIME, STALL_TIMEOUT
from filesync.models import SyncRun
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_run, make_user

# What a page is called in Chinese is the same on each database.
pytestmark = [pytest.mark.django_db, pytest.mark.only_on("sqlite")]


def page(path: str, language: str = "zh-hans") -> str:
    client = Client(headers={"accept-language": language})
    client.force_login(make_user("superuser"))
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize(
    ("language", "found", "missing"),
    [
        ("zh-hans", ["群晖 NAS", "坚果云", "阿里云 OSS", "Nextcloud"], ["Synology NAS (WebDAV"]),
        ("en", ["Synology NAS", "Jianguoyun", "Aliyun OSS", "Nextcloud"], ["坚果云"]),
    ],
)
def test_services_bear_the_name_that_readers_know(
    language: str, found: list[str], missing: list[str]
) -> None:
    shown = page("/admin/filesync/storage/add/", language)

    for text in found:
        assert f">{text}" in shown
    for text in missing:
        assert f">{text}" not in shown


@pytest.mark.parametrize("wanted", ["坚果云", "nutstore"])
def test_a_service_is_found_by_its_name_in_either_language(wanted: str) -> None:
    shown = page(f"/admin/filesync/storage/add/?q={wanted}")

    assert ">坚果云</a>" in shown
    assert ">Nextcloud</a>" not in shown


@pytest.mark.parametrize("label", ["auth/group", "auth/user"])
def test_permissions_are_listed_in_the_readers_language(label: str) -> None:
    path = f"/admin/{label}/add/" if label == "auth/group" else _own_page()

    shown = page(path)

    assert "文件同步 | 同步配置 | 可以更改" in shown
    assert "文件同步 | 同步配置 | 可以越过保护强制运行" in shown
    assert "| Can " not in shown


def _own_page() -> str:
    return f"/admin/auth/user/{make_user('superuser').pk}/change/"


@pytest.mark.parametrize(
    ("day", "weekday", "said"),
    [("*", "*", "每天 02:00"), ("1", "1", "0 2 1 * 1"), ("*", "mon-fri", "02:00")],
)
def test_a_crontab_is_said_in_the_readers_language(day: str, weekday: str, said: str) -> None:
    crontab = CrontabSchedule.objects.create(
        minute="0", hour="2", day_of_month=day, day_of_week=weekday
    )

    for path in ("", f"{crontab.pk}/change/"):
        shown = page(f"/admin/django_celery_beat/crontabschedule/{path}")
        assert said in shown
        assert "At 02:00" not in shown


def test_a_guard_has_words_and_an_unknown_one_its_name(local_root: Path) -> None:
    run = make_run(
        make_config(local_root),
        state=SyncRun.State.FAILED,
        failure_class="GUARD",
    )
    SyncRun.objects.update(guard="max_delete_files")

    assert "被保护机制拦下 (删除过多)" in page(f"/admin/filesync/syncrun/{run.pk}/change/")
    assert guard("unheard_of") == "unheard_of"
    assert set(GUARDS) == _guards_of_the_engine()


def _guards_of_the_engine() -> set[str]:
    """Return every guard that the engine's code names."""
    named = {MAX_RUNTIME, STALL_TIMEOUT}
    for path in Path(engine.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "guard":
                value = node.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    named.add(value.value)
    return named


# What people make storages of most; what they must fill in is asked in their language.
COMMON = (
    "b2",
    "box",
    "drive",
    "dropbox",
    "ftp",
    "local",
    "mega",
    "onedrive",
    "pcloud",
    "pikpak",
    "s3",
    "seafile",
    "sftp",
    "smb",
    "webdav",
)
CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.mark.parametrize("language", ["zh-hans", "en"])
def test_what_must_be_filled_in_is_explained_in_the_readers_language(language: str) -> None:
    asked: dict[str, set[str]] = {}
    for preset in engine.PRESETS:
        asked.setdefault(preset.backend, set()).update(preset.ask)

    with override(language):
        unlike = {
            f"{name}.{option.name}": option.help
            for name in COMMON
            for option in offered()[name].options
            if (option.required or option.name in asked.get(name, ()))
            and bool(CHINESE.search(help_of(option).split("<details")[0])) != (language != "en")
        }

    assert unlike == {}
    assert {preset.backend for preset in engine.PRESETS} <= set(COMMON)


def test_every_help_that_is_translated_is_one_of_rclones() -> None:
    said = {
        option.help.strip().partition("\n\n")[0]
        for backend in offered().values()
        for option in backend.options
    }

    assert set(HELPS) - said == set()


def test_a_form_of_a_storage_shows_the_translated_help() -> None:
    shown = page("/admin/filesync/storage/add/?backend=webdav")

    assert "要连接的 HTTP 主机的网址" in shown
    assert "URL of http host to connect to." not in shown


class Labels(HTMLParser):
    """Collects what a page calls its columns, fields, groups and buttons."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: set[str] = set()
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in LABELS:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in LABELS and self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.texts.add(" ".join(data.split()))


LABELS = ("label", "th", "h1", "h2", "h3", "legend", "button")
# Names, and icons by the names that their font knows.
SAME_HERE = re.compile(r"[a-z_]+|[\W\d_]*|Syncbeat|URL|API|Worker|English|zh-hans|superuser \d+")


@pytest.mark.parametrize("label", sorted(model._meta.label_lower for model in site._registry))
def test_no_column_field_or_button_of_any_page_is_left_in_english(label: str) -> None:
    """Those of the packages too, whose texts a new version may change."""
    place = f"/admin/{label.replace('.', '/')}/"
    client = Client(headers={"accept-language": "zh-hans"})
    client.force_login(make_user("superuser"))

    english = set()
    for url in (place, f"{place}add/"):
        answer = client.get(url)
        if answer.status_code == 200:
            english |= {
                text
                for text in Labels(answer.content.decode()).texts
                if not CHINESE.search(text) and not SAME_HERE.fullmatch(text)
            }

    assert english == set()
