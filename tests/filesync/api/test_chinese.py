"""What a Chinese reader sees of the browsable pages, and what programs see in any language.

Names in the rows and in the answer itself are no words of ours: they stay out.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.urls import URLPattern
from rest_framework.test import APIClient

from filesync import engine
from filesync.api.urls import urlpatterns
from filesync.models import ApiToken, Delivery, NotificationChannel, RuleSet, SyncRun
from filesync.notifications.schemes import SCHEMES
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_run, make_storage, make_user

pytestmark = pytest.mark.django_db

WORD = re.compile(r"[A-Za-z]{2,}")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
# Answers, sources, what a person typed; links are called as the answer's fields and the rows.
NOT_OURS = {"code", "pre", "script", "style", "textarea", "list-inline", "navbar-text"}
# What Chinese readers write so too, and names of formats and methods.
SAME_IN_CHINESE = {
    "API",
    "DELETE",
    "English",
    "GET",
    "OPTIONS",
    "PATCH",
    "POST",
    "PUT",
    "Syncbeat",
    "Syncbeat API",
    "api",
    "application/json",
    "application/x-www-form-urlencoded",
    "json",
    "multipart/form-data",
    "txt",
}
SHOWN_ATTRIBUTES = ("aria-label", "placeholder", "title", "alt")
VOID = {"br", "hr", "img", "input", "link", "meta"}


class Words(HTMLParser):
    """Reads the words of a page: its texts, and the attributes that are shown or read aloud."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._open: list[bool] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self._open.append(bool(NOT_OURS & {tag, *given.get("class", "").split()}))
        if not any(self._open):
            self.found += [given[name] for name in SHOWN_ATTRIBUTES if name in given]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID and self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not any(self._open):
            self.found.append(data.strip())


def english(page: str) -> set[str]:
    """Return the words of a page that are not Chinese and should be."""
    words = {" ".join(text.split()) for text in Words(page).found}
    found = {text for text in words if WORD.search(text) and not CHINESE.search(text)}
    # rclone's and apprise's own names are offered by the filters.
    return found - SAME_IN_CHINESE - set(engine.POLICY) - SCHEMES


def client(language: str, role: str = "superuser", accept: str = "text/html") -> APIClient:
    found = APIClient(HTTP_ACCEPT=accept, HTTP_ACCEPT_LANGUAGE=language)
    if role != "anonymous":
        found.force_login(make_user(role))
    return found


@pytest.fixture
def addresses(local_root: Path) -> dict[str, str]:
    """Return an address of each route that a GET can show, all of things with Chinese names."""
    storage = make_storage(local_root, name="盘")
    config = make_config(local_root, name="照片", source_storage=storage)
    run = make_run(config, state=SyncRun.State.FAILED)
    channel = NotificationChannel(name="值班")
    channel.url = "json://93.184.216.34/"
    channel.save()
    message = Delivery.objects.create(
        channel=channel, event="FAILURE", dedupe_key="x", state="SENT", title="失败"
    )
    ids = {
        "apitoken": ApiToken.issue(make_user("viewer"), "脚本")[0].pk,
        "backend": "webdav",
        "notificationchannel": channel.pk,
        "delivery": message.pk,
        "ruleset": RuleSet.objects.create(name="杂物", filters="- *.tmp").pk,
        "storage": storage.pk,
        "syncconfig": config.pk,
        "syncrun": run.pk,
    }
    found = {}
    for route in urlpatterns:
        assert isinstance(route, URLPattern)
        path = str(route.pattern)
        if route.name is None or "format" in path:
            continue
        pk = str(ids.get(str(route.name).partition("-")[0], ""))
        path = re.sub(r"\(\?P<(pk|id)>[^)]*\)|<int:pk>", pk, path.strip("^$"))
        path = re.sub(r"\(\?P<config_id>[^)]*\)", str(config.pk), path)
        path = re.sub(r"\(\?P<task_id>[^)]*\)", str(run.task_id), path)
        found[str(route.name)] = f"/api/v1/{path.replace('<str:token>', 'hk_x')}"
    found["unknown"] = "/api/v1/nowhere"
    return found


def test_no_word_of_ours_on_a_page_is_english(addresses: dict[str, str]) -> None:
    assert len(addresses) > 30
    reader = client("zh-hans")

    left = {
        name: words
        for name, path in addresses.items()
        if (words := english(reader.get(path).content.decode()))
    }

    assert left == {}


def test_no_word_of_ours_on_a_page_is_english_to_who_is_not_signed_in() -> None:
    reader = client("zh-hans", "anonymous")

    for path in ("/api/v1/", "/api/v1/sync/runs", "/api-auth/login/?next=/api/v1/"):
        assert english(reader.get(path).content.decode()) == set()


def test_english_words_are_seen() -> None:
    page = (
        "<h1>Runs</h1><p title='Next run'>下次运行 next</p><pre>ok</pre><b>POST</b>"
        "<ul class='a list-inline'><li>run</li></ul><label>Dry <br>run</label>"
    )

    assert english(page) == {"Runs", "Next run", "Dry", "run"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (
            "sync/configs",
            ["同步配置", "源存储", "全量：使目标与源完全一致", "留空：按存储自动选择。"],
        ),
        ("sync/runs", ["运行", "排队时间不早于", "试运行", ">未知</option>"]),
        ("sync/rule-sets/try", ["过滤规则", "规则集"]),
        ("task/scheduler/validate-cron", ["cron 表达式", "时区"]),
    ],
)
def test_a_page_says_in_chinese_what_the_admin_says(path: str, found: list[str]) -> None:
    page = client("zh-hans").get(f"/api/v1/{path}").content.decode()

    for text in found:
        assert text in page


def send(sender: APIClient, method: str, path: str, body: object) -> Any:
    content = "" if body is None else json.dumps(body)
    return sender.generic(method, path, content, content_type="application/json")


def refusals(local_root: Path) -> list[tuple[str, str, str, Any]]:
    """Return (role, method, address, body) of requests, one for each way to be refused."""
    storage = make_storage(local_root)
    make_config(local_root, source_storage=storage)
    busy, off = make_config(local_root), make_config(local_root, enable=False)
    run = make_run(busy)
    done = make_run(off, state=SyncRun.State.SUCCEEDED)
    task = "/api/v1/task/scheduler"
    return [
        ("anonymous", "GET", "/api/v1/sync/runs", None),
        ("nobody", "GET", "/api/v1/sync/runs", None),
        ("operator", "POST", f"{task}/execute-sync/{off.pk}", {"force": True}),
        ("superuser", "POST", f"{task}/execute-sync/{busy.pk}", None),
        ("superuser", "POST", f"{task}/execute-sync/{off.pk}", None),
        ("superuser", "POST", f"{task}/execute-sync/999999", None),
        ("superuser", "POST", f"{task}/execute-sync/{off.pk}", {"only_failed_of": run.pk}),
        ("superuser", "GET", f"{task}/task-result/none", None),
        ("superuser", "POST", f"/api/v1/sync/runs/{done.pk}/cancel", None),
        ("superuser", "POST", f"/api/v1/sync/runs/{done.pk}/restore", None),
        ("superuser", "POST", f"/api/v1/sync/runs/{done.pk}/retry", {"only_failed": True}),
        ("superuser", "GET", "/api/v1/sync/configs/999999", None),
        ("superuser", "GET", "/api/v1/sync/configs/999999/hook", None),
        ("superuser", "GET", "/api/v1/sync/configs?page=99", None),
        ("superuser", "GET", "/api/v1/sync/runs?cursor=x", None),
        ("superuser", "GET", "/api/v1/sync/backends/alias", None),
        ("superuser", "GET", "/api/v1/nowhere", None),
        ("superuser", "DELETE", f"/api/v1/sync/storages/{storage.pk}", None),
        ("superuser", "PUT", "/api/v1/sync/runs", {}),
        ("anonymous", "POST", "/api/v1/hooks/hk_x", None),
    ]


def test_a_refusal_is_said_in_the_language_of_the_request_and_its_code_never(
    local_root: Path,
) -> None:
    for role, method, path, body in refusals(local_root):
        first, second = (
            send(client(language, role, "application/json"), method, path, body)
            for language in ("en", "zh-hans")
        )

        label = f"{method} {path} {body} {first.json()} {second.json()}"
        assert 400 <= first.status_code == second.status_code < 500, label
        assert first.json()["code"] == second.json()["code"], label
        assert re.fullmatch("[a-z_]+", second.json()["code"]), label
        assert not CHINESE.search(first.json()["detail"]), label
        assert CHINESE.search(second.json()["detail"]), label


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PATCH", "sync/configs/{config}", {"cron": "61 * * * *"}, "cron"),
        ("POST", "sync/configs", {"cron": "61 * * * *"}, "name"),
        ("POST", "sync/configs", {"colour": 1}, "colour"),
        ("POST", "sync/configs", {"name": 5}, "name"),
        ("POST", "sync/rule-sets", {"name": "x", "filters": "photos"}, "filters"),
        ("GET", "sync/configs?colour=1", None, "colour"),
        ("GET", "sync/runs?since=never", None, "since"),
        ("GET", "sync/runs?state=GREEN", None, "state"),
        ("GET", "sync/configs?ordering=colour", None, "ordering"),
        ("GET", "sync/storages/{storage}/browse?page=0", None, "page"),
    ],
)
def test_what_is_wrong_with_a_field_is_said_in_the_language_of_the_request(
    local_root: Path, method: str, path: str, body: object, field: str
) -> None:
    config = make_config(local_root)
    address = f"/api/v1/{path.format(config=config.pk, storage=config.source_storage_id)}"

    answer = send(client("zh-hans", accept="application/json"), method, address, body)

    assert answer.status_code == 400
    assert CHINESE.search(answer.json()[field][0]), answer.json()


@pytest.mark.parametrize(
    ("language", "title", "hint"),
    [("en", "Jianguoyun / Nutstore", "app password"), ("zh-hans", "坚果云", "应用")],
)
def test_presets_bear_the_name_that_readers_know(language: str, title: str, hint: str) -> None:
    answer = client(language, accept="application/json").get("/api/v1/sync/backends/webdav")

    presets = {preset["title"]: preset["hint"] for preset in answer.json()["presets"]}
    assert hint in presets[title]
    assert "" in presets.values()


def test_the_description_for_programs_is_the_same_in_every_language() -> None:
    first, second = (
        client(language, accept="application/vnd.oai.openapi+json").get("/api/schema")
        for language in ("en", "zh-hans")
    )

    assert json.loads(first.content) == json.loads(second.content)
    assert not CHINESE.search(json.dumps(json.loads(second.content), ensure_ascii=False))
