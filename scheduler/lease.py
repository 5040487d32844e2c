"""The beat lease: who leads, by the database's clock; conditional updates only."""

from __future__ import annotations

import time

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from scheduler.clock import from_now
from scheduler.models import BeatLease, Heartbeat

LEASE_S = 15
RENEW_S = 5


class Lease:
    """The claim of one beat process to lead.

    Losing it makes two beats at most both awake for a moment; the slot claim keeps them from
    firing twice.
    """

    def __init__(self, holder: str) -> None:
        self.holder = holder
        self.started_at = timezone.now()
        self.leading = False
        self._checked_at = float("-inf")

    def hold(self) -> bool:
        """Take or renew the lease when it is time to; return whether this process leads.

        A standby asks on every call, a leader every `RENEW_S` seconds.
        """
        now = time.monotonic()
        if self.leading and now - self._checked_at < RENEW_S:
            return True
        led, self.leading = self.leading, self._take()
        if now - self._checked_at >= RENEW_S or led != self.leading:
            self._beat_heart()
            self._checked_at = now
        return self.leading

    def release(self) -> None:
        """Give the lease back, so that a standby leads within its next poll."""
        BeatLease.objects.filter(pk=BeatLease.SINGLETON_ID, holder=self.holder).update(
            holder="", expires_at=Now()
        )
        Heartbeat.objects.filter(role=Heartbeat.Role.BEAT, name=self.holder).delete()
        self.leading = False

    def _take(self) -> bool:
        if self._update_row():
            return True
        if BeatLease.objects.filter(pk=BeatLease.SINGLETON_ID).exists():
            return False
        # The very first start: of two that insert at once, the update decides.
        BeatLease.objects.bulk_create(
            [BeatLease(holder="", expires_at=timezone.now())], ignore_conflicts=True
        )
        return self._update_row()

    def _update_row(self) -> bool:
        mine_or_free = Q(holder=self.holder) | Q(holder="") | Q(expires_at__lt=Now())
        taken = BeatLease.objects.filter(mine_or_free, pk=BeatLease.SINGLETON_ID).update(
            holder=self.holder, expires_at=from_now(LEASE_S)
        )
        return bool(taken)

    def _beat_heart(self) -> None:
        Heartbeat.objects.update_or_create(
            role=Heartbeat.Role.BEAT,
            name=self.holder,
            defaults={"seen_at": Now(), "leading": self.leading, "started_at": self.started_at},
        )
