"""The places of storages: never more runs than they allow, the oldest first, nobody for ever."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.db.models.functions import Now

from filesync import engine
from filesync.models import Storage, SyncConfig, SyncRun
from filesync.services import places
from filesync.services.finishing import cancel_held, cancel_run, finish_run
from filesync.services.leases import answer_doorbell
from filesync.services.places import Waiting, next_to_start
from scheduler.clock import from_now
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    claim,
    make_config,
    make_run,
    make_storage,
    waiting_messages,
)
from tests.filesync.factories import use_broker as use_broker
from tests.filesync.test_unserved_queues import serve
from tests.servers.redis import RedisServer

A, B, C = 1, 2, 3
SUCCESS = engine.SyncResult(outcome=engine.Outcome.SUCCEEDED)


def started(free: dict[int, int], *needs: Iterable[int]) -> list[int]:
    """Return which of the waiting, counted from 1, may start; each is given by its storages."""
    waiting = (Waiting(number, frozenset(need)) for number, need in enumerate(needs, start=1))
    return [run.run_id for run in next_to_start(waiting, free)]


@pytest.mark.parametrize(
    ("free", "needs", "expected"),
    [
        ({A: 0}, [[A]], []),
        ({A: -1}, [[A]], []),
        ({A: 2}, [[A], [A], [A]], [1, 2]),
        ({A: 1, B: 1}, [[A], [A], [B]], [1, 3]),
        ({A: 1, B: 1}, [[A, B], [A], [B]], [1]),
        # The first in the line of a full storage holds its other places ...
        ({A: 0, B: 1}, [[A, B], [B]], []),
        ({A: 0, B: 2}, [[A, B], [B], [B]], [2]),
        # ... those behind it do not, nor those behind one that waits for this storage alone.
        ({A: 0, B: 3}, [[A, B], [A, B], [A, B], [B], [B], [B]], [4, 5]),
        ({A: 0, B: 1}, [[A], [A, B], [B]], [3]),
        # A storage that fills up during the walk has a line as well.
        ({A: 1, B: 1}, [[A], [A, B], [B]], [1]),
        ({A: 1, B: 1}, [[A], [A], [A, B], [B]], [1, 4]),
        ({A: 0, B: 1, C: 1}, [[A], [B], [A, B], [B, C], [C]], [2]),
        ({}, [[A]], []),
    ],
)
def test_who_may_start(
    free: dict[int, int], needs: Sequence[Sequence[int]], expected: list[int]
) -> None:
    assert started(free, *needs) == expected


@dataclass
class Yard:
    """Storages with runs that arrive, start and end at random; asserts what holds at any time."""

    chance: random.Random
    limits: dict[int, int]
    waiting: list[Waiting] = field(default_factory=list)
    running: dict[Waiting, int] = field(default_factory=dict)
    waited: dict[int, int] = field(default_factory=dict)
    arrived: int = 0
    now: int = 0

    def free(self) -> dict[int, int]:
        left = dict(self.limits)
        for run in self.running:
            for pk in run.storage_ids:
                left[pk] -= 1
        return left

    def arrive(self, *storage_ids: int) -> Waiting:
        self.arrived += 1
        run = Waiting(self.arrived, frozenset(storage_ids))
        self.waiting.append(run)
        self.waited[run.run_id] = self.now
        return run

    def step(self) -> None:
        """Let an hour pass: runs end, others start."""
        self.now += 1
        self.running = {run: end for run, end in self.running.items() if end > self.now}
        before = self.free()
        for run in list(next_to_start(self.waiting, before)):
            self.waiting.remove(run)
            self.running[run] = self.now + self.chance.randint(1, 5)
            self.waited[run.run_id] = self.now - self.waited[run.run_id]
        after = self.free()
        assert min(after.values()) >= 0, "more than a storage allows"
        assert self.running or not self.waiting, "everybody waits for nobody"
        self.assert_in_order()

    def assert_in_order(self) -> None:
        """Nobody started past an older run of just the same storages."""
        youngest = {run.storage_ids: run.run_id for run in sorted(self.running, key=run_id)}
        for run in self.waiting:
            assert youngest.get(run.storage_ids, 0) < run.run_id, "overtaken"


def run_id(run: Waiting) -> int:
    return run.run_id


@pytest.mark.parametrize("seed", range(200))
def test_storages_keep_their_limits_and_their_order_and_every_run_starts(seed: int) -> None:
    chance = random.Random(seed)
    storages = range(1, chance.randint(2, 6))
    yard = Yard(chance, {pk: chance.randint(1, 3) for pk in storages})
    for _ in range(60):
        for _ in range(chance.randint(0, 3)):
            yard.arrive(*chance.choices(storages, k=2))
        yard.step()
    for _ in range(1000):
        if not yard.waiting:
            return
        yard.step()
    pytest.fail(f"these never start: {yard.waiting}")


@pytest.mark.parametrize("seed", range(50))
def test_a_run_that_needs_two_crowded_storages_starts_when_those_before_it_have(seed: int) -> None:
    """Newcomers for either storage never stop coming."""
    yard = Yard(random.Random(seed), {A: 1, B: 2})
    for _ in range(4):
        yard.arrive(A)
        yard.arrive(B)
    yard.step()
    both = yard.arrive(A, B)
    # Four runs of at most five hours stand before it on the storage with one place.
    for _ in range(5 * 4 + 1):
        yard.arrive(A)
        yard.arrive(B)
        yard.step()
    assert both in yard.running or both not in yard.waiting


@pytest.mark.parametrize("seed", range(50))
def test_runs_behind_one_crowded_storage_leave_the_others_in_use(seed: int) -> None:
    yard = Yard(random.Random(seed), {A: 1, B: 4})
    for _ in range(20):
        yard.arrive(A, B)
    yard.step()
    yard.step()
    others = [yard.arrive(B) for _ in range(2)]
    yard.step()
    assert all(run in yard.running for run in others)


# Over the database ------------------------------------------------------------------------------


def ended_with_kept(
    config: SyncConfig,
    source: Storage,
    destination: Storage,
    method: SyncConfig.Method = SyncConfig.Method.MOVE,
) -> SyncRun:
    """Save a run that ended and kept files, on storages that its config need not name any more."""
    run = make_run(config, state=SyncRun.State.SUCCEEDED)
    run.kept = {
        "storage": destination.pk,
        "path": "",
        "source_storage": source.pk,
        "source_path": "",
        "method": method,
        "folder": "kept",
    }
    run.save()
    return run


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(8))
def test_what_is_read_of_a_long_queue_is_enough_to_decide(local_root: Path, seed: int) -> None:
    chance = random.Random(seed)
    storages = [
        make_storage(local_root, max_concurrent_runs=chance.randint(1, 3)) for _ in range(4)
    ]
    for _ in range(40):
        source, destination = chance.choices(storages, k=2)
        config = make_config(local_root, source_storage=source, destination_storage=destination)
        state = chance.choices([SyncRun.State.QUEUED, SyncRun.State.RUNNING], [5, 1])[0]
        undone = None
        if chance.random() < 0.2:
            read, written = chance.choices(storages, k=2)
            undone = ended_with_kept(config, read, written)
        make_run(config, state=state, restore_of=undone)
    everybody = [
        Waiting(run.pk, places.storages_of(run))
        for run in SyncRun.objects.filter(state="QUEUED").order_by("pk")
    ]

    free = places.free_places()

    assert list(places.may_start()) == list(next_to_start(everybody, free))


def queue_of(root: Path, storage: Storage, count: int) -> list[SyncRun]:
    configs = (
        make_config(root, source_storage=storage, source_path=f"s{number}")
        for number in range(count)
    )
    return [make_run(config) for config in configs]


def answered(run: SyncRun) -> int | None:
    """Return which run is taken when the doorbell of `run` rings."""
    taken = answer_doorbell(str(run.task_id), worker="w")
    return None if taken is None else taken.run_id


@pytest.mark.django_db
def test_bells_that_ring_in_any_order_start_the_oldest_first(local_root: Path) -> None:
    storage = make_storage(local_root, max_concurrent_runs=1)
    first, second, third = queue_of(local_root, storage, 3)

    assert answered(third) == first.pk
    assert answered(first) is None

    SyncRun.objects.filter(pk=first.pk).update(state=SyncRun.State.SUCCEEDED)
    assert answered(third) == second.pk


@pytest.mark.django_db
def test_a_bell_whose_run_was_taken_serves_the_next_of_its_storages(local_root: Path) -> None:
    storage = make_storage(local_root, max_concurrent_runs=2)
    first, second = queue_of(local_root, storage, 2)
    claim(first)

    assert answered(first) == second.pk


@pytest.mark.django_db
def test_a_bell_serves_no_run_of_other_storages(local_root: Path) -> None:
    [elsewhere] = queue_of(local_root, make_storage(local_root), 1)
    [run] = queue_of(local_root, make_storage(local_root), 1)
    claim(run)

    assert answered(run) is None
    assert SyncRun.objects.get(pk=elsewhere.pk).state == "QUEUED"


@pytest.mark.django_db
def test_a_run_is_not_claimed_past_an_older_one_that_waits_for_the_same_place(
    local_root: Path,
) -> None:
    crowded = make_storage(local_root, max_concurrent_runs=1)
    free = make_storage(local_root, max_concurrent_runs=1)
    [holder] = queue_of(local_root, crowded, 1)
    claim(holder)
    both = make_config(local_root, source_storage=crowded, destination_storage=free)
    older = make_run(both)
    [younger] = queue_of(local_root, free, 1)

    assert answered(younger) is None

    SyncRun.objects.filter(pk=holder.pk).update(state=SyncRun.State.SUCCEEDED)
    assert answered(younger) == older.pk


@pytest.mark.django_db(transaction=True)
def test_a_cancelled_run_lets_the_next_of_its_line_be_rung(
    local_root: Path, broker: RedisServer
) -> None:
    crowded = make_storage(local_root, max_concurrent_runs=1)
    free = make_storage(local_root, max_concurrent_runs=1)
    [holder] = queue_of(local_root, crowded, 1)
    claim(holder)
    older = make_run(make_config(local_root, source_storage=crowded, destination_storage=free))
    [younger] = queue_of(local_root, free, 1)

    cancel_run(older.pk)

    assert [task_id for task_id, _ in waiting_messages(broker)] == [str(younger.task_id)]


@pytest.mark.django_db(transaction=True)
def test_a_run_whose_message_waits_for_a_worker_is_not_rung_again_when_another_ends(
    local_root: Path, broker: RedisServer
) -> None:
    running, *waiting = queue_of(local_root, make_storage(local_root, max_concurrent_runs=9), 6)
    held = claim(running)
    SyncRun.objects.filter(state="QUEUED").update(rung_at=Now())
    [unheard, *_] = waiting
    SyncRun.objects.filter(pk=unheard.pk).update(rung_at=None)

    finish_run(held, SUCCESS)

    assert [task_id for task_id, _ in waiting_messages(broker)] == [str(unheard.task_id)]


@pytest.mark.django_db(transaction=True)
def test_a_run_whose_message_came_while_there_was_no_place_is_rung_when_there_is(
    local_root: Path, broker: RedisServer
) -> None:
    running, waiting = queue_of(local_root, make_storage(local_root, max_concurrent_runs=1), 2)
    held = claim(running)
    SyncRun.objects.filter(state="QUEUED").update(rung_at=Now())
    assert answered(waiting) is None

    finish_run(held, SUCCESS)

    assert [task_id for task_id, _ in waiting_messages(broker)] == [str(waiting.task_id)]


@pytest.mark.django_db(transaction=True)
def test_a_run_whose_message_served_an_older_one_is_rung_when_that_ends(
    local_root: Path, broker: RedisServer
) -> None:
    older, younger = queue_of(local_root, make_storage(local_root, max_concurrent_runs=1), 2)
    SyncRun.objects.update(rung_at=Now())
    taken = answer_doorbell(str(younger.task_id), worker="w")
    assert taken is not None
    assert taken.run_id == older.pk

    finish_run(taken, SUCCESS)

    assert [task_id for task_id, _ in waiting_messages(broker)] == [str(younger.task_id)]


@pytest.mark.django_db
def test_runs_of_a_queue_without_a_worker_hold_no_place_of_a_storage(local_root: Path) -> None:
    storage = make_storage(local_root, max_concurrent_runs=2)
    *dead, healthy = queue_of(local_root, storage, 3)
    SyncRun.objects.filter(pk__in=[run.pk for run in dead]).update(queue="site-b")
    serve("here", "celery")

    assert answered(healthy) == healthy.pk

    # A worker of theirs that was called takes them in their turn, before it has said that it lives.
    assert answered(dead[1]) == dead[0].pk
    assert answered(dead[1]) is None


@pytest.mark.django_db
def test_a_run_for_whose_queue_a_worker_lives_keeps_its_turn(local_root: Path) -> None:
    storage = make_storage(local_root, max_concurrent_runs=1)
    older, younger = queue_of(local_root, storage, 2)
    SyncRun.objects.filter(pk=older.pk).update(queue="site-b")
    serve("here", "celery")
    serve("there", "site-b,site-c")

    assert answered(younger) is None
    assert answered(older) == older.pk


@pytest.mark.django_db
@pytest.mark.parametrize("workers", [[], ["celery", ""]])
def test_each_queue_may_be_served_where_workers_do_not_say(
    local_root: Path, workers: list[str]
) -> None:
    storage = make_storage(local_root, max_concurrent_runs=1)
    older, younger = queue_of(local_root, storage, 2)
    SyncRun.objects.filter(pk=older.pk).update(queue="site-b")
    for number, queues in enumerate(workers):
        serve(str(number), queues)

    assert answered(younger) is None


def move_to(config: SyncConfig, storage: Storage) -> None:
    config.source_storage = config.destination_storage = storage
    config.save()


@pytest.mark.django_db(transaction=True)
def test_a_run_keeps_its_places_where_its_config_names_other_storages_meanwhile(
    local_root: Path, broker: RedisServer
) -> None:
    old, new = make_storage(local_root, max_concurrent_runs=1), make_storage(local_root)
    running, waiting = queue_of(local_root, old, 2)
    held = claim(running)
    config = running.config
    assert config is not None
    move_to(config, new)

    assert answered(waiting) is None
    assert places.free_places() == {old.pk: 0, new.pk: 2}

    finish_run(held, SUCCESS)
    assert [task_id for task_id, _ in waiting_messages(broker)] == [str(waiting.task_id)]
    assert answered(waiting) == waiting.pk


@pytest.mark.django_db
def test_a_run_keeps_its_places_where_its_config_is_deleted_until_it_ends(
    local_root: Path,
) -> None:
    running, waiting = queue_of(local_root, make_storage(local_root, max_concurrent_runs=1), 2)
    held = claim(running)
    assert running.config is not None
    running.config.delete()

    assert answered(waiting) is None
    cancel_held(held)
    assert answered(waiting) == waiting.pk


@pytest.mark.django_db
def test_a_run_that_a_version_before_claimed_has_the_places_of_its_config(
    local_root: Path,
) -> None:
    running, waiting = queue_of(local_root, make_storage(local_root, max_concurrent_runs=1), 2)
    claim(running)
    SyncRun.objects.update(source_place=None, destination_place=None)

    assert answered(waiting) is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "uses_source"),
    [(SyncConfig.Method.FULL, False), (SyncConfig.Method.MOVE, True)],
)
def test_an_undoing_has_the_places_of_the_storages_on_which_it_acts(
    local_root: Path, method: SyncConfig.Method, *, uses_source: bool
) -> None:
    source, written, new = (make_storage(local_root, max_concurrent_runs=1) for _ in range(3))
    config = make_config(local_root, source_storage=new)
    undone = ended_with_kept(config, source, written, method)
    undoing = make_run(config, trigger=SyncRun.Trigger.RESTORE, restore_of=undone)
    others = [queue_of(local_root, storage, 1)[0] for storage in (source, written, new)]

    assert answered(undoing) == undoing.pk

    waits = [answered(other) is None for other in others]
    assert waits == [uses_source, True, False]


@pytest.mark.django_db
def test_an_undoing_waits_for_the_storage_on_which_it_acts(local_root: Path) -> None:
    source, written, new = (make_storage(local_root, max_concurrent_runs=1) for _ in range(3))
    [before, behind] = queue_of(local_root, written, 2)
    config = make_config(local_root, source_storage=new)
    undone = ended_with_kept(config, source, written)
    undoing = make_run(config, trigger=SyncRun.Trigger.RESTORE, restore_of=undone)
    SyncRun.objects.filter(pk=behind.pk).update(not_before=from_now(60))
    claim(before)

    assert answered(undoing) is None
    # It is the first in that line, and holds its other place.
    [younger] = queue_of(local_root, source, 1)
    assert answered(younger) is None
    SyncRun.objects.filter(pk=before.pk).update(state=SyncRun.State.SUCCEEDED)
    assert answered(younger) == undoing.pk


@pytest.mark.django_db
def test_an_undoing_on_a_storage_that_is_gone_waits_for_nobody(local_root: Path) -> None:
    """It starts, and says so as it fails."""
    gone, new = make_storage(local_root), make_storage(local_root)
    config = make_config(local_root, source_storage=new)
    undone = ended_with_kept(config, gone, gone)
    undoing = make_run(config, trigger=SyncRun.Trigger.RESTORE, restore_of=undone)
    gone.delete()

    assert answered(undoing) == undoing.pk
