"""The celery application, and what a worker or beat does when it starts and stops."""

from __future__ import annotations

import logging
import os
import sys

# A stop of the worker must end its transfers at once and requeue their runs, not wait hours for
# them: SIGTERM becomes celery's cold shutdown. billiard reads the variable when celery's command
# line is imported, before this module, so a worker that came without it starts once more.
_remapped = os.environ.get("REMAP_SIGTERM") == "SIGQUIT"
os.environ["REMAP_SIGTERM"] = "SIGQUIT"
if not _remapped and "celery.bin.celery" in sys.modules and "worker" in sys.argv:
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own argv
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from celery import Celery
from celery.signals import setup_logging
from django.conf import settings

from project.env import SettingError
from project.logs import json_line

try:
    settings.INSTALLED_APPS  # noqa: B018 - loads the settings while we can still explain
except SettingError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


@setup_logging.connect(dispatch_uid="project.logging")
def keep_our_logging(loglevel: object = None, **_: object) -> None:
    """Leave the log lines as LOG_FORMAT says: celery would add its own handlers and prints.

    `--loglevel` may ask for more lines than LOG_LEVEL; celery's own default asks for fewer.
    """
    root = logging.getLogger()
    if isinstance(loglevel, int):
        root.setLevel(min(loglevel, root.level))
    worker = sys.modules.get("celery.apps.worker")
    if worker is not None and settings.LOG_FORMAT == "json":
        worker.safe_say = _say_as_json  # type: ignore[attr-defined]  # as celery calls it


def _say_as_json(message: object, _stream: object = None) -> None:
    """Say what celery says past its log when it stops, within a signal handler."""
    os.write(2, f"{json_line('celery.apps.worker', str(message))}\n".encode())


app = Celery("project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["filesync"])
