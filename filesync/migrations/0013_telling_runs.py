"""Let the index of how long runs take hold whole runs only: no undoing, no retry of few files."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("filesync", "0012_finding_configs")]

    operations = [
        migrations.AddIndex(
            model_name="syncrun",
            index=models.Index(
                fields=["config", "-id", "started_at", "finished_at"],
                condition=models.Q(
                    ("dry_run", False),
                    ("only_failed", False),
                    ("state", "SUCCEEDED"),
                    models.Q(("trigger", "RESTORE"), _negated=True),
                ),
                name="filesync_run_telling",
            ),
        ),
        migrations.RemoveIndex(model_name="syncrun", name="filesync_run_good"),
    ]
