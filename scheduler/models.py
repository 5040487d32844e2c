"""What a scheduled thing is (`Schedulable`), who may fire (`BeatLease`), who lives (`Heartbeat`).

The rows that beat fires are django-celery-beat's; `scheduler.rows` says what ours look like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from scheduler import cron as cron_rules

DAY_S = 86_400


def default_timezone() -> str:
    return str(settings.TIME_ZONE)


@dataclass(frozen=True, slots=True)
class DueSlot:
    """A slot that beat has claimed for one object.

    `missed` are the slots before it that nobody fired, oldest first; `slot` is None where the
    misfire policy lets none of them run.
    """

    object_id: int
    slot: datetime | None
    missed: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class Doorbell:
    """A message for a worker: which celery task to call once the transaction is committed.

    An empty `queue` is celery's default one.
    """

    task: str
    task_id: str
    kwargs: dict[str, object] = field(default_factory=dict)
    queue: str = ""


class Schedulable(models.Model):
    """A model whose rows fire on a cron: subclass it, name `schedule_task`, implement `fire`.

    A saved row always holds a normalised cron and a known time zone: `save` checks both, so that
    a shell or a script cannot store what beat could not read. `QuerySet.update` goes past it;
    a refresh reports such rows and leaves them out.
    """

    class MisfirePolicy(models.TextChoices):
        SKIP = "SKIP", _("Skip: record the missed slots, run at the next one")
        RUN_ONCE = "RUN_ONCE", _("Run once: catch up the latest missed slot within the grace")

    #: The celery task that a fired row calls, and the name of its one argument, the object's id.
    schedule_task: ClassVar[str]
    schedule_kwarg: ClassVar[str]

    cron = models.CharField(
        _("cron"),
        max_length=100,
        blank=True,
        default="",
        help_text=_(
            "minute hour day month weekday, for example 0 2 * * * (every day at 02:00). "
            "Empty: it runs only by hand."
        ),
    )
    timezone = models.CharField(
        _("time zone"),
        max_length=63,
        default=default_timezone,
        help_text=_("The IANA zone whose clock the cron reads, for example Asia/Shanghai."),
    )
    enable = models.BooleanField(_("enabled"), default=True)
    remark = models.CharField(_("remark"), max_length=255, blank=True, default="")
    start_time = models.DateTimeField(
        _("start"), null=True, blank=True, help_text=_("No slot before this fires.")
    )
    end_time = models.DateTimeField(
        _("end"), null=True, blank=True, help_text=_("No slot from this time on fires.")
    )
    misfire_policy = models.CharField(
        _("missed slots"),
        max_length=16,
        choices=MisfirePolicy.choices,
        default=MisfirePolicy.RUN_ONCE,
        help_text=_("What becomes of slots that passed while the scheduler was down."),
    )
    misfire_grace_s = models.PositiveIntegerField(
        _("grace for missed slots, seconds"),
        default=3600,
        validators=[MaxValueValidator(7 * DAY_S)],
    )
    jitter_s = models.PositiveIntegerField(
        _("spread, seconds"),
        default=0,
        validators=[MaxValueValidator(DAY_S)],
        help_text=_("Each job starts at its own fixed delay up to this after the slot."),
    )

    class Meta:
        abstract = True

    @classmethod
    def fire(cls, due: Sequence[DueSlot]) -> Sequence[Doorbell]:
        """Record what becomes of claimed slots; return what to publish after the commit.

        Called by beat inside the transaction that claimed the slots, with slots of many objects.
        Each slot that is given must end as exactly one row.
        """
        raise NotImplementedError

    def normalise_schedule(self) -> None:
        """Normalise `cron` in place and check the time zone.

        Raises:
            scheduler.cron.InvalidCron: the cron or the zone cannot be used.
        """
        self.cron = cron_rules.normalise(self.cron) if self.cron.strip() else ""
        cron_rules.load_timezone(self.timezone)

    def next_slot(self, *, now: datetime | None = None) -> datetime | None:
        """Return when it fires next, in its own time zone; None when it does not.

        A cron that was written past `save` and cannot fire is None too: a refresh reports it.
        """
        now = now or timezone.now()
        if not self.enable or not self.cron:
            return None
        after = now
        if self.start_time is not None and self.start_time > now:
            after = self.start_time - timedelta(microseconds=1)
        try:
            slot = cron_rules.schedule(self.cron, self.timezone).next_after(after)
        except cron_rules.InvalidCron:
            return None
        if self.end_time is not None and slot >= self.end_time:
            return None
        return slot.astimezone(cron_rules.load_timezone(self.timezone))

    def clean(self) -> None:
        super().clean()
        try:
            self.normalise_schedule()
        except cron_rules.InvalidCron as error:
            field_name = "timezone" if error.field == "timezone" else "cron"
            raise ValidationError(
                {field_name: ValidationError(str(error), code=error.code)}
            ) from None
        if self.start_time and self.end_time and self.end_time <= self.start_time:
            raise ValidationError({"end_time": _("The end must be after the start.")})

    def save(self, *args: object, **kwargs: object) -> None:
        self.normalise_schedule()
        # One transaction with the signal that writes the PeriodicTask row.
        with transaction.atomic():
            super().save(*args, **kwargs)  # type: ignore[arg-type]


def schedulable_models() -> list[type[Schedulable]]:
    """Return the concrete models that beat fires."""
    return [model for model in apps.get_models() if issubclass(model, Schedulable)]


class BeatLease(models.Model):
    """The one row that says which beat leads, until when, by the database's clock.

    The lease keeps a standby quiet; exactly-once firing rests on the slot claim, not on it.
    """

    SINGLETON_ID = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON_ID)
    holder = models.CharField(max_length=200, blank=True, default="")
    expires_at = models.DateTimeField()

    class Meta:
        verbose_name = _("beat lease")
        verbose_name_plural = _("beat lease")

    def __str__(self) -> str:
        return f"{self.holder or '-'} until {self.expires_at:%H:%M:%S}"


class Heartbeat(models.Model):
    """The last sign of life of one process; status pages read it instead of `inspect`."""

    class Role(models.TextChoices):
        BEAT = "beat", _("beat")
        WORKER = "worker", _("worker")

    role = models.CharField(max_length=16, choices=Role.choices)
    name = models.CharField(max_length=200)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    slots = models.PositiveIntegerField(default=0)
    # The names that a worker takes tasks from, with commas; "" where it did not say.
    queues = models.TextField(default="", db_default="")
    leading = models.BooleanField(default=False)

    class Meta:
        verbose_name = _("heartbeat")
        verbose_name_plural = _("heartbeats")
        constraints = [
            models.UniqueConstraint(fields=["role", "name"], name="scheduler_heartbeat_process")
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.name}"

    @property
    def queue_names(self) -> frozenset[str]:
        return frozenset(self.queues.split(",")) - {""}
