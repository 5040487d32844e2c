"""Let the few dry runs of a long history be found without reading it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("filesync", "0008_events_of_a_sync")]

    operations = [
        migrations.AddIndex(
            model_name="syncrun",
            index=models.Index(
                condition=models.Q(("dry_run", True)), fields=["-id"], name="filesync_run_dry"
            ),
        ),
    ]
