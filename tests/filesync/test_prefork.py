"""The pool of a worker's processes is one that celery takes for its own."""

from __future__ import annotations

from types import SimpleNamespace

from celery import current_app
from celery.fixups import django as fixups
from django.conf import settings
from kombu.utils.imports import symbol_by_name


def test_a_new_pool_process_forgets_the_connections_of_its_worker() -> None:
    """Celery sees to it for the pools that it takes for processes, which it tells by a name."""
    fixup = fixups.DjangoWorkerFixup(current_app)  # type: ignore[attr-defined]  # the stubs lack it
    fixup.worker = SimpleNamespace(pool_cls=symbol_by_name(settings.CELERY_WORKER_POOL))
    assert fixup._is_prefork()
