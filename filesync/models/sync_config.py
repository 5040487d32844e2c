"""SyncConfig: what is kept in step with what, how, when, and within which limits."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from filesync import config_request
from filesync.models.names import check_name, check_queue
from filesync.models.rule_set import RuleSet, RuleSetUse
from filesync.models.storage import Storage
from filesync.secrets import decrypt, encrypt
from scheduler.models import DAY_S, Doorbell, DueSlot, Schedulable


class SyncConfig(Schedulable):
    """One sync: source, destination, method, schedule, limits."""

    class Method(models.TextChoices):
        INCREMENTAL = "INCREMENTAL", _("Incremental: copy new and changed files, delete nothing")
        FULL = "FULL", _("Full: make the destination equal to the source")
        OVERWRITE = "OVERWRITE", _("Overwrite: send every file again, then as Full")
        MOVE = "MOVE", _("Move: remove each source file once its copy is verified")
        CHECK = "CHECK", _("Check: compare only, change nothing")

    class Compare(models.TextChoices):
        SIZE_TIME = "SIZE_TIME", _("Size and time")
        CHECKSUM = "CHECKSUM", _("Checksum")
        SIZE = "SIZE", _("Size only")

    schedule_task = "filesync.tasks.sync_file_task"
    schedule_kwarg = "config_id"

    name = models.CharField(_("name"), max_length=120, unique=True)
    source_storage = models.ForeignKey(
        Storage,
        on_delete=models.PROTECT,
        related_name="configs_from",
        verbose_name=_("source storage"),
    )
    source_path = models.CharField(
        _("source folder"),
        max_length=1024,
        blank=True,
        default="",
        help_text=_("Below the storage's root; empty is the root itself."),
    )
    destination_storage = models.ForeignKey(
        Storage,
        on_delete=models.PROTECT,
        related_name="configs_to",
        verbose_name=_("destination storage"),
    )
    destination_path = models.CharField(
        _("destination folder"),
        max_length=1024,
        blank=True,
        default="",
        help_text=_("Below the storage's root; empty is the root itself."),
    )
    method = models.CharField(
        _("method"), max_length=16, choices=Method.choices, default=Method.INCREMENTAL
    )
    compare = models.CharField(
        _("compare"), max_length=16, choices=Compare.choices, default=Compare.SIZE_TIME
    )
    filters = models.TextField(
        _("filters"),
        blank=True,
        default="",
        max_length=20_000,
        help_text=_("One rule a line, the first match decides: + *.jpg or - /cache/**"),
    )
    rule_sets = models.ManyToManyField(
        RuleSet,
        through=RuleSetUse,
        related_name="configs",
        blank=True,
        verbose_name=_("rule sets"),
        help_text=_("Their rules come after the config's own, in this order."),
    )
    renames = models.TextField(
        _("rename rules"),
        blank=True,
        default="",
        max_length=20_000,
        help_text=_(
            "One rule a line: regular expression => replacement. The first that matches a file's "
            "name decides: ^IMG_(.*)$ => ${1}"
        ),
    )
    min_size_bytes = models.PositiveBigIntegerField(
        _("smallest file, bytes"), null=True, blank=True
    )
    max_size_bytes = models.PositiveBigIntegerField(_("largest file, bytes"), null=True, blank=True)
    min_age_s = models.PositiveIntegerField(
        _("youngest file, seconds"),
        null=True,
        blank=True,
        help_text=_("Files that were changed later are left for the next run."),
    )
    max_age_s = models.PositiveIntegerField(
        _("oldest file, seconds"),
        null=True,
        blank=True,
        help_text=_("Older files do not count, on either side: they are never deleted."),
    )
    bandwidth = models.CharField(
        _("bandwidth limit"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("A rate such as 4M, or a timetable such as 08:00,512K 23:00,off"),
    )
    transfers = models.PositiveSmallIntegerField(
        _("transfers at once"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(64)],
        help_text=_("Empty: what suits the storages."),
    )
    checkers = models.PositiveSmallIntegerField(
        _("comparisons at once"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(128)],
        help_text=_("Empty: what suits the storages."),
    )
    calls_per_s = models.FloatField(
        _("calls per second"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01), MaxValueValidator(1000)],
        help_text=_("The most requests to the storages; low for netdisks that ban fast clients."),
    )
    max_bytes = models.PositiveBigIntegerField(
        _("most bytes of one run"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1 << 60)],
        help_text=_("A run that has sent so much ends; the next one goes on from there."),
    )
    max_files = models.PositiveBigIntegerField(
        _("most files of one run"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1 << 40)],
        help_text=_("A run that has sent so many ends; the next one goes on from there."),
    )
    max_runtime_s = models.PositiveIntegerField(
        _("longest run, seconds"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    stall_timeout_s = models.PositiveIntegerField(
        _("longest standstill, seconds"),
        default=600,
        validators=[MinValueValidator(10), MaxValueValidator(DAY_S)],
        help_text=_("A run that makes no progress for so long is ended."),
    )
    max_attempts = models.PositiveSmallIntegerField(
        _("attempts"),
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(20)],
        help_text=_("How often a run is tried when the failure can pass by itself."),
    )
    retry_delay_s = models.PositiveIntegerField(
        _("first wait before a new attempt, seconds"),
        default=60,
        validators=[MaxValueValidator(DAY_S)],
        help_text=_("Doubled for each further attempt, up to an hour."),
    )
    keep_deleted_days = models.PositiveSmallIntegerField(
        _("days to keep deleted files"),
        default=0,
        validators=[MaxValueValidator(3650)],
        help_text=_(
            "What a run deletes or overwrites goes to a folder of the destination storage, outside "
            "the synced tree, and a run can be undone for so long. 0: nothing is kept."
        ),
    )
    max_delete_files = models.PositiveIntegerField(
        _("most deletions"),
        null=True,
        blank=True,
        default=1000,
        help_text=_(
            "A run that would delete more files is stopped before it starts. Empty: no limit."
        ),
    )
    max_delete_percent = models.PositiveSmallIntegerField(
        _("most deletions, per cent"),
        null=True,
        blank=True,
        default=50,
        validators=[MaxValueValidator(100)],
        help_text=_("Of the destination's files. Empty: no limit."),
    )
    max_shrink_percent = models.PositiveSmallIntegerField(
        _("most shrinking of the source, per cent"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(100)],
        help_text=_(
            "A run is stopped where the source lost more of its files or bytes since the last "
            "good run. Empty: not compared."
        ),
    )
    queue = models.CharField(
        _("queue"),
        max_length=64,
        blank=True,
        default="",
        validators=[
            RegexValidator(
                r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z", _("Letters, digits, dots, dashes, underscores.")
            )
        ],
        help_text=_(
            "Only workers that were started with -Q and this name run it. Empty: any worker of the "
            "default queue, celery."
        ),
    )
    late_after_s = models.PositiveIntegerField(
        _("late after, seconds"),
        null=True,
        blank=True,
        default=1800,
        validators=[MinValueValidator(10), MaxValueValidator(7 * DAY_S)],
        help_text=_("A run that has not started so long after its slot is late. Empty: never."),
    )
    encrypted_ping_url = models.TextField(
        db_column="ping_url", default="", blank=True, editable=False
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("sync config")
        verbose_name_plural = _("sync configs")
        ordering = ["name"]
        permissions = [
            ("run_syncconfig", gettext_noop("Can run and cancel syncs")),
            ("force_syncconfig", gettext_noop("Can force a run past its guards")),
        ]
        # PostgreSQL finds texts within name and remark by one more, which migration 0012 makes.
        indexes = [
            # The API's filter by `enable` in the order of its lists, and how many there are.
            models.Index(fields=["enable", "name"], name="filesync_config_enabled"),
            # The API's orders that its lists offer beside the name.
            models.Index(fields=["created_at", "id"], name="filesync_config_created"),
            models.Index(fields=["updated_at", "id"], name="filesync_config_updated"),
            # The distinct schedules, and who has one of them: the next runs of all configs.
            models.Index(
                fields=["cron", "timezone", "start_time", "end_time", "id"],
                condition=models.Q(enable=True) & ~models.Q(cron=""),
                name="filesync_config_schedules",
            ),
            # The few whose schedule begins later.
            models.Index(
                fields=["start_time"],
                condition=models.Q(start_time__isnull=False),
                name="filesync_config_starts",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def ping_url(self) -> str:
        """What is called when a run starts, succeeds or fails; decrypted on each access.

        Raises:
            SecretsUnreadable: none of the configured keys opens it.
        """
        return decrypt(self.encrypted_ping_url).get("url", "")

    @ping_url.setter
    def ping_url(self, value: str) -> None:
        self.encrypted_ping_url = encrypt({"url": value}) if value else ""

    @classmethod
    def fire(cls, due: Sequence[DueSlot]) -> Sequence[Doorbell]:
        from filesync.services.slot_runs import queue_slots

        return queue_slots(due)

    def route(self) -> str:
        """Return "storage:path -> storage:path" for people; needs both storages loaded."""
        source = f"{self.source_storage.name}:{self.source_path}"
        return f"{source} -> {self.destination_storage.name}:{self.destination_path}"

    def clean(self) -> None:
        super().clean()
        check_name(self.name)
        check_queue(self.queue)
        if self.source_storage_id and self.destination_storage_id:
            config_request.validate(self)
