"""Hook: the secret address that starts one config and nothing else; only a hash is stored."""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from filesync.models.api_token import hash_token
from filesync.models.sync_config import SyncConfig

PREFIX = "hk_"
# Often enough to see which hooks are in use, rarely enough not to write on every call.
NOTE_USE_EVERY = timedelta(minutes=1)


class Hook(models.Model):
    """The hook of a config; making a new one ends the one before."""

    config = models.OneToOneField(
        SyncConfig, on_delete=models.CASCADE, related_name="hook", verbose_name=_("sync config")
    )
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("hook")
        verbose_name_plural = _("hooks")

    def __str__(self) -> str:
        return f"{self.config} {self.created_at:%Y-%m-%d}"

    @classmethod
    def issue(cls, config: SyncConfig) -> tuple[Hook, str]:
        """Make the hook of a config, or a new one in its place; the text cannot be had again."""
        text = PREFIX + secrets.token_urlsafe(32)
        values = {
            "token_hash": hash_token(text),
            "created_at": timezone.now(),
            "last_used_at": None,
        }
        row, _made = cls.objects.update_or_create(config=config, defaults=values)
        return row, text

    @classmethod
    def find(cls, text: str) -> Hook | None:
        """Return the hook of this secret, and note that it was used."""
        hook = cls.objects.filter(token_hash=hash_token(text)).first()
        now = timezone.now()
        if hook and (hook.last_used_at is None or now - hook.last_used_at > NOTE_USE_EVERY):
            cls.objects.filter(pk=hook.pk).update(last_used_at=now)
        return hook
