"""Whether this installation can do its work: database, migrations, broker."""

from __future__ import annotations

from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from filesync import selectors
from scheduler.outages import DATABASE_AWAY

OK = "ok"

_migrated = False


def readiness() -> dict[str, str]:
    """Return per part "ok" or what is wrong, in few words and without addresses.

    Takes some seconds where something does not answer.
    """
    return {
        "database": _database(),
        "migrations": _migrations(),
        "broker": OK if selectors.broker_reachable() else "does not answer",
    }


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DATABASE_AWAY:
        connections.close_all()
        return "does not answer"
    return OK


def _migrations() -> str:
    """Compare the code's migrations with the database's, until they agree once."""
    global _migrated
    if _migrated:
        return OK
    try:
        missing = missing_migrations()
    except DATABASE_AWAY:
        connections.close_all()
        return "unknown"
    _migrated = not missing
    return OK if _migrated else f"{missing} are missing: run manage.py migrate"


def missing_migrations() -> int:
    """Return how many of the code's migrations the database lacks."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
