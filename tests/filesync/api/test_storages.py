"""The routes about storages beside the resource: backends, test, browse; secrets stay in."""

from __future__ import annotations

from pathlib import Path

import pytest

from filesync.models import Storage
from filesync.services import pausing
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_config, make_storage

pytestmark = pytest.mark.django_db

STORAGES = "/api/v1/sync/storages"
BACKENDS = "/api/v1/sync/backends"
CANARY = "canary-51bd"


def test_the_backends_and_presets_are_listed() -> None:
    body = client_of("viewer").get(BACKENDS).json()
    names = {backend["name"] for backend in body["backends"]}
    assert {"local", "webdav", "s3", "google cloud storage"} <= names
    assert "crypt" not in names
    assert {"name", "why"} == set(body["refused"][0])
    assert "alist" in {preset["name"] for preset in body["presets"]}
    assert body["rclone"].startswith("1.")


def test_a_backend_is_described_by_its_options() -> None:
    body = client_of("viewer").get(f"{BACKENDS}/webdav").json()
    options = {option["name"]: option for option in body["options"]}
    assert options["url"]["required"]
    assert options["pass"]["secret"]
    assert {"value": "nextcloud", "help": "Nextcloud", "provider": ""} in options["vendor"][
        "examples"
    ]
    assert "bearer_token_command" in {refused["name"] for refused in body["refused"]}
    assert "alist" in {preset["name"] for preset in body["presets"]}


@pytest.mark.parametrize("name", ["crypt", "nothing", "LOCAL", "%2e%2e"])
def test_a_backend_that_is_not_offered_is_not_found(name: str) -> None:
    answer = client_of("viewer").get(f"{BACKENDS}/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_good_test_is_told_and_kept(local_root: Path) -> None:
    (local_root / "a").touch()
    storage = make_storage(local_root)
    pausing.pause(storage, "it did not work")

    body = client_of("operator").post(f"{STORAGES}/{storage.pk}/test").json()

    assert (body["ok"], body["entries"], body["failure"]) == (True, 1, None)
    kept = client_of("viewer").get(f"{STORAGES}/{storage.pk}").json()
    assert kept["last_check_at"] is not None
    assert (kept["last_check_class"], kept["paused_at"], kept["paused_reason"]) == ("", None, "")


def test_a_failed_test_is_no_error_and_says_what_to_do(local_root: Path) -> None:
    options = {"url": "http://127.0.0.1:1"}
    storage = make_storage(local_root, backend="webdav", options=options, secrets={"pass": CANARY})

    answer = client_of("operator").post(f"{STORAGES}/{storage.pk}/test")

    assert answer.status_code == 200
    failure = answer.json()["failure"]
    assert failure["failure_class"] == "NETWORK"
    assert failure["message"]
    assert failure["advice"]
    assert CANARY not in answer.content.decode()


def test_what_is_not_saved_yet_is_tested_and_not_saved(local_root: Path) -> None:
    body: dict[str, object] = {"backend": "local", "root": str(local_root)}
    answer = client_of("superuser").post(f"{STORAGES}/test", body, format="json")
    assert answer.json()["ok"]

    body = {
        "backend": "webdav",
        "options": {"url": "http://127.0.0.1:1"},
        "secrets": {"pass": CANARY},
    }
    answer = client_of("superuser").post(f"{STORAGES}/test", body, format="json")
    assert answer.json()["failure"]["failure_class"] == "NETWORK"
    assert CANARY not in answer.content.decode()
    assert not Storage.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"backend": "local", "root": "/etc"}, "root"),
        ({"backend": "sftp", "options": {"ssh": "touch marker"}}, "options"),
        ({"backend": "crypt"}, "backend"),
        ({"backend": "webdav", "encryption": "STANDARD"}, "encryption"),
        ({"backend": "webdav", "encryption": "ROT13"}, "encryption"),
        ({"backend": "webdav", "bandwidth": "08:00,1M"}, "bandwidth"),
        ({"backend": "webdav", "calls_per_s": 0}, "calls_per_s"),
        ({"backend": "webdav", "transfers": 65}, "transfers"),
        ({"backend": "webdav", "paused_at": None, "colour": "red"}, "colour"),
    ],
)
def test_what_may_not_be_saved_is_not_tested_either(
    local_root: Path, body: dict[str, object], field: str
) -> None:
    answer = client_of("superuser").post(f"{STORAGES}/test", body, format="json")
    assert answer.status_code == 400
    assert field in answer.json()
    answer = client_of("superuser").post(STORAGES, {"name": "x", **body}, format="json")
    assert answer.status_code == 400
    assert field in answer.json()


def test_a_folder_is_browsed_in_pages(local_root: Path) -> None:
    for number in range(120):
        (local_root / "in" / f"f{number:03}").mkdir(parents=True)
    storage = make_storage(local_root)
    url = f"{STORAGES}/{storage.pk}/browse"

    body = client_of("operator").get(url, {"path": "in", "page": "2"}).json()

    assert [entry["name"] for entry in body["entries"]] == [f"f{n:03}" for n in range(100, 120)]
    assert body["entries"][0]["is_dir"]
    assert (body["path"], body["page"], body["pages"], body["total"]) == ("in", 2, 2, 120)
    assert (body["cut"], body["failure"]) == (False, None)


def test_a_folder_that_is_not_there_is_an_answer_with_its_failure(local_root: Path) -> None:
    storage = make_storage(local_root)
    answer = client_of("operator").get(f"{STORAGES}/{storage.pk}/browse", {"path": "none"})
    assert answer.status_code == 200
    assert answer.json()["failure"]["failure_class"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ({"path": ".."}, "code"),
        ({"path": ":local:/etc"}, "code"),
        ({"path": "x" * 2000}, "path"),
        ({"page": "0"}, "page"),
        ({"page": "x"}, "page"),
        ({"page": ""}, "page"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_query_that_cannot_be_is_refused(
    local_root: Path, query: dict[str, str], key: str
) -> None:
    storage = make_storage(local_root)
    answer = client_of("operator").get(f"{STORAGES}/{storage.pk}/browse", query)
    assert answer.status_code == 400
    assert key in answer.json()


def test_a_storage_in_use_is_not_deleted_and_says_by_what(local_root: Path) -> None:
    config = make_config(local_root, name="photos at night")
    answer = client_of("superuser").delete(f"{STORAGES}/{config.source_storage_id}")
    assert answer.status_code == 409
    assert answer.json()["code"] == "in_use"
    assert "photos at night" in answer.json()["detail"]
    assert Storage.objects.filter(pk=config.source_storage_id).exists()


def test_an_encryption_password_goes_in_and_never_comes_out(local_root: Path) -> None:
    body = {
        "name": "vault",
        "backend": "local",
        "root": str(local_root),
        "encryption": "STANDARD",
        "secrets": {"encryption_password": CANARY, "encryption_salt": CANARY},
    }
    client = client_of("superuser")
    made = client.post(STORAGES, body, format="json")
    assert made.status_code == 201
    shown = client.get(f"{STORAGES}/{made.json()['id']}")
    assert shown.json()["secrets_set"] == ["encryption_password", "encryption_salt"]
    assert CANARY not in made.content.decode() + shown.content.decode()
    assert Storage.objects.get().secrets["encryption_password"] == CANARY
