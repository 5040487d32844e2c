"""Let the table of which channel hears of which sync hold the events that are chosen for it."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("filesync", "0007_messages_keep_their_template")]

    operations = [
        # The table is there, with its rows: Django made it for the relation itself.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="ChannelUse",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True,
                                primary_key=True,
                                serialize=False,
                                verbose_name="ID",
                            ),
                        ),
                        (
                            "channel",
                            models.ForeignKey(
                                db_column="notificationchannel_id",
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="uses",
                                to="filesync.notificationchannel",
                                verbose_name="channel",
                            ),
                        ),
                        (
                            "config",
                            models.ForeignKey(
                                db_column="syncconfig_id",
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="channel_uses",
                                to="filesync.syncconfig",
                                verbose_name="sync config",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "channel of a sync",
                        "verbose_name_plural": "channels of syncs",
                        "db_table": "filesync_notificationchannel_configs",
                        "default_permissions": (),
                        "unique_together": {("channel", "config")},
                    },
                ),
                migrations.AlterField(
                    model_name="notificationchannel",
                    name="configs",
                    field=models.ManyToManyField(
                        blank=True,
                        help_text="Only these are told of; none chosen means all.",
                        related_name="channels",
                        through="filesync.ChannelUse",
                        to="filesync.syncconfig",
                        verbose_name="sync configs",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="channeluse",
            name="events",
            field=models.JSONField(
                blank=True,
                db_default=models.Value([], models.JSONField()),
                default=list,
                verbose_name="events",
            ),
        ),
        # The same rule under a name of ours.
        migrations.AlterUniqueTogether(name="channeluse", unique_together=set()),
        migrations.AddConstraint(
            model_name="channeluse",
            constraint=models.UniqueConstraint(
                fields=("channel", "config"), name="filesync_channel_once_per_config"
            ),
        ),
    ]
