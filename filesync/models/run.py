"""SyncRun, the truth about one run."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from filesync.models.fields import MessageField
from filesync.models.sync_config import SyncConfig
from filesync.texts import say
from scheduler.log_ids import ids


class SyncRun(models.Model):
    """One run of one config, from the wish to the outcome.

    QUEUED -> RUNNING -> SUCCEEDED | PARTIAL | FAILED | CANCELLED
    RUNNING -> QUEUED      a retryable failure, a stopped worker, a lost lease
    RUNNING -> LOST        the worker died three times during it
    QUEUED -> CANCELLED
    SKIPPED, MISSED        made as such, with their reason; nothing ever ran

    Every change is a conditional update in `filesync.services`, none is read-then-save. While it
    is RUNNING, `lease_token` names the worker's claim and `lease_expires_at`, by the database's
    clock, says until when it counts.
    """

    class State(models.TextChoices):
        QUEUED = "QUEUED", _("Queued")
        RUNNING = "RUNNING", _("Running")
        SUCCEEDED = "SUCCEEDED", _("Succeeded")
        PARTIAL = "PARTIAL", _("Partly failed")
        FAILED = "FAILED", _("Failed")
        CANCELLED = "CANCELLED", _("Cancelled")
        SKIPPED = "SKIPPED", _("Skipped")
        MISSED = "MISSED", _("Missed")
        LOST = "LOST", _("Lost")

    class Trigger(models.TextChoices):
        CRON = "CRON", _("Schedule")
        CATCH_UP = "CATCH_UP", _("Schedule, caught up")
        MANUAL = "MANUAL", _("By hand")
        BATCH = "BATCH", _("All enabled")
        RETRY = "RETRY", _("Again, after a run that ended")
        RESTORE = "RESTORE", _("Undoing a run that ended")
        HOOK = "HOOK", _("Its hook was called")

    class Reason(models.TextChoices):
        NONE = "", ""
        OVERLAP = "OVERLAP", _("The previous run was still active")
        DISABLED = "DISABLED", _("The config was disabled")
        MISFIRE = "MISFIRE", _("The scheduler was not running at that time")
        CONFIG_DELETED = "CONFIG_DELETED", _("The config was deleted")
        WORKER_STOPPED = "WORKER_STOPPED", _("The worker was stopped; the run goes on elsewhere")
        LEASE_LOST = "LEASE_LOST", _("The worker went silent")
        RETRY = "RETRY", _("The last attempt failed in a way that may pass")
        CANCELLED_BY_USER = "CANCELLED_BY_USER", _("Cancelled by a person")
        STORAGE_PAUSED = "STORAGE_PAUSED", _("A storage is paused until its connection works")

    class Late(models.TextChoices):
        NO = "", ""
        NOT_STARTED = "NOT_STARTED", _("It has not started in time")
        TOO_LONG = "TOO_LONG", _("It takes far longer than usual")

    ACTIVE = (State.QUEUED, State.RUNNING)
    TERMINAL = (
        State.SUCCEEDED,
        State.PARTIAL,
        State.FAILED,
        State.CANCELLED,
        State.SKIPPED,
        State.MISSED,
        State.LOST,
    )

    task_id = models.UUIDField(_("task id"), default=uuid.uuid4, unique=True, editable=False)
    config = models.ForeignKey(
        SyncConfig,
        on_delete=models.SET_NULL,
        null=True,
        related_name="runs",
        verbose_name=_("sync config"),
    )
    config_name = models.CharField(_("config name"), max_length=120, blank=True, default="")
    state = models.CharField(_("state"), max_length=16, choices=State.choices, default=State.QUEUED)
    reason = models.CharField(
        _("reason"), max_length=32, choices=Reason.choices, blank=True, default=Reason.NONE
    )
    trigger = models.CharField(
        _("trigger"), max_length=16, choices=Trigger.choices, default=Trigger.MANUAL
    )
    # The config's when it was queued: a broker that is silent must not cost a query too.
    queue = models.CharField(_("queue"), max_length=64, blank=True, default="", editable=False)
    slot = models.DateTimeField(_("slot"), null=True, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("requested by"),
    )
    retry_of = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="retries",
        verbose_name=_("again after"),
    )
    restore_of = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="restores",
        verbose_name=_("undoes"),
    )
    only_failed = models.BooleanField(
        _("only the failed files"),
        default=False,
        help_text=_("Sends only what failed in the run that it comes after."),
    )
    dry_run = models.BooleanField(_("dry run"), default=False)
    force = models.BooleanField(_("forced"), default=False)
    attempt = models.PositiveSmallIntegerField(_("attempt"), default=0)
    # Those that ended, oldest first, as `filesync.services.attempts` writes them.
    # The database's default is for a version before this column that still inserts.
    attempts = models.JSONField(
        _("attempts"),
        default=list,
        db_default=models.Value([], models.JSONField()),
        blank=True,
        editable=False,
    )
    crashes = models.PositiveSmallIntegerField(_("workers lost"), default=0)
    not_before = models.DateTimeField(_("not before"), null=True, blank=True)

    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    rung_at = models.DateTimeField(_("published"), null=True, blank=True)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    worker = models.CharField(_("worker"), max_length=200, blank=True, default="")
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The ids of the storages on which it has a place while it is RUNNING, as of its claim: its
    # config may name others by now, and one that is not its config's may be gone.
    source_place = models.BigIntegerField(null=True, blank=True, editable=False)
    destination_place = models.BigIntegerField(null=True, blank=True, editable=False)
    cancel_requested_at = models.DateTimeField(_("cancel requested"), null=True, blank=True)

    phase = models.CharField(_("phase"), max_length=16, blank=True, default="")
    progress = models.JSONField(_("progress"), default=dict, blank=True)
    plan = models.JSONField(_("plan"), null=True, blank=True)
    files_transferred = models.BigIntegerField(_("files transferred"), default=0)
    bytes_transferred = models.BigIntegerField(_("bytes transferred"), default=0)
    files_deleted = models.BigIntegerField(_("files deleted"), default=0)
    files_renamed = models.BigIntegerField(_("files renamed"), default=0, db_default=0)
    files_checked = models.BigIntegerField(_("files checked"), default=0)
    files_failed = models.BigIntegerField(_("files failed"), default=0)

    kept = models.JSONField(
        _("kept files"),
        null=True,
        blank=True,
        help_text=_("Where what the run deleted or overwrote is kept: storage, path and folder."),
    )
    kept_until = models.DateTimeField(_("kept until"), null=True, blank=True)

    failure_class = models.CharField(_("failure class"), max_length=32, blank=True, default="")
    guard = models.CharField(_("guard"), max_length=32, blank=True, default="")
    retryable = models.BooleanField(
        _("tried again by itself"),
        null=True,
        blank=True,
        help_text=_("Whether a failure of this kind is tried again, while attempts are left."),
    )
    message = MessageField(_("message"), blank=True, default="")
    advice = models.TextField(_("advice"), blank=True, default="")

    late = models.CharField(
        _("late"), max_length=16, choices=Late.choices, blank=True, default=Late.NO
    )
    # Set once `filesync.notifications` has looked at how the run ended.
    reviewed = models.BooleanField(default=False, editable=False)

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["config"],
                condition=Q(state__in=["QUEUED", "RUNNING"]),
                name="filesync_run_one_active_per_config",
            ),
            models.UniqueConstraint(
                fields=["config", "slot"],
                condition=Q(slot__isnull=False),
                name="filesync_run_one_per_slot",
            ),
            models.CheckConstraint(
                condition=~Q(state="RUNNING") | Q(lease_expires_at__isnull=False),
                name="filesync_run_running_has_lease",
            ),
        ]
        indexes = [
            # The sweep and the queue: few rows are active, however long the history.
            models.Index(
                fields=["state", "id"],
                condition=Q(state__in=["QUEUED", "RUNNING"]),
                name="filesync_run_active",
            ),
            # What ended and was not reviewed for notifications: soon none.
            models.Index(
                fields=["finished_at", "id"],
                condition=Q(reviewed=False, finished_at__isnull=False),
                name="filesync_run_unreviewed",
            ),
            # A config's history, newest first.
            models.Index(fields=["config", "-id"], name="filesync_run_history"),
            # How long a config's runs take (selectors.telling_runs), read from the index alone.
            models.Index(
                fields=["config", "-id", "started_at", "finished_at"],
                condition=Q(state="SUCCEEDED", dry_run=False, only_failed=False)
                & ~Q(trigger="RESTORE"),
                name="filesync_run_telling",
            ),
            # What is kept and may be over its time.
            models.Index(
                fields=["kept_until"],
                condition=Q(kept_until__isnull=False),
                name="filesync_run_kept",
            ),
            # The state tabs, newest first.
            models.Index(fields=["state", "-id"], name="filesync_run_by_state"),
            # The dashboard's day and its last two weeks, read from the index alone.
            models.Index(
                fields=["finished_at", "state", "bytes_transferred"], name="filesync_run_by_end"
            ),
            # The API's filter by trigger, newest first; the last slot that beat fired.
            models.Index(fields=["trigger", "-id"], name="filesync_run_by_trigger"),
            # The API's filter by `dry_run`, newest first: few are.
            models.Index(fields=["-id"], condition=Q(dry_run=True), name="filesync_run_dry"),
            # Where in the ids a time lies: `since` and `until` of the API.
            models.Index(fields=["created_at", "id"], name="filesync_run_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.config_name or '-'} #{self.pk}"

    def log_extra(self, event: str) -> dict[str, object]:
        """Return the `extra` of a log line about this run."""
        return ids(event, run=self.pk, config=self.config_id, task=str(self.task_id))

    @property
    def is_terminal(self) -> bool:
        return self.state in self.TERMINAL

    @property
    def undoes(self) -> bool:
        """Whether it undoes another run, which may be gone by now, and so is no run of the sync."""
        return self.trigger == self.Trigger.RESTORE

    @property
    def task_status(self) -> str:
        """Return celery's word for the state, as the task API and django-celery-results say it."""
        if self.state == self.State.QUEUED:
            return "RETRY" if self.attempt else "PENDING"
        return _TASK_STATUS[self.State(self.state)]

    @property
    def explanation(self) -> str:
        """Return the message in the reader's language, "" where there is none."""
        return say(self.message)

    @property
    def next_step(self) -> str:
        """Return the advice in the reader's language, "" where there is none."""
        return gettext(self.advice) if self.advice else ""

    @property
    def duration_s(self) -> float | None:
        """Return the seconds from start to end, None unless it has both."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


_TASK_STATUS = {
    SyncRun.State.RUNNING: "STARTED",
    SyncRun.State.SUCCEEDED: "SUCCESS",
    SyncRun.State.PARTIAL: "FAILURE",
    SyncRun.State.FAILED: "FAILURE",
    SyncRun.State.LOST: "FAILURE",
    SyncRun.State.CANCELLED: "REVOKED",
    SyncRun.State.SKIPPED: "IGNORED",
    SyncRun.State.MISSED: "IGNORED",
}
