"""Storage: a place where files live, how to reach it, and how hard it may be used."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from filesync import engine
from filesync.secrets import SecretsUnreadable, decrypt, encrypt


class Storage(models.Model):
    """A remote in rclone's sense. `options` are plain, `secrets` are encrypted at rest.

    Both map rclone's option names to strings; `filesync.engine.options` says which are allowed.
    """

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
        self.encrypted_secrets = encrypt(values)

    def secret_names(self) -> list[str] | None:
        """Return the names of the secrets that are set, None where they cannot be read."""
        try:
            return sorted(self.secrets)
        except SecretsUnreadable:
            return None

    def as_remote(self) -> engine.Remote:
        """Return what the engine needs to reach it, secrets in plain text."""
        return engine.Remote(
            backend=self.backend,
            root=self.root,
            options={str(key): str(value) for key, value in self.options.items()},
            secrets=self.secrets,
        )

    def clean(self) -> None:
        super().clean()
        if not isinstance(self.options, dict):
            raise ValidationError({"options": _("Options are an object of names and texts.")})
        try:
            engine.validate_remote(self.as_remote(), tuple(settings.FILESYNC_LOCAL_ROOTS))
        except engine.EngineError as error:
            raise ValidationError(
                {self._field_of(error): ValidationError(error.message, code=error.code)}
            ) from None
        except SecretsUnreadable as error:
            raise ValidationError(ValidationError(str(error), code=error.code)) from None

    @staticmethod
    def _field_of(error: engine.EngineError) -> str:
        if isinstance(error, engine.PathRefused):
            return "root"
        return "backend" if error.field == "backend" else "options"
