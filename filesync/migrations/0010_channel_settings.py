"""Give each channel the language of its messages, and keep that it hears of chosen syncs only."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def mark_chosen(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    channels = apps.get_model("filesync", "NotificationChannel").objects
    channels.filter(configs__isnull=False).update(chosen_only=True)


class Migration(migrations.Migration):
    dependencies = [("filesync", "0009_index_of_dry_runs")]

    operations = [
        migrations.AddField(
            model_name="notificationchannel",
            name="language",
            field=models.CharField(
                blank=True,
                choices=[("en", "English"), ("zh-hans", "Simplified Chinese")],
                db_default="",
                default="",
                help_text="Of its messages; empty: that of the installation.",
                max_length=16,
                verbose_name="language",
            ),
        ),
        migrations.AddField(
            model_name="notificationchannel",
            name="chosen_only",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text=(
                    "Ticked by itself where syncs are chosen. When all of those are deleted, or "
                    "none is chosen, no sync is told of."
                ),
                verbose_name="only chosen syncs",
            ),
        ),
        migrations.AlterField(
            model_name="notificationchannel",
            name="configs",
            field=models.ManyToManyField(
                blank=True,
                help_text=(
                    "Only these are told of; none chosen means all, unless the box below is ticked."
                ),
                related_name="channels",
                through="filesync.ChannelUse",
                to="filesync.syncconfig",
                verbose_name="sync configs",
            ),
        ),
        migrations.RunPython(mark_chosen, migrations.RunPython.noop),
    ]
