"""The ASGI entry point, for those who serve Django with another server than gunicorn."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = get_asgi_application()

from filesync.startup import watch_from_web  # noqa: E402 - Django's apps are loaded first

watch_from_web()
