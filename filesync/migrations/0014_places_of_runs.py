"""Note the storages on which a running run has a place; NULL where an older version claimed it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("filesync", "0013_telling_runs")]

    operations = [
        migrations.AddField(
            model_name="syncrun",
            name=name,
            field=models.BigIntegerField(blank=True, editable=False, null=True),
        )
        for name in ("source_place", "destination_place")
    ]
