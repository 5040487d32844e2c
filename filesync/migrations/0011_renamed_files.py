"""Count the files that a run renamed, and keep what each was called before."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("filesync", "0010_channel_settings")]

    operations = [
        migrations.AddField(
            model_name="syncrun",
            name="files_renamed",
            field=models.BigIntegerField(db_default=0, default=0, verbose_name="files renamed"),
        ),
        migrations.AddField(
            model_name="runitem",
            name="old_path",
            field=models.TextField(
                blank=True, db_default="", default="", verbose_name="old path"
            ),
        ),
    ]
