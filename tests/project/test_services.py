"""Which services one machine starts, how each is found ready, and what is refused beforehand."""

from __future__ import annotations

import re
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management.base import CommandError
from pytest_django.fixtures import SettingsWrapper

from project import embedded, services
from project.addresses import base_url
from project.supervisor import Supervisor
from tests.project.system import own_environment, run, wait_until
from tests.servers.process import HOST, free_port, short_temp_dir
from tests.servers.redis import RedisServer


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = short_temp_dir("sb-svc-")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def listening() -> Iterator[int]:
    """Return a port that somebody else listens on."""
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        yield int(server.getsockname()[1])


def test_the_broker_comes_first_and_beat_last(data_dir: Path, settings: SettingsWrapper) -> None:
    settings.CELERY_BROKER_URL = embedded.broker_url(data_dir)
    names = [service.name for service in services.build_services(data_dir)]
    assert names == ["redis", "web", "worker", "beat"]


@pytest.mark.parametrize("url", ["redis://127.0.0.1:6379/0", "amqp://rabbit//", "filesystem://"])
def test_no_redis_is_started_beside_a_broker_that_is_named(
    url: str, data_dir: Path, settings: SettingsWrapper
) -> None:
    settings.CELERY_BROKER_URL = url
    names = [service.name for service in services.build_services(data_dir)]
    assert names == ["web", "worker", "beat"]
    assert not (data_dir / "redis").exists()


def test_the_private_redis_listens_on_no_port(data_dir: Path, settings: SettingsWrapper) -> None:
    settings.CELERY_BROKER_URL = embedded.broker_url(data_dir)
    redis = services.build_services(data_dir)[0]
    argv = list(redis.argv)
    assert argv[argv.index("--port") + 1] == "0"
    assert argv[argv.index("--unixsocketperm") + 1] == "600"


def test_the_private_redis_is_ready_when_it_answers(
    data_dir: Path, settings: SettingsWrapper
) -> None:
    settings.CELERY_BROKER_URL = embedded.broker_url(data_dir)
    redis = services.build_services(data_dir)[0]
    assert not redis.ready()
    supervisor = Supervisor([redis], lambda name, line: None)
    try:
        supervisor.start()
        assert redis.ready()
        assert embedded.redis_socket(data_dir).stat().st_mode & 0o777 == 0o600
    finally:
        supervisor.stop()
    assert not redis.ready()


def test_the_web_server_is_not_ready_while_nobody_listens(
    data_dir: Path, settings: SettingsWrapper
) -> None:
    settings.WEB_PORT = free_port()
    web = next(s for s in services.build_services(data_dir) if s.name == "web")
    assert not web.ready()


def test_what_does_not_speak_http_is_not_the_web_server(
    data_dir: Path, settings: SettingsWrapper
) -> None:
    with RedisServer() as other:
        settings.WEB_PORT = other.port
        web = next(s for s in services.build_services(data_dir) if s.name == "web")
        assert wait_until(lambda: not web.ready(), timeout_s=5.0)


def test_a_web_server_bound_to_every_address_is_asked_on_loopback(
    data_dir: Path, settings: SettingsWrapper, live_server: object
) -> None:
    settings.WEB_BIND = "0.0.0.0"
    settings.WEB_PORT = int(str(live_server).rsplit(":", 1)[1])
    web = next(s for s in services.build_services(data_dir) if s.name == "web")
    assert web.ready()


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("sync.example.org", "http://sync.example.org:8000"),
    ],
)
def test_people_are_told_an_address_that_a_browser_takes(bind: str, url: str) -> None:
    assert base_url(bind, 8000) == url


def test_a_web_server_that_refuses_the_host_is_up_all_the_same(
    data_dir: Path, settings: SettingsWrapper, live_server: object
) -> None:
    settings.ALLOWED_HOSTS = ["sync.example.org"]
    settings.WEB_PORT = int(str(live_server).rsplit(":", 1)[1])
    web = next(s for s in services.build_services(data_dir) if s.name == "web")
    assert web.ready()


GUNICORN = [
    *(sys.executable, "-m", "gunicorn", "project.wsgi:application"),
    *("--config", "python:project.web_server", "--print-config"),
]


def test_gunicorn_serves_as_the_settings_say(data_dir: Path) -> None:
    environment = own_environment(
        data_dir,
        SYNCBEAT_BIND="::1",
        SYNCBEAT_PORT="8123",
        SYNCBEAT_WEB_WORKERS="3",
        SYNCBEAT_WEB_THREADS="5",
    )
    done = run(GUNICORN, environment)
    told = dict(re.findall(r"^(\w+) += (.*)$", done.stdout, re.MULTILINE))
    assert (told["bind"], told["workers"], told["threads"]) == ("['[::1]:8123']", "3", "5")
    assert told["worker_class"].endswith("PatientWorker")


def test_a_setting_that_gunicorn_cannot_serve_by_is_named_in_a_line(data_dir: Path) -> None:
    done = run(GUNICORN, own_environment(data_dir, SYNCBEAT_WEB_WORKERS="0"))
    assert done.returncode == 2
    assert done.stderr == "error: SYNCBEAT_WEB_WORKERS is 0; it must be from 1 to 64\n"


@pytest.mark.parametrize("bind", [HOST, "0.0.0.0"])
def test_a_taken_port_is_refused_with_its_name_and_the_way_out(
    bind: str, listening: int, data_dir: Path, settings: SettingsWrapper
) -> None:
    settings.WEB_BIND, settings.WEB_PORT = bind, listening
    with pytest.raises(CommandError, match=f"{bind}:{listening} .*SYNCBEAT_PORT"):
        services.check_ready_to_start(data_dir)


def test_an_address_of_another_machine_is_refused(
    data_dir: Path, settings: SettingsWrapper
) -> None:
    settings.WEB_BIND, settings.WEB_PORT = "192.0.2.1", free_port()
    with pytest.raises(CommandError, match=r"cannot listen on 192\.0\.2\.1"):
        services.check_ready_to_start(data_dir)


@pytest.mark.parametrize("bind", ["localhost", "nowhere.invalid", "999.0.0.1"])
def test_an_address_that_is_a_name_is_looked_up_or_refused(
    bind: str, data_dir: Path, settings: SettingsWrapper
) -> None:
    settings.WEB_BIND, settings.WEB_PORT = bind, free_port()
    if bind == "localhost":
        services.check_ready_to_start(data_dir)
        return
    with pytest.raises(CommandError, match=f"cannot listen on {bind}"):
        services.check_ready_to_start(data_dir)


def test_a_free_port_and_a_new_folder_are_ready(data_dir: Path, settings: SettingsWrapper) -> None:
    settings.WEB_BIND, settings.WEB_PORT = HOST, free_port()
    services.check_ready_to_start(data_dir / "new")
    assert (data_dir / "new").stat().st_mode & 0o777 == 0o700
    assert list((data_dir / "new").iterdir()) == []


def test_a_data_folder_below_a_file_is_refused(data_dir: Path) -> None:
    (data_dir / "file").touch()
    with pytest.raises(CommandError, match=r"cannot be written .*SYNCBEAT_DATA_DIR"):
        services.check_ready_to_start(data_dir / "file" / "data")
