"""How gunicorn serves Syncbeat: the address, processes and threads of the settings, and its log.

`gunicorn project.wsgi:application --config python:project.web_server` reads it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.conf import settings

from project.addresses import host_port
from project.env import SettingError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
try:
    settings.INSTALLED_APPS  # noqa: B018 - loads the settings while we can still explain
except SettingError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


bind = host_port(settings.WEB_BIND, settings.WEB_PORT)
worker_class = "project.web_worker.PatientWorker"
workers = settings.WEB_WORKERS
threads = settings.WEB_THREADS
timeout = 60
# A stop waits for requests under way; the longest are those that wait for a run's end, 30 s.
graceful_timeout = 35
control_socket_disable = True
# The processes' sign of life, a file, must not wait for a disk.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
logconfig_dict = settings.LOGGING
