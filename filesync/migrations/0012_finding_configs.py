"""Let configs be listed by time without sorting all of them, and be searched without reading all."""

import logging

from django.apps.registry import Apps
from django.db import NotSupportedError, ProgrammingError, migrations, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

logger = logging.getLogger(__name__)

# What `icontains` asks for, so that a text within a name or a remark is found by its index.
SEARCH = """
    CREATE INDEX filesync_config_search ON filesync_syncconfig
    USING gin (UPPER(name::text) gin_trgm_ops, UPPER(remark::text) gin_trgm_ops)
"""


def index_search(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Index each three letters on PostgreSQL, where its pg_trgm is there and may be used.

    A hosted PostgreSQL may refuse an extension that its operator has not allowed, with
    `feature_not_supported`, and everybody but an administrator even where it is installed already.
    """
    connection = schema_editor.connection
    if connection.vendor != "postgresql":
        return
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'")
            if cursor.fetchone() is None:
                logger.warning("a search reads the names of all configs: pg_trgm is not there")
                return
            cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'")
            if cursor.fetchone() is None:
                cursor.execute("CREATE EXTENSION pg_trgm")
            cursor.execute(SEARCH)
    except (ProgrammingError, NotSupportedError) as error:
        logger.warning("a search reads the names of all configs: %s", error)


def drop_search(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Leave the extension: others may use it."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX IF EXISTS filesync_config_search")


class Migration(migrations.Migration):
    dependencies = [("filesync", "0011_renamed_files")]

    operations = [
        migrations.AddIndex(
            model_name="syncconfig",
            index=models.Index(fields=["created_at", "id"], name="filesync_config_created"),
        ),
        migrations.AddIndex(
            model_name="syncconfig",
            index=models.Index(fields=["updated_at", "id"], name="filesync_config_updated"),
        ),
        migrations.RunPython(index_search, drop_search),
    ]
