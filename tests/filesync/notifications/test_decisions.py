"""Which event an ended run is, when a story is told again, and what a message says; pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from filesync.notifications import message
from filesync.notifications.events import Ending, Event, event_of
from filesync.notifications.late import is_too_long
from filesync.notifications.message import RunFacts, StoryFacts
from filesync.notifications.stories import Side, Told, is_due, refused_account

TWO = datetime(2026, 3, 1, 18, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
RUN = RunFacts(
    run_id=7,
    sync="Photos",
    route="NAS:photos -> Netdisk:photos",
    state="Failed",
    failure_class="NETWORK",
    reason="connection refused",
    advice="Check address, port and network.",
    files_sent=12,
    bytes_sent=3_400_000,
    files_renamed=3,
    files_deleted=0,
    files_failed=2,
    duration_s=75,
    link="https://sync.example.org/admin/filesync/syncrun/7/change/",
)


@pytest.mark.parametrize(
    ("state", "failure_class", "changed", "event"),
    [
        ("FAILED", "NETWORK", 0, Event.FAILURE),
        ("LOST", "INTERNAL", 0, Event.FAILURE),
        ("FAILED", "GUARD", 0, Event.GUARD),
        ("PARTIAL", "GUARD", 3, Event.GUARD),
        ("PARTIAL", "PERMISSION", 3, Event.PARTIAL),
        ("SUCCEEDED", "", 3, Event.SUCCESS),
        ("SUCCEEDED", "", 0, Event.NOTHING_TO_DO),
        ("CANCELLED", "", 0, None),
        ("SKIPPED", "", 0, None),
        ("MISSED", "", 0, None),
    ],
)
def test_the_event_of_an_ended_run(
    state: str, failure_class: str, changed: int, event: Event | None
) -> None:
    assert event_of(Ending(state, failure_class, changed, dry_run=False)) == event
    assert event_of(Ending(state, failure_class, changed, dry_run=True)) is None


@pytest.mark.parametrize(
    ("times", "minutes_ago", "kinds", "due"),
    [
        (0, 0, [], True),
        (1, 59, ["FAILURE:NETWORK"], False),
        (1, 60, ["FAILURE:NETWORK"], True),
        (2, 119, ["FAILURE:NETWORK"], False),
        (2, 120, ["FAILURE:NETWORK"], True),
        (9, 23 * 60 - 1, ["FAILURE:NETWORK"], False),
        (9, 23 * 60, ["FAILURE:NETWORK"], True),
        (1, 0, ["GUARD:GUARD"], True),
        (2, 0, ["GUARD:GUARD", "FAILURE:NETWORK"], False),
    ],
)
def test_news_is_told_at_once_and_repetitions_ever_more_rarely(
    times: int, minutes_ago: int, kinds: list[str], *, due: bool
) -> None:
    last_at = TWO - timedelta(minutes=minutes_ago) if times else None
    assert is_due(Told(times, last_at, frozenset(kinds)), "FAILURE:NETWORK", TWO) is due


def test_a_sync_that_fails_every_night_is_told_every_night() -> None:
    told = Told(9, TWO - timedelta(hours=24, seconds=-30), frozenset(["FAILURE:NETWORK"]))
    assert is_due(told, "FAILURE:NETWORK", TWO)


@pytest.mark.parametrize(
    ("source", "destination", "troubled", "refused", "account"),
    [
        # A disk refuses no login.
        ("local", "webdav", [], [], 2),
        ("webdav", "local", [], [], 1),
        ("local", "s3", [1], [], 2),
        # Of two accounts it is the one that was tested and refused, whatever was told before.
        ("webdav", "s3", [], [1], 1),
        ("webdav", "s3", [2], [1], 1),
        ("webdav", "s3", [], [2], 2),
        ("webdav", "s3", [], [1, 2], 2),
        ("webdav", "s3", [1], [1, 2], 1),
        # With an encryption whose password is wrong a disk is as good as an account.
        ("local", "s3", [], [1], 1),
        # Where the test said nothing, it is the one in trouble, else the destination.
        ("webdav", "s3", [], [], 2),
        ("webdav", "s3", [1], [], 1),
        ("webdav", "s3", [2], [], 2),
    ],
)
def test_the_account_that_refused_a_login(
    source: str, destination: str, troubled: list[int], refused: list[int], account: int
) -> None:
    from_side = Side(1, source, refused=1 in refused)
    to_side = Side(2, destination, refused=2 in refused)
    assert refused_account(from_side, to_side, troubled) == account


@pytest.mark.parametrize(
    ("elapsed_s", "usual_s", "too_long"),
    [(300, 1, False), (302, 1, True), (3000, 1000, False), (3001, 1000, True)],
)
def test_far_over_the_usual_duration(elapsed_s: float, usual_s: float, *, too_long: bool) -> None:
    assert is_too_long(elapsed_s, usual_s) is too_long


def story(count: int, account: str = "") -> StoryFacts:
    return StoryFacts(
        event=Event.FAILURE,
        count=count,
        opened_at=TWO,
        now=TWO + timedelta(hours=3),
        zone=SHANGHAI,
        syncs=["Photos", "Music", *(f"more {number}" for number in range(12))],
        account=account,
    )


def test_a_failure_says_what_where_why_and_what_to_do() -> None:
    told = message.trouble(story(1), RUN)
    assert told.title == "Photos failed"
    assert told.severity == "failure"
    assert told.body.splitlines() == [
        "Sync: Photos",
        "Route: NAS:photos -> Netdisk:photos",
        "State: Failed (NETWORK)",
        "Reason: connection refused",
        "Next step: Check address, port and network.",
        "Counts: 12 files (3.2\N{NO-BREAK SPACE}MB) sent, 3 renamed, 0 deleted, 2 failed",
        "Duration: 1 min 15 s",
        "https://sync.example.org/admin/filesync/syncrun/7/change/",
    ]


def test_repetitions_are_folded_with_the_time_of_the_sync_s_zone() -> None:
    assert message.trouble(story(7), RUN).title == "Photos failed 7 times since 02:00"
    recovered = message.recovered(story(7), RUN)
    assert recovered.title == "Photos works again after 7 failures since 02:00"


def test_an_account_is_told_with_its_syncs_and_long_lists_are_cut() -> None:
    told = message.trouble(story(2, account="Netdisk"), RUN)
    assert told.title == ("Netdisk refuses the login: 14 syncs cannot run 2 times since 02:00")
    assert told.body.splitlines()[0].startswith("Syncs: Photos, Music, more 0")
    assert told.body.splitlines()[0].endswith(" and 4 more")


def test_a_title_is_never_longer_than_the_outbox_takes() -> None:
    told = message.missed(3, ["x" * 120] * 3, "a" * 150, "b" * 150)
    assert len(told.title) <= 200
