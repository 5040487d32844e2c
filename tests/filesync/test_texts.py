"""Texts of the engine: English for programs, and said in the reader's language wherever shown."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path

import pytest
from django.db import connection
from django.utils.translation import override

from filesync import engine
from filesync.engine import Text
from filesync.models import RunItem, Storage, SyncRun
from filesync.services import journal, pausing
from filesync.services.execution import execute
from filesync.services.finishing import finish_run
from filesync.texts import read_text, say, text_document
from tests.filesync.engine.lab import write_tree
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, make_config, make_run, make_storage, sign_in
from tests.filesync.factories import use_broker as use_broker
from tests.filesync.test_admin import config_form

TOO_MANY = Text(
    "{numbers}; the limit is {most}.",
    numbers=Text(
        "{deletes} of the destination's {total} files ({size}) would be deleted",
        deletes=900,
        total=1000,
        size="1.5 MiB",
    ),
    most=5,
)
ENGLISH = "900 of the destination's 1000 files (1.5 MiB) would be deleted; the limit is 5."
CHINESE = "目标的 1000 个文件中有 900 个（1.5 MiB）将被删除；上限为 5。"
GUARDED = engine.SyncResult(
    engine.Outcome.FAILED,
    failure=engine.Failure.of(engine.FailureClass.GUARD, TOO_MANY, guard="max_delete_files"),
)


def test_a_text_is_its_english_sentence_and_is_said_in_any_language() -> None:
    assert TOO_MANY == ENGLISH
    with override("zh-hans"):
        assert say(TOO_MANY) == CHINESE
    with override("en"):
        assert say(TOO_MANY) == ENGLISH


def test_rclones_own_words_stay_as_they_are() -> None:
    with override("zh-hans"):
        assert say("dial tcp: {no} route") == "dial tcp: {no} route"


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda text: pickle.loads(pickle.dumps(text)),
        lambda text: read_text(json.loads(json.dumps(text_document(text)))),
    ],
)
@pytest.mark.parametrize("text", [TOO_MANY, Text("{path!r} leads out", path="a {b} %s")])
def test_a_copy_keeps_the_template(text: Text, copied: object) -> None:
    again = copied(text)  # type: ignore[operator]

    assert again == str(text)
    assert (again.template, again.params) == (text.template, text.params)


@pytest.mark.django_db
def test_a_column_keeps_the_template_and_other_texts_as_they_are(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    plain = "no route to host"
    like_ours = '\x1e{"text": "{a}", "with": {"a": 1}}'

    for text in (TOO_MANY, plain, like_ours, ""):
        SyncRun.objects.filter(pk=run.pk).update(message=text)
        run.refresh_from_db()
        assert run.message == text
        assert isinstance(run.message, Text) == (text in (TOO_MANY, like_ours))
    with override("zh-hans"):
        SyncRun.objects.filter(pk=run.pk).update(message=like_ours)
        run.refresh_from_db()
        assert run.explanation == like_ours

    SyncRun.objects.filter(pk=run.pk).update(message=plain)
    with connection.cursor() as cursor:
        cursor.execute("SELECT message FROM filesync_syncrun WHERE id = %s", [run.pk])
        assert cursor.fetchone() == (plain,)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "message",
    [
        "bad \udcff name, and NUL \0",
        Text("the symbolic link {link} leads out of {root}; remove it", link="\udcff", root="\0"),
    ],
)
def test_an_outcome_is_told_whatever_bytes_are_in_its_message(
    local_root: Path, message: str
) -> None:
    run = make_run(make_config(local_root))
    failure = engine.Failure.of(engine.FailureClass.CONFIG, message)
    result = engine.SyncResult(engine.Outcome.FAILED, failure=failure)

    finish_run(claim(run), result)

    told = sign_in("viewer").get(f"/api/v1/sync/runs/{run.pk}").json()
    assert told["state"] == "FAILED"
    as_stored = message.replace("\udcff", "?").replace("\0", "\ufffd")
    assert told["message"] == told["attempts"][0]["message"] == as_stored


@pytest.mark.django_db
def test_a_run_is_found_by_the_chinese_name_of_its_sync(local_root: Path) -> None:
    run = make_run(make_config(local_root, name="照片 猫"))
    make_run(make_config(local_root))
    message = Text("left as it is: {why}", why="照片/猫.jpg")
    SyncRun.objects.filter(pk=run.pk).update(message=message)

    found = sign_in("viewer").get("/api/v1/sync/runs", {"search": "猫"}).json()["results"]

    assert [(one["id"], one["message"]) for one in found] == [(run.pk, str(message))]


@pytest.mark.django_db
@pytest.mark.parametrize(("language", "said"), [("en", ENGLISH), ("zh-hans", CHINESE)])
def test_pages_and_api_say_in_the_readers_language_why_a_run_failed(
    local_root: Path, language: str, said: str
) -> None:
    run = make_run(make_config(local_root))
    finish_run(claim(run), GUARDED)
    RunItem.objects.create(
        run=run, action="FAILED", path="a", error=Text("left as it is: {why}", why=TOO_MANY)
    )
    browser = sign_in("viewer", language=language)

    page = browser.get(f"/admin/filesync/syncrun/{run.pk}/change/").content.decode()
    # Why it ended, why its attempt did, and the item.
    assert page.count(said.replace("'", "&#x27;")) == 3
    assert said.replace("'", "&#x27;") in browser.get("/admin/").content.decode()
    told = browser.get(f"/api/v1/sync/runs/{run.pk}").json()
    assert told["message"] == said
    listed = browser.get("/api/v1/sync/runs").json()["results"]
    assert [row["message"] for row in listed] == [said]
    items = browser.get(f"/api/v1/sync/runs/{run.pk}/items").json()
    assert items[0]["error"].endswith(said)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "another file of the source has the same name at the destination; left out"),
        ("zh-hans", "源中另一个文件在目标中的名称相同；已略过"),
    ],
)
def test_what_is_wrong_with_a_named_file_is_told_in_the_readers_language(
    local_root: Path, language: str, said: str
) -> None:
    write_tree(local_root / "source", {"IMG_1.jpg": "one", "1.jpg": "two"})
    run = make_run(make_config(local_root, renames="^IMG_ =>"))
    execute(claim(run))
    browser = sign_in("viewer", language=language)

    told = browser.get(f"/api/v1/sync/runs/{run.pk}").json()["message"]
    page = browser.get(f"/admin/filesync/syncrun/{run.pk}/change/").content.decode()

    assert re.fullmatch(rf"IMG_1\.jpg(: |：){said}", told), told
    assert told in page


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "disk is paused: wrong password"), ("zh-hans", "disk 已暂停：wrong password")],
)
def test_a_paused_storage_says_so_in_the_readers_language(
    local_root: Path, language: str, said: str
) -> None:
    storage = make_storage(local_root, name="disk")
    pausing.pause(storage, "wrong password")
    Storage.objects.filter(pk=storage.pk).update(
        last_check_at=storage.created_at, last_check_class="AUTH"
    )
    browser = sign_in("superuser", language=language)

    page = browser.get(f"/admin/filesync/storage/{storage.pk}/change/").content.decode()

    assert said in page
    told = browser.get(f"/api/v1/sync/storages/{storage.pk}").json()
    assert told["paused_reason"] == said


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "must be &#x27;+ pattern&#x27; or &#x27;- pattern&#x27;"),
        ("zh-hans", "过滤规则第 1 行（&#x27;photos&#x27;）必须写成“+ 模式”或“- 模式”"),
    ],
)
def test_a_form_says_what_the_engine_refuses(local_root: Path, language: str, said: str) -> None:
    browser = sign_in("superuser", language=language)

    page = browser.post(
        "/admin/filesync/ruleset/add/", {"name": "x", "filters": "photos", "remark": ""}
    )

    assert said in page.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "is disabled: enable it, or make a dry run. Force would"),
        ("zh-hans", "已停用：请启用，或先试运行"),
    ],
)
def test_a_refusal_is_told_in_the_readers_language(
    local_root: Path, language: str, said: str
) -> None:
    config = make_config(local_root, enable=False)
    browser = sign_in("superuser", language=language)

    browser.post(f"/admin/filesync/syncconfig/{config.pk}/run/", {"_form_submitted": "True"})
    page = browser.get("/admin/filesync/syncconfig/").content.decode()

    assert said in page


@pytest.mark.django_db
def test_an_outcome_that_was_kept_in_a_file_keeps_its_template(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    journal.keep(claim(run), GUARDED)

    assert journal.replay() == 1

    run.refresh_from_db()
    assert run.message == ENGLISH
    with override("zh-hans"):
        assert run.explanation == CHINESE


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "begins with http:// or https://"),
        ("zh-hans", "心跳 URL 须以 http:// 或 https:// 开头"),
    ],
)
def test_a_target_is_refused_in_the_readers_language(
    local_root: Path, language: str, said: str
) -> None:
    config = make_config(local_root)
    browser = sign_in("editor", language=language)

    page = browser.post(
        f"/admin/filesync/syncconfig/{config.pk}/change/",
        config_form(config, new_ping_url="ftp://example.org"),
    )
    answer = browser.patch(
        f"/api/v1/sync/configs/{config.pk}",
        {"ping_url": "ftp://example.org"},
        content_type="application/json",
    )

    assert said in page.content.decode()
    assert said in answer.json()["ping_url"][0]
