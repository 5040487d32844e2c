"""What a running attempt writes while it goes on: lease, progress, plan and items, in batches."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

from django.db import connections, transaction

from filesync import engine
from filesync.models import RunItem
from filesync.services.documents import plan_document, progress_document
from filesync.services.leases import Claim, LeaseLost, keep_lease
from scheduler.outages import DATABASE_AWAY

logger = logging.getLogger(__name__)

WRITE_EVERY_S = 1.0
# Longer without a renewal and another worker may soon hold the run: 35 s here plus 10 s to kill
# what runs stay below the lease's 60 s.
FENCE_S = 35.0
TRY_S = 2.0
ITEM_BATCH = 500
ITEMS_PER_RUN = 10_000
# On top of those. A run of which more failed is sent again as a whole, not only what failed.
FAILED_PER_RUN = 50_000


class DatabaseAway(Exception):
    """The database did not answer for longer than the lease lets a run go on unseen."""

    code = "database_away"
    retryable = True


@dataclass(slots=True)
class Recorder:
    """Collects the engine's events and writes them: at most one write a second.

    Items are stored up to `ITEMS_PER_RUN`, failed ones apart from them up to `FAILED_PER_RUN`; the
    counters stay exact.
    """

    claim: Claim
    stop: engine.StopSignal
    watch: Callable[[engine.Event], None] | None = None
    phase: str = ""
    progress: dict[str, object] = field(default_factory=dict)
    plan: dict[str, object] | None = None
    items: list[RunItem] = field(default_factory=list)
    items_stored: int = 0
    failed_stored: int = 0
    pid: int | None = None
    fenced: bool = False
    detached: bool = False
    failing_since: float | None = None
    written_at: float = field(default_factory=time.monotonic)
    tried_at: float = field(default_factory=time.monotonic)

    def take(self, event: engine.Event) -> None:
        """Note one event; write when it is time to.

        Raises:
            LeaseLost: the run is another worker's now.
            DatabaseAway: nothing could be written for `FENCE_S` seconds.
        """
        if self.watch is not None:
            self.watch(event)
        match event:
            case engine.ProcessStarted(pid):
                if self.detached:
                    raise DatabaseAway(f"no write for {FENCE_S:.0f} s, and more was to be done")
                self.pid = pid
            case engine.PhaseChanged(phase):
                self.phase = phase.value
            case engine.Progress():
                self.progress = progress_document(event)
            case engine.ItemDone():
                self._take_item(event)
            case engine.PlanReady(plan):
                self.plan = plan_document(plan)
                if plan.deletes:
                    # A further attempt is held against it: it must not be lost with this one.
                    self.write()
            case _:
                pass
        if time.monotonic() - self.tried_at >= WRITE_EVERY_S:
            self.write()

    def write(self) -> None:
        """Renew the lease with what was collected; a database that is away is tried again."""
        if self.detached:
            return
        self.tried_at = time.monotonic()
        if self.failing_since is None:
            self.failing_since = self.tried_at
        try:
            if self._store():
                self.stop.request()
            # When the try began: the lease counts from its first statement.
            self.written_at = self.tried_at
            self.failing_since = None
        except DATABASE_AWAY as error:
            connections.close_all()
            if self.overdue() and not self.detach():
                raise DatabaseAway(f"no write for {FENCE_S:.0f} s: {error}") from error
        self.check_fence()

    def detach(self) -> bool:
        """Write nothing more if rclone has ended; say whether it has.

        A write that hangs keeps this process from reading what rclone told at its end. It is to be
        read, although the run may be another worker's by now: the token decides who tells.
        """
        if self.pid is not None and not self.fenced and _has_ended(self.pid):
            self.detached = True
        return self.detached

    def finish(self) -> None:
        """Write what is left; a database that is away does not hold the outcome up.

        Raises:
            DatabaseAway: the transfer was killed for want of a renewal.
        """
        self.check_fence()
        if self.failing_since is not None:
            logger.error(
                "%d items of run %s are lost: the database is away",
                len(self.items),
                self.claim.run_id,
            )
            return
        if not self.items:
            return
        try:
            self._store()
        except LeaseLost as error:
            logger.error("%d items are not stored: %s", len(self.items), error)
        except DATABASE_AWAY as error:
            logger.error(
                "%d items of run %s are lost: %s", len(self.items), self.claim.run_id, error
            )

    def check_fence(self) -> None:
        """Raise DatabaseAway once the transfer was killed for want of a renewal."""
        if self.fenced:
            raise DatabaseAway(f"no write for {FENCE_S:.0f} s")

    def _store(self) -> bool:
        """Renew the lease and store the items, both or none; say whether somebody asked to cancel.

        The lease first: a worker whose run was given away adds nothing to what another one holds.
        """
        for item in self.items:
            item.pk = None  # that of a try before, whose commit failed
        with transaction.atomic() if self.items else nullcontext():
            asked = keep_lease(self.claim, phase=self.phase, progress=self.progress, plan=self.plan)
            RunItem.objects.bulk_create(self.items, batch_size=ITEM_BATCH)
        self.items = []
        self.plan = None
        return asked

    def overdue(self) -> bool:
        """Whether a renewal was tried and did not come through for too long.

        An engine that was silent because a disk is slow is no reason: the try that follows gets
        its time.
        """
        now = time.monotonic()
        failing = self.failing_since is not None and now - self.failing_since > TRY_S
        return failing and now - self.written_at > FENCE_S

    def _take_item(self, item: engine.ItemDone) -> None:
        if item.action is engine.Action.FAILED:
            if self.failed_stored >= FAILED_PER_RUN:
                return
            self.failed_stored += 1
        elif self.items_stored >= ITEMS_PER_RUN:
            return
        else:
            self.items_stored += 1
        self.items.append(
            RunItem(
                run_id=self.claim.run_id,
                action=item.action.value,
                path=item.path,
                size_bytes=item.size_bytes,
                error=item.error or "",
                old_path=item.old_path,
            )
        )


class Fence:
    """Kills the transfer when the lease is overdue although the run's own thread is stuck.

    A database behind a black hole can hold a write longer than the fence; a thread beside it
    cannot be held. It only kills; the run's thread sees `fenced` when it is back.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="filesync-fence", daemon=True)

    def __enter__(self) -> Fence:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            if not self._recorder.overdue():
                continue
            if self._recorder.detach():
                return
            self._recorder.fenced = True
            if self._recorder.pid is not None:
                logger.error("the lease could not be renewed for %.0f s: transfer killed", FENCE_S)
                _kill_group(self._recorder.pid)
            return


def _has_ended(pid: int) -> bool:
    """Whether a child has ended, without reaping it."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
