"""IdempotencyKey: what a program's wish was answered with, so that asking twice runs once."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class IdempotencyKey(models.Model):
    """A key that a program chose for one wish, for a day; `fingerprint` is the wish itself."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    answer = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "key"], name="filesync_idempotency_key")
        ]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.key}"
