"""The readers of environment variables, and how a wrong value ends a command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from celery.schedules import crontab
from cryptography.fernet import Fernet

from project import env
from project.env import SettingError
from tests.project.system import own_environment, run, run_command

NAME = "SYNCBEAT_TEST"
EMBEDDED = "redis+socket:///srv/sync/redis/r.sock"
SQLITE = Path("/srv/sync/syncbeat.sqlite3")

Setter = Callable[[str], None]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Setter:
    """Return a function that sets the variable all pure tests read."""
    return lambda value: monkeypatch.setenv(NAME, value)


def entry(schedule: object, **more: object) -> str:
    return json.dumps({"nightly": {"task": "a.task", "schedule": schedule, **more}})


# --- the broker


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("redis", "redis://127.0.0.1:6379/0"),
        ("Redis", "redis://127.0.0.1:6379/0"),
        ("rabbitmq", "amqp://guest:guest@127.0.0.1:5672//"),
        (" rabbitmq ", "amqp://guest:guest@127.0.0.1:5672//"),
        ("redis://:secret@cache:6380/3", "redis://:secret@cache:6380/3"),
        ("rediss://cache:6380/0", "rediss://cache:6380/0"),
        ("redis+socket:///run/r.sock", "redis+socket:///run/r.sock"),
        ("amqp://u:p@rabbit:5672/vhost", "amqp://u:p@rabbit:5672/vhost"),
        ("amqps://rabbit//", "amqps://rabbit//"),
        ("filesystem://", "filesystem://"),
        ("", EMBEDDED),
        ("   ", EMBEDDED),
    ],
)
def test_the_broker_is_a_word_or_a_url(value: str, url: str, given: Setter) -> None:
    given(value)
    assert env.broker_url(NAME, embedded=EMBEDDED) == url


def test_the_broker_is_the_embedded_one_when_nothing_is_set() -> None:
    assert env.broker_url("SYNCBEAT_IS_NOT_SET", embedded=EMBEDDED) == EMBEDDED


@pytest.mark.parametrize(
    "value", ["kafka", "http://cache", "redis:6379", "://", "sqs://queue", "REDIS:/x"]
)
def test_a_broker_that_celery_could_not_use_is_refused(value: str, given: Setter) -> None:
    given(value)
    with pytest.raises(SettingError, match=f"{NAME} .*redis, rabbitmq or a URL"):
        env.broker_url(NAME, embedded=EMBEDDED)


def test_a_refused_broker_url_does_not_show_its_password(given: Setter) -> None:
    given("http://user:s3cret@cache")
    with pytest.raises(SettingError) as refused:
        env.broker_url(NAME, embedded=EMBEDDED)
    assert "s3cret" not in str(refused.value)


# --- static beat entries


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("0 2 * * *", crontab(minute="0", hour="2")),
        ("*/30 * * * *", crontab(minute="*/30")),
        ("0 9,18 * * 1-5", crontab(minute="0", hour="9,18", day_of_week="1-5")),
        ("0 0 1 * *", crontab(minute="0", hour="0", day_of_month="1")),
        ("0 0 * jan sun", crontab(minute="0", hour="0", month_of_year="1", day_of_week="0")),
        (30, 30.0),
        (0.5, 0.5),
    ],
)
def test_a_static_entry_is_cron_or_seconds(
    schedule: object, expected: crontab | float, given: Setter
) -> None:
    given(entry(schedule))
    assert env.beat_schedule(NAME)["nightly"]["schedule"] == expected


def test_a_static_entry_carries_arguments_and_options(given: Setter) -> None:
    given(entry(60, args=[1, "two"], kwargs={"config_id": 3}, options={"queue": "slow"}))
    assert env.beat_schedule(NAME) == {
        "nightly": {
            "task": "a.task",
            "schedule": 60.0,
            "args": (1, "two"),
            "kwargs": {"config_id": 3},
            "options": {"queue": "slow"},
        }
    }


@pytest.mark.parametrize("value", ["", "  ", "{}"])
def test_no_static_entries_is_an_empty_schedule(value: str, given: Setter) -> None:
    given(value)
    assert env.beat_schedule(NAME) == {}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('{"nightly":', f"{NAME} is no JSON"),
        ("{'nightly': 1}", f"{NAME} is no JSON"),
        ("[1]", f"{NAME} must be a JSON object"),
        ("3", f"{NAME} must be a JSON object"),
        ('{"nightly": 3}', f"{NAME}.nightly must be an object"),
        ('{"nightly": {"schedule": 3}}', f'{NAME}.nightly must be an object with a "task"'),
        ('{"nightly": {"task": 1, "schedule": 3}}', f"{NAME}.nightly must be an object"),
        ('{"nightly": {"task": "a.task"}}', f"{NAME}.nightly.schedule must be five cron fields"),
        (entry("61 * * * *"), f"{NAME}.nightly.schedule: minute: 61"),
        (entry("* * * *"), f"{NAME}.nightly.schedule: "),
        (entry("* * * * * *"), f"{NAME}.nightly.schedule: "),
        (entry("0 0 30 2 *"), f"{NAME}.nightly.schedule: "),
        (entry(""), f"{NAME}.nightly.schedule: "),
        (entry("@daily"), f"{NAME}.nightly.schedule: "),
        (entry(0), f"{NAME}.nightly.schedule must be"),
        (entry(-5), f"{NAME}.nightly.schedule must be"),
        (entry(True), f"{NAME}.nightly.schedule must be"),
        (entry(None), f"{NAME}.nightly.schedule must be"),
        (entry(["* * * * *"]), f"{NAME}.nightly.schedule must be"),
        (entry(float("inf")), f"{NAME}.nightly.schedule must be"),
        (entry(float("nan")), f"{NAME}.nightly.schedule must be"),
        (entry(3, cron="x", every=1), f"{NAME}.nightly has unknown keys: cron, every"),
        (entry(3, args=5), f"{NAME}.nightly: args is a list"),
        (entry(3, kwargs=[1]), f"{NAME}.nightly: args is a list, kwargs and options are objects"),
        (entry(3, options="x"), f"{NAME}.nightly: args is a list, kwargs and options are objects"),
    ],
)
def test_a_static_entry_that_beat_could_not_use_is_refused(
    value: str, said: str, given: Setter
) -> None:
    given(value)
    with pytest.raises(SettingError) as refused:
        env.beat_schedule(NAME)
    assert said in str(refused.value)


# --- the database


@pytest.mark.parametrize(
    ("value", "engine", "name"),
    [
        ("", "sqlite3", str(SQLITE)),
        ("sqlite:////var/lib/sync.sqlite3", "sqlite3", "/var/lib/sync.sqlite3"),
        ("postgres://u:p@db:5433/sync", "postgresql", "sync"),
        ("postgresql://u:p@db/sync", "postgresql", "sync"),
    ],
)
def test_the_database_is_sqlite_or_postgres(
    value: str, engine: str, name: str, given: Setter
) -> None:
    given(value)
    config = env.database(NAME, sqlite_path=SQLITE)
    assert (config["ENGINE"], config["NAME"]) == (f"django.db.backends.{engine}", name)


@pytest.mark.parametrize("folder", ["two words", "数据", "a#b", "a?b", "a%41b"])
def test_the_default_database_is_in_its_folder_whatever_that_is_called(folder: str) -> None:
    path = Path("/srv", folder, "syncbeat.sqlite3")
    assert env.database("SYNCBEAT_IS_NOT_SET", sqlite_path=path)["NAME"] == str(path)


def test_sqlite_is_opened_so_that_many_processes_can_write(given: Setter) -> None:
    given("")
    options = env.database(NAME, sqlite_path=SQLITE)["OPTIONS"]
    assert isinstance(options, dict)
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in options["init_command"]
    assert options["timeout"] >= 10


def test_postgres_is_pooled_with_timeouts_and_keeps_what_the_url_says(given: Setter) -> None:
    given("postgres://u:p@db/sync?sslmode=require&connect_timeout=9")
    config = env.database(NAME, sqlite_path=SQLITE)
    options = config["OPTIONS"]
    assert isinstance(options, dict)
    assert options["sslmode"] == "require"
    assert str(options["connect_timeout"]) == "9"
    assert options["pool"]
    assert "statement_timeout" in options["options"]
    # To compile a query took longer than to answer it.
    assert "jit=off" in options["options"]
    assert config["CONN_HEALTH_CHECKS"] is True


@pytest.mark.parametrize(
    "value",
    [
        "mysql://u:p@db/sync",
        "oracle://db",
        "sync.sqlite3",
        "/var/lib/sync.sqlite3",
        "postgres://u:p@db:port/sync",
        # Each process would have one of its own: in memory, or below the folder it starts in.
        "sqlite://",
        "sqlite://:memory:",
        "sqlite:///sync.sqlite3",
    ],
)
def test_a_database_that_cannot_be_used_is_refused(value: str, given: Setter) -> None:
    given(value)
    with pytest.raises(SettingError, match=NAME):
        env.database(NAME, sqlite_path=SQLITE)


def test_a_refused_database_url_does_not_show_its_password(given: Setter) -> None:
    given("postgres://u:s3cret@db:port/sync")
    with pytest.raises(SettingError) as refused:
        env.database(NAME, sqlite_path=SQLITE)
    assert "s3cret" not in str(refused.value)


# --- plain values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(word, True) for word in ("1", "true", "True", "yes", "on", "y", "t")],
        *[(word, False) for word in ("0", "false", "False", "no", "off", "n", "f")],
    ],
)
def test_a_flag_takes_the_usual_words(value: str, expected: bool, given: Setter) -> None:
    given(value)
    assert env.flag(NAME, default=not expected) is expected


@pytest.mark.parametrize("value", ["perhaps", "2", "enabled"])
def test_a_flag_that_is_neither_is_refused(value: str, given: Setter) -> None:
    given(value)
    with pytest.raises(SettingError, match=NAME):
        env.flag(NAME, default=False)


@pytest.mark.parametrize("value", ["1", "8000", "65535"])
def test_a_number_within_its_bounds_is_taken(value: str, given: Setter) -> None:
    given(value)
    assert env.number(NAME, 8000, minimum=1, maximum=65_535) == int(value)


@pytest.mark.parametrize("value", ["0", "65536", "-1", "abc", "8000.5", "80 00"])
def test_a_number_outside_its_bounds_is_refused(value: str, given: Setter) -> None:
    given(value)
    with pytest.raises(SettingError, match=NAME):
        env.number(NAME, 8000, minimum=1, maximum=65_535)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a", ["a"]), (" a , b,, c ", ["a", "b", "c"]), ("", []), (" , ", [])],
)
def test_a_list_is_comma_separated(value: str, expected: list[str], given: Setter) -> None:
    given(value)
    assert env.words(NAME, ["default"]) == expected


@pytest.mark.parametrize("value", ["debug", "DEBUG", " Debug "])
def test_a_choice_ignores_case(value: str, given: Setter) -> None:
    given(value)
    assert env.choice(NAME, "info", ("debug", "info")) == "debug"


def test_a_choice_that_is_not_offered_is_refused_with_what_is(given: Setter) -> None:
    given("loud")
    with pytest.raises(SettingError, match=f"{NAME} is 'loud'; it must be one of debug, info"):
        env.choice(NAME, "info", ("info", "debug"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/srv/sync", Path("/srv/sync")),
        ("~/sync", Path.home() / "sync"),
        ("", Path("/default")),
        ("  ", Path("/default")),
    ],
)
def test_a_folder_is_absolute(value: str, expected: Path, given: Setter) -> None:
    given(value)
    assert env.folder(NAME, Path("/default")) == expected


@pytest.mark.parametrize("value", ["sync", "./sync", "../sync"])
def test_a_relative_folder_is_refused(value: str, given: Setter) -> None:
    given(value)
    with pytest.raises(SettingError, match=f"{NAME} .*must be an absolute path"):
        env.folder(NAME, Path("/default"))


@pytest.mark.parametrize("value", ["UTC", "Asia/Shanghai", "America/Argentina/Buenos_Aires"])
def test_a_time_zone_is_an_iana_name(value: str, given: Setter) -> None:
    given(value)
    assert env.timezone(NAME, "UTC") == value


@pytest.mark.parametrize("value", ["Mars/Base", "GMT+8", "../../etc/passwd", "asia/shanghai"])
def test_a_time_zone_that_is_none_is_refused(value: str, given: Setter) -> None:
    given(value)
    with pytest.raises(SettingError, match=NAME):
        env.timezone(NAME, "UTC")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("Europe/Berlin", "Europe/Berlin"), ("Etc/UTC", "UTC"), ("Nowhere/At_All", "UTC")],
)
def test_the_machine_s_time_zone_is_a_name_that_exists(
    value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", value)
    assert env.system_timezone() == expected


# --- what a person sees


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CELERY_BROKER", "kafka"),
        ("CELERY_SCHEDULE", '{"nightly":'),
        ("CELERY_SCHEDULE", entry("61 * * * *")),
        ("DATABASE_URL", "mysql://u:p@db/sync"),
        ("SYNCBEAT_PORT", "70000"),
        ("SYNCBEAT_PORT", "http"),
        ("SYNCBEAT_TIME_ZONE", "Mars/Base"),
        ("SYNCBEAT_DEBUG", "perhaps"),
        ("SYNCBEAT_DATA_DIR", "relative"),
        ("FILESYNC_LOCAL_ROOTS", "relative,/srv"),
        ("FILESYNC_SECRET_KEYS", "short"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_ends_a_command_with_one_line_that_names_it(
    name: str, value: str, tmp_path: Path
) -> None:
    done = run_command(["check"], own_environment(tmp_path / "data") | {name: value})
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    line = done.stderr.strip()
    assert "\n" not in line
    assert line.startswith("error: ")
    assert name in line


def test_a_wrong_value_ends_celery_with_one_line_that_names_it(tmp_path: Path) -> None:
    environment = own_environment(tmp_path / "data", LOG_LEVEL="loud")
    done = run([sys.executable, "-m", "celery", "-A", "project", "inspect", "ping"], environment)
    assert done.returncode == 2, done.stderr
    line = done.stderr.strip()
    assert "\n" not in line
    assert "LOG_LEVEL" in line


def test_every_setting_together_passes_the_check(tmp_path: Path) -> None:
    environment = own_environment(
        tmp_path / "data",
        CELERY_BROKER="rabbitmq",
        CELERY_SCHEDULE=entry("0 2 * * *"),
        DATABASE_URL=f"sqlite:///{tmp_path}/other.sqlite3",
        SYNCBEAT_PORT="18080",
        SYNCBEAT_BIND="0.0.0.0",
        SYNCBEAT_TIME_ZONE="Asia/Shanghai",
        SYNCBEAT_SECRET_KEY="k" * 60,
        SYNCBEAT_DEBUG="off",
        SYNCBEAT_ALLOWED_HOSTS="sync.example.org, 10.0.0.1",
        FILESYNC_SECRET_KEYS=f"{Fernet.generate_key().decode()},{Fernet.generate_key().decode()}",
        FILESYNC_LOCAL_ROOTS=f"{tmp_path}/one,{tmp_path}/two",
        LOG_LEVEL="warning",
    )
    done = run_command(["check"], environment)
    assert done.returncode == 0, done.stderr


def test_nothing_configured_passes_the_check_and_keeps_keys(tmp_path: Path) -> None:
    done = run_command(["check"], own_environment(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path / "data" / "keys")) == ["django.key", "filesync.key"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", []),
        ("127.0.0.1, 192.168.0.0/16", ["127.0.0.1/32", "192.168.0.0/16"]),
        ("fd00::/8", ["fd00::/8"]),
    ],
)
def test_networks_are_addresses_or_networks(value: str, expected: list[str], given: Setter) -> None:
    given(value)
    assert [str(network) for network in env.networks(NAME)] == expected


@pytest.mark.parametrize("value", ["nas.local", "10.0.0.1/8", "10.0.0.0/33"])
def test_a_network_that_cannot_be_read_is_refused(value: str, given: Setter) -> None:
    given(value)
    with pytest.raises(SettingError, match=f"{NAME} has '{value}'"):
        env.networks(NAME)


def test_a_web_address_loses_its_last_slash(given: Setter) -> None:
    given("https://sync.example.org/sub/")
    assert env.web_address(NAME, "http://x") == "https://sync.example.org/sub"


@pytest.mark.parametrize("value", ["sync.example.org", "ftp://example.org", "https://"])
def test_a_web_address_that_is_none_is_refused(value: str, given: Setter) -> None:
    given(value)
    with pytest.raises(SettingError, match="it must begin with https://"):
        env.web_address(NAME, "http://x")
