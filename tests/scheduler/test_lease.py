"""The beat lease: taken, renewed, lost and given back by the database's clock, by one at a time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from scheduler.clock import from_now
from scheduler.lease import LEASE_S, RENEW_S, Lease
from scheduler.models import BeatLease, Heartbeat
from tests.racing import race

RACERS = 8


class Clock:
    """What the lease's monotonic clock says; tests move it on."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("scheduler.lease.time.monotonic", clock)
    return clock


def the_row() -> BeatLease:
    return BeatLease.objects.get()


def lapse() -> None:
    """Let the lease end, as if its holder had died."""
    BeatLease.objects.update(expires_at=from_now(-1))


def heartbeats() -> dict[str, bool]:
    """Return which beats have a heartbeat row, and whether it says that they lead."""
    return dict(Heartbeat.objects.filter(role="beat").values_list("name", "leading"))


@pytest.mark.django_db
def test_the_first_to_ask_leads_for_the_time_of_the_lease(clock: Clock) -> None:
    first = Lease("a:1")
    before = timezone.now()
    assert first.hold()
    assert first.leading
    row = the_row()
    assert row.holder == "a:1"
    length = timedelta(seconds=LEASE_S)
    assert before + length <= row.expires_at + timedelta(seconds=1)
    assert row.expires_at <= timezone.now() + length + timedelta(seconds=1)


@pytest.mark.django_db
def test_a_second_beat_stands_by_while_the_lease_is_live(clock: Clock) -> None:
    first, second = Lease("a:1"), Lease("b:2")
    assert first.hold()
    for _ in range(3):
        assert not second.hold()
        clock.now += RENEW_S
    assert (first.leading, second.leading) == (True, False)
    assert the_row().holder == "a:1"


@pytest.mark.django_db
def test_a_leader_renews_only_when_it_is_time_to(clock: Clock) -> None:
    lease = Lease("a:1")
    assert lease.hold()
    nearly_over = timezone.now() + timedelta(seconds=2)
    BeatLease.objects.update(expires_at=nearly_over)
    clock.now += RENEW_S - 0.1
    assert lease.hold()
    assert the_row().expires_at == nearly_over
    clock.now += 0.2
    assert lease.hold()
    assert the_row().expires_at > nearly_over + timedelta(seconds=LEASE_S / 2)


@pytest.mark.django_db
def test_a_standby_leads_once_the_lease_has_run_out(clock: Clock) -> None:
    first, second = Lease("a:1"), Lease("b:2")
    assert first.hold()
    assert not second.hold()
    lapse()
    assert second.hold()
    assert the_row().holder == "b:2"


@pytest.mark.django_db
def test_a_leader_whose_lease_was_taken_steps_back(clock: Clock) -> None:
    first, second = Lease("a:1"), Lease("b:2")
    assert first.hold()
    lapse()
    assert second.hold()
    clock.now += RENEW_S + 1
    assert not first.hold()
    assert not first.leading
    assert second.hold()


@pytest.mark.django_db
def test_a_lease_that_ran_out_unclaimed_goes_on_with_its_holder(clock: Clock) -> None:
    lease = Lease("a:1")
    assert lease.hold()
    lapse()
    clock.now += RENEW_S + 1
    assert lease.hold()
    assert the_row().expires_at > timezone.now()


@pytest.mark.django_db
def test_a_released_lease_is_free_at_once_and_its_heartbeat_is_gone(clock: Clock) -> None:
    first, second = Lease("a:1"), Lease("b:2")
    assert first.hold()
    assert not second.hold()
    first.release()
    assert not first.leading
    assert second.hold()
    assert "a:1" not in heartbeats()


@pytest.mark.django_db
def test_releasing_what_another_holds_changes_nothing(clock: Clock) -> None:
    first, second = Lease("a:1"), Lease("b:2")
    assert first.hold()
    second.hold()
    second.release()
    assert the_row().holder == "a:1"
    assert the_row().expires_at > timezone.now()
    assert heartbeats() == {"a:1": True}


@pytest.mark.django_db
def test_each_beat_has_one_heartbeat_row_that_says_whether_it_leads(clock: Clock) -> None:
    first, second = Lease("a:1"), Lease("b:2")
    for _ in range(3):
        first.hold()
        second.hold()
        clock.now += RENEW_S
    assert heartbeats() == {"a:1": True, "b:2": False}
    lapse()
    second.hold()
    clock.now += RENEW_S
    first.hold()
    second.hold()
    assert heartbeats() == {"a:1": False, "b:2": True}


@pytest.mark.django_db
def test_a_heartbeat_moves_on_and_keeps_its_start(clock: Clock) -> None:
    lease = Lease("a:1")
    lease.hold()
    long_ago = timezone.now() - timedelta(hours=1)
    Heartbeat.objects.update(seen_at=long_ago)
    clock.now += RENEW_S
    lease.hold()
    beat = Heartbeat.objects.get()
    assert beat.seen_at > long_ago
    assert beat.started_at == lease.started_at


@pytest.mark.django_db(transaction=True)
def test_of_many_that_start_at_once_on_an_empty_database_one_leads() -> None:
    leases = [Lease(f"host:{number}") for number in range(RACERS)]
    errors = race([lease.hold for lease in leases])
    assert errors == []
    assert sum(lease.leading for lease in leases) == 1
    [leader] = [lease.holder for lease in leases if lease.leading]
    assert the_row().holder == leader
    assert heartbeats() == {lease.holder: lease.leading for lease in leases}


@pytest.mark.django_db(transaction=True)
def test_of_many_standbys_one_takes_a_lease_that_ran_out() -> None:
    Lease("dead:1").hold()
    lapse()
    leases = [Lease(f"host:{number}") for number in range(RACERS)]
    assert race([lease.hold for lease in leases]) == []
    assert [lease.holder for lease in leases if lease.leading] == [the_row().holder]
