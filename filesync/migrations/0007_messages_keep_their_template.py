"""Let messages keep their template: a matter of what is in the columns, which stay as they are."""

from django.db import migrations

import filesync.models.fields


class Migration(migrations.Migration):
    dependencies = [("filesync", "0006_attempts_of_runs")]

    operations = [
        # As a change of the database SQLite would copy the tables, of a million rows.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="runitem",
                    name="error",
                    field=filesync.models.fields.MessageField(
                        blank=True, default="", verbose_name="error"
                    ),
                ),
                migrations.AlterField(
                    model_name="storage",
                    name="last_check_message",
                    field=filesync.models.fields.MessageField(
                        blank=True,
                        default="",
                        editable=False,
                        verbose_name="message of the test",
                    ),
                ),
                migrations.AlterField(
                    model_name="storage",
                    name="paused_reason",
                    field=filesync.models.fields.MessageField(
                        blank=True, default="", editable=False, verbose_name="why it is paused"
                    ),
                ),
                migrations.AlterField(
                    model_name="syncrun",
                    name="message",
                    field=filesync.models.fields.MessageField(
                        blank=True, default="", verbose_name="message"
                    ),
                ),
            ]
        )
    ]
