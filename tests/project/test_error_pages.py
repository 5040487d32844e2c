"""What a person sees where something goes wrong: plain words in both languages, no database."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.db import InterfaceError, OperationalError, connection
from django.test import Client, RequestFactory
from pytest_django.fixtures import SettingsWrapper

from project import error_pages
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, sign_in
from tests.servers.process import REPOSITORY, free_port

AWAY = {"en": "The database does not answer", "zh-hans": "数据库没有应答"}
BROKEN = {"en": "An error of the server", "zh-hans": "服务器出错"}
PAGES = ("/admin/", "/admin/filesync/syncconfig/", "/admin/live/", "/admin/login/")
CHILD = """
import json
import django
django.setup()
from django.test import Client
client = Client(SERVER_NAME="localhost", raise_request_exception=False)
client.cookies["sessionid"] = "x" * 32
answer = client.get("/admin/", headers={"accept-language": "zh-hans"})
print(json.dumps([answer.status_code, answer["Retry-After"], answer.content.decode()]))
"""


@pytest.mark.django_db
@pytest.mark.parametrize("language", AWAY)
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_database_that_is_away_is_said_in_plain_words(
    language: str, error: type[Exception]
) -> None:
    client = sign_in("superuser", language=language)
    client.raise_request_exception = False

    def fail(*_: object) -> None:
        raise error("secret words of the driver")

    with connection.execute_wrapper(fail):
        answers = {url: client.get(url) for url in PAGES}

    for url, answer in answers.items():
        html = answer.content.decode()
        assert (answer.status_code, url) == (503, url)
        assert f"<h1>{AWAY[language]}</h1>" in html
        assert f'lang="{language}"' in html
        assert "secret" not in html
        assert int(answer["Retry-After"]) > 0
        assert "Content-Security-Policy" in answer


def test_a_postgresql_that_is_stopped_is_said_so_by_a_web_process(tmp_path: Path) -> None:
    environment = os.environ | {
        "DATABASE_URL": f"postgres://syncbeat@127.0.0.1:{free_port()}/syncbeat",
        "SYNCBEAT_DATA_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "project.settings",
    }

    told = subprocess.run(
        [sys.executable, "-c", CHILD],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    status, retry_after, html = json.loads(told.stdout.splitlines()[-1])
    assert (status, int(retry_after) > 0) == (503, True)
    assert AWAY["zh-hans"] in html


@pytest.mark.django_db
@pytest.mark.parametrize("language", BROKEN)
def test_an_error_that_nobody_foresaw_is_said_without_its_details(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sign_in("superuser", language=language)
    client.raise_request_exception = False

    def fail(*_: object, **__: object) -> None:
        raise ValueError("secret details")

    monkeypatch.setattr("filesync.admin.dashboard.dashboard_document", fail)

    answer = client.get("/admin/live/")

    html = answer.content.decode()
    assert (answer.status_code, "secret" in html) == (500, False)
    assert f"<h1>{BROKEN[language]}</h1>" in html


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "missing", "forbidden", "refused"),
    [
        ("en", "Not found", "Not permitted", "The form was refused"),
        ("zh-hans", "未找到", "没有权限", "表单被拒绝"),
    ],
)
def test_what_is_missing_or_not_permitted_has_a_page(
    local_root: Path, language: str, missing: str, forbidden: str, refused: str
) -> None:
    config = make_config(local_root)
    nobody = sign_in("nobody", language=language)
    strict = sign_in("superuser", language=language, csrf=True)
    switch = f"/admin/filesync/syncconfig/{config.pk}/switch/"

    for answer, status, title in (
        (nobody.get("/nowhere"), 404, missing),
        (nobody.get("/admin/filesync/syncconfig/"), 403, forbidden),
        (strict.post(switch), 403, refused),
    ):
        assert answer.status_code == status
        assert f"<h1>{title}</h1>" in answer.content.decode()


def test_the_page_for_what_cannot_be_read_says_what_to_do() -> None:
    answer = error_pages.bad_request(RequestFactory().get("/"), ValueError())

    assert answer.status_code == 400
    assert "send it again" in answer.content.decode()


def test_an_error_page_loads_what_is_there_and_runs_nothing(settings: SettingsWrapper) -> None:
    html = Client().get("/nowhere").content.decode()

    loaded = re.findall(r'<link[^>]*href="([^"]+)"', html)
    assert loaded
    for url in loaded:
        assert finders.find(url.removeprefix(settings.STATIC_URL)) is not None
    assert "<script" not in html
    assert "style=" not in html
