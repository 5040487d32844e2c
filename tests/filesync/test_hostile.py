"""Nothing of the hostile corpus is accepted, no command runs, nothing outside is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_django.fixtures import SettingsWrapper
from rest_framework.test import APIClient

from filesync.admin.storage_form import Choice, form_for, offered
from filesync.engine import POLICY, OptionClass
from filesync.errors import StorageRefused
from filesync.models import Storage, SyncConfig, SyncRun
from filesync.services import storages
from filesync.services.execution import execute
from tests.filesync import hostile
from tests.filesync.engine.lab import tree, write_tree
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, client_of, make_config, make_run, make_storage

pytestmark = pytest.mark.django_db
# Refused before a row is written, or by the engine, which knows no database.
once = pytest.mark.only_on("sqlite")

SECRET = "outside-secret-7c11"
STORAGES = "/api/v1/sync/storages"
CONFIGS = "/api/v1/sync/configs"


@dataclass(frozen=True, slots=True)
class Ground:
    """An allowed root, a folder outside of it, and the file that a command would make."""

    root: Path
    outside: Path
    marker: Path

    def fill(self, text: str) -> str:
        return text.format(root=self.root, outside=self.outside, marker=self.marker)

    def untouched(self) -> bool:
        return tree(self.outside) == self.before() and not self.marker.exists()

    def before(self) -> dict[bytes, str]:
        return tree(self.outside.with_name("outside-before"))


@pytest.fixture
def ground(local_root: Path, tmp_path: Path, settings: SettingsWrapper) -> Iterator[Ground]:
    """Return the ground, and find nothing outside changed afterwards."""
    outside = tmp_path / "outside"
    for folder in (outside, outside.with_name("outside-before")):
        write_tree(folder, {"secret": SECRET, "deeper/file": SECRET})
    (local_root / "link").symlink_to(outside)
    ground = Ground(local_root, outside, tmp_path / "marker")
    yield ground
    assert ground.untouched()


def refuse(client: APIClient, url: str, body: dict[str, object]) -> None:
    answer = client.post(url, body, format="json")
    assert answer.status_code == 400, (url, body, answer.content)
    assert SECRET not in answer.content.decode()


def config_body(storage: Storage) -> dict[str, object]:
    """Return what the API makes a config of, before something hostile takes a place in it."""
    return {
        "name": "hostile",
        "source_storage": storage.pk,
        "destination_storage": storage.pk,
        "source_path": "a",
        "destination_path": "b",
    }


def test_the_corpus_is_large() -> None:
    assert len(hostile.storages()) >= 200


@once
def test_no_hostile_storage_is_saved_or_tested(ground: Ground) -> None:
    client = client_of("superuser")
    for entry in hostile.storages():
        body: dict[str, object] = {
            "name": "hostile",
            "backend": entry.backend,
            "root": ground.fill(entry.root),
            "options": {name: ground.fill(value) for name, value in entry.options.items()},
            "secrets": {name: ground.fill(value) for name, value in entry.secrets.items()},
        }
        refuse(client, STORAGES, body)
        refuse(client, f"{STORAGES}/test", body)
    assert not Storage.objects.exists()


@once
def test_no_hostile_storage_that_got_into_the_database_is_used(ground: Ground) -> None:
    """The check at the save is not the only one: a row may come from elsewhere."""
    good = make_storage(ground.root)
    config = make_config(ground.root, source_storage=good)
    for entry in hostile.storages():
        if not entry.backend.isprintable():
            continue
        storage = Storage(
            name="hostile",
            backend=entry.backend[:32],
            root=ground.fill(entry.root),
            options={name: ground.fill(value) for name, value in entry.options.items()},
        )
        storage.secrets = {name: ground.fill(value) for name, value in entry.secrets.items()}
        with pytest.raises(StorageRefused) as refusal:
            storages.probe_unsaved(storage)
        assert SECRET not in str(refusal.value)
    assert SyncConfig.objects.get().pk == config.pk


@once
def test_the_form_has_no_field_for_what_is_hostile_and_refuses_the_rest(ground: Ground) -> None:
    backends = offered()
    refused = 0
    for entry in hostile.storages():
        backend = backends.get(entry.backend)
        options = {name: ground.fill(value) for name, value in entry.options.items()}
        secrets = {name: ground.fill(value) for name, value in entry.secrets.items()}
        data = {
            **{"name": "hostile", "backend": entry.backend, "max_concurrent_runs": "2"},
            "root": ground.fill(entry.root),
            **{f"option_{name}": value for name, value in options.items()},
            **{f"secret_{name}": value for name, value in secrets.items()},
        }
        form = form_for(Choice(backend) if backend else None)(data)
        if not form.is_valid():
            refused += 1
            assert SECRET not in str(form.errors)
            continue
        # It would be saved without what no field took.
        taken = {**form.instance.options, **form.instance.secrets}
        policy = POLICY[form.instance.backend]
        assert not [name for name in taken if policy.classify(name) is not OptionClass.PLAIN]
        assert taken.keys() < options.keys() | secrets.keys() | {""}, entry
        storages.probe_unsaved(form.instance)
    assert refused >= 200
    assert not Storage.objects.exists()


@once
@pytest.mark.parametrize("side", ["source_path", "destination_path"])
def test_no_hostile_path_is_saved_or_browsed(ground: Ground, side: str) -> None:
    client, storage = client_of("superuser"), make_storage(ground.root)
    body = config_body(storage)
    for path in hostile.PATHS:
        refuse(client, CONFIGS, body | {side: ground.fill(path)})
        answer = client.get(f"{STORAGES}/{storage.pk}/browse", {"path": ground.fill(path)})
        assert answer.status_code == 400, path
        assert SECRET not in answer.content.decode()
    assert not SyncConfig.objects.exists()


@once
def test_no_hostile_filter_or_limit_is_saved(ground: Ground) -> None:
    client, storage = client_of("superuser"), make_storage(ground.root)
    body = config_body(storage)
    for line in hostile.FILTERS:
        refuse(client, CONFIGS, body | {"filters": ground.fill(line)})
    for limit in hostile.LIMITS:
        refuse(client, CONFIGS, body | {"bandwidth": ground.fill(limit)})
        refuse(
            client,
            STORAGES,
            {"name": "x", "backend": "local", "root": str(ground.root), "bandwidth": limit},
        )


def carry_out(run: SyncRun) -> SyncRun:
    execute(claim(run))
    run.refresh_from_db()
    return run


def swap(folder: Path, target: Path) -> None:
    """Put a link in the place of a folder, as somebody with access to the disk could."""
    folder.rename(folder.with_name(f"{folder.name}-was"))
    os.symlink(target, folder)


@once
@pytest.mark.parametrize("method", list(SyncConfig.Method))
@pytest.mark.parametrize("swapped", ["source", "destination", "destination/deeper", "."])
def test_a_folder_swapped_for_a_link_after_the_save_is_not_followed(
    ground: Ground, swapped: str, method: SyncConfig.Method
) -> None:
    root = ground.root / "own"
    write_tree(root / "source", {"deeper/file": "own", "new": "own"})
    write_tree(root / "destination", {"deeper/extra": "own"})
    config = make_config(root, method=method)
    config.full_clean()
    target = ground.outside
    if swapped == "destination/deeper":
        target = ground.outside / "deeper"
    swap(root / swapped if swapped != "." else root, target)

    run = carry_out(make_run(config, force=True))

    assert ground.untouched()
    if method != SyncConfig.Method.CHECK or swapped != "destination/deeper":
        assert run.state == "FAILED"
        assert run.failure_class == "CONFIG"
    inside = (path for path in ground.root.rglob("*") if path.is_file())
    own = [path for path in inside if path.resolve().is_relative_to(ground.root.resolve())]
    assert own
    assert all(SECRET not in path.read_text() for path in own)


def test_hostile_names_are_only_names(ground: Ground) -> None:
    names = [
        *("$(touch MARK)", "`touch MARK`", "; touch MARK", "| touch MARK", "-rf", "--config=x"),
        *("..\\x", "%2e%2e%2fx", "~", "*", "src:", ":local:", "%(pass)s", "\u202etxt.exe", "a\nb"),
    ]
    write_tree(ground.root / "source", dict.fromkeys(names, "own"))

    run = carry_out(make_run(make_config(ground.root)))

    assert run.state == "SUCCEEDED"
    assert tree(ground.root / "destination") == tree(ground.root / "source")
