"""Syncbeat's settings with a Redis that gives a message to another after five seconds."""

from __future__ import annotations

from project.settings import *  # noqa: F403 - a settings module that changes one of them
from project.settings import CELERY_BROKER_TRANSPORT_OPTIONS as SHIPPED
from project.settings import CELERY_BROKER_URL

if CELERY_BROKER_URL.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {**SHIPPED, "visibility_timeout": 5}
