"""Move the IBM API key of S3 storages from their options, where it was plain, to their secrets."""

from __future__ import annotations

from typing import Any

from django.db import migrations

from filesync.secrets import SecretsUnreadable, decrypt, encrypt


def hide(apps: Any, schema_editor: Any) -> None:
    storages = apps.get_model("filesync", "Storage").objects
    for storage in storages.filter(backend="s3", options__has_key="ibm_api_key"):
        try:
            secrets = decrypt(storage.encrypted_secrets)
        except SecretsUnreadable:
            continue  # a test of the storage says so, and names the option
        key = str(storage.options.pop("ibm_api_key"))
        storage.encrypted_secrets = encrypt({"ibm_api_key": key} | secrets)
        storage.save(update_fields=["options", "encrypted_secrets"])


class Migration(migrations.Migration):
    dependencies = [("filesync", "0003_first_rename_rule_decides")]

    operations = [migrations.RunPython(hide, migrations.RunPython.noop)]
