"""System checks of file sync's configuration, each with an id and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from filesync import engine
from filesync.secrets import cipher

BAD_RCLONE = "filesync.E002"
RCLONE_HINT = "Install requirements.txt, or name a newer binary in RCLONE_BINARY."


@register()
def check_secret_keys(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:
    """Refuse keys that cannot encrypt."""
    try:
        cipher()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="filesync.E001")]
    return []


@register()
def check_rclone(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:
    """Refuse to start without an rclone that is new enough."""
    try:
        engine.check_rclone(engine.find_rclone(settings.FILESYNC_RCLONE_BINARY or None))
    except engine.EngineError as error:
        return [Error(str(error), hint=RCLONE_HINT, id=BAD_RCLONE)]
    return []
