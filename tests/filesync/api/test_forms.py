"""The forms of the browsable pages: what they offer, and that they send what JSON would."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from filesync.models import NotificationChannel, RuleSet, RunItem, Storage, SyncConfig, SyncRun
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    browser_of,
    client_of,
    make_config,
    make_run,
    make_storage,
)

pytestmark = pytest.mark.django_db

API = "/api/v1"
NOT_SUPPORTED = "not currently supported in HTML input"
# What decides how careful a config is; the field of each is empty or unticked unless it is filled.
DEFAULTS = (
    "enable",
    "misfire_policy",
    "max_attempts",
    "max_delete_files",
    "max_delete_percent",
    "late_after_s",
    "timezone",
)


class Form(HTMLParser):
    """Reads what a browser would send of the HTML form of a page that nobody changed."""

    def __init__(self, page: str, method: str) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        self._name, self._tag, self._one = "", "", False
        found = re.search(rf'id="{method}-object-form">(.*?)</form>', page, re.DOTALL)
        assert found, f"the page has no form for {method}"
        self.feed(found[1])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in ("select", "textarea"):
            self._name, self._tag = given["name"], tag
            self._one = "multiple" not in given
            self.values[self._name] = [""] if tag == "textarea" else []
        elif tag == "option":
            chosen = self.values[self._name]
            # Where nothing is selected, a browser takes the first.
            if "selected" in given or (self._one and not chosen):
                value = given.get("value", "")
                self.values[self._name] = [value] if self._one else [*chosen, value]
        elif tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self.values[given["name"]] = [given.get("value", "")]

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            # The newline after the tag is none of the text.
            self.values[self._name] = [self.values[self._name][0].removeprefix("\n")]
        if tag == self._tag:
            self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag == "textarea":
            self.values[self._name][0] += data


def form_of(path: str, method: str = "post") -> dict[str, list[str]]:
    page = browser_of("superuser").get(f"{API}/{path}").content.decode()
    return Form(page, method).values


def send(path: str, form: dict[str, list[str]], status: int) -> None:
    answer = browser_of("superuser").post(f"{API}/{path}", form, format="multipart")
    assert answer.status_code == status, answer.content.decode()


def test_a_config_from_an_untouched_form_is_as_careful_as_one_from_json(local_root: Path) -> None:
    storage = make_storage(local_root)
    form = form_of("sync/configs") | {
        "name": ["photos"],
        "source_path": ["a"],
        "source_storage": [str(storage.pk)],
        "destination_path": ["b"],
        "destination_storage": [str(storage.pk)],
    }

    send("sync/configs", form, 201)

    made, plain = SyncConfig.objects.get(), SyncConfig()
    assert {name: getattr(made, name) for name in DEFAULTS} == {
        name: getattr(plain, name) for name in DEFAULTS
    }
    assert (made.enable, made.max_delete_files, made.max_delete_percent) == (True, 1000, 50)


def test_a_limit_that_is_emptied_in_the_form_is_none(local_root: Path) -> None:
    config = make_config(local_root)
    form = form_of(f"sync/configs/{config.pk}", "put") | {"max_delete_files": [""]}

    answer = browser_of("superuser").put(
        f"{API}/sync/configs/{config.pk}", form, format="multipart"
    )

    config.refresh_from_db()
    assert answer.status_code == 200
    assert (config.enable, config.max_delete_files) == (True, None)


@pytest.mark.parametrize(
    "path",
    [
        "sync/configs",
        "sync/configs/bulk",
        "sync/storages",
        "sync/storages/test",
        "sync/rule-sets",
        "sync/rule-sets/try",
        "notifications/channels",
    ],
)
def test_no_form_leaves_a_field_to_raw_json(path: str) -> None:
    page = browser_of("superuser").get(f"{API}/{path}").content.decode()

    assert "post-object-form" in page
    assert NOT_SUPPORTED not in page


def test_a_storage_s_options_are_lines_of_its_form_and_stay_when_it_is_sent_again() -> None:
    form = form_of("sync/storages") | {
        "name": ["dav"],
        "backend": ["webdav"],
        "options": ["url = http://127.0.0.1:1/?a=b\r\n\r\nuser=li\r\n"],
        "secrets": ["pass = correct horse"],
    }
    send("sync/storages", form, 201)
    storage = Storage.objects.get()
    options = {"url": "http://127.0.0.1:1/?a=b", "user": "li"}
    assert (storage.options, storage.secret_names()) == (options, ["pass"])

    again = form_of(f"sync/storages/{storage.pk}", "put")
    assert again["options"] == ["url = http://127.0.0.1:1/?a=b\nuser = li\n"]
    assert again["secrets"] == [""]
    answer = browser_of("superuser").put(
        f"{API}/sync/storages/{storage.pk}", again | {"remark": ["x"]}, format="multipart"
    )
    storage.refresh_from_db()
    assert answer.status_code == 200
    assert (storage.remark, storage.options) == ("x", options)
    assert storage.secret_names() == ["pass"]


@pytest.mark.parametrize("line", ["url", "= x", " = "])
def test_a_line_that_is_no_pair_is_refused_and_shown_again(line: str) -> None:
    form = {"name": ["dav"], "backend": ["webdav"], "options": [line], "secrets": ["pass = hush"]}

    answer = browser_of("superuser").post(f"{API}/sync/storages", form, format="multipart")

    page = answer.content.decode()
    assert answer.status_code == 400
    assert "Each line is a name, an equals sign and a value." in page
    assert Form(page, "post").values["options"] == [f"{line}\n"]
    assert "hush" not in page
    assert not Storage.objects.exists()


def test_many_configs_are_switched_by_the_form(local_root: Path) -> None:
    first, second = make_config(local_root), make_config(local_root)

    send("sync/configs/bulk", {"ids": [f"{first.pk}\r\n{second.pk}\r\n"]}, 200)

    assert not SyncConfig.objects.filter(enable=True).exists()


def test_rules_are_tried_by_the_form() -> None:
    rules = RuleSet.objects.create(name="junk", filters="- *.tmp")
    form = {"filters": [""], "rule_sets": [str(rules.pk)], "paths": ["a.tmp\r\nb.jpg"]}

    answer = browser_of("viewer").post(f"{API}/sync/rule-sets/try", form, format="multipart")

    page = answer.content.decode()
    assert answer.status_code == 200
    assert re.findall(r"goes&quot;: (\w+)", page) == ["false", "true"]


def test_a_channel_s_events_are_chosen_in_its_form() -> None:
    form = form_of("notifications/channels") | {
        "name": ["ops"],
        "url": ["json://93.184.216.34/"],
        "events": ["FAILURE", "LATE"],
    }

    send("notifications/channels", form, 201)

    channel = NotificationChannel.objects.get()
    assert (channel.enabled, sorted(channel.events)) == (True, ["FAILURE", "LATE"])


@pytest.mark.parametrize(
    ("action", "fields"),
    [("retry", {"only_failed"}), ("restore", {"dry_run"}), ("cancel", set())],
)
def test_the_form_of_an_action_asks_what_the_action_takes(
    local_root: Path, action: str, fields: set[str]
) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.FAILED)
    RunItem.objects.create(run=run, action="FAILED", path="a.txt")
    page = browser_of("operator").get(f"{API}/sync/runs/{run.pk}/{action}").content.decode()

    boxes = set(re.findall(r'<input type="checkbox" name="(\w+)"', page))

    assert "post-object-form" in page
    assert boxes == fields
    assert 'name="status"' not in page


@pytest.mark.parametrize(("role", "offered"), [("operator", False), ("superuser", True)])
def test_force_is_offered_to_those_who_may_use_it(
    local_root: Path, role: str, *, offered: bool
) -> None:
    browser = browser_of(role)
    path = f"{API}/task/scheduler/execute-sync/{make_config(local_root).pk}"

    asked = browser.get(path)
    # The form that is shown again is the same.
    refused = browser.post(path, {"only_failed_of": "x", "dry_run": "true"}, format="multipart")

    assert (asked.status_code, refused.status_code) == (200, 400)
    for answer in (asked, refused):
        page = answer.content.decode()
        assert 'name="dry_run"' in page
        assert ('name="force"' in page) is offered
        assert "&quot;dry_run&quot;" in page
        assert ("&quot;force&quot;" in page) is offered
    # What it sends of the form is taken.
    form = Form(asked.content.decode(), "post").values
    assert browser.post(path, form, format="multipart").status_code == 202


def test_a_body_that_says_no_to_force_is_taken_from_who_may_not_force(local_root: Path) -> None:
    path = f"{API}/task/scheduler/execute-sync/{make_config(local_root).pk}"
    client = client_of("operator")

    assert client.post(path, {"force": True}).status_code == 403
    assert client.post(path, {"force": False}).status_code == 202
