"""Examines this installation: each finding says what is wrong and what to do about it.

It reads, and changes nothing.
"""

from __future__ import annotations

import enum
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core import checks
from django.db import connection
from django.utils import timezone

from filesync import engine, health, selectors
from filesync.checks import BAD_RCLONE, RCLONE_HINT
from filesync.models import ENCRYPTED_COLUMNS
from filesync.secrets import SecretsUnreadable, decrypt
from scheduler.models import BeatLease
from scheduler.outages import DATABASE_AWAY

SKEW_WARNING_S = 2.0
SKEW_PROBLEM_S = 30.0
DISK_WARNING_BYTES = 2_000_000_000
DISK_PROBLEM_BYTES = 200_000_000


class Level(enum.StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found; `advice` is empty where all is well."""

    what: str
    level: Level
    text: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything, in the order in which trouble is best mended."""
    yield from _settings()
    yield _rclone()
    yield _disk(settings.FILESYNC_WORK_DIR.parent, "data folder")
    for root in settings.FILESYNC_LOCAL_ROOTS:
        yield _local_root(root)
    database = _database()
    yield database
    if database.level is Level.PROBLEM:
        return
    migrations = _migrations()
    yield migrations
    if migrations.level is Level.PROBLEM:
        return
    yield _clock()
    yield _keys()
    yield _broker()
    yield _beat()
    yield _workers()
    yield from _queues()


def _settings() -> Iterator[Finding]:
    complaints = [
        message
        for message in checks.run_checks()
        # What is wrong with rclone is found by itself.
        if message.level >= checks.WARNING and message.id != BAD_RCLONE
    ]
    for message in complaints:
        level = Level.PROBLEM if message.level >= checks.ERROR else Level.WARNING
        yield Finding("settings", level, str(message.msg), str(message.hint or ""))
    if settings.DEBUG:
        yield Finding(
            "settings",
            Level.WARNING,
            "debug pages are on: they show settings to whoever causes an error",
            "Unset SYNCBEAT_DEBUG.",
        )
    elif not complaints:
        yield Finding("settings", Level.OK, "read and without complaint")


def _rclone() -> Finding:
    try:
        binary = engine.find_rclone(settings.FILESYNC_RCLONE_BINARY or None)
        engine.check_rclone(binary)
    except engine.EngineError as error:
        return Finding("rclone", Level.PROBLEM, str(error), RCLONE_HINT)
    return Finding("rclone", Level.OK, str(binary))


def _disk(folder: Path, what: str) -> Finding:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        advice = "Make the folder, or name another one in SYNCBEAT_DATA_DIR."
        return Finding(what, Level.PROBLEM, f"{folder}: {error.strerror}", advice)
    text = f"{folder}: {free / 1e9:.1f} GB free"
    return Finding(what, disk_level(free), text, "" if _is_ample(free) else "Free space there.")


def disk_level(free_bytes: int) -> Level:
    if free_bytes < DISK_PROBLEM_BYTES:
        return Level.PROBLEM
    return Level.OK if _is_ample(free_bytes) else Level.WARNING


def _is_ample(free_bytes: int) -> bool:
    return free_bytes >= DISK_WARNING_BYTES


def _local_root(root: Path) -> Finding:
    if not root.is_dir():
        advice = "Make it, mount its disk, or take it out of FILESYNC_LOCAL_ROOTS."
        return Finding("local root", Level.WARNING, f"{root} is no folder here", advice)
    return _disk(root, "local root")


def _database() -> Finding:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DATABASE_AWAY as error:
        reason = str(error).strip().splitlines()[0]
        return Finding(
            "database",
            Level.PROBLEM,
            f"it does not answer: {reason}",
            "Start it, and look at DATABASE_URL.",
        )
    return Finding("database", Level.OK, f"{connection.display_name} answers")


def _migrations() -> Finding:
    missing = health.missing_migrations()
    if missing:
        text = f"{missing} migrations are missing"
        return Finding("migrations", Level.PROBLEM, text, "Run `python manage.py migrate`.")
    return Finding("migrations", Level.OK, "all are applied")


def _clock() -> Finding:
    if connection.vendor == "sqlite":
        return Finding("clock", Level.OK, "the database has no clock of its own")
    before = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (told,) = cursor.fetchone()
    middle = before + (timezone.now() - before) / 2
    return clock_finding((told - middle).total_seconds())


def clock_finding(skew_s: float) -> Finding:
    text = f"the database's clock is {abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'}"
    text += " this machine's"
    advice = "Run a time service (chrony, systemd-timesyncd) on both machines."
    if abs(skew_s) >= SKEW_PROBLEM_S:
        return Finding("clock", Level.PROBLEM, text, advice)
    if abs(skew_s) >= SKEW_WARNING_S:
        return Finding("clock", Level.WARNING, text, advice)
    return Finding("clock", Level.OK, "as the database's")


def _keys() -> Finding:
    unreadable = list(_unreadable())
    if unreadable:
        return Finding(
            "keys",
            Level.PROBLEM,
            f"no configured key opens the secrets of {', '.join(unreadable[:10])}",
            "Put the key that was in use back into FILESYNC_SECRET_KEYS, or enter the secrets "
            "again.",
        )
    return Finding("keys", Level.OK, "they open every stored secret")


def _unreadable() -> Iterator[str]:
    for model, column in ENCRYPTED_COLUMNS.items():
        rows = model._default_manager.exclude(**{column: ""}).values_list("name", column)
        for name, text in rows:
            try:
                decrypt(text)
            except SecretsUnreadable:
                yield f"{model._meta.verbose_name_raw} {name}"


def _broker() -> Finding:
    if selectors.broker_reachable():
        return Finding("broker", Level.OK, "it answers")
    return Finding(
        "broker",
        Level.PROBLEM,
        "it does not answer: runs are queued and wait",
        "Start it, and look at CELERY_BROKER.",
    )


def _beat() -> Finding:
    alive = [beat for beat in selectors.processes().beats if beat.alive]
    start = "Start one: `celery --quiet -A project beat --loglevel=info`."
    if not alive:
        return Finding("beat", Level.PROBLEM, "none runs: schedules do not fire", start)
    leader = next((beat.name for beat in alive if beat.leading), None)
    if leader is None:
        holder = BeatLease.objects.values_list("holder", flat=True).first() or "nobody"
        text = f"{len(alive)} run and none leads; the lease is held by {holder}"
        return Finding("beat", Level.WARNING, text, "It lapses within 15 s; look again then.")
    return Finding("beat", Level.OK, f"{leader} leads, {len(alive) - 1} stand by")


def _workers() -> Finding:
    alive = [worker for worker in selectors.processes().workers if worker.alive]
    if not alive:
        start = "Start one: `celery --quiet -A project worker --loglevel=info`."
        return Finding("workers", Level.PROBLEM, "none runs: queued runs wait", start)
    slots = sum(worker.slots for worker in alive)
    return Finding("workers", Level.OK, f"{len(alive)} run, {slots} runs at once")


def _queues() -> Iterator[Finding]:
    unserved = selectors.unserved_queues(selectors.processes().workers)
    if unserved:
        start = f"Start one: `celery --quiet -A project worker --loglevel=info -Q {unserved[0]}`."
        text = f"no worker serves {', '.join(unserved)}: runs wait there"
        yield Finding("queues", Level.WARNING, text, start)
