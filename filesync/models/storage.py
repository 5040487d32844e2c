"""Storage: a place where files live, how to reach it, and how hard it may be used."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from filesync import engine
from filesync.models.fields import MessageField
from filesync.models.names import check_name
from filesync.secrets import SecretsUnreadable, decrypt, encrypt
from filesync.texts import say

# Stand among the secrets; no option of rclone begins so.
ENCRYPTION_PASSWORD = "encryption_password"  # noqa: S105 - the name of a secret
ENCRYPTION_SALT = "encryption_salt"
_NAMES = {
    "STANDARD": engine.NameEncryption.STANDARD,
    "OBFUSCATE": engine.NameEncryption.OBFUSCATE,
    "CONTENT": engine.NameEncryption.OFF,
}


def encryption_of(names: engine.NameEncryption) -> str:
    """Return the choice that stands for what becomes of names."""
    return next(choice for choice, meant in _NAMES.items() if meant is names)


class OptionInvalid(ValidationError):
    """What is wrong with one option or secret; `option` is its name, "" where it is of all."""

    def __init__(self, message: str, code: str, option: str) -> None:
        super().__init__(message, code=code)
        self.option = option


class Storage(models.Model):
    """A remote in rclone's sense. `options` are plain, `secrets` are encrypted at rest.

    Both map rclone's option names to strings; `filesync.engine.options` says which are allowed.
    The password of its encryption is a secret too. While it is paused, its runs wait.
    """

    class Encryption(models.TextChoices):
        NONE = "", _("Off")
        STANDARD = "STANDARD", _("Contents and names")
        OBFUSCATE = "OBFUSCATE", _("Contents; names only obfuscated, for short name limits")
        CONTENT = "CONTENT", _("Contents only, names stay readable")

    name = models.CharField(_("name"), max_length=120, unique=True)
    backend = models.CharField(
        _("backend"),
        max_length=32,
        help_text=_("rclone's name of the storage type: local, webdav, s3, sftp, ftp, smb ..."),
    )
    root = models.CharField(
        _("root path"),
        max_length=1024,
        blank=True,
        default="",
        help_text=_(
            "Everything happens below it: an absolute folder for a local storage, "
            "bucket/prefix for S3, a folder of the server elsewhere."
        ),
    )
    options = models.JSONField(_("options"), default=dict, blank=True)
    encrypted_secrets = models.TextField(
        db_column="secrets", default="", blank=True, editable=False
    )
    max_concurrent_runs = models.PositiveSmallIntegerField(
        _("runs at once"),
        default=2,
        validators=[MinValueValidator(1), MaxValueValidator(64)],
        help_text=_("Further runs wait until a place is free."),
    )
    transfers = models.PositiveSmallIntegerField(
        _("transfers at once"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(64)],
        help_text=_("In one run. A sync may ask for fewer, not for more."),
    )
    calls_per_s = models.FloatField(
        _("calls per second"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01), MaxValueValidator(1000)],
        help_text=_("In one run. Netdisks ban clients that are too fast."),
    )
    bandwidth = models.CharField(
        _("bandwidth limit"),
        max_length=32,
        blank=True,
        default="",
        help_text=_("In one run: a rate such as 4M, or 1M:4M for up and down."),
    )
    encryption = models.CharField(
        _("encryption"),
        max_length=16,
        choices=Encryption.choices,
        blank=True,
        default=Encryption.NONE,
        help_text=_(
            "Files are encrypted before they leave, in the format of rclone's crypt, with the "
            "secrets encryption_password and encryption_salt. Keep a copy of both: without them "
            "nobody can read the files again."
        ),
    )
    encrypt_folder_names = models.BooleanField(
        _("encrypt folder names"),
        default=True,
        help_text=_("Where names are encrypted at all."),
    )
    last_check_at = models.DateTimeField(_("tested"), null=True, blank=True, editable=False)
    last_check_class = models.CharField(
        _("result of the test"), max_length=32, blank=True, default="", editable=False
    )
    last_check_message = MessageField(
        _("message of the test"), blank=True, default="", editable=False
    )
    shares_token = models.BooleanField(default=False, editable=False)
    paused_at = models.DateTimeField(_("paused"), null=True, blank=True, editable=False)
    paused_reason = MessageField(_("why it is paused"), blank=True, default="", editable=False)
    remark = models.CharField(_("remark"), max_length=255, blank=True, default="")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("storage")
        verbose_name_plural = _("storages")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(max_concurrent_runs__gte=1),
                name="filesync_storage_runs_at_least_one",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets in plain text, decrypted on each access.

        Raises:
            SecretsUnreadable: none of the configured keys opens them.
        """
        return decrypt(self.encrypted_secrets)

    @secrets.setter
    def secrets(self, values: dict[str, str]) -> None:
        tidy = {name: engine.tidy_secret(name, value) for name, value in values.items()}
        self.encrypted_secrets = encrypt(tidy)

    def secret_names(self) -> list[str] | None:
        """Return the names of the secrets that are set, None where they cannot be read."""
        try:
            return sorted(self.secrets)
        except SecretsUnreadable:
            return None

    def as_remote(self) -> engine.Remote:
        """Return what the engine needs to reach it, secrets in plain text."""
        secrets = self.secrets
        password = secrets.pop(ENCRYPTION_PASSWORD, "")
        salt = secrets.pop(ENCRYPTION_SALT, "")
        encryption = None
        if self.encryption:
            names = _NAMES[self.encryption]
            encryption = engine.Encryption(password, salt, names, self.encrypt_folder_names)
        return engine.Remote(
            backend=self.backend,
            root=self.root,
            options={str(key): str(value) for key, value in self.options.items()},
            secrets=secrets,
            encryption=encryption,
        )

    def access(self) -> tuple[object, ...]:
        """Return what decides whether it can be reached, to see whether that has changed."""
        try:
            secrets: dict[str, str] | None = self.secrets
        except SecretsUnreadable:
            secrets = None
        encryption = (self.encryption, self.encrypt_folder_names)
        return (self.backend, self.root, self.options, secrets, encryption)

    def limits(self) -> engine.StorageLimits:
        """Return how hard one run may use it."""
        return engine.StorageLimits(
            transfers=self.transfers,
            calls_per_s=self.calls_per_s,
            bandwidth=self.bandwidth or None,
        )

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.shares_token = self._shares_a_token()
        super().save(*args, **kwargs)

    def _shares_a_token(self) -> bool:
        """Return whether its runs use one OAuth token, which each of them may replace."""
        try:
            return any(engine.is_oauth_token(self.backend, name) for name in self.secrets)
        except (SecretsUnreadable, engine.OptionRefused):
            return False

    def clean(self) -> None:
        super().clean()
        check_name(self.name)
        if not isinstance(self.options, dict):
            raise ValidationError({"options": _("Options are an object of names and texts.")})
        if self.encryption not in self.Encryption:
            return  # the field's own choices say so
        try:
            engine.validate_storage_limits(self.limits())
            engine.validate_remote(self.as_remote(), tuple(settings.FILESYNC_LOCAL_ROOTS))
        except engine.EngineError as error:
            raise ValidationError(
                {
                    self._field_of(error): OptionInvalid(
                        say(error.message), error.code, error.field or ""
                    )
                }
            ) from None
        except SecretsUnreadable as error:
            raise ValidationError(ValidationError(say(error.message), code=error.code)) from None

    @staticmethod
    def _field_of(error: engine.EngineError) -> str:
        if isinstance(error, engine.PathRefused):
            return "root"
        if error.field == ENCRYPTION_PASSWORD:
            return "encryption"
        own = ("backend", "transfers", "calls_per_s", "bandwidth")
        return error.field if error.field in own else "options"
