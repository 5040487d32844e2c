"""Texts within names and remarks of configs: found in any case, and by an index where one is."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from filesync.models import SyncConfig, SyncRun
from filesync.selectors import find_runs
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_run, make_storage

pytestmark = pytest.mark.django_db

INDEX = "filesync_config_search"
MIGRATION = import_module("filesync.migrations.0012_finding_configs")


def ask(sql: str) -> list[tuple[str, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def do(*commands: str) -> None:
    with connection.cursor() as cursor:
        for command in commands:
            cursor.execute(command)


def index_search() -> None:
    """Do what the migration does."""
    with connection.schema_editor(atomic=False) as editor:
        MIGRATION.index_search(apps, editor)


@pytest.fixture
def trigrams() -> None:
    """Leave out the tests of a PostgreSQL that came without its extensions."""
    if not ask("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'"):
        pytest.skip("this PostgreSQL has no pg_trgm")


@pytest.mark.parametrize(
    ("name", "remark", "term", "found"),
    [
        ("Photos of 2026", "", "PHOTOS", True),
        ("Photos of 2026", "", "os of", True),
        ("Photos of 2026", "", "26", True),
        ("Photos of 2026", "", "p", True),
        ("photos", "each Night", "night", True),
        ("photos", "each night", "photos each", False),
        ("财务备份", "", "备份", True),
        ("财务备份", "", "务备份", True),
        ("财务备份", "", "照片", False),
        ("100% done", "", "0% d", True),
        ("100 percent", "", "0% p", False),
        ("a_b", "", "a_b", True),
        ("axb", "", "a_b", False),
        ("c:\\data", "", ":\\da", True),
        ("it's", "", "t's", True),
    ],
)
def test_a_text_within_a_name_or_a_remark_finds_the_runs(
    local_root: Path, name: str, remark: str, term: str, *, found: bool
) -> None:
    run = make_run(make_config(local_root, name=name, remark=remark))
    make_run(make_config(local_root, name="another"))

    assert list(find_runs(SyncRun.objects.all(), term)) == ([run] if found else [])


@pytest.mark.only_on("postgres")
@pytest.mark.usefixtures("trigrams")
def test_a_text_is_found_without_reading_all_configs(local_root: Path) -> None:
    storage = make_storage(local_root)
    SyncConfig.objects.bulk_create(
        SyncConfig(name=f"sync {number}", source_storage=storage, destination_storage=storage)
        for number in range(5_000)
    )
    # As autovacuum does: what was only just written lies in a list beside the index.
    ask(f"SELECT gin_clean_pending_list('{INDEX}')")
    do("ANALYZE filesync_syncconfig")

    with CaptureQueriesContext(connection) as asked:
        find_runs(SyncRun.objects.all(), "C 4321")
    plan = "\n".join(line for (line,) in ask(f"EXPLAIN {asked[0]['sql']}"))

    assert INDEX in plan, plan
    assert "Seq Scan" not in plan, plan


@pytest.mark.only_on("postgres")
@pytest.mark.usefixtures("trigrams")
def test_an_account_that_may_not_install_the_extension_goes_without_the_index(
    caplog: pytest.LogCaptureFixture,
) -> None:
    do(f"DROP INDEX {INDEX}", "DROP EXTENSION pg_trgm")
    do("CREATE ROLE syncbeat_plain", "SET LOCAL ROLE syncbeat_plain")

    index_search()

    assert "permission denied" in caplog.text
    assert ask(f"SELECT 1 FROM pg_indexes WHERE indexname = '{INDEX}'") == []
    do("RESET ROLE")


@pytest.mark.only_on("postgres")
@pytest.mark.usefixtures("trigrams")
def test_a_server_whose_operator_allows_no_extension_goes_without_the_index(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As a hosted one does: an event trigger refuses the command as such a server refuses it."""
    do(f"DROP INDEX {INDEX}", "DROP EXTENSION pg_trgm")
    do(
        """
        CREATE FUNCTION refuse_extensions() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'extension is not allow-listed' USING ERRCODE = '0A000'; END $$
        """,
        "CREATE EVENT TRIGGER refuse_extensions ON ddl_command_start "
        "WHEN TAG IN ('CREATE EXTENSION') EXECUTE FUNCTION refuse_extensions()",
    )

    index_search()

    assert "not allow-listed" in caplog.text
    assert ask(f"SELECT 1 FROM pg_indexes WHERE indexname = '{INDEX}'") == []


@pytest.mark.only_on("postgres")
@pytest.mark.usefixtures("trigrams")
def test_an_extension_that_is_installed_is_not_installed_again() -> None:
    do(f"DROP INDEX {INDEX}")

    with CaptureQueriesContext(connection) as asked:
        index_search()

    assert not any("CREATE EXTENSION" in query["sql"] for query in asked)
    assert ask(f"SELECT 1 FROM pg_indexes WHERE indexname = '{INDEX}'")
