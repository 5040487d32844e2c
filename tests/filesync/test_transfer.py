"""Export and import: what goes out comes in as it was, by name, all or nothing, secrets sealed."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command
from django.forms.models import model_to_dict

from filesync.models import NotificationChannel, RuleSet, Storage, SyncConfig
from filesync.services.channels import tell_channels
from filesync.services.rules import use_rule_sets
from filesync.services.transfer import DocumentRefused, export_document, import_document
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_storage, periodic_row
from tests.project.docs import code_blocks

pytestmark = pytest.mark.django_db

CANARY = "canary-8d21"


@pytest.fixture
def filled(local_root: Path) -> None:
    dav = make_storage(
        local_root,
        name="Netdisk 网盘",
        backend="webdav",
        options={"url": "https://dav.example.org"},
        secrets={"pass": f"{CANARY}-pass"},
    )
    config = make_config(
        local_root,
        name="Photos",
        source_storage=make_storage(local_root, name="disk"),
        cron="0 2 * * *",
        filters="- /cache/**\n+ *.jpg",
        start_time=datetime(2026, 1, 1, tzinfo=UTC),
        method=SyncConfig.Method.FULL,
    )
    config.destination_storage = dav
    config.ping_url = f"https://example.org/{CANARY}-ping"
    config.save()
    # Used in another order than that of their names.
    rule_sets = [
        RuleSet.objects.create(name=name, filters=rules)
        for name, rules in (("videos", "+ *.mp4"), ("junk 垃圾", "- *.tmp\n- .DS_Store"))
    ]
    use_rule_sets(config, rule_sets)
    channel = NotificationChannel(name="ops", events=["FAILURE"], language="zh-hans")
    channel.url = f"jsons://example.org/{CANARY}-url"
    channel.save()
    tell_channels(config, {channel: ["PARTIAL", "SUCCESS"]})


def state() -> list[dict[str, Any]]:
    """Return all that was exported, with its secrets, without ids."""
    found: list[dict[str, Any]] = []
    for storage in Storage.objects.order_by("name"):
        found.append(model_to_dict(storage, exclude=["id"]) | {"secrets": storage.secrets})
    for config in SyncConfig.objects.order_by("name"):
        relations = {
            "source_storage": config.source_storage.name,
            "destination_storage": config.destination_storage.name,
            "ping": config.ping_url,
            "rule_sets": [str(use.rule_set) for use in config.rule_set_uses.all()],
        }
        found.append(model_to_dict(config, exclude=["id"]) | relations)
    for rule_set in RuleSet.objects.order_by("name"):
        found.append(model_to_dict(rule_set, exclude=["id"]))
    for channel in NotificationChannel.objects.order_by("name"):
        told = {use.config.name: use.events for use in channel.uses.all()}
        found.append(model_to_dict(channel, exclude=["id"]) | {"configs": told, "url": channel.url})
    return found


def forget() -> None:
    NotificationChannel.objects.all().delete()
    SyncConfig.objects.all().delete()
    RuleSet.objects.all().delete()
    Storage.objects.all().delete()


@pytest.mark.usefixtures("filled")
def test_what_is_exported_with_a_passphrase_comes_back_as_it_was(tmp_path: Path) -> None:
    before = state()
    phrase = tmp_path / "phrase"
    phrase.write_text("correct horse\n")
    target = tmp_path / "export.yaml"
    call_command("export_configs", "--output", str(target), "--passphrase-file", str(phrase))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert CANARY not in target.read_text()
    assert "网盘" in target.read_text()
    forget()

    call_command("import_configs", str(target), "--passphrase-file", str(phrase))

    assert state() == before
    row = periodic_row(SyncConfig.objects.get())
    assert row is not None
    assert row.enabled


@pytest.mark.usefixtures("filled")
def test_a_second_import_changes_nothing() -> None:
    document = export_document("phrase")
    before = state()
    report = import_document(document, "phrase")
    assert (report.created, report.changed, report.unchanged) == ([], [], 6)
    assert state() == before


@pytest.mark.usefixtures("filled")
def test_without_a_passphrase_secrets_stay_out_and_those_that_are_there_stay() -> None:
    document = export_document()
    assert CANARY not in yaml.safe_dump(document)
    before = state()
    assert import_document(document).unchanged == 6
    assert state() == before

    forget()
    report = import_document(document)
    assert "storages Netdisk 网盘" in report.without_secrets
    channel = NotificationChannel.objects.get()
    assert (channel.enabled, channel.encrypted_url) == (False, "")


@pytest.mark.usefixtures("filled")
def test_an_import_changes_what_differs_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = export_document()
    document["configs"][0] |= {"cron": "0 3 * * *", "remark": "later"}
    file = tmp_path / "export.yaml"
    file.write_text(yaml.safe_dump(document))

    call_command("import_configs", str(file), "--dry-run")
    assert "changed configs Photos: cron, remark" in capsys.readouterr().out
    assert SyncConfig.objects.get().cron == "0 2 * * *"

    call_command("import_configs", str(file))
    config = SyncConfig.objects.get()
    row = periodic_row(config)
    assert row is not None
    assert (config.cron, row.crontab.hour) == ("0 3 * * *", "3")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cron": "61 * * * *"}, "configs Photos: cron: "),
        ({"source_storage": "nowhere"}, "configs Photos: source_storage: there is none named"),
        ({"colour": "red"}, "configs Photos: colour: there is no such field"),
        ({"max_attempts": "many"}, "configs Photos: max_attempts: "),
        ({"filters": "*.jpg"}, "configs Photos: filters: "),
    ],
)
@pytest.mark.usefixtures("filled")
def test_what_is_wrong_is_named_and_nothing_is_changed(change: dict[str, str], said: str) -> None:
    document = export_document()
    document["storages"][0]["remark"] = "changed"
    document["configs"][0] |= change
    before = state()
    with pytest.raises(DocumentRefused) as refused:
        import_document(document)
    assert str(refused.value).startswith(said)
    assert state() == before


@pytest.mark.usefixtures("filled")
def test_a_sync_of_a_channel_is_a_name_or_a_name_with_its_events() -> None:
    document = export_document()
    (channel,) = document["channels"]
    assert channel["configs"] == [{"name": "Photos", "events": ["PARTIAL", "SUCCESS"]}]

    for configs, events in (
        (["Photos"], []),
        ([{"name": "Photos", "events": ["LATE"]}], ["LATE"]),
        ([{"name": "Photos"}], []),
    ):
        channel["configs"] = configs
        assert import_document(document).changed == ["channels ops: configs"]
        assert [use.events for use in SyncConfig.objects.get().channel_uses.all()] == [events]
    assert export_document()["channels"][0]["configs"] == ["Photos"]


@pytest.mark.usefixtures("filled")
def test_a_channel_of_chosen_syncs_hears_of_those_alone_whatever_the_document_says() -> None:
    document = export_document()
    (channel,) = document["channels"]
    assert channel["chosen_only"] is True
    channel["chosen_only"] = False

    def chosen_only() -> bool:
        return NotificationChannel.objects.values_list("chosen_only", flat=True).get()

    # As the admin and the API take it; and twice is once.
    assert import_document(document).changed == []
    assert chosen_only() is True
    chosen = channel.pop("configs")
    assert import_document(document).changed == []
    assert chosen_only() is True
    channel["configs"] = []
    assert import_document(document).changed == ["channels ops: chosen_only, configs"]
    assert chosen_only() is False
    channel["configs"] = chosen
    assert import_document(document).changed == ["channels ops: chosen_only, configs"]
    assert chosen_only() is True
    NotificationChannel.objects.all().delete()
    assert import_document(document).created == ["channels ops"]
    assert chosen_only() is True


@pytest.mark.parametrize(
    ("configs", "said"),
    [
        ("Photos", "must be a list of names"),
        (["Videos"], "there is none named Videos"),
        ([{"events": ["LATE"]}], "there is none named None"),
        ([{"name": "Photos", "event": "LATE"}], "unknown parts: event"),
        ([{"name": "Photos", "events": ["SILENT"]}], "Events are a list of: FAILURE, "),
        ([{"name": "Photos", "events": "LATE"}], "Events are a list of: FAILURE, "),
    ],
)
@pytest.mark.usefixtures("filled")
def test_syncs_of_a_channel_that_cannot_be_are_named(configs: object, said: str) -> None:
    document = export_document()
    document["channels"][0]["configs"] = configs
    before = state()

    with pytest.raises(DocumentRefused) as refused:
        import_document(document)

    assert str(refused.value).startswith(f"channels ops: configs: {said}")
    assert state() == before


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("text", "no export of Syncbeat"),
        ({"syncbeat": 99}, "no export of Syncbeat"),
        ({"syncbeat": 1, "users": []}, "unknown parts: users"),
        ({"syncbeat": 1, "configs": {}}, "configs must be a list"),
        ({"syncbeat": 1, "configs": [{}]}, "configs: number 1 has no name"),
        ({"syncbeat": 1, "storages": [{"name": "a"}, {"name": "a"}]}, "a is there twice"),
    ],
)
def test_a_document_of_another_shape_is_refused(document: object, said: str) -> None:
    with pytest.raises(DocumentRefused, match=said):
        import_document(document)


@pytest.mark.parametrize(("phrase", "said"), [("wrong", "does not open"), ("", "give the pass")])
@pytest.mark.usefixtures("filled")
def test_a_wrong_or_missing_passphrase_is_told(phrase: str, said: str) -> None:
    document = export_document("right")
    with pytest.raises(DocumentRefused, match=said):
        import_document(document, phrase)


def test_files_that_cannot_be_used_are_told_in_a_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1\nb: !!python/object/apply:os.system [id]")
    with pytest.raises(CommandError, match="is no YAML, line"):
        call_command("import_configs", str(broken))
    broken.write_text("!!python/object/apply:os.system [id]")
    with pytest.raises(CommandError, match="is no YAML"):
        call_command("import_configs", str(broken))
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_configs", str(tmp_path / "none"))
    with pytest.raises(CommandError, match="cannot be written: File exists"):
        call_command("export_configs", "--output", str(broken))
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(CommandError, match="first line is the passphrase"):
        call_command("export_configs", "--passphrase-file", str(empty))


# --- references


def in_the_environment(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put each secret where its reference says; return the names."""
    names: list[str] = []
    for kind, objects in (("storages", Storage), ("configs", SyncConfig), ("channels", None)):
        model: Any = objects or NotificationChannel
        for entry in document[kind]:
            row = model.objects.get(name=entry["name"])
            values = row.secrets if kind == "storages" else {}
            values = values or {"url": getattr(row, "ping_url", "") or getattr(row, "url", "")}
            for slot, reference in entry.get("secrets", {}).items():
                monkeypatch.setenv(reference["env"], values[slot])
                names.append(reference["env"])
    return names


@pytest.mark.usefixtures("filled")
def test_what_is_exported_by_reference_comes_back_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state()
    target = tmp_path / "export.yaml"
    call_command("export_configs", "--output", str(target), "--secret-references")
    assert CANARY not in target.read_text()
    names = in_the_environment(yaml.safe_load(target.read_text()), monkeypatch)
    assert len(set(names)) == len(names) == 3
    forget()

    call_command("import_configs", str(target))
    assert state() == before
    capsys.readouterr()
    call_command("import_configs", str(target))
    assert "changed: 0 created, 0 changed, 6 as they are" in capsys.readouterr().out
    assert state() == before


@pytest.mark.usefixtures("filled")
def test_a_secret_comes_from_a_file_and_the_others_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = Storage.objects.get(name="Netdisk 网盘")
    storage.secrets = {"pass": "before", "bearer_token": "stays"}
    storage.save()
    secret = tmp_path / "secret"
    secret.write_text(f"{CANARY}-new\n")
    file = tmp_path / "import.yaml"
    entry = {"name": storage.name, "secrets": {"pass": {"file": str(secret)}}}
    file.write_text(yaml.safe_dump({"syncbeat": 1, "storages": [entry]}))

    call_command("import_configs", str(file))

    storage.refresh_from_db()
    assert storage.secrets == {"pass": f"{CANARY}-new", "bearer_token": "stays"}
    said = capsys.readouterr().out
    assert "changed storages Netdisk 网盘: secrets" in said
    assert CANARY not in said


@pytest.mark.parametrize("page", ["docs/operations.md", "docs/operations.zh.md"])
@pytest.mark.usefixtures("filled")
def test_the_example_of_the_docs_can_be_imported(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = (block for block in code_blocks(page, "yaml") if "secrets:" in block)
    Storage.objects.filter(backend="webdav").update(name="Netdisk")
    token = tmp_path / "token"
    token.write_text("t0ken")
    monkeypatch.setenv("SECRET_STORAGE_2_PASS", "p4ss")
    file = tmp_path / "import.yaml"
    file.write_text(block.replace("/run/secrets/token", str(token)))
    call_command("import_configs", str(file))
    assert Storage.objects.get(name="Netdisk").secrets == {"pass": "p4ss", "bearer_token": "t0ken"}


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ({"pass": {"env": "NO_SUCH_NAME"}}, "pass: the environment has no NO_SUCH_NAME"),
        ({"pass": {"file": "/nowhere/secret"}}, "/nowhere/secret cannot be read: No such file"),
        ({"pass": {"file": "/dev/null"}}, "/dev/null is empty"),
        ({"pass": CANARY}, "pass must be {env: NAME} or {file: PATH}, never the secret"),
        ({"pass": {"env": "PATH", "file": "/dev/null"}}, "pass must be"),
        ({"pass": {"command": "id"}}, "pass must be"),
        ("PATH", "it must be an object"),
    ],
)
@pytest.mark.usefixtures("filled")
def test_a_reference_that_leads_nowhere_is_refused_without_the_secret(
    tmp_path: Path, secrets: object, said: str
) -> None:
    file = tmp_path / "import.yaml"
    entry = {"name": "Netdisk 网盘", "remark": "new", "secrets": secrets}
    file.write_text(yaml.safe_dump({"syncbeat": 1, "storages": [entry]}))
    before = state()

    with pytest.raises(CommandError) as refused:
        call_command("import_configs", str(file))

    assert said in str(refused.value)
    assert CANARY not in str(refused.value)
    assert state() == before


@pytest.mark.usefixtures("filled")
def test_only_the_command_follows_references(monkeypatch: pytest.MonkeyPatch) -> None:
    document = export_document(by_reference=True)
    in_the_environment(document, monkeypatch)
    with pytest.raises(DocumentRefused, match=r"only manage\.py import_configs"):
        import_document(document)


def test_secrets_go_out_in_one_way() -> None:
    with pytest.raises(CommandError, match="not allowed with"):
        call_command("export_configs", "--secret-references", "--passphrase-file", "/dev/null")
