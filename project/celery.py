"""The celery application, and what a worker or beat does when it starts and stops."""

from __future__ import annotations

import os
import sys

# A stop of the worker must end its transfers at once and requeue their runs, not wait hours for
# them: SIGTERM becomes celery's cold shutdown. It is read when celery's worker module is imported.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from celery import Celery
from django.conf import settings

from project.env import SettingError

try:
    settings.INSTALLED_APPS  # noqa: B018 - loads the settings while we can still explain
except SettingError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

app = Celery("project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["filesync"])
