"""What the API takes only so much or so often of: bodies, wrong sign-ins, starting runs."""

from __future__ import annotations

import json
import logging
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.module_loading import import_string
from gunicorn.http.errors import ChunkMissingTerminator
from pytest_django.fixtures import SettingsWrapper
from rest_framework.test import APIClient

from filesync.models import ApiToken, Hook, SyncConfig, SyncRun
from filesync.rates import RateLimit
from tests.filesync.api.conftest import Clock
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import browser_of, client_of, make_config

pytestmark = pytest.mark.django_db
# No row decides: asked on one database, they would say the same on the other.
once = pytest.mark.only_on("sqlite")

CONFIGS = "/api/v1/sync/configs"
CHANNELS = "/api/v1/notifications/channels"
TASK = "/api/v1/task/scheduler"
TRY = "/api/v1/sync/rule-sets/try"
LOGINS = ("/admin/login/", "/api-auth/login/")


@pytest.fixture
def kim() -> User:
    return User.objects.create_superuser("kim", password="right")


# The limit itself --------------------------------------------------------------------------------


def test_a_limit_counts_each_key_for_itself_and_forgets_with_the_minute(clock: Clock) -> None:
    limit = RateLimit("test", 2)

    assert [limit.count("a"), limit.count("a"), limit.count("b")] == [None, None, None]
    clock.now_s += 20
    assert (limit.wait_s("a"), limit.wait_s("b")) == (40, None)
    assert limit.count("a") == 40
    clock.now_s += 40
    assert (limit.wait_s("a"), limit.count("a")) == (None, None)


# Sign-in -----------------------------------------------------------------------------------------


@once
@pytest.mark.parametrize("path", LOGINS)
def test_a_name_whose_password_is_guessed_is_shut_for_the_minute(
    path: str, kim: User, settings: SettingsWrapper, clock: Clock
) -> None:
    settings.FILESYNC_SIGN_INS_PER_MINUTE = 3
    browser = Client()

    def sign_in(password: str, username: str = "kim", address: str = "192.0.2.1") -> int:
        body = {"username": username, "password": password}
        return browser.post(path, body, REMOTE_ADDR=address).status_code

    assert [sign_in("wrong") for _ in range(3)] == [200, 200, 200]
    answer = browser.post(path, {"username": "KIM", "password": "right"}, REMOTE_ADDR="192.0.2.1")
    assert answer.status_code == 429
    assert answer["Retry-After"] == "60"
    assert "60 seconds" in answer.content.decode()
    assert sign_in("wrong", username="li") == 200
    assert sign_in("right", address="192.0.2.2") == 302
    clock.now_s += 60
    assert sign_in("right") == 302


@once
@pytest.mark.parametrize("path", LOGINS)
@pytest.mark.parametrize("spelling", ["kim ", "\t kim", "\uff4bim", "\uff2bIM\u2003", "\u212aIM"])
def test_a_name_is_shut_in_every_spelling_that_means_it(
    path: str, spelling: str, kim: User, settings: SettingsWrapper, clock: Clock
) -> None:
    settings.FILESYNC_SIGN_INS_PER_MINUTE = 3
    browser = Client()

    def sign_in(username: str) -> int:
        return browser.post(path, {"username": username, "password": "wrong"}).status_code

    assert [sign_in(name) for name in (spelling, "kim", spelling, spelling)] == [200, 200, 200, 429]
    assert sign_in("kim") == 429


@once
@pytest.mark.parametrize("path", LOGINS)
def test_an_address_that_tries_name_after_name_is_refused_before_a_hash(
    path: str, kim: User, settings: SettingsWrapper, clock: Clock
) -> None:
    settings.FILESYNC_SIGN_INS_PER_MINUTE = 2
    browser = Client()

    def sign_in(username: str, password: str = "wrong", address: str = "192.0.2.1") -> int:
        body = {"username": username, "password": password}
        return browser.post(path, body, REMOTE_ADDR=address).status_code

    assert [sign_in(f"name{number}") for number in range(10)] == [200] * 10
    with patch("django.contrib.auth.forms.authenticate") as check_password:
        assert sign_in("name10") == 429
        assert sign_in("kim", "right") == 429
    assert not check_password.called
    assert sign_in("kim", "right", address="192.0.2.2") == 302
    clock.now_s += 60
    assert sign_in("kim", "right") == 302


@once
def test_signing_in_rightly_is_never_counted(kim: User, settings: SettingsWrapper) -> None:
    settings.FILESYNC_SIGN_INS_PER_MINUTE = 1

    answers = [Client().post(LOGINS[0], {"username": "kim", "password": "right"}) for _ in range(5)]

    assert {answer.status_code for answer in answers} == {302}


def test_an_address_that_guesses_tokens_is_told_to_wait_but_a_right_one_is_let_in(
    kim: User, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_SIGN_INS_PER_MINUTE = 2
    _, text = ApiToken.issue(kim, "laptop")

    def ask(token: str, address: str) -> int:
        client = APIClient(REMOTE_ADDR=address)
        return client.get(CONFIGS, HTTP_AUTHORIZATION=f"Bearer {token}").status_code

    assert [ask("sb_wrong", "192.0.2.1") for _ in range(3)] == [401, 401, 429]
    assert ask("sb_wrong", "192.0.2.2") == 401
    assert ask(text, "192.0.2.1") == 200


@pytest.mark.parametrize(("proxies", "statuses"), [(0, [401, 429]), (1, [401, 401])])
def test_a_forwarded_address_counts_only_where_a_proxy_is_trusted(
    proxies: int, statuses: list[int], settings: SettingsWrapper
) -> None:
    settings.FILESYNC_SIGN_INS_PER_MINUTE = 1
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": proxies}
    client = APIClient(HTTP_AUTHORIZATION="Bearer sb_wrong", REMOTE_ADDR="192.0.2.1")

    answers = [
        client.get(CONFIGS, HTTP_X_FORWARDED_FOR=f"203.0.113.9, 198.51.100.{n}") for n in (1, 2)
    ]

    assert [answer.status_code for answer in answers] == statuses


# Execute and hooks -------------------------------------------------------------------------------


def test_an_account_starts_only_so_many_runs_a_minute(
    local_root: Path, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_EXECUTES_PER_MINUTE = 2
    client = client_of("operator")
    configs = [make_config(local_root) for _ in range(3)]

    answers = [client.post(f"{TASK}/execute-sync/{config.pk}") for config in configs]

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2]["Retry-After"] == "60"
    assert answers[2].json()["code"] == "throttled"
    assert SyncRun.objects.count() == 2
    assert client.post(f"{TASK}/execute-all-enabled").status_code == 429
    for action in ("retry", "restore"):
        url = f"/api/v1/sync/runs/{SyncRun.objects.latest('pk').pk}/{action}"
        assert client.post(url).status_code == 429
    assert client.get(f"{TASK}/task-status").status_code == 200
    assert client_of("operator").post(f"{TASK}/execute-sync/{configs[2].pk}").status_code == 202


def test_a_hook_is_called_only_so_often(local_root: Path) -> None:
    _, text = Hook.issue(make_config(local_root))

    statuses = [APIClient().post(f"/api/v1/hooks/{text}").status_code for _ in range(61)]

    assert statuses == [202, *[409] * 59, 429]


def test_an_address_that_guesses_hooks_is_told_to_wait(settings: SettingsWrapper) -> None:
    settings.FILESYNC_EXECUTES_PER_MINUTE = 2

    answers = [APIClient().post(f"/api/v1/hooks/hk_guess{number}") for number in range(3)]

    assert [answer.status_code for answer in answers] == [404, 404, 429]


@once
def test_an_account_tries_rules_only_so_often() -> None:
    client = client_of("viewer")
    body = {"filters": "- *.tmp", "paths": ["a"]}

    with patch("filesync.api.views.rules.try_rules", return_value=[]):
        statuses = [client.post(TRY, body).status_code for _ in range(13)]
        other = client_of("viewer").post(TRY, body).status_code

    assert statuses == [*[200] * 12, 429]
    assert other == 200


# Bodies ------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_refused_before_it_is_read() -> None:
    answer = client_of("superuser").post(
        CONFIGS, b'{"name": "' + b"x" * 1_048_576, content_type="application/json"
    )

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "1048576" in answer.json()["detail"]


@once
@pytest.mark.parametrize("path", [*LOGINS, "/admin/", "/nowhere"])
@pytest.mark.parametrize("kind", ["multipart", "form"])
def test_no_address_takes_a_large_body_before_a_sign_in(path: str, kind: str) -> None:
    with patch("django.http.request.QueryDict", side_effect=AssertionError("it was parsed")):
        if kind == "multipart":
            answer = Client().post(path, {"f": SimpleUploadedFile("a.bin", b"a" * 1_048_576)})
        else:
            form = "application/x-www-form-urlencoded"
            answer = Client().post(path, b"a" * 1_048_577, content_type=form)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@once
def test_no_file_that_anybody_sends_is_written_to_the_disk() -> None:
    handlers = [import_string(name) for name in settings.FILE_UPLOAD_HANDLERS]
    assert not any(issubclass(handler, TemporaryFileUploadHandler) for handler in handlers)


class Chunks(BytesIO):
    """A body in chunks, as gunicorn hands it on; broken, where the client has gone."""

    def __init__(self, body: bytes, *, broken: bool = False) -> None:
        super().__init__(body)
        self.broken = broken

    def read(self, size: int | None = -1, /) -> bytes:
        if self.broken:
            raise ChunkMissingTerminator(b"")
        return super().read(size)


def send_chunks(path: str, body: Chunks, *, by_gunicorn: bool = True) -> Any:
    environ: dict[str, Any] = {"wsgi.input": body, "wsgi.input_terminated": by_gunicorn}
    return client_of("operator").generic(
        "POST",
        path,
        content_type="application/json",
        HTTP_TRANSFER_ENCODING="chunked",
        **environ,
    )


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_body_in_chunks_is_read_as_any_other(local_root: Path, *, dry_run: bool) -> None:
    path = f"{TASK}/execute-sync/{make_config(local_root).pk}"

    answer = send_chunks(path, Chunks(json.dumps({"dry_run": dry_run}).encode()))

    assert answer.status_code == 202
    assert SyncRun.objects.get().dry_run is dry_run


@pytest.mark.parametrize(
    ("body", "by_gunicorn", "status", "code"),
    [
        (Chunks(b'"' + b"x" * 1_048_575 + b'"'), True, 413, "too_large"),
        (Chunks(b'{"dry_run":', broken=True), True, 400, "parse_error"),
        # Django's own server and ASGI: nothing says where the body ends.
        (Chunks(b'{"dry_run": true}'), False, 411, "length_required"),
    ],
)
def test_a_body_in_chunks_that_cannot_be_read_starts_nothing(
    local_root: Path, body: Chunks, *, by_gunicorn: bool, status: int, code: str
) -> None:
    path = f"{TASK}/execute-sync/{make_config(local_root).pk}"

    answer = send_chunks(path, body, by_gunicorn=by_gunicorn)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not SyncRun.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 500_000,
        b'{"a":' * 100_000,
        b'{"name": ' + b"1" * 5_000 + b"}",
        b'{"name": NaN}',
        b"\xff\xfe",
        b"[]",
        b'"text"',
        b"null",
        b'{"name": "a\\u0000b"}',
        b'{"name": "\\ud800"}',
        b'{"name": {"a": 1}}',
        b'{"name": "n", "source_storage": 1e400}',
        b'{"name": "n", "source_storage": 99999999999999999999999}',
        b'{"name": "n", "jitter_s": 99999999999999999999999}',
        b'{"name": "n", "start_time": "9999-12-31T23:59:59-23:59"}',
        b'{"name": "n", "start_time": "0001-01-01T00:00:00+23:59"}',
    ],
)
def test_no_body_is_a_server_error(body: bytes) -> None:
    answer = client_of("superuser").post(CONFIGS, body, content_type="application/json")

    assert answer.status_code == 400
    assert answer.json()
    assert not SyncConfig.objects.exists()


CHANNEL = {"name": "ops", "url": "json://93.184.216.34/"}


def test_a_list_of_ids_is_looked_up_at_once(local_root: Path) -> None:
    ids = [make_config(local_root).pk for _ in range(30)]
    client = client_of("superuser")
    client.get(CONFIGS)  # notes the use of the token, once

    with CaptureQueriesContext(connection) as few:
        made = client.post(CHANNELS, CHANNEL | {"configs": ids[:1]})
    with CaptureQueriesContext(connection) as many:
        changed = client.patch(f"{CHANNELS}/{made.json()['id']}", {"configs": ids})

    assert (made.status_code, sorted(changed.json()["configs"])) == (201, ids)
    assert len(many) < len(few) + 10


@pytest.mark.parametrize("configs", [[1] * 10_001, [999_999], [0], [-1], [2**63], [None], [1.5]])
def test_a_list_that_is_too_long_or_names_what_is_not_there_is_refused(
    configs: list[object],
) -> None:
    answer = client_of("superuser").post(CHANNELS, CHANNEL | {"configs": configs})

    assert (answer.status_code, list(answer.json())) == (400, ["configs"])


PAGE = "text/html"
FILE = (
    b'--x\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n'
    b"Content-Type: text/plain\r\n\r\nhello\r\n--x--\r\n"
)
# One more than are taken.
FILES = (FILE % b"a").removesuffix(b"--x--\r\n") * 101 + b"--x--\r\n"
BIG = "9" * 40


@once
@pytest.mark.parametrize(
    ("query", "kind", "body"),
    [
        ("", "application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(1001))),
        ("", "multipart/form-data; boundary=x", FILES),
        ("?" + "&".join(f"a{number}=1" for number in range(1001)), "application/json", b"{}"),
    ],
)
def test_more_fields_than_are_taken_are_refused_as_the_api_says_it(
    query: str, kind: str, body: bytes
) -> None:
    answer = client_of("superuser").post(f"{CONFIGS}{query}", body, content_type=kind)

    assert (answer.status_code, answer.json()["code"]) == (400, "too_many_fields")


@pytest.mark.parametrize("accept", ["application/json", PAGE])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"v1/sync/configs/{BIG}", 404),
        (f"v1/sync/configs/{BIG}/hook", 404),
        ("v1/sync/configs/\u0661", 404),
        ("v1/sync/configs/\u00b2", 404),
        ("v1/sync/configs/%00", 404),
        ("v1/sync/configs?enable=%00", 400),
        ("v1/sync/runs?since=0001-01-01T00:00:00%2B23:59", 400),
        ("v1/sync/runs?until=9999-12-31T23:59:59-23:59", 400),
        ("v1/sync/runs?cursor=%ff", 404),
        (f"v1/task/scheduler/execute-sync/{BIG}", 404),
        (f"v1/task/scheduler/task-result/{BIG}", 404),
        ("v1/task/scheduler/task-result/%00", 404),
        ("v1/sync/backends/%00", 404),
    ],
)
def test_no_address_is_a_server_error(path: str, accept: str, status: int) -> None:
    answer = client_of("superuser").get(f"/api/{path}", HTTP_ACCEPT=accept)

    assert answer.status_code == status


@once
@pytest.mark.parametrize(
    ("query", "status"),
    [("version=%00", 400), ("version=%0a", 400), ("lang=zh-hans", 400), ("format=json", 200)],
)
def test_no_query_of_the_schema_is_a_server_error(query: str, status: int) -> None:
    assert client_of("viewer").get(f"/api/schema?{query}").status_code == status


@once
@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("sync/configs/bulk", "application/json", b'{"ids": 5, "enabled": true}'),
        ("sync/configs", "application/json", b'{"start_time": "never"}'),
        ("sync/configs", "application/json", b'{"end_time": 5}'),
        ("sync/configs", "application/x-www-form-urlencoded", b"start_time=never"),
        ("sync/configs", "application/x-www-form-urlencoded", b"name=%ff%00&rule_sets=x"),
        ("sync/storages", "application/json", b'{"options": true, "secrets": 1}'),
        ("sync/storages", "multipart/form-data; boundary=x", FILE % b"options"),
        ("sync/configs/bulk", "multipart/form-data; boundary=x", FILE % b"ids"),
        ("notifications/channels", "application/json", b'{"events": 1, "configs": true}'),
        ("sync/rule-sets/try", "application/json", b'{"paths": 1, "rule_sets": true}'),
    ],
)
def test_a_page_can_show_again_what_it_refused(path: str, kind: str, body: bytes) -> None:
    client = client_of("superuser")

    answer = client.post(f"/api/v1/{path}", body, content_type=kind, HTTP_ACCEPT=PAGE)

    assert answer.status_code == 400
    assert "has-error" in answer.content.decode()


def test_a_database_that_is_away_is_503_and_says_when_to_come_back() -> None:
    client = client_of("viewer")

    with patch("filesync.api.run_views.SyncRun.objects") as runs:
        runs.order_by.side_effect = OperationalError("connection refused")
        answer = client.get("/api/v1/sync/runs")

    assert (answer.status_code, answer.json()["code"]) == (503, "database_away")
    assert int(answer["Retry-After"]) > 0


@pytest.mark.parametrize("accept", ["application/json", PAGE])
def test_who_asks_for_a_page_hears_of_a_database_that_is_away_too(accept: str) -> None:
    browser = browser_of("viewer")

    with patch.object(SessionStore, "load", side_effect=OperationalError("connection refused")):
        answer = browser.get("/api/v1/sync/runs", HTTP_ACCEPT=accept)

    assert (answer.status_code, answer.json()["code"]) == (503, "database_away")
    assert int(answer["Retry-After"]) > 0


def test_what_was_done_is_told_when_the_database_is_away_for_its_page(local_root: Path) -> None:
    config = make_config(local_root)

    with patch("project.pages.links", side_effect=OperationalError("connection refused")):
        answer = browser_of("operator").post(f"{TASK}/execute-sync/{config.pk}")

    assert (answer.status_code, answer["Content-Type"]) == (202, "application/json")
    assert answer.json()["task_id"] == str(SyncRun.objects.get().task_id)


# Logs --------------------------------------------------------------------------------------------


@pytest.fixture
def console() -> logging.Handler:
    """Return the handler that the settings configure for all loggers."""
    handlers = [handler for handler in logging.getLogger().handlers if handler.name == "console"]
    return handlers[0]


def test_a_hook_s_secret_is_in_no_log(
    local_root: Path, console: logging.Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    _, text = Hook.issue(make_config(local_root, enable=False))
    lines: list[str] = []

    with patch.object(console, "emit", lambda record: lines.append(console.format(record))):
        refused = APIClient().post(f"/api/v1/hooks/{text}")
        unknown = APIClient().post(f"/api/v1/hooks/{text}x")

    assert (refused.status_code, unknown.status_code) == (409, 404)
    assert any("/api/v1/hooks/" in line for line in lines)
    assert text not in "".join(lines)


@once
@pytest.mark.parametrize(
    ("url", "body", "field"),
    [
        ("/api/v1/sync/rule-sets/try", {"paths": [1.5]}, "paths"),
        ("/api/v1/sync/rule-sets/try", {"paths": ["a", 1]}, "paths"),
        ("/api/v1/sync/rule-sets/try", {"paths": ["a"], "rule_sets": ["1"]}, "rule_sets"),
        ("/api/v1/sync/rule-sets/try", {"paths": ["a"], "rule_sets": {}}, "rule_sets"),
        (
            "/api/v1/notifications/channels",
            {"name": "x", "url": "jsons://example.org/x", "configs": {}},
            "configs",
        ),
        ("/api/v1/sync/configs/bulk", {"ids": ["1"], "enabled": True}, "ids"),
        ("/api/v1/sync/configs/bulk", {"ids": [True], "enabled": True}, "ids"),
        (
            "/api/v1/sync/storages",
            {"name": "x", "backend": "webdav", "options": {"url": 1}},
            "options",
        ),
    ],
)
def test_values_of_another_type_within_lists_and_objects_are_refused(
    url: str, body: dict[str, object], field: str
) -> None:
    answer = client_of("superuser").post(url, body, format="json")

    assert answer.status_code == 400
    assert field in answer.json()


@once
@pytest.mark.parametrize(("spaces", "status"), [(20, 201), (21, 400)])
def test_a_text_is_as_long_as_it_was_sent(spaces: int, status: int) -> None:
    body = {"name": "x" * 100 + " " * spaces, "filters": "- *.tmp"}
    answer = client_of("editor").post("/api/v1/sync/rule-sets", body)

    assert answer.status_code == status, answer.json()
    if status == 201:
        assert answer.json()["name"] == "x" * 100
    else:
        assert answer.json()["name"] == ["Ensure this field has no more than 120 characters."]
