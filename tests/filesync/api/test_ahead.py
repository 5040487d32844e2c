"""`configs/ahead`: the page "A day ahead" for programs."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.utils import timezone

from filesync.models import SyncConfig
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_config, make_storage

pytestmark = pytest.mark.django_db

AHEAD = "/api/v1/sync/configs/ahead"


def test_what_starts_is_counted_and_what_clashes_is_told_with_what_would_help(
    local_root: Path,
) -> None:
    storage = make_storage(local_root, max_concurrent_runs=1)
    configs = [
        make_config(local_root, cron="0 2 * * *", timezone="UTC", source_storage=storage)
        for _ in range(2)
    ]
    make_config(local_root, cron="0 3 * * *", timezone="UTC", enable=False)

    body = client_of("viewer").get(AHEAD).json()

    assert (body["span_s"], len(body["starts"]), sum(body["starts"])) == (900, 96, 2)
    (clash,) = body["clashes"]
    assert (clash["storage"], clash["runs"], clash["limit"]) == (storage.pk, 2, 1)
    assert clash["begins"].endswith("T02:00:00Z")
    assert sorted(clash["configs"]) == [config.pk for config in configs]
    (move,) = body["moves"]
    assert move["config"] in clash["configs"]
    assert (move["cron"], move["new_cron"].split()[1:]) == ("0 2 * * *", ["2", "*", "*", "*"])
    client_of("editor").patch(f"/api/v1/sync/configs/{move['config']}", {"cron": move["new_cron"]})
    after = client_of("viewer").get(AHEAD).json()
    assert (after["clashes"], after["moves"]) == ([], [])


def test_a_week_is_counted_by_hours_and_says_when_clocks_change(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_config(local_root, name="photos", cron="30 2 * * *", timezone="Europe/Berlin")
    moment = timezone.now().replace(2026, 3, 27, 12, 10)
    monkeypatch.setattr("filesync.api.views.timezone.now", lambda: moment)

    body = client_of("viewer").get(f"{AHEAD}?window=week").json()

    assert (body["begins"], body["span_s"], len(body["starts"])) == (
        "2026-03-27T12:00:00Z",
        3600,
        168,
    )
    (change,) = body["clock_changes"]
    assert (change["timezone"], change["shift_s"], change["configs"]) == (
        "Europe/Berlin",
        3600,
        ["photos"],
    )


def test_the_clashes_of_each_day_of_a_week_can_be_asked_for(
    local_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = make_storage(local_root, max_concurrent_runs=1)
    for _ in range(2):
        make_config(local_root, cron="0 2 * * 0", timezone="UTC", source_storage=storage)
    # A Friday.
    moment = timezone.now().replace(2026, 3, 27, 12, 10)
    monkeypatch.setattr("filesync.api.views.timezone.now", lambda: moment)
    client = client_of("viewer")

    days = [client.get(f"{AHEAD}?window=week&day={day}").json() for day in range(7)]

    assert [len(body["clashes"]) for body in days] == [0, 1, 0, 0, 0, 0, 0]
    assert [len(body["moves"]) for body in days] == [0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "query",
    ["window=month", "window=", "colour=blue", "day=7&window=week", "day=-1", "day=1", "day=x"],
)
def test_another_window_is_refused(query: str) -> None:
    answer = client_of("viewer").get(f"{AHEAD}?{query}")

    assert (answer.status_code, list(answer.json())) == (400, [query.partition("=")[0]])


def test_a_look_ahead_changes_nothing(local_root: Path) -> None:
    make_config(local_root, cron="0 2 * * *")
    before = list(SyncConfig.objects.values())

    client_of("viewer").get(AHEAD)

    assert list(SyncConfig.objects.values()) == before
