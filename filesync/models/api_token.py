"""ApiToken: what a program signs in with; only a hash is stored."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

PREFIX = "sb_"
MOST_DAYS = 36_500
"""The longest life of a token."""


def hash_token(text: str) -> str:
    """Return the stored form; a plain SHA-256 is enough for 256 random bits."""
    return hashlib.sha256(text.encode()).hexdigest()


class ApiToken(models.Model):
    """A named token of one user; several per user, each may expire."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="api_tokens",
        verbose_name=_("user"),
    )
    name = models.CharField(_("name"), max_length=80)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.user}: {self.name}"

    def clean(self) -> None:
        super().clean()
        now = timezone.now()
        # Near the ends of the calendar no zone's clock can be read either.
        latest = now + timedelta(days=MOST_DAYS)
        if self.expires_at is not None and not now < self.expires_at <= latest:
            reason = _("A token expires in the future, after %d days at the most.") % MOST_DAYS
            raise ValidationError({"expires_at": reason})

    @classmethod
    def issue(
        cls, user: User, name: str, *, expires_at: datetime | None = None
    ) -> tuple[ApiToken, str]:
        """Make a token; return it with its text, which cannot be had again."""
        row = cls(user=user, name=name, expires_at=expires_at)
        text = row.give_text()
        row.save()
        return row, text

    def give_text(self) -> str:
        """Make a new random text for this token, keep its hash; the caller saves the row.

        A token without an end gets the configured lifetime.
        """
        text = PREFIX + secrets.token_urlsafe(32)
        self.token_hash = hash_token(text)
        if self.expires_at is None:
            self.expires_at = timezone.now() + settings.FILESYNC_TOKEN_LIFETIME
        return text

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()
