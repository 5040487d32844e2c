"""The WSGI entry point that gunicorn serves."""

from __future__ import annotations

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = get_wsgi_application()

from filesync.startup import watch_from_web  # noqa: E402 - Django's apps are loaded first

# What was loaded stays: to look through it for garbage took 50 ms, in the midst of a request.
gc.collect()
gc.freeze()

watch_from_web()
