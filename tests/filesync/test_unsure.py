"""Since when a source may have changed unseen."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from filesync.models import SyncRun
from filesync.services.requests import sync_request
from filesync.services.unsure import unsure_since_s
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, make_config, make_run

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def test_without_a_run_nothing_is_unsure(local_root: Path) -> None:
    config = make_config(local_root)
    make_run(config, state=SyncRun.State.SUCCEEDED, started_at=timezone.now(), dry_run=True)
    make_run(config, state=SyncRun.State.SUCCEEDED, started_at=timezone.now(), only_failed=True)
    restore = SyncRun.Trigger.RESTORE
    make_run(config, state=SyncRun.State.SUCCEEDED, started_at=timezone.now(), trigger=restore)
    assert unsure_since_s(make_run(config)) is None


@pytest.mark.parametrize(
    ("states", "hours_ago"),
    [
        (["SUCCEEDED", "SUCCEEDED"], 1),
        (["SUCCEEDED", "PARTIAL"], 2),
        (["SUCCEEDED", "PARTIAL", "FAILED", "PARTIAL"], 4),
        (["SUCCEEDED", "PARTIAL", "PARTIAL", "PARTIAL"], 3),
        (["PARTIAL"], 1),
        # What these did not send is still to be sent.
        (["SUCCEEDED", "PARTIAL max_files", "PARTIAL max_bytes", "PARTIAL NETWORK"], 4),
    ],
)
def test_the_last_run_that_sent_everything_tells(
    local_root: Path, states: list[str], hours_ago: int
) -> None:
    config = make_config(local_root)
    now = timezone.now()
    for ago, state in zip(range(len(states), 0, -1), states, strict=True):
        words, _, guard = state.partition(" ")
        failure_class = "INTERNAL" if words == "PARTIAL" else ""
        if guard == "NETWORK":
            failure_class, guard = guard, ""
        make_run(
            config,
            state=SyncRun.State(words),
            attempt=1,
            started_at=now - ago * HOUR,
            failure_class=failure_class,
            guard=guard,
        )
    expected = (now - hours_ago * HOUR).timestamp() - 120
    assert unsure_since_s(make_run(config)) == pytest.approx(expected)


def test_a_run_asks_the_engine_for_it(local_root: Path) -> None:
    config = make_config(local_root)
    make_run(config, state=SyncRun.State.SUCCEEDED, attempt=1, started_at=timezone.now() - HOUR)
    run = make_run(config)
    assert sync_request(run, claim(run)).unsure_since_s == unsure_since_s(run)


def test_where_no_run_got_so_far_the_first_one_tells(local_root: Path) -> None:
    config = make_config(local_root)
    first = make_run(config, state=SyncRun.State.FAILED, attempt=1, started_at=timezone.now())
    make_run(config, state=SyncRun.State.CANCELLED, attempt=1, started_at=timezone.now())
    expected = pytest.approx(first.created_at.timestamp() - 120)
    assert unsure_since_s(make_run(config)) == expected


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_further_attempt_of_the_first_run_is_unsure(local_root: Path, attempt: int) -> None:
    config = make_config(local_root)
    run = make_run(config, state=SyncRun.State.RUNNING, attempt=attempt)
    since_s = unsure_since_s(run)
    if attempt == 1:
        assert since_s is None
    else:
        assert since_s == pytest.approx(run.created_at.timestamp() - 120)


def test_what_was_too_young_for_the_last_run_is_unsure(local_root: Path) -> None:
    config = make_config(local_root, min_age_s=600)
    now = timezone.now()
    make_run(config, state=SyncRun.State.SUCCEEDED, attempt=1, started_at=now)
    assert unsure_since_s(make_run(config)) == pytest.approx(now.timestamp() - 720)


def test_of_several_attempts_the_first_one_counts(local_root: Path) -> None:
    config = make_config(local_root)
    run = make_run(
        config, state=SyncRun.State.SUCCEEDED, attempt=2, started_at=timezone.now() + HOUR
    )
    assert unsure_since_s(make_run(config)) == pytest.approx(run.created_at.timestamp() - 120)


def test_what_is_too_old_for_the_rules_is_not_unsure(local_root: Path) -> None:
    config = make_config(local_root, max_age_s=60)
    make_run(config, state=SyncRun.State.SUCCEEDED, attempt=1, started_at=timezone.now() - HOUR)
    assert unsure_since_s(make_run(config)) == pytest.approx(time.time() - 60, abs=30)
