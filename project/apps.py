"""The app config that gives `project` its manage.py commands."""

from __future__ import annotations

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "project"
    verbose_name = "Syncbeat"

    def ready(self) -> None:
        # Loads the celery app in every process that runs Django, so that `.delay()` in a shell or
        # a web request uses our broker and not celery's default application.
        from project.celery import app

        app.set_default()
