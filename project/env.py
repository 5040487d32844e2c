"""Typed readers of environment variables, and nothing that needs Django's settings.

Each reader returns a checked value or raises `SettingError` that names the variable, what was
found and what is allowed; `manage.py` and `project.celery` turn it into one line and exit 2.
"""

from __future__ import annotations

import ipaddress
import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

import dj_database_url
from celery.schedules import crontab
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from environs import Env, EnvError

from scheduler import cron

T = TypeVar("T")

_env = Env()

BROKER_SHORTHANDS = {
    "redis": "redis://127.0.0.1:6379/0",
    "rabbitmq": "amqp://guest:guest@127.0.0.1:5672//",
}
BROKER_SCHEMES = ("redis", "rediss", "redis+socket", "amqp", "amqps", "filesystem", "memory")
DATABASE_SCHEMES = ("sqlite", "postgres", "postgresql")


class SettingError(ImproperlyConfigured):
    """An environment variable holds a value that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class StaticEntry:
    """One entry of `CELERY_SCHEDULE`, as celery's `beat_schedule` takes it."""

    task: str
    schedule: crontab | float
    args: tuple[object, ...]
    kwargs: dict[str, object]
    options: dict[str, object]

    def as_beat_entry(self) -> dict[str, object]:
        return {
            "task": self.task,
            "schedule": self.schedule,
            "args": self.args,
            "kwargs": self.kwargs,
            "options": self.options,
        }


def _read(reader: Callable[[], T]) -> T:
    try:
        return reader()
    except EnvError as error:
        raise SettingError(str(error)) from None


def text(name: str, default: str = "") -> str:
    return _read(lambda: _env.str(name, default)).strip()


def flag(name: str, *, default: bool) -> bool:
    return _read(lambda: _env.bool(name, default))


def number(name: str, default: int, *, minimum: int, maximum: int) -> int:
    value = _read(lambda: _env.int(name, default))
    if not minimum <= value <= maximum:
        raise SettingError(f"{name} is {value}; it must be from {minimum} to {maximum}")
    return value


def words(name: str, default: Iterable[str] = ()) -> list[str]:
    """Return a comma-separated list, without blanks."""
    value = _read(lambda: _env.list(name, list(default)))
    return [word.strip() for word in value if word.strip()]


def networks(name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return comma-separated addresses and networks, as `192.168.0.0/16` or `127.0.0.1`."""
    found: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for word in words(name):
        try:
            found.append(ipaddress.ip_network(word))
        except ValueError as error:
            raise SettingError(
                f"{name} has {word!r}; it must be addresses or networks, such as "
                f"192.168.0.0/16 ({error})"
            ) from None
    return found


def web_address(name: str, default: str) -> str:
    """Return an http or https address without the slash at its end."""
    value = text(name, default).rstrip("/")
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SettingError(f"{name} is {value!r}; it must begin with https:// or http://")
    return value


def choice(name: str, default: str, allowed: Iterable[str]) -> str:
    value = text(name, default).lower()
    if value not in allowed:
        raise SettingError(f"{name} is {value!r}; it must be one of {', '.join(sorted(allowed))}")
    return value


def folder(name: str, default: Path) -> Path:
    """Return an absolute path; a relative one is refused, as each process may start elsewhere."""
    value = text(name)
    if not value:
        return default
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise SettingError(f"{name} is {value!r}; it must be an absolute path")
    return path


def folders(name: str, default: Path) -> list[Path]:
    """Return a comma-separated list of absolute paths."""
    paths = [Path(word).expanduser() for word in words(name)]
    for path in paths:
        if not path.is_absolute():
            raise SettingError(f"{name} has {str(path)!r}; it must be absolute paths")
    return paths or [default]


def secret_keys(name: str) -> list[str]:
    """Return comma-separated Fernet keys, empty when unset."""
    keys = words(name)
    try:
        for key in keys:
            Fernet(key)
    except ValueError:
        raise SettingError(
            f"{name} must be comma-separated Fernet keys, as `manage.py make_secret_key` prints"
        ) from None
    return keys


def timezone(name: str, default: str) -> str:
    value = text(name, default)
    try:
        cron.load_timezone(value)
    except cron.InvalidCron as error:
        raise SettingError(f"{name}: {error.reason}") from None
    return value


def broker_url(name: str, *, embedded: str) -> str:
    """Return the broker's URL for `redis`, `rabbitmq` or a URL; `embedded` when it is unset."""
    value = text(name)
    if not value:
        return embedded
    if value.lower() in BROKER_SHORTHANDS:
        return BROKER_SHORTHANDS[value.lower()]
    scheme = value.partition("://")[0]
    if "://" not in value or scheme not in BROKER_SCHEMES:
        raise SettingError(
            f"{name} is not usable; write redis, rabbitmq or a URL that begins with one of "
            f"{', '.join(s + '://' for s in BROKER_SCHEMES)}"
        )
    return value


def database(name: str, *, sqlite_path: Path) -> dict[str, object]:
    """Return Django's settings of the default database; SQLite at `sqlite_path` when unset.

    SQLite runs in WAL with IMMEDIATE transactions: four writers and a reader saw 2,169
    "database is locked" in 6 s with Django's defaults, and none with these.
    """
    url = text(name) or f"sqlite:///{quote(str(sqlite_path))}"
    scheme = urlsplit(url).scheme
    if scheme not in DATABASE_SCHEMES:
        raise SettingError(
            f"{name} begins with {scheme!r}; it must be a sqlite:// or postgres:// URL"
        )
    try:
        config: dict[str, object] = dict(dj_database_url.parse(url))
    except ValueError as error:
        raise SettingError(f"{name} cannot be read: {error}") from None
    options = config.setdefault("OPTIONS", {})
    assert isinstance(options, dict)
    if scheme == "sqlite" and not Path(str(config["NAME"])).is_absolute():
        raise SettingError(
            f"{name} must name an absolute path, as sqlite:////srv/sync.sqlite3 does"
        )
    if scheme == "sqlite":
        options |= {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
                "PRAGMA mmap_size=134217728; PRAGMA journal_size_limit=27103364; "
                "PRAGMA cache_size=2000"
            ),
        }
    else:
        config["CONN_HEALTH_CHECKS"] = True
        options.setdefault("connect_timeout", 5)
        # Compiling took 0.9 s of the 1.1 s in which the last runs of 10,000 configs were read.
        limits = "-c statement_timeout=30000 -c lock_timeout=15000 -c jit=off"
        options.setdefault("options", limits)
        # A host that vanished is noticed in 15 s, and not after the kernel's minutes.
        options |= {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
        options["tcp_user_timeout"] = 15_000
        options["pool"] = {"min_size": 1, "max_size": 12, "timeout": 10}
    return config


def beat_schedule(name: str) -> dict[str, dict[str, object]]:
    """Return celery's `beat_schedule` from a JSON object of static entries.

    Each value is `{"task": dotted name, "schedule": five cron fields or seconds, "args"?: list,
    "kwargs"?: object, "options"?: object}`. The cron text is checked by `scheduler.cron`; it runs
    on the server's time zone.
    """
    value = text(name)
    if not value:
        return {}
    try:
        document = json.loads(value)
    except ValueError as error:
        raise SettingError(f"{name} is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise SettingError(f"{name} must be a JSON object of named entries")
    return {
        str(key): _static_entry(f"{name}.{key}", entry).as_beat_entry()
        for key, entry in document.items()
    }


def _static_entry(name: str, entry: object) -> StaticEntry:
    if not isinstance(entry, dict) or not isinstance(entry.get("task"), str):
        raise SettingError(f'{name} must be an object with a "task" name and a "schedule"')
    unknown = set(entry) - {"task", "schedule", "args", "kwargs", "options"}
    if unknown:
        raise SettingError(f"{name} has unknown keys: {', '.join(sorted(unknown))}")
    args, kwargs, options = (
        entry.get("args", []),
        entry.get("kwargs", {}),
        entry.get("options", {}),
    )
    if not (isinstance(args, list) and isinstance(kwargs, dict) and isinstance(options, dict)):
        raise SettingError(f"{name}: args is a list, kwargs and options are objects")
    return StaticEntry(
        task=entry["task"],
        schedule=_static_schedule(name, entry.get("schedule")),
        args=tuple(args),
        kwargs=kwargs,
        options=options,
    )


def _static_schedule(name: str, value: object) -> crontab | float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    if not isinstance(value, str):
        raise SettingError(f"{name}.schedule must be five cron fields or a number of seconds")
    try:
        minute, hour, day_of_month, month_of_year, day_of_week = cron.numeric_fields(value)
    except cron.InvalidCron as error:
        raise SettingError(f"{name}.schedule: {error}") from None
    return crontab(
        minute=minute,
        hour=hour,
        day_of_month=day_of_month,
        month_of_year=month_of_year,
        day_of_week=day_of_week,
    )


def system_timezone() -> str:
    """Return the machine's IANA time zone name, UTC where it has none."""
    from tzlocal import get_localzone_name

    try:
        name = os.environ.get("TZ") or get_localzone_name()
        cron.load_timezone(name)
    except (LookupError, ValueError, OSError):
        return "UTC"
    return "UTC" if name == "Etc/UTC" else name
