"""The form of a storage, made from rclone's own description: nothing is lost, nothing is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import SettingsWrapper

from filesync import engine
from filesync.admin.storage_form import HINTS, TITLES
from filesync.models import Storage
from filesync.services import storages
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_storage, make_user, sign_in
from tests.filesync.remotes import WRONG, storage_on
from tests.servers.webdav import WebdavServer

pytestmark = pytest.mark.django_db
# No row decides: asked on one database, they would say the same on the other.
once = pytest.mark.only_on("sqlite")

ADD = "/admin/filesync/storage/add/"
TEST_DRAFT = "/admin/filesync/storage/test-draft/"
BROWSE_DRAFT = "/admin/filesync/storage/browse-draft/"
CANARY = "canary-9e41"
URL = "https://dav.example.org"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nab==\ncd\n-----END OPENSSH PRIVATE KEY-----"


@pytest.fixture
def superuser() -> Client:
    return sign_in("superuser")


def change_url(storage: Storage) -> str:
    return reverse("admin:filesync_storage_change", args=[storage.pk])


def filled(client: Client, url: str, **changes: str) -> dict[str, str]:
    """Give what a browser would post from the form at an address after some changes."""
    form = client.get(url).context["adminform"].form
    values: dict[str, str] = {}
    for name, field in form.fields.items():
        value = form.initial.get(name, field.initial)
        if value is True:
            values[name] = "on"
        elif value not in (None, False):
            values[name] = str(value)
    return {**values, **changes}


@pytest.fixture
def dav(local_root: Path) -> Storage:
    return make_storage(
        local_root,
        name="dav",
        backend="webdav",
        options={"url": URL, "user": "kim", "vendor": "other", "owncloud_exclude_shares": "TRUE"},
        secrets={"pass": CANARY, "bearer_token": CANARY, "encryption_password": CANARY},
    )


# Choosing a type ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found", "missing"),
    [
        ({}, ["preset=nextcloud", "preset=alist", "backend=webdav", "backend=s3"], []),
        ({"q": "ALIYUN"}, ["preset=aliyun-oss", "preset=alist"], ["preset=nextcloud"]),
        ({"q": "onedrive"}, ["preset=onedrive", "backend=onedrive"], ["backend=s3"]),
        ({"q": "<b>carrier</b> pigeon"}, ["Nothing found"], ["backend=s3", "<b>carrier"]),
        ({"backend": "carrier-pigeon"}, ["backend=webdav"], []),
        ({"_popup": "1", "_to_field": "id"}, ["_popup=1&amp;_to_field=id&amp;backend=s3"], []),
    ],
)
def test_a_new_storage_begins_with_the_choice_of_its_type(
    superuser: Client, query: dict[str, str], found: list[str], missing: list[str]
) -> None:
    html = superuser.get(ADD, query).content.decode()
    assert not [text for text in found if text not in html]
    assert not [text for text in missing if text in html]
    assert "backend=crypt" not in html


def test_a_preset_fills_in_what_it_knows_and_asks_first_for_the_rest(superuser: Client) -> None:
    page = superuser.get(ADD, {"preset": "minio"})
    form = page.context["adminform"].form
    assert form.initial["backend"] == "s3"
    assert form.fields["option_provider"].initial == "Minio"
    title, shown = page.context["adminform"].fieldsets[1]
    assert title.startswith("Amazon S3")
    names = [name.partition("_")[2] for name in shown["fields"]]
    assert names[:4] == ["endpoint", "access_key_id", "secret_access_key", "provider"]


def test_the_type_of_a_storage_can_be_changed_and_its_secrets_stay_behind(
    superuser: Client, dav: Storage
) -> None:
    assert "backend=sftp" in superuser.get(change_url(dav), {"pick": ""}).content.decode()
    url = f"{change_url(dav)}?backend=sftp"
    values = filled(superuser, url, option_host="nas.example")

    answer = superuser.post(url, values)
    assert "secret_pass" in answer.context["adminform"].form.errors
    assert superuser.post(url, values | {"secret_pass": "new"}).status_code == 302

    dav.refresh_from_db()
    assert (dav.backend, dav.secrets["pass"]) == ("sftp", "new")
    assert dav.secrets.keys() == {"pass", "encryption_password"}
    assert dav.options == {"host": "nas.example", "user": "kim"}


@once
def test_every_hint_of_a_preset_can_be_translated(superuser: Client) -> None:
    assert set(HINTS) == {preset.hint for preset in engine.PRESETS} - {""}
    assert set(TITLES) <= {preset.title for preset in engine.PRESETS}
    html = superuser.get(ADD, {"preset": "google-drive"}).content.decode()
    assert "Run `rclone authorize drive` on a computer" in html


# Fields ------------------------------------------------------------------------------------------


@once
@pytest.mark.parametrize("backend", sorted(engine.POLICY))
def test_every_backend_has_a_form_with_what_the_policy_allows_and_no_more(
    superuser: Client, backend: str
) -> None:
    page = superuser.get(ADD, {"backend": backend})
    assert page.status_code == 200
    policy = engine.POLICY[backend]
    html = page.content.decode()
    names = set(re.findall(r'name="((?:option|secret)_\w+)"', html))
    secret = policy.secret | policy.obscured | {"encryption_password", "encryption_salt"}
    assert names == {f"option_{name}" for name in policy.plain} | {
        f"secret_{name}" for name in secret
    }
    for name in policy.secret | policy.obscured:
        field = re.search(rf'<(input|textarea)[^>]*name="secret_{name}"[^>]*>', html)
        assert field is not None
        assert field[1] == "textarea" or 'type="password"' in field[0]
        assert "value=" not in field[0]


def test_fields_fit_their_type_and_the_advanced_ones_are_folded(superuser: Client) -> None:
    html = superuser.get(ADD, {"backend": "sftp"}).content.decode()
    basic, folded = html.split("Advanced options")[:2]
    assert 'name="option_host"' in basic
    assert 'name="option_chunk_size"' in folded
    assert basic.rindex("<details>") > basic.index('name="option_host"')
    assert 'name="option_port"' in basic
    assert 'inputmode="numeric"' in basic
    assert re.search(r'<select name="option_use_insecure_cipher"', basic)
    assert "SSH host to connect to." in basic
    assert "password (pass)" in basic
    webdav = superuser.get(ADD, {"backend": "webdav"}).content.decode()
    assert re.search(r'<datalist id="option_vendor_examples"><option value="fastmail"', webdav)


def test_the_form_speaks_chinese(local_root: Path) -> None:
    client = sign_in("superuser", language="zh-hans")
    assert "选择存储类型" in client.get(ADD).content.decode()
    html = client.get(ADD, {"backend": "webdav"}).content.decode()
    for words in ("密码 (pass)", "高级选项", "未设置"):
        assert words in html


@pytest.mark.parametrize("role", ["viewer", "operator", "editor"])
def test_who_may_only_look_sees_options_and_which_secrets_are_set(dav: Storage, role: str) -> None:
    html = sign_in(role).get(change_url(dav)).content.decode()
    assert f"url = {URL}" in html
    assert "bearer_token, encryption_password, pass" in html
    assert CANARY not in html
    assert 'name="option_url"' not in html
    assert "data-draft-test" not in html
    assert sign_in(role).get(change_url(dav), {"pick": ""}).status_code == 200


# Saving ------------------------------------------------------------------------------------------


def test_a_storage_is_made_from_a_preset(superuser: Client) -> None:
    url = f"{ADD}?preset=nextcloud"
    values = filled(superuser, url, name="cloud", option_url=URL, option_user="kim")

    assert superuser.post(url, values | {"secret_pass": f" {CANARY} "}).status_code == 302

    storage = Storage.objects.get()
    assert storage.backend == "webdav"
    assert storage.options == {"url": URL, "user": "kim", "vendor": "nextcloud"}
    assert storage.secrets == {"pass": f" {CANARY} "}


@pytest.mark.parametrize("opened_with", ["webdav", "s3", "sftp", "local"])
def test_a_save_without_a_change_changes_nothing(
    superuser: Client, local_root: Path, opened_with: str
) -> None:
    """Not even odd values, options that the form does not know, or the text of the secrets."""
    options = {
        "webdav": {"url": URL, "owncloud_exclude_shares": "TRUE", "pacer_min_sleep": "weird "},
        "s3": {"provider": "Vanished", "chunk_size": "5MiB", "storage_class": "OLD"},
        "sftp": {"host": "h", "port": "0x16", "user": " two  blanks "},
        "local": {"time_type": "mtime", "no_sparse": "1"},
    }[opened_with]
    storage = make_storage(local_root, backend=opened_with, options=options)
    if opened_with != "local":
        storage.secrets = {"pass" if opened_with != "s3" else "secret_access_key": CANARY}
        storage.options = {**options, "description": "x"}
        storage.save()
    before = (storage.options, storage.encrypted_secrets)

    answer = superuser.post(change_url(storage), filled(superuser, change_url(storage)))

    assert answer.status_code == 302, answer.context["adminform"].form.errors
    storage.refresh_from_db()
    assert (storage.options, storage.encrypted_secrets) == before


def test_an_option_that_rclone_no_longer_offers_is_not_lost(
    superuser: Client, dav: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    rclone = engine.find_rclone(None)
    webdav = engine.catalogue(rclone)["webdav"]
    fewer = [option for option in webdav.options if option.name not in ("vendor", "bearer_token")]
    shrunk = engine.Backend("webdav", webdav.description, tuple(fewer), webdav.refused, ())
    monkeypatch.setattr("filesync.admin.storage_form.offered", lambda: {"webdav": shrunk})
    monkeypatch.setattr("filesync.admin.storage_drafts.offered", lambda: {"webdav": shrunk})
    before = dict(dav.options)

    values = filled(superuser, change_url(dav), remark="changed")
    assert "option_vendor" not in values
    assert superuser.post(change_url(dav), values).status_code == 302

    dav.refresh_from_db()
    assert (dav.options, dav.remark) == (before, "changed")
    assert dav.secrets.keys() == {"pass", "bearer_token", "encryption_password"}


def test_without_rclone_the_rest_can_be_changed_and_nothing_is_lost(
    superuser: Client, dav: Storage, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_RCLONE_BINARY = "/nonexistent/rclone"
    page = superuser.get(change_url(dav))
    assert "/nonexistent/rclone" in page.content.decode()
    before = (dav.options, dav.encrypted_secrets)

    values = filled(superuser, change_url(dav), remark="changed", backend="webdav")
    assert superuser.post(change_url(dav), values).status_code == 302

    dav.refresh_from_db()
    assert (dav.options, dav.encrypted_secrets, dav.remark) == (*before, "changed")


def test_secrets_are_kept_changed_and_cleared_one_by_one(superuser: Client, dav: Storage) -> None:
    values = filled(superuser, change_url(dav))
    superuser.post(change_url(dav), values | {"secret_pass": "a = b"})
    dav.refresh_from_db()
    assert dav.secrets == {
        "pass": "a = b",
        "bearer_token": CANARY,
        "encryption_password": CANARY,
    }

    superuser.post(change_url(dav), values | {"clear_secret_bearer_token": "on"})
    dav.refresh_from_db()
    assert dav.secrets == {"pass": "a = b", "encryption_password": CANARY}

    both = {"secret_pass": "new", "clear_secret_pass": "on"}
    answer = superuser.post(change_url(dav), values | both)
    assert "not both" in str(answer.context["adminform"].form.errors["secret_pass"])
    dav.refresh_from_db()
    assert dav.secrets["pass"] == "a = b"


def test_an_option_is_cleared_by_an_empty_field(superuser: Client, dav: Storage) -> None:
    values = filled(superuser, change_url(dav), option_user="", option_owncloud_exclude_shares="")
    assert superuser.post(change_url(dav), values).status_code == 302
    dav.refresh_from_db()
    assert dav.options == {"url": URL, "vendor": "other"}


def test_a_key_and_a_token_are_pasted_as_they_are(superuser: Client) -> None:
    url = f"{ADD}?backend=sftp"
    values = filled(superuser, url, name="s", option_host="h")
    superuser.post(url, values | {"secret_key_pem": f"\n{KEY}\n"})
    assert Storage.objects.get().secrets == {"key_pem": KEY}

    Storage.objects.all().delete()
    token = json.dumps({"access_token": "a", "token_type": "b"}, indent=2)
    pasted = f"Paste the following into your remote machine --->\n{token}\n<---End paste"
    url = f"{ADD}?preset=dropbox"
    superuser.post(url, filled(superuser, url, name="d") | {"secret_token": pasted})
    assert json.loads(Storage.objects.get().secrets["token"])["access_token"] == "a"


@once
@pytest.mark.parametrize(
    ("backend", "changes", "field"),
    [
        ("webdav", {"backend": "carrier-pigeon"}, "backend"),
        ("webdav", {"option_url": ""}, "option_url"),
        ("webdav", {"option_url": "https://kim:pass@dav.example.org"}, "option_url"),
        ("webdav", {"option_user": "a\nbearer_token_command = id"}, "option_user"),
        ("webdav", {"option_pacer_min_sleep": "soon"}, "option_pacer_min_sleep"),
        ("webdav", {"option_nextcloud_chunk_size": "much"}, "option_nextcloud_chunk_size"),
        ("webdav", {"option_auth_redirect": "perhaps"}, "option_auth_redirect"),
        ("webdav", {"option_url": "http://x/%(pass)s"}, "option_url"),
        ("webdav", {"encryption": "STANDARD"}, "encryption"),
        ("webdav", {"max_concurrent_runs": "0"}, "max_concurrent_runs"),
        ("webdav", {"bandwidth": "fast"}, "bandwidth"),
        ("sftp", {"option_host": "h", "option_port": "ssh"}, "option_port"),
        ("local", {"root": "/etc"}, "root"),
        ("google cloud storage", {}, "secret_token"),
        ("dropbox", {"secret_token": "no token"}, "secret_token"),
        (
            "koofr",
            {"option_provider": "other", "option_user": "k", "secret_password": "p"},
            "option_endpoint",
        ),
        ("mega", {"option_user": "kim"}, "secret_pass"),
    ],
)
def test_what_is_wrong_stands_at_its_field(
    superuser: Client, backend: str, changes: dict[str, str], field: str
) -> None:
    url = f"{ADD}?backend={backend}"
    first = {"option_url": URL} if backend == "webdav" else {}
    values = filled(superuser, url, name="x", **first)

    answer = superuser.post(url, values | changes)

    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == [field]
    assert not Storage.objects.exists()


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"option_url": "http://evil.example"}, {"secret_pass", "secret_bearer_token"}),
        (
            {"option_url": "http://evil.example", "secret_pass": "new"},
            {"secret_bearer_token"},
        ),
        ({"option_auth_redirect": "true"}, {"secret_pass", "secret_bearer_token"}),
    ],
)
def test_another_address_needs_the_secrets_again(
    superuser: Client, dav: Storage, changes: dict[str, str], fields: set[str]
) -> None:
    values = filled(superuser, change_url(dav), **changes)
    answer = superuser.post(change_url(dav), values)
    assert set(answer.context["adminform"].form.errors) == fields
    tested = superuser.post(f"/admin/filesync/storage/{dav.pk}/test-draft/", values).json()
    assert len(tested["wrong"]) == len(fields)
    dav.refresh_from_db()
    assert (dav.options["url"], dav.secrets["pass"]) == (URL, CANARY)

    # Entered anew or cleared, it goes.
    again = {"secret_pass": "new", "secret_bearer_token": "", "clear_secret_bearer_token": "on"}
    assert superuser.post(change_url(dav), values | again).status_code == 302


def test_a_secret_is_on_no_page_and_in_no_history(superuser: Client, dav: Storage) -> None:
    values = filled(superuser, change_url(dav))
    failing = {"secret_pass": f"{CANARY}-new", "option_url": "", "secret_headers": CANARY}
    pages = [
        superuser.get(change_url(dav)),
        superuser.get(change_url(dav), {"backend": "sftp"}),
        superuser.post(change_url(dav), values | failing),
        superuser.post(f"{ADD}?backend=webdav", values | failing),
        superuser.post(f"{ADD}?backend=sftp", {**values, "secret_key_pem": KEY + CANARY}),
        superuser.post(TEST_DRAFT, values | failing),
        superuser.post(f"/admin/filesync/storage/{dav.pk}/test-draft/", values | failing),
    ]
    saved = superuser.post(change_url(dav), values | {"secret_pass": f"{CANARY}-new"})
    assert saved.status_code == 302
    pages += [
        superuser.get(change_url(dav)),
        superuser.get(reverse("admin:filesync_storage_changelist")),
        superuser.get(reverse("admin:filesync_storage_history", args=[dav.pk])),
        superuser.get(reverse("admin:filesync_storage_delete", args=[dav.pk])),
    ]
    for page in pages:
        assert page.status_code == 200
        assert CANARY not in page.content.decode()
    assert "once more" in pages[2].content.decode()
    assert LogEntry.objects.exists()
    assert CANARY not in str(list(LogEntry.objects.values()))
    assert CANARY not in str(list(Session.objects.values()))


# Testing and browsing what is not saved ----------------------------------------------------------


@pytest.fixture
def served(webdav_server: WebdavServer, local_root: Path) -> Storage:
    (webdav_server.root / "photos" / "2024").mkdir(parents=True, exist_ok=True)
    return storage_on(webdav_server.remote, "photos")


def drafted(client: Client, storage: Storage) -> tuple[dict[str, str], dict[str, str]]:
    """Give what a new form and the form of a storage would post."""
    values = filled(client, change_url(storage))
    password = {"name": "", "secret_pass": storage.secrets["pass"]}
    return values | password, values


def test_a_form_is_tested_without_saving_it(superuser: Client, served: Storage) -> None:
    new, kept = drafted(superuser, served)
    before = Storage.objects.values().get()

    for url, values in (
        (TEST_DRAFT, new),
        (f"/admin/filesync/storage/{served.pk}/test-draft/", kept),
    ):
        answer = superuser.post(url, values).json()
        assert answer["ok"], answer
        assert "1 entries in" in answer["text"]
        wrong = superuser.post(url, values | {"secret_pass": WRONG}).json()
        assert not wrong["ok"]
        assert wrong["text"].startswith("Login refused: ")
        assert "user name, password" in wrong["advice"]
        missing = superuser.post(url, values | {"option_url": ""}).json()
        assert missing["wrong"] == ["address (url): This field is required."]
    assert Storage.objects.values().get() == before


def test_the_root_path_is_chosen_among_the_folders_there_are(
    superuser: Client, served: Storage, local_root: Path
) -> None:
    new, kept = drafted(superuser, served)
    for url, values in (
        (BROWSE_DRAFT, new),
        (f"/admin/filesync/storage/{served.pk}/browse-draft/", kept),
    ):
        answer = superuser.post(url, values | {"root": "photos"}).json()
        assert answer["folders"] == [{"name": "2024", "root": "photos/2024"}]
        assert answer["up"] == ""
        top = superuser.post(url, values | {"root": ""}).json()
        assert {"name": "photos", "root": "photos"} in top["folders"]
        assert top["up"] is None
        gone = superuser.post(url, values | {"root": "nothing"}).json()
        assert gone["text"].startswith("Not found: ")
        assert "'..'" in superuser.post(url, values | {"root": "../x"}).json()["text"]

    (local_root / "a" / "b").mkdir(parents=True)
    values = filled(superuser, f"{ADD}?backend=local")
    roots = superuser.post(BROWSE_DRAFT, values).json()
    assert roots["folders"] == [{"name": local_root.name, "root": str(local_root)}]
    inside = superuser.post(BROWSE_DRAFT, values | {"root": str(local_root / "a")}).json()
    assert inside["folders"] == [{"name": "b", "root": str(local_root / "a" / "b")}]
    assert inside["up"] == str(local_root)
    outside = superuser.post(BROWSE_DRAFT, values | {"root": str(local_root.parent)}).json()
    assert not outside["ok"]
    assert "folders" not in outside


def test_drafts_are_posted_with_a_token_by_who_may_change_storages(dav: Storage) -> None:
    paths = [
        TEST_DRAFT,
        BROWSE_DRAFT,
        f"/admin/filesync/storage/{dav.pk}/test-draft/",
        f"/admin/filesync/storage/{dav.pk}/browse-draft/",
    ]
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_user("superuser"))
    for path in paths:
        assert strict.get(path).status_code == 405
        assert strict.post(path, {}).status_code == 403
        for role in ("viewer", "operator", "editor"):
            assert sign_in(role).post(path, {}).status_code == 403
        assert Client().post(path, {}).status_code == 302
    missing = "/admin/filesync/storage/999999/test-draft/"
    assert sign_in("superuser").post(missing, {}).status_code == 404


def test_a_storage_in_use_is_not_deleted_and_the_page_names_the_syncs(
    superuser: Client, local_root: Path
) -> None:
    config = make_config(local_root, name="photos at night")
    storage = config.source_storage
    url = reverse("admin:filesync_storage_delete", args=[storage.pk])
    assert "photos at night" in superuser.get(url).content.decode()
    answer = superuser.post(url, {"post": "yes"})
    assert "photos at night" in answer.content.decode()
    selected = {"action": "delete_selected", "_selected_action": str(storage.pk), "post": "yes"}
    listed = superuser.post(reverse("admin:filesync_storage_changelist"), selected)
    assert "photos at night" in listed.content.decode()
    assert Storage.objects.filter(pk=storage.pk).exists()
    assert storages.browse(storage, "", 1).number == 1


@pytest.mark.parametrize("backend", [" ftp", "ftp ", "ftp", "no such"])
def test_no_spelling_of_a_backend_takes_the_secrets_along(
    superuser: Client, dav: Storage, backend: str
) -> None:
    url = change_url(dav)

    answer = superuser.post(url, filled(superuser, url, backend=backend))

    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors
    dav.refresh_from_db()
    assert (dav.backend, dav.secrets["pass"]) == ("webdav", CANARY)


def test_without_rclone_no_secret_and_no_type_is_changed(
    superuser: Client, dav: Storage, settings: SettingsWrapper, tmp_path: Path
) -> None:
    url = change_url(dav)
    values = filled(superuser, url)
    settings.FILESYNC_RCLONE_BINARY = str(tmp_path / "none")

    for change in ({"backend": "ftp"}, {"secret_encryption_password": "another"}):
        answer = superuser.post(url, {**values, **change})
        assert answer.context["adminform"].form.errors.keys() == {"backend"}
    dav.refresh_from_db()
    assert (dav.backend, dav.secrets["encryption_password"]) == ("webdav", CANARY)
