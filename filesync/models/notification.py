"""Who is told (NotificationChannel), of which sync (ChannelUse) and story (Story); the outbox."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from filesync.models.names import check_name
from filesync.models.run import SyncRun
from filesync.models.storage import Storage
from filesync.models.sync_config import SyncConfig
from filesync.notifications.events import OF_A_SYNC, Event, default_events
from filesync.notifications.targets import scheme_of
from filesync.secrets import decrypt, encrypt


class NotificationChannel(models.Model):
    """A target that is told of events, in apprise's notation; its URL is encrypted at rest."""

    name = models.CharField(_("name"), max_length=120, unique=True)
    encrypted_url = models.TextField(db_column="url", default="", blank=True, editable=False)
    scheme = models.CharField(_("kind"), max_length=32, editable=False, default="", blank=True)
    enabled = models.BooleanField(_("enabled"), default=True)
    events = models.JSONField(_("events"), default=default_events)
    configs = models.ManyToManyField(
        SyncConfig,
        through="ChannelUse",
        blank=True,
        related_name="channels",
        verbose_name=_("sync configs"),
        help_text=_(
            "Only these are told of; none chosen means all, unless the box below is ticked."
        ),
    )
    chosen_only = models.BooleanField(
        _("only chosen syncs"),
        default=False,
        db_default=False,
        help_text=_(
            "Ticked by itself where syncs are chosen. When all of those are deleted, or none is "
            "chosen, no sync is told of."
        ),
    )
    language = models.CharField(
        _("language"),
        max_length=16,
        choices=settings.LANGUAGES,
        blank=True,
        default="",
        db_default="",
        help_text=_("Of its messages; empty: that of the installation."),
    )
    remark = models.CharField(_("remark"), max_length=255, blank=True, default="")
    last_sent_at = models.DateTimeField(_("last sent"), null=True, blank=True, editable=False)
    last_error = models.TextField(_("last error"), blank=True, default="", editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("notification channel")
        verbose_name_plural = _("notification channels")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def url(self) -> str:
        """The target's URL in plain text, decrypted on each access; empty while none is set.

        Raises:
            SecretsUnreadable: none of the configured keys opens it.
        """
        return decrypt(self.encrypted_url).get("url", "")

    @url.setter
    def url(self, value: str) -> None:
        self.encrypted_url = encrypt({"url": value}) if value else ""
        self.scheme = scheme_of(value)

    @property
    def spoken(self) -> str:
        """The language of its messages."""
        return self.language or str(settings.LANGUAGE_CODE)

    def clean(self) -> None:
        super().clean()
        check_name(self.name)
        _check_events(self.events, Event.values)
        if not self.encrypted_url:
            raise ValidationError(_("A channel needs a URL: where its messages go."))


class ChannelUse(models.Model):
    """One sync of which a channel hears: of these events, with none of what the channel says."""

    # The columns are those of the table before it held events.
    channel = models.ForeignKey(
        NotificationChannel,
        on_delete=models.CASCADE,
        related_name="uses",
        db_column="notificationchannel_id",
        verbose_name=_("channel"),
    )
    config = models.ForeignKey(
        SyncConfig,
        on_delete=models.CASCADE,
        related_name="channel_uses",
        db_column="syncconfig_id",
        verbose_name=_("sync config"),
    )
    # The database's default is for a version before this column that still inserts.
    events = models.JSONField(
        _("events"), default=list, db_default=models.Value([], models.JSONField()), blank=True
    )

    class Meta:
        verbose_name = _("channel of a sync")
        verbose_name_plural = _("channels of syncs")
        db_table = "filesync_notificationchannel_configs"
        # Whoever may change the sync or the channel may change this.
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "config"], name="filesync_channel_once_per_config"
            )
        ]

    def __str__(self) -> str:
        return f"{self.channel}: {self.config}"

    def clean(self) -> None:
        super().clean()
        _check_events(self.events, OF_A_SYNC)


def _check_events(events: object, known: Collection[str]) -> None:
    if not isinstance(events, list) or not set(map(str, events)) <= set(known):
        raise ValidationError({"events": _("Events are a list of: %s") % ", ".join(sorted(known))})


class Story(models.Model):
    """One trouble from its first sign to its end, so that it is told as one.

    open -> closed      `closed_at` is set; the next trouble of the same key is a new story
    """

    key = models.CharField(max_length=64)
    event = models.CharField(max_length=16, choices=Event.choices)
    kind = models.CharField(max_length=64)
    count = models.PositiveIntegerField(default=0)
    opened_at = models.DateTimeField()
    last_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    config_ids = models.JSONField(default=list)
    run = models.ForeignKey(SyncRun, on_delete=models.SET_NULL, null=True, related_name="+")
    storage = models.ForeignKey(Storage, on_delete=models.CASCADE, null=True, related_name="+")

    class Meta:
        verbose_name = _("story")
        verbose_name_plural = _("stories")
        constraints = [
            models.UniqueConstraint(
                fields=["key"],
                condition=Q(closed_at__isnull=True),
                name="filesync_story_one_open_per_key",
            )
        ]

    def __str__(self) -> str:
        return f"{self.key} x{self.count}"


class Delivery(models.Model):
    """One message or ping in the outbox: at least once, and once where no process is killed.

    WAITING -> SENDING -> SENT | FAILED
    SENDING -> WAITING     the target did not take it; tried again at `not_before`
    SENDING -> SENDING     the sender died, `claimed_until` passed: it is sent once more
    SENDING -> FAILED      as many senders died as it has attempts

    `dedupe_key` makes writing it twice impossible; only a process that is killed between the
    target's answer and its commit sends a second time.
    """

    class State(models.TextChoices):
        WAITING = "WAITING", _("Waiting")
        SENDING = "SENDING", _("Being sent")
        SENT = "SENT", _("Sent")
        FAILED = "FAILED", _("Not delivered")

    OPEN = (State.WAITING, State.SENDING)

    channel = models.ForeignKey(
        NotificationChannel,
        on_delete=models.CASCADE,
        null=True,
        related_name="deliveries",
        verbose_name=_("channel"),
    )
    ping_config = models.ForeignKey(
        SyncConfig, on_delete=models.CASCADE, null=True, related_name="pings"
    )
    story = models.ForeignKey(Story, on_delete=models.CASCADE, null=True, related_name="deliveries")
    run = models.ForeignKey(SyncRun, on_delete=models.SET_NULL, null=True, related_name="+")
    event = models.CharField(_("event"), max_length=16)
    kind = models.CharField(max_length=64, blank=True, default="")
    dedupe_key = models.CharField(max_length=120, unique=True)
    severity = models.CharField(max_length=16, blank=True, default="info")
    title = models.CharField(_("title"), max_length=255, blank=True, default="")
    body = models.TextField(_("body"), blank=True, default="")
    state = models.CharField(
        _("state"), max_length=16, choices=State.choices, default=State.WAITING
    )
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    not_before = models.DateTimeField(_("not before"), null=True, blank=True)
    rung_at = models.DateTimeField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    error = models.TextField(_("error"), blank=True, default="")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(channel__isnull=False) | Q(ping_config__isnull=False),
                name="filesync_delivery_has_a_target",
            )
        ]
        indexes = [
            # The outbox: few wait, however many were sent.
            models.Index(
                fields=["state", "id"],
                condition=Q(state__in=["WAITING", "SENDING"]),
                name="filesync_delivery_open",
            ),
        ]

    def __str__(self) -> str:
        return self.title or f"{self.event} {self.ping_config_id}"


class Watch(models.Model):
    """One row: its lock lets one process at a time watch; it keeps who was seen last."""

    SINGLETON_ID = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON_ID)
    beat_seen_at = models.DateTimeField(null=True)
    workers_seen_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("watch")
        verbose_name_plural = _("watch")

    def __str__(self) -> str:
        return "watch"
