"""Give each channel the language of its messages."""

from django.db import migrations, models


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
    ]
