"""The wiring of Syncbeat: settings, the celery app, URLs and process start; no domain logic.

The celery app is not imported here: a module of `project` that needs no Celery (settings, the
supervisor) stays cheap to import. `celery -A project` finds it in `project.celery`.
"""
