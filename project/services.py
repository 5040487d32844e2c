"""The services of one machine: what `manage.py up` starts, and how to tell that each is ready."""

from __future__ import annotations

import os
import socket
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError

from project import embedded
from project.addresses import base_url, host_port
from project.probes import LIVE_PATH
from project.supervisor import Service


def check_ready_to_start(data_dir: Path) -> None:
    """Refuse to start, in one line, what could not run.

    Raises:
        CommandError: the port is taken, or the data folder or a binary cannot be used.
    """
    _check_folder(data_dir)
    _check_port(settings.WEB_BIND, settings.WEB_PORT)


def build_services(data_dir: Path) -> list[Service]:
    """Return the services in starting order: broker, web, worker, beat."""
    env = dict(os.environ) | {"DJANGO_SETTINGS_MODULE": "project.settings", "PYTHONUNBUFFERED": "1"}
    services = [_web(env), _celery(env, "worker"), _celery(env, "beat")]
    binary = embedded.redis_binary()
    if binary is not None and embedded.broker_url(data_dir) == settings.CELERY_BROKER_URL:
        services.insert(0, _redis(binary, data_dir, env))
    return services


def _redis(binary: Path, data_dir: Path, env: Mapping[str, str]) -> Service:
    socket_path = embedded.redis_socket(data_dir)
    folder = data_dir / "redis"
    try:
        embedded.own_folder(folder)
        embedded.own_folder(socket_path.parent)
    except PermissionError as error:
        raise CommandError(
            f"Redis cannot start: {error}; remove it, or set CELERY_BROKER"
        ) from None
    argv = [
        str(binary),
        *("--port", "0", "--unixsocket", str(socket_path), "--unixsocketperm", "600"),
        *("--dir", str(folder), "--appendonly", "yes", "--save", "", "--loglevel", "warning"),
    ]
    return Service("redis", argv, env, ready=lambda: _answers(socket_path), stop_s=5.0)


def _web(env: Mapping[str, str]) -> Service:
    argv = [
        *(sys.executable, "-m", "gunicorn", "project.wsgi:application"),
        *("--config", "python:project.web_server"),
        *("--log-level", "warning", "--graceful-timeout", "5"),
    ]
    url = base_url(settings.WEB_BIND, settings.WEB_PORT) + LIVE_PATH
    return Service("web", argv, env, ready=lambda: _serves(url), stop_s=10.0)


def _celery(env: Mapping[str, str], role: str) -> Service:
    argv = [
        *(sys.executable, "-m", "celery", "--quiet", "-A", "project", "--skip-checks", role),
        *("--loglevel", str(settings.LOG_LEVEL)),
    ]
    if role == "worker":
        argv += ["--hostname", "worker@%h"]
    else:
        argv += ["--pidfile", ""]
    return Service(role, argv, env)


def _answers(socket_path: Path) -> bool:
    """Ask Redis over its socket whether it is up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _serves(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except OSError:
        return False


def _check_folder(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = data_dir / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CommandError(
            f"the data folder {data_dir} cannot be written ({error.strerror}); "
            "make it writable or set SYNCBEAT_DATA_DIR to a folder that is"
        ) from None


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"cannot listen on {host_port(host, port)} ({error.strerror}); stop what uses the "
                "port, or set SYNCBEAT_PORT (and SYNCBEAT_BIND) to another"
            ) from None
