"""The celery application, and what a worker or beat does when it starts and stops."""

from __future__ import annotations

import os

# A stop of the worker must end its transfers at once and requeue their runs, not wait hours for
# them: SIGTERM becomes celery's cold shutdown. It is read when celery's worker module is imported.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from celery import Celery

app = Celery("project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["filesync"])
