"""README, docs, Dockerfile and compose.yaml hold: what they name exists, what can run here runs."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any
from xml.etree import ElementTree

import pytest
from click import NoSuchOption
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models import Field, Model
from django.test import Client
from pytest_django.fixtures import SettingsWrapper
from pytest_django.live_server_helper import LiveServer

from filesync import engine
from filesync.models import ApiToken, Storage, SyncConfig, SyncRun
from scheduler import cron
from tests.project.docs import (
    PAGES,
    READMES,
    SYSTEMD_RUN_OPTIONS,
    UNITS,
    Command,
    block_commands,
    check,
    compose_document,
    compose_variables,
    curl_request,
    dockerfile,
    env_example,
    exec_start,
    inline_commands,
    read,
    settings_read,
    settings_table,
)
from tests.servers.installed import requires
from tests.servers.process import REPOSITORY, free_port

SPEC_CRONS = {"0 2 * * *", "*/30 * * * *", "0 9,18 * * 1-5", "0 0 1 * *"}
LARGEST_IMAGE_BYTES = 300_000


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists_with_its_flags(page: str) -> None:
    for command in [*block_commands(page), *inline_commands(page)]:
        check(command)


@pytest.mark.parametrize(
    "line",
    [
        "python manage.py up --no-such-flag",
        "python manage.py no_such_command",
        "celery -A project worker --no-such-flag",
        "celery -A project inspect no_such_thing",
        "gunicorn project.wsgi:application --no-such-flag",
        "docker compose up -d --scale no_such_service=2",
        "docker compose run --rm no_such_service python manage.py check",
        "docker compose run --rm no_such_service",
        "docker compose up -d --no-deps no_such_service",
        "docker compose stop no_such_service",
        "docker compose no_such_command",
        "systemctl restart no-such-unit",
        "systemctl no-such-command syncbeat-web",
        "systemd-run --no-such-flag /opt/syncbeat-2/.venv/bin/python manage.py migrate",
        "systemd-run --wait /opt/syncbeat-2/.venv/bin/python manage.py no_such_command",
        "make no_such_target",
        "make demo NO_SUCH_VARIABLE=1",
        "no_such_program",
    ],
)
def test_a_command_that_would_fail_is_noticed(line: str) -> None:
    words = shlex.split(line)
    # Each program's parser refuses in its own way.
    with pytest.raises(
        (
            AssertionError,
            CalledProcessError,
            CommandError,
            LookupError,
            NoSuchOption,
            ValueError,
        )
    ):
        check(words)


@pytest.mark.parametrize("page", ["README", "docs/operations"])
def test_a_page_shows_the_same_commands_in_both_languages(page: str) -> None:
    def without_names(page: str) -> list[Command]:
        return [
            [word for word in command if not word.startswith("{")]
            for command in block_commands(page)
        ]

    assert without_names(f"{page}.md") == without_names(f"{page}.zh.md")


@pytest.mark.django_db(transaction=True, reset_sequences=True)
@pytest.mark.parametrize("readme", READMES)
def test_the_api_examples_succeed_in_their_order(
    readme: str, client: Client, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_LOCAL_ROOTS = [Path("/srv/files")]
    _, token = ApiToken.issue(User.objects.create_superuser("docs"), "docs")
    asked = [curl_request(words[1:]) for words in block_commands(readme) if words[0] == "curl"]
    for request in asked:
        run = SyncRun.objects.first()
        url = request.url.replace("$API", "/api/v1")
        answer = client.generic(
            request.method,
            url.replace("$TASK_ID", str(run.task_id) if run else "none"),
            request.body.encode(),
            request.headers.get("Content-Type", ""),
            headers={"Authorization": request.headers["Authorization"].replace("$TOKEN", token)},
        )
        assert answer.status_code in (200, 201, 202), (request, answer.content)
    assert len(asked) == 13
    assert SyncConfig.objects.get().cron == "0 2 * * *"
    assert SyncRun.objects.get().state == SyncRun.State.CANCELLED


@pytest.mark.parametrize(("readme", "language"), READMES.items())
def test_the_cron_table_says_what_the_scheduler_says(readme: str, language: str) -> None:
    rows = dict(re.findall(r"^\| `([^`]+ [^`]+ [^`]+)` \| ([^|]+) \|$", read(readme), re.MULTILINE))
    rows = {expr: words for expr, words in rows.items() if len(expr.split()) == 5}
    assert set(rows) == SPEC_CRONS
    assert rows == {expr: cron.describe(expr, language) for expr in rows}


def test_the_cron_check_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (words,) = (words for words in block_commands("README.md") if "check_cron" in words)
    call_command(*words[2:])
    assert len(capsys.readouterr().out.splitlines()) == 4


SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]


def parsed(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as its docs say
    parser.read_string(unit.read_text())
    return parser


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_systemd_unit_starts_what_exists(unit: Path) -> None:
    service = parsed(unit)["Service"]
    words = shlex.split(exec_start(unit.read_text()))
    assert words[0].startswith("/opt/syncbeat/.venv/bin/")
    check([Path(words[0]).name, *words[1:]])
    assert service["EnvironmentFile"] == "/etc/syncbeat.env"
    assert parsed(unit)["Install"]["WantedBy"] == "multi-user.target"


def test_the_web_server_s_socket_is_the_address_that_the_proxy_asks() -> None:
    socket = parsed(REPOSITORY / "docs/systemd/syncbeat-web.socket")
    assert f"http://{socket['Socket']['ListenStream']}/" in read("docs/proxy/apache.conf")
    assert socket["Install"]["WantedBy"] == "sockets.target"
    web = parsed(REPOSITORY / "docs/systemd/syncbeat-web.service")
    assert web["Unit"]["Requires"] == "syncbeat-web.socket"


@requires("systemd")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_has_nothing_to_say_against_a_unit(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    for other in UNITS:
        (tmp_path / other.name).write_text(with_our_programs(other.read_text()))
    assert systemd_says(text, tmp_path / unit.name) == ""
    assert "Unknown key" in systemd_says(
        text.replace("Description", "Descriptions"), tmp_path / unit.name
    )


@requires("systemd")
def test_systemd_knows_the_options_of_the_upgrade() -> None:
    argv = ["systemd-run", "--help"]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert {option for option in SYSTEMD_RUN_OPTIONS if option not in told} == set()


def with_our_programs(unit: str) -> str:
    return unit.replace("/opt/syncbeat/.venv/bin", str(Path(sys.executable).parent))


def systemd_says(text: str, unit: Path) -> str:
    """Return what systemd says of a unit, whose programs are looked for in this virtualenv."""
    unit.write_text(with_our_programs(text))
    argv = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stderr.replace(str(unit), unit.name)


# --- settings


@pytest.mark.parametrize("readme", READMES)
def test_the_settings_table_is_complete_with_defaults_and_bounds(readme: str) -> None:
    table, known = settings_table(readme), settings_read()
    assert sorted(table) == sorted(known)
    wrong = {
        name: cell
        for name, cell in table.items()
        if set(known[name]) - set(re.findall(r"[\w.]+", cell))
    }
    assert wrong == {}


# --- Docker


def test_env_example_names_settings_and_what_compose_reads() -> None:
    example, variables, known = env_example(), compose_variables(), set(settings_read())
    assert set(example) - known - set(variables) == {"COMPOSE_PROFILES"}  # compose's own
    assert set(variables) - known - set(example) == set()
    required = {name for name, kind in variables.items() if kind == ":?"}
    assert required == {"SYNCBEAT_SECRET_KEY", "FILESYNC_SECRET_KEYS", "POSTGRES_PASSWORD"}
    assert {name for name in required if example[name] == "#"} == set()


@requires("openssl")
def test_the_keys_of_env_example_can_be_made_as_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"(openssl rand .+)$", read(".env.example"), re.MULTILINE)
    made = [
        subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
        for command in commands
    ]
    call_command("make_secret_key")
    signing, *encrypting, password = [*made[:2], capsys.readouterr().out, made[2]]
    assert len(signing.strip()) == 64
    assert [Fernet(key.strip()).decrypt(Fernet(key.strip()).encrypt(b"x")) for key in encrypting]
    assert password.strip().isalnum()


REQUIRED = {
    "SYNCBEAT_SECRET_KEY": "signing",
    "FILESYNC_SECRET_KEYS": "encrypting",
    "POSTGRES_PASSWORD": "secret",
}


def ours(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the services that run our image."""
    services: dict[str, dict[str, Any]] = document["services"]
    return {name: one for name, one in services.items() if one["image"] == "syncbeat"}


def test_compose_runs_commands_that_exist_with_settings_that_exist() -> None:
    found = ours(compose_document(**REQUIRED))
    assert set(found) == {"migrate", "web", "worker", "beat"}
    for service in found.values():
        check(service["command"])
        address = (service["environment"]["SYNCBEAT_BIND"], service["environment"]["SYNCBEAT_PORT"])
        assert address == ("0.0.0.0", "8000"), "the proxy and the published port ask there"
        assert set(service["environment"]) <= set(settings_read())
        assert service["depends_on"]


@pytest.mark.parametrize("name", REQUIRED)
def test_compose_does_not_start_without_its_keys(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        compose_document(**{one: value for one, value in REQUIRED.items() if one != name})


@pytest.mark.parametrize(
    ("given", "broker", "host"),
    [
        ({}, "redis://redis:6379/0", "redis"),
        (
            {"CELERY_BROKER": "amqp://syncbeat:pw@rabbitmq:5672//", "RABBITMQ_PASSWORD": "pw"},
            "amqp://syncbeat:pw@rabbitmq:5672//",
            "rabbitmq",
        ),
    ],
)
def test_compose_gives_every_role_the_chosen_broker(
    given: dict[str, str], broker: str, host: str
) -> None:
    document = compose_document(**REQUIRED, **given)
    for name, service in ours(document).items():
        assert service["environment"]["CELERY_BROKER"] == broker
        assert name == "migrate" or host in service["depends_on"]
    login = document["services"]["rabbitmq"]["environment"]
    assert login["RABBITMQ_DEFAULT_PASS"] == given.get("RABBITMQ_PASSWORD", "syncbeat")


def test_compose_builds_its_image_once_and_takes_it_from_no_registry() -> None:
    found = ours(compose_document(**REQUIRED))
    assert [name for name, service in found.items() if "build" in service] == ["migrate"]
    assert {service["pull_policy"] for service in found.values()} == {"never"}


@pytest.mark.parametrize(("given", "count"), [({}, 1), ({"WORKERS": "3"}, 3)])
def test_compose_keeps_the_number_of_workers_that_env_names(
    given: dict[str, str], count: int
) -> None:
    worker = compose_document(**REQUIRED, **given)["services"]["worker"]
    assert worker["deploy"] == {"replicas": count}


def test_compose_starts_what_is_extra_only_where_it_is_chosen() -> None:
    services: dict[str, dict[str, Any]] = compose_document(**REQUIRED)["services"]
    profiles = {name: one["profiles"] for name, one in services.items() if "profiles" in one}
    assert profiles == {"rabbitmq": ["rabbitmq"], "proxy": ["proxy"]}
    for name, service in services.items():
        for wanted, how in service.get("depends_on", {}).items():
            # What is not chosen must not keep the others from starting.
            if wanted in profiles and name not in profiles:
                assert how["required"] is False


def test_compose_waits_only_for_what_can_come() -> None:
    document = compose_document(**REQUIRED)
    services: dict[str, dict[str, Any]] = document["services"]
    in_image = [name for name in ours(document) if "healthcheck" not in services[name]]
    assert in_image == ["web"]
    for service in services.values():
        for name, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert name in in_image or "test" in services[name]["healthcheck"]
            else:
                assert wanted["condition"] == "service_completed_successfully"
                assert services[name]["restart"] == "no"
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./docs/"):
                assert (REPOSITORY / source).exists()
            else:
                assert source in document["volumes"] or source == "./tls"


def test_the_image_copies_what_exists_and_is_let_through() -> None:
    let_through = re.findall(r"^!(\w[\w.]*)$", read(".dockerignore"), re.MULTILINE)
    copied = [arguments.split()[0] for word, arguments in dockerfile() if word == "COPY"]
    assert sorted(copied) == sorted(let_through)
    assert [name for name in copied if not (REPOSITORY / name).exists()] == []


def test_the_image_starts_what_exists_as_a_user_with_settings_that_exist() -> None:
    last = dict(dockerfile())
    check(json.loads(last["CMD"]))
    assert last["USER"] == "10001:10001"
    assert {word.partition("=")[0] for word in last["ENV"].split()} <= set(settings_read())


@pytest.mark.django_db(transaction=True)
def test_the_image_s_health_check_tells_a_living_web_server(live_server: LiveServer) -> None:
    (arguments,) = (arguments for word, arguments in dockerfile() if word == "HEALTHCHECK")
    program = json.loads(arguments.partition(" CMD ")[2])

    def exit_code(port: str) -> int:
        argv = [sys.executable, *program[1:]]
        env = {**os.environ, "SYNCBEAT_PORT": port}
        return subprocess.run(argv, env=env, stderr=subprocess.DEVNULL, check=False).returncode

    assert exit_code(live_server.url.rpartition(":")[2]) == 0
    assert exit_code(str(free_port())) == 1


# --- the guide


def default_of(model: type[Model], field: str) -> Any:
    found = model._meta.get_field(field)
    assert isinstance(found, Field)
    return found.default


@pytest.mark.parametrize(
    ("page", "runs", "deletions", "percent"),
    [
        ("docs/guide.md", "*Runs at once* is {}", "*most deletions* ({:,})", "({} of the"),
        ("docs/guide.zh.md", "*同时运行数* 默认为 {}", "*最多删除数*（{}）", "（目标文件的 {}%）"),
    ],
)
def test_the_guide_names_the_defaults(page: str, runs: str, deletions: str, percent: str) -> None:
    text = read(page).replace("\n   ", " ").replace("\n", "")
    assert runs.format(default_of(Storage, "max_concurrent_runs")) in text
    assert deletions.format(default_of(SyncConfig, "max_delete_files")) in text
    assert percent.format(default_of(SyncConfig, "max_delete_percent")) in text
    assert default_of(SyncConfig, "keep_deleted_days") == 0
    assert (default_of(SyncConfig, "max_attempts"), default_of(SyncConfig, "retry_delay_s")) == (
        3,
        60,
    )
    assert default_of(SyncConfig, "misfire_grace_s") == 3600
    assert default_of(SyncConfig, "misfire_policy") == SyncConfig.MisfirePolicy.RUN_ONCE


@pytest.mark.parametrize("page", ["docs/guide.md", "docs/guide.zh.md"])
def test_the_guide_s_table_says_which_methods_delete(page: str) -> None:
    table = re.findall(r"^\| (\w+) \| ([^|]+) \| ([^|]+) \|$", read(page), re.MULTILINE)
    methods = table[-len(engine.Method) :]
    never = methods[0][1]
    assert [at_destination != never for _, at_destination, _ in methods] == [
        method in (engine.Method.FULL, engine.Method.OVERWRITE) for method in engine.Method
    ]
    assert [at_source != never for _, _, at_source in methods] == [
        method is engine.Method.MOVE for method in engine.Method
    ]


def test_the_picture_is_one_and_names_the_processes() -> None:
    picture = ElementTree.fromstring(read("docs/architecture.svg"))
    words = " ".join(picture.itertext())
    for name in ("web", "beat", "workers", "database", "broker", "project", "filesync", "engine"):
        assert name in words
    assert "](architecture.svg)" in read("docs/architecture.md")


# --- links


@pytest.mark.parametrize("page", PAGES)
def test_links_paths_and_tests_that_are_named_exist(page: str) -> None:
    text, folder = read(page), (REPOSITORY / page).parent
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [link for link in links if not (folder / link).exists()] == []
    paths = re.findall(r"`((?:project|filesync|scheduler|tests|docs)/[\w./]*)", text)
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []
    promises = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert [name for file, name in promises if f"def {name}(" not in read(file)] == []


def test_images_are_small_and_shown() -> None:
    for image in (REPOSITORY / "docs" / "images").iterdir():
        assert image.stat().st_size < LARGEST_IMAGE_BYTES
        assert any(f"docs/images/{image.name}" in read(readme) for readme in READMES)
