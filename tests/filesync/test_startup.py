"""What a worker does as it starts, beside its tasks: the sign of life that others judge it by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from filesync import startup
from filesync.selectors import living_workers
from scheduler.models import Heartbeat

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("off", [timedelta(hours=2), -timedelta(hours=2)])
def test_a_worker_lives_whatever_the_clock_of_its_host_says(
    monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    actions: dict[str, Callable[[], object]] = {}

    def note(what: str, every_s: float, action: Callable[[], object]) -> None:
        actions[what] = action

    monkeypatch.setattr(startup, "_repeat", note)
    wrong = timezone.now() + off
    monkeypatch.setattr(timezone, "now", lambda: wrong)
    startup._on_worker_ready(SimpleNamespace(hostname="w", pool=SimpleNamespace(num_processes=4)))

    for _ in range(2):
        actions["heartbeat"]()
        (heart,) = living_workers()
        assert (heart.name, heart.slots) == ("w", 4)

    Heartbeat.objects.update(seen_at=heart.seen_at - timedelta(minutes=1))
    assert not living_workers().exists()
